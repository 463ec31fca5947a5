//! Questions about policies, through a relay.

use weir_proto::weir::v1::{ExplainPolicyRequest, ExplainPolicyResponse};

use super::*;

async fn explained(relay: &Relay) -> Result<ExplainPolicyResponse, tonic::Status> {
    let request = ExplainPolicyRequest { source: "shop/web".into(), ..ExplainPolicyRequest::default() };
    let answer = soon(WeirClient::new(relay.channel.clone()).explain_policy(request)).await;
    answer.map(tonic::Response::into_inner)
}

fn answer(node: &str) -> ExplainPolicyResponse {
    ExplainPolicyResponse { node: node.into(), ..ExplainPolicyResponse::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_goes_on_to_the_daemon_that_answers() {
    let (n1, n2, _folder) = two();
    let relay = Relay::with(&[&n1, &n2], &[]).await;
    let old = explained(&relay).await.unwrap_err();
    assert_eq!(old.code(), Code::Unimplemented);
    assert!(old.message().ends_with("version: n1; n2"), "{old:?}");
    n1.says_of_policies(Err(tonic::Status::failed_precondition("it was given no cluster")));
    let blind = explained(&relay).await.unwrap_err();
    assert_eq!(blind.message(), "no daemon knows the cluster: n1: it was given no cluster");
    n2.says_of_policies(Ok(answer("n2")));
    assert_eq!(explained(&relay).await.unwrap(), answer("n2"));
    n1.says_of_policies(Err(tonic::Status::not_found("there is no shop/web")));
    let unknown = explained(&relay).await.unwrap_err();
    assert_eq!((unknown.code(), unknown.message()), (Code::NotFound, "there is no shop/web"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_hangs_costs_the_question_two_seconds_and_none_that_is_away_is_asked() {
    let (n1, n2, _folder) = two();
    let relay = Relay::with(&[&n1, &n2], &[]).await;
    n2.says_of_policies(Ok(answer("n2")));
    let frozen = n1.freeze();
    let asked = Instant::now();
    assert_eq!(explained(&relay).await.unwrap(), answer("n2"));
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    drop(frozen);
    let (_, _) = (n1.kill(), n2.kill());
    let is_away = |status: &ServerStatusResponse| {
        status.weir.iter().flat_map(|weir| &weir.peers).all(|peer| !peer.connected)
    };
    relay.until(is_away).await;
    let none = explained(&relay).await.unwrap_err();
    assert_eq!(
        (none.code(), none.message()),
        (Code::Unavailable, "no daemon is connected; `weir status` says why")
    );
}
