//! `weir policy explain` as a script meets it: the real program, a server that knows its answer by heart, and the exit code
//! that says whether it passes.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::path::{Path, PathBuf};

use tokio::net::UnixListener;
use tokio::runtime::Runtime;
use tokio_stream::Empty;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status, async_trait};
use weir_proto::weir::v1::weir_server::{Weir, WeirServer};
use weir_proto::weir::v1::{
    ConnectionsRequest, ConnectionsResponse, ExplainPolicyRequest, ExplainPolicyResponse, PolicyDirection,
    PolicyEnd, PolicyExplanation, PolicyJudgement, PolicyRuling,
};
use weir_tests::{Ended, finish, program};

/// Answers by the port that it is asked about.
struct ByHeart;

#[async_trait]
impl Weir for ByHeart {
    type ConnectionsStream = Empty<Result<ConnectionsResponse, Status>>;

    async fn connections(
        &self,
        _: Request<ConnectionsRequest>,
    ) -> Result<Response<Self::ConnectionsStream>, Status> {
        Err(Status::unimplemented("not asked here"))
    }

    async fn explain_policy(
        &self,
        request: Request<ExplainPolicyRequest>,
    ) -> Result<Response<ExplainPolicyResponse>, Status> {
        let asked = request.into_inner();
        let ruling = match asked.port {
            1 => PolicyRuling::Allowed,
            2 => PolicyRuling::Denied,
            3 => PolicyRuling::Undecidable,
            4 => return Ok(Response::new(ExplainPolicyResponse::default())),
            5 => return Err(Status::unimplemented("")),
            _ => return Err(Status::not_found(format!("there is no pod or workload {}", asked.source))),
        };
        Ok(Response::new(answer(&asked, ruling)))
    }
}

fn answer(asked: &ExplainPolicyRequest, ruling: PolicyRuling) -> ExplainPolicyResponse {
    let pod = |path: &str| {
        let (namespace, name) = path.split_once('/').unwrap();
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        Some(PolicyEnd { kind: "pod".to_owned(), namespace, name, ..PolicyEnd::default() })
    };
    let explanation = PolicyExplanation {
        source: pod(&asked.source),
        destination: pod(&asked.destination),
        port: asked.port,
        protocol: asked.protocol.clone(),
        passes: match ruling {
            PolicyRuling::Allowed => Some(true),
            PolicyRuling::Denied => Some(false),
            _ => None,
        },
        judgements: vec![PolicyJudgement {
            direction: PolicyDirection::Ingress.into(),
            ruling: ruling.into(),
            ..PolicyJudgement::default()
        }],
        ..PolicyExplanation::default()
    };
    ExplainPolicyResponse { explanations: vec![explanation], node: "birch".to_owned(), notes: Vec::new() }
}

fn serving(folder: &Path) -> (PathBuf, Runtime) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let socket = folder.join("server.sock");
    let _inside = runtime.enter();
    let listener = UnixListenerStream::new(UnixListener::bind(&socket).unwrap());
    runtime.spawn(Server::builder().add_service(WeirServer::new(ByHeart)).serve_with_incoming(listener));
    (socket, runtime)
}

fn explain(socket: &Path, args: &[&str]) -> Ended {
    let server = format!("unix://{}", socket.display());
    let mut command = std::process::Command::new(program("weir").unwrap());
    finish(command.args(["policy", "explain", "--server", &server]).args(args)).unwrap()
}

#[test]
fn the_exit_code_is_the_answer_and_an_error_is_no_denial() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, _runtime) = serving(folder.path());
    let ends = |port: &'static str| ["shop/web", "shop/api", port];
    for (port, code, said) in [
        ("1", 0, "shop/web -> shop/api TCP 1: allowed\n"),
        ("2", 1, "shop/web -> shop/api TCP 2: denied by ingress of shop/api\n"),
        ("3", 2, "shop/web -> shop/api TCP 3: undecidable for ingress of shop/api\n"),
        ("4", 2, "there is nothing to judge between these two ends\n"),
    ] {
        let ended = explain(&socket, &ends(port));
        assert_eq!((ended.code, ended.err.as_str()), (Some(code), ""), "{ended:?}");
        assert!(ended.out.starts_with(said), "{}", ended.out);
    }
    for (port, said) in [
        ("5", "that takes a weir-relay or weir-daemon of this version"),
        ("6", "there is no pod or workload shop/web"),
    ] {
        let ended = explain(&socket, &ends(port));
        assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{ended:?}");
        assert!(ended.sentence().ends_with(said), "{ended:?}");
    }
    let nobody = explain(&folder.path().join("none.sock"), &ends("1"));
    assert_eq!(nobody.code, Some(2), "{nobody:?}");
    assert_eq!(explain(&socket, &["shop/web"]).code, Some(2), "half a question");
}

#[test]
fn as_json_it_is_the_whole_answer() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, _runtime) = serving(folder.path());
    let ended = explain(&socket, &["shop/web", "shop/api", "2", "--protocol", "udp", "-o", "json"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let json: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    let explanation = &json["explanations"][0];
    assert_eq!(explanation["protocol"], "udp");
    assert_eq!(explanation["passes"], false, "what is false is said: absent means that nobody knows");
    assert_eq!(explanation["judgements"][0]["ruling"], "POLICY_RULING_DENIED");
    assert_eq!(json["node"], "birch");
}
