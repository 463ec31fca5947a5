//! Listening, health, reflection, and files of flows.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use weir_proto::observer::ServerStatusRequest;
use weir_proto::observer::observer_client::ObserverClient;

use super::world::{World, limits, loopback, node};
use crate::ring::ring;
use crate::serve::{Clock, Listen, READY, ServeError, Server, preload};

async fn start(listen: &Listen) -> Result<Server, ServeError> {
    let (_writer, ring) = ring(limits(1));
    Server::start(node(ring, Clock::System).0, listen).await
}

fn at(path: &Path) -> Listen {
    Listen { tcp: Vec::new(), unix: Some(path.to_owned()), insecure: false }
}

async fn over_socket(path: &Path) -> Channel {
    let path = path.to_owned();
    let connect = tower::service_fn(move |_| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://socket").connect_with_connector(connect).await.unwrap()
}

#[tokio::test]
async fn a_port_in_use_names_address_and_remedy() {
    let first = start(&loopback()).await.unwrap();
    let address = first.addresses()[0];
    let error = start(&Listen { tcp: vec![address], ..loopback() }).await.unwrap_err().to_string();
    assert!(error.contains(&address.to_string()) && error.contains("--listen"), "{error}");
}

#[tokio::test]
async fn an_open_address_must_be_asked_for() {
    let open = Listen { tcp: vec!["0.0.0.0:0".parse().unwrap()], ..loopback() };
    let error = start(&open).await.unwrap_err().to_string();
    assert!(error.contains("0.0.0.0:0") && error.contains("--insecure"), "{error}");
    let server = start(&Listen { insecure: true, ..open }).await.unwrap();
    assert_eq!(server.addresses().len(), 1);
}

#[tokio::test]
async fn a_socket_is_for_owner_and_group_and_gone_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/weir.sock");
    let server = start(&at(&path)).await.unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    let mut client = ObserverClient::new(over_socket(&path).await);
    assert_eq!(client.server_status(ServerStatusRequest {}).await.unwrap().into_inner().max_flows, 1);
    let error = start(&at(&path)).await.unwrap_err().to_string();
    assert!(error.contains("another daemon is listening"), "{error}");
    drop(client);
    server.stop(std::time::Duration::from_secs(20)).await;
    assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_another_file_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weir.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let server = start(&at(&path)).await.unwrap();
    let mut client = ObserverClient::new(over_socket(&path).await);
    client.server_status(ServerStatusRequest {}).await.unwrap();
    drop(server);
    let file = folder.path().join("file");
    std::fs::write(&file, "kept").unwrap();
    let error = start(&at(&file)).await.unwrap_err().to_string();
    assert!(error.contains("no socket"), "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "kept");
}

#[tokio::test]
async fn health_is_told_under_hubbles_name() {
    let world = World::with_flows(1, 0).await;
    let mut health = HealthClient::new(world.channel.clone());
    for name in ["", "hubble.server.Observer"] {
        let answer = health.check(HealthCheckRequest { service: name.into() }).await.unwrap().into_inner();
        assert_eq!(answer.status().as_str_name(), "SERVING", "{name:?}");
    }
    assert!(health.check(HealthCheckRequest { service: "nobody".into() }).await.is_err());
}

#[tokio::test]
async fn a_daemon_that_does_not_know_its_cluster_yet_is_alive_and_not_ready() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("daemon.sock");
    let server = start(&at(&path)).await.unwrap();
    let mut health = HealthClient::new(over_socket(&path).await);
    for (ready, said) in [(false, "NOT_SERVING"), (true, "SERVING")] {
        server.set_ready(ready).await;
        for (name, said) in [(READY, said), ("", "SERVING")] {
            let answer = health.check(HealthCheckRequest { service: name.into() }).await.unwrap();
            assert_eq!(answer.into_inner().status().as_str_name(), said, "{name:?}");
        }
    }
}

/// Both versions of reflection have the same messages under two names.
macro_rules! reflects {
    ($name:ident, $version:ident) => {
        #[tokio::test]
        async fn $name() {
            use tonic_reflection::pb::$version::ServerReflectionRequest;
            use tonic_reflection::pb::$version::server_reflection_client::ServerReflectionClient;
            use tonic_reflection::pb::$version::server_reflection_request::MessageRequest;
            use tonic_reflection::pb::$version::server_reflection_response::MessageResponse;
            let world = World::with_flows(1, 0).await;
            let mut client = ServerReflectionClient::new(world.channel.clone());
            let ask =
                |message| ServerReflectionRequest { host: String::new(), message_request: Some(message) };
            let requests = [
                ask(MessageRequest::ListServices(String::new())),
                ask(MessageRequest::FileContainingSymbol("observer.Observer".into())),
                ask(MessageRequest::FileByFilename("google/protobuf/timestamp.proto".into())),
            ];
            let mut answers =
                client.server_reflection_info(tokio_stream::iter(requests)).await.unwrap().into_inner();
            let mut next = async || answers.message().await.unwrap().unwrap().message_response.unwrap();
            let MessageResponse::ListServicesResponse(list) = next().await else { panic!("no list") };
            let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
            for name in ["observer.Observer", "peer.Peer", "weir.v1.Weir", "grpc.health.v1.Health"] {
                assert!(names.contains(&name), "{name} is not in {names:?}");
            }
            for _ in 0..2 {
                let MessageResponse::FileDescriptorResponse(files) = next().await else { panic!("no file") };
                assert!(!files.file_descriptor_proto.is_empty());
            }
        }
    };
}
reflects!(reflection_v1_describes_what_is_served, v1);
reflects!(reflection_v1alpha_describes_what_is_served, v1alpha);

#[test]
fn a_bad_line_names_file_line_and_cause() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flows.jsonl");
    let load = |text: &str| {
        std::fs::write(&path, text).unwrap();
        preload(&path, limits(10))
            .map(|loaded| (loaded.node, loaded.ring.stats().seen.0))
            .map_err(|e| e.to_string())
    };
    let good = r#"{"flow":{"verdict":"DROPPED"},"node_name":"n1","time":"2026-11-01T12:00:00Z"}"#;
    let lost = r#"{"lost_events":{"source":"PERF_EVENT_RING_BUFFER","num_events_lost":"3"}}"#;
    assert_eq!(load(&format!("{good}\n\n{lost}\n{good}")), Ok(("n1".into(), 2)));
    let error = load(&format!("{good}\n{{\"flow\":{{\"verdict\":7x}}}}\n")).unwrap_err();
    assert!(error.contains("flows.jsonl: line 2: "), "{error}");
    assert!(load("").unwrap_err().contains("holds no flow"));
    let long = format!("{good}\n{}", "x".repeat(2 << 20));
    assert!(load(&long).unwrap_err().contains("line 2: longer than"));
    std::fs::write(&path, b"\xff\xfe\n").unwrap();
    assert!(preload(&path, limits(1)).unwrap_err().to_string().contains("line 1: is no text"));
    let absent = preload(&folder.path().join("absent"), limits(1)).unwrap_err().to_string();
    assert!(absent.contains("absent") && absent.contains("No such file"), "{absent}");
}
