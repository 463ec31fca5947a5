//! Each fault by itself: what is asked for after it, and what is said of it.

use std::time::Instant;

use super::*;

#[tokio::test]
async fn a_version_that_is_gone_leads_to_a_new_list_and_never_to_an_empty_cluster() {
    for at_start in [false, true] {
        let mut watching = Watching::start(shop().await).await;
        watching.until_equal().await;
        watching.server.always("pods", Some(Fault::Cut));
        watching.server.cut_connections();
        watching.until_told("the cut is known", |this| this.watch.stats().failures > 0).await;
        watching.server.delete("pods", "shop", "web-1");
        watching.server.put("pods", pod("web-9", "10.244.1.9"));
        watching.server.compact();
        if at_start {
            watching.server.fault("pods", Fault::Status(410, "Expired"));
        }
        watching.server.always("pods", None);
        while watching.cluster.objects != watching.expected() {
            assert!(watching.changes.apply_next(&mut watching.cluster).await);
            assert!(watching.pods() >= 7, "at no time less than both lists have");
        }
        assert_eq!(watching.server.asked("pods").lists, 2);
    }
}

#[tokio::test]
async fn a_connection_cut_in_the_middle_of_an_event_loses_nothing_and_lists_nothing() {
    let mut watching = Watching::start(shop().await).await;
    watching.until_equal().await;
    for round in 0..5 {
        watching.server.fault("pods", Fault::CutInEvent);
        watching.server.put("pods", pod("web-2", &format!("10.244.1.{}", 100 + round)));
        watching.until_equal().await;
    }
    let asked = watching.server.asked("pods");
    assert_eq!((asked.lists, asked.watches), (1, 6));
}

#[tokio::test]
async fn a_bookmark_spares_a_list_after_compaction() {
    let mut watching = Watching::start(shop().await).await;
    watching.until_equal().await;
    // The version grows by another resource's changes alone, and what the pods' watch began from is forgotten.
    watching.server.put("jobs", bare("shop", "other"));
    watching.server.bookmark("pods");
    watching.until_told("it watches again", |this| this.server.asked("pods").watches == 2).await;
    watching.server.compact();
    watching.server.put("pods", pod("web-8", "10.244.1.8"));
    watching.until("the pod is there", |this| this.pods() == 8).await;
    let asked = watching.server.asked("pods");
    assert_eq!((asked.lists, asked.watches), (1, 2));
}

#[tokio::test]
async fn a_watch_that_ends_at_once_is_not_asked_for_in_a_loop() {
    let pace = Pace {
        first: Duration::from_millis(100),
        longest: Duration::from_millis(400),
        calm: Duration::from_secs(60),
    };
    let begun = Instant::now();
    let mut watching = Watching::start_with(shop().await, Settings { pace, ..settings() }).await;
    watching.until_equal().await;
    watching.server.always("pods", Some(Fault::EndsAtOnce));
    watching.server.cut_connections();
    watching.until_told("it was asked five times", |this| this.server.asked("pods").watches >= 5).await;
    // Half of 100, 200, 400 and 400 ms at least.
    assert!(begun.elapsed() >= Duration::from_millis(550), "{:?}", begun.elapsed());
    watching.server.put("pods", pod("web-8", "10.244.1.8"));
    watching.server.always("pods", None);
    watching.until_equal().await;
    assert_eq!(watching.server.asked("pods").lists, 1);
}

#[tokio::test]
async fn what_is_forbidden_is_said_in_words_and_asked_for_seldom() {
    let pace = Pace {
        first: Duration::from_millis(50),
        longest: Duration::from_millis(200),
        calm: Duration::from_secs(60),
    };
    let server = shop().await;
    server.always("endpointslices", Some(Fault::Status(403, "Forbidden")));
    let begun = Instant::now();
    let mut watching = Watching::start_with(server, Settings { pace, ..settings() }).await;
    watching.until_told("it was asked four times", |this| this.watch.stats().failures >= 4).await;
    assert!(begun.elapsed() >= Duration::from_millis(175), "{:?}", begun.elapsed());
    assert_eq!(
        watching.watch.counters.troubles(),
        [
            "cannot list endpointslices.discovery.k8s.io: forbidden (403); the service account lacks the verb list on \
          endpointslices.discovery.k8s.io: apply the ClusterRole of deploy/weir.yaml"
        ]
    );
    assert!(watching.server.asked("endpointslices").all() <= 5);

    // All others are there, and do not wait for ever.
    assert!(!watching.changes.is_ready());
    while watching.changes.missing().len() > 1 {
        assert!(watching.changes.apply_next(&mut watching.cluster).await);
    }
    assert_eq!(watching.changes.missing(), ["endpointslices.discovery.k8s.io"]);
    watching.changes.begin(&mut watching.cluster, crate::UnixNanos::from_nanos(1));
    assert!(watching.changes.is_ready());
    assert_eq!(watching.pods(), 7);

    watching.server.always("endpointslices", None);
    watching.until_equal().await;
    watching.until_told("all is well", |this| this.watch.counters.troubles().is_empty()).await;
}

#[tokio::test]
async fn a_server_that_fails_or_is_slow_is_asked_again() {
    let server = shop().await;
    for plural in ["pods", "services", "jobs"] {
        server.fault(plural, Fault::Status(500, "InternalError"));
        server.fault(plural, Fault::Silent);
        server.fault(plural, Fault::Status(503, "ServiceUnavailable"));
        server.fault(plural, Fault::Cut);
        server.fault(plural, Fault::Status(429, "TooManyRequests"));
        server.fault(plural, Fault::Slow);
    }
    let silence = Duration::from_millis(400);
    let mut watching = Watching::start_with(server, Settings { silence, ..settings() }).await;
    watching.until_equal().await;
    let asked = watching.server.asked("pods");
    assert!(asked.all() < 100, "{asked:?}");
    assert!(watching.watch.stats().failures >= 12, "{:?}", watching.watch.stats());

    watching.server.fault("pods", Fault::ErrorEvent(500, "InternalError"));
    watching.server.put("pods", pod("web-8", "10.244.1.8"));
    watching.until_equal().await;
}

#[tokio::test]
async fn a_server_put_back_to_an_older_state_is_listed_anew() {
    let mut watching = Watching::start(shop().await).await;
    watching.until_equal().await;
    watching.server.restore(500, vec![pod("web-1", "10.244.1.1"), pod("old", "10.244.1.77")]);
    watching.until_equal().await;
    assert_eq!(watching.pods(), 2);
    watching.server.put("pods", pod("new", "10.244.1.78"));
    watching.until_equal().await;
}

#[tokio::test]
async fn a_kind_that_the_server_does_not_have_is_done_without() {
    let server = shop().await;
    server.delete("servicecidrs", "", "kubernetes");
    server.always("servicecidrs", Some(Fault::Status(404, "NotFound")));
    let mut watching = Watching::start(server).await;
    watching.until_equal().await;
    assert_eq!(watching.server.asked("servicecidrs").all(), 1);
    assert_eq!(watching.watch.counters.troubles(), [""; 0]);
}

#[tokio::test]
async fn where_there_are_no_endpoint_slices_endpoints_are_watched_until_there_are() {
    let server = shop().await;
    server.delete("endpointslices", "shop", "web-x");
    server.always("endpointslices", Some(Fault::Status(404, "NotFound")));
    server.put(
        "endpoints",
        json!({ "metadata": { "name": "web", "namespace": "shop" },
                "subsets": [{ "addresses": [{ "ip": "10.244.1.1" }], "ports": [{ "port": 8080 }] }] }),
    );
    let absent_retry = Duration::from_millis(300);
    let mut watching = Watching::start_with(server, Settings { absent_retry, ..settings() }).await;
    watching.until_equal().await;
    let endpoints =
        |this: &Watching| this.cluster.objects.keys().filter(|key| key.kind == ObjectKind::Endpoints).count();
    assert_eq!(endpoints(&watching), 1);
    assert_eq!(watching.watch.counters.troubles(), [""; 0]);

    watching.server.always("endpointslices", None);
    watching.server.put(
        "endpointslices",
        json!({ "metadata": { "name": "web-y", "namespace": "shop",
                              "labels": { "kubernetes.io/service-name": "web" } },
                "addressType": "IPv4", "ports": [{ "port": 8080 }], "endpoints": [{ "addresses": ["10.244.1.2"] }] }),
    );
    watching.until("slices took their place", |this| endpoints(this) == 0).await;
    watching.server.delete("endpoints", "shop", "web");
    watching.until_equal().await;
    assert!(watching.server.asked("endpointslices").lists < 20);
}

#[tokio::test]
async fn a_busy_server_is_left_alone_for_as_long_as_it_says() {
    let server = shop().await;
    server.fault("pods", Fault::Busy(1));
    server.fault("services", Fault::Busy(1));
    let mut watching = Watching::start(server).await;
    watching.until_equal().await;
    // In the middle of a list its page is asked for again, and not the whole list.
    let lists = watching.server.asked("pods").lists;
    assert_eq!(lists, 2);
    watching.server.fault("pods", Fault::ErrorEvent(410, "Expired"));
    watching.server.fault("pods", Fault::Slow);
    watching.server.fault("pods", Fault::Busy(1));
    watching.server.put("pods", pod("web-9", "10.244.1.9"));
    watching.until_equal().await;
    assert_eq!(watching.server.asked("pods").lists, lists + 1);
}

#[tokio::test]
async fn a_list_whose_pages_are_gone_begins_anew() {
    let server = shop().await;
    server.fault("pods", Fault::Slow);
    server.fault("pods", Fault::PageGone);
    let mut watching = Watching::start(server).await;
    watching.until_equal().await;
    let asked = watching.server.asked("pods");
    assert_eq!((asked.lists, asked.pages), (2, 3));
}

#[tokio::test]
async fn garbage_is_no_answer_and_an_event_that_was_none_is_not_missed() {
    let server = shop().await;
    server.fault("pods", Fault::Garbage);
    let mut watching = Watching::start(server).await;
    watching.until_equal().await;
    assert_eq!(watching.server.asked("pods").lists, 2);
    watching.server.fault("pods", Fault::GarbageEvent);
    watching.server.put("pods", pod("web-3", "10.244.1.34"));
    watching.until_equal().await;
    assert_eq!(watching.server.asked("pods").lists, 3);
}

#[tokio::test]
async fn an_object_that_cannot_be_read_costs_nothing_else() {
    let mut watching = Watching::start(shop().await).await;
    watching.until_equal().await;
    watching.server.put("pods", pod("web-2", "not an address"));
    watching.server.put("pods", pod("web-8", "10.244.1.8"));
    watching.until("the good one is there", |this| this.pods() == 8).await;
    assert_eq!(watching.watch.stats().unreadable, 1);
    // Nor does it vanish when all is listed anew.
    watching.server.fault("pods", Fault::ErrorEvent(410, "Expired"));
    watching.server.put("pods", pod("web-9", "10.244.1.9"));
    watching.until("the newest is there", |this| this.pods() == 9).await;
    watching.until_told("the list is over", |this| this.server.asked("pods").watches == 2).await;
    assert_eq!(watching.watch.stats().unreadable, 2);
}

#[tokio::test]
async fn nobody_at_the_address_is_no_reason_to_end() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (mut watch, changes) = Watch::start(ApiServer::at(address).unwrap(), settings()).unwrap();
    let waited = timeout(DEADLINE, async {
        while watch.troubles().len() < KINDS.len() {
            tokio::task::yield_now().await;
        }
    });
    waited.await.unwrap();
    assert!(
        watch.troubles().iter().all(|trouble| trouble.contains("onnection refused")),
        "{:?}",
        watch.troubles()
    );
    assert_eq!(changes.missing().len(), KINDS.len());
    watch.stop().await;
}

#[tokio::test]
async fn a_preflight_says_what_the_watch_would_lack() {
    let server = shop().await;
    server.always("servicecidrs", Some(Fault::Status(404, "NotFound")));
    server.always("pods", Some(Fault::Status(403, "Forbidden")));
    let probes = crate::watch::probe(ApiServer::at(server.address).unwrap()).await.unwrap();
    let of = |resource: &str| &probes.iter().find(|probe| probe.resource == resource).unwrap().outcome;
    assert_eq!(probes.len(), KINDS.len());
    assert_eq!(of("nodes"), &Ok(true));
    assert_eq!(of("servicecidrs.networking.k8s.io"), &Ok(false));
    assert!(
        of("pods").as_ref().is_err_and(|why| why.contains("lacks the verb list on pods")),
        "{:?}",
        of("pods")
    );
}
