//! A dropped packet and the frames of its connection are one flow, behind a translation too.

use weir_cluster::Cluster;
use weir_daemon::capture::live;
use weir_daemon::decode;
use weir_daemon::enrich::{self, Enricher};
use weir_daemon::pipeline::{Output, Pipeline};
use weir_daemon::track::{self, Tracker};
use weir_proto::flow::{Flow, Verdict};

use super::*;

/// Runs frames and drops through the pipeline until a flow of the connection meets the condition.
fn flow_where(inputs: &Receiver<Input>, what: &str, condition: impl Fn(&Flow) -> bool) -> Flow {
    let enricher =
        Enricher::new(enrich::Settings { node_name: "node".into(), ..enrich::Settings::default() });
    let mut pipeline = Pipeline::new(
        decode::Settings::default(),
        Tracker::new(track::Settings::default()),
        enricher.unwrap(),
    );
    let (cluster, mut flows) = (Cluster::default(), Vec::new());
    let deadline = Instant::now() + DEADLINE;
    loop {
        let mut out = |output: Output<'_>| {
            if let Output::Flow(flow) = output {
                flows.push(flow.clone());
            }
        };
        match inputs.recv_timeout(Duration::from_millis(20)) {
            Ok(input) => pipeline.take(&input, &cluster, &mut out),
            Err(_) => pipeline.finish(&cluster, &mut out),
        }
        if let Some(found) = flows.iter().find(|flow| condition(flow)) {
            return found.clone();
        }
        assert!(Instant::now() < deadline, "not told: {what}; but {flows:#?}");
    }
}

/// kube-proxy's translation by nft, and a rule behind it that drops calls to the backend.
fn deny_behind_service(world: &World) {
    let node = &world.node;
    node.run("nft add table ip nat");
    node.run("nft add chain ip nat pre { type nat hook prerouting priority -100 ; }");
    node.run(&format!("nft add rule ip nat pre ip daddr {SERVICE} tcp dport 80 dnat to {SERVER}:8080"));
    node.run("nft add table inet weir");
    node.run("nft add chain inet weir forward { type filter hook forward priority 0 ; }");
    node.run("nft add rule inet weir forward tcp dport 8080 drop");
}

#[test]
fn a_call_of_a_service_that_is_dropped_behind_its_translation_is_one_flow() {
    if !may_run("a_call_of_a_service_that_is_dropped_behind_its_translation_is_one_flow") {
        return;
    }
    let world = World::new();
    let _server = server_of(&world);
    deny_behind_service(&world);
    let (sender, inputs) = sync_channel(65_536);
    let (capture, reader) = world.node.enter(|| {
        let capture = live::start(live::Settings::default(), sink(sender.clone())).unwrap();
        (capture, drops::start(&Settings::default(), sink(sender)).unwrap())
    });
    world.pod.enter(|| {
        let called = SocketAddr::from((SERVICE, 80));
        assert!(TcpStream::connect_timeout(&called, Duration::from_millis(200)).is_err());
    });
    let flow = flow_where(&inputs, "a dropped call of the Service", |flow| {
        let detail = flow.weir.as_ref();
        flow.verdict() == Verdict::Dropped && detail.is_some_and(|detail| detail.nat.is_some())
    });
    let ip = flow.ip.as_ref().unwrap();
    assert_eq!((ip.source.as_str(), ip.destination.as_str()), ("10.77.0.2", "10.78.0.2"));
    let detail = flow.weir.as_ref().unwrap();
    let nat = detail.nat.as_ref().unwrap();
    assert_eq!((nat.vip.as_str(), nat.vip_port), ("10.96.0.10", 80));
    let drop = &detail.kernel_drops[0];
    assert_eq!((drop.reason.as_str(), drop.device.as_str(), drop.loss), (DENIED, "veth-pod", true));
    #[expect(deprecated, reason = "the line that Hubble's printers show")]
    let summary = &flow.summary;
    assert_eq!(summary, "TCP Flags: SYN; dropped by the kernel: NETFILTER_DROP at veth-pod");
    assert_eq!((capture.stop(DEADLINE), reader.stop(DEADLINE)), (Ok(()), Ok(())));
}
