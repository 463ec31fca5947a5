//! What this kernel may have no module for, carried by real packets all the same: IPIP, SIT and GRE between two nodes by `socat`,
//! which puts what a TUN device takes into a raw IP socket; SCTP through a Service by raw sockets and the kernel's own NAT.
//!
//! IP in protocol 4 is IPIP, IPv6 in protocol 41 SIT; and what a TUN device puts before its packets (two bytes of flags, then
//! the EtherType) is in protocol 47 the plain header of GRE (RFC 2784 section 2.1).

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod nodes;
mod sctp;

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};

use serde_json::Value;
use weir_tests::node::number;
use weir_tests::{DEADLINE, finish, is_root, skip_unless};

use nodes::{Carrier, NODES, Nodes};

const PORT: u16 = 7000;

/// The nodes with this between them, or the line that says why there are none.
fn nodes(test: &str, carrier: &Carrier) -> Option<Nodes> {
    skip_unless(test, is_root().then_some(()), "network namespaces need root")?;
    let socat = finish(std::process::Command::new("socat").arg("-V")).ok();
    skip_unless(test, socat, "socat is not installed")?;
    Some(Nodes::new(carrier).unwrap())
}

/// A call from the first node's pod to the second's; gives the client's port.
fn call(nodes: &Nodes, to: IpAddr) -> u16 {
    let listener = nodes.pods[1].enter(|| Ok(TcpListener::bind((to, PORT))?)).unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = Vec::new();
        stream.read_to_end(&mut asked).unwrap();
        stream.write_all(&[b'x'; 3000]).unwrap();
    });
    let address = SocketAddr::new(to, PORT);
    let mut stream = nodes.pods[0].enter(|| Ok(TcpStream::connect_timeout(&address, DEADLINE)?)).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(&[b'?'; 700]).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    server.join().unwrap();
    assert_eq!(answer.len(), 3000);
    stream.local_addr().unwrap().port()
}

/// Device, way, and the tunnel around the packet there.
fn passed(flow: &Value) -> Vec<String> {
    let path = flow["weir"]["path"].as_array().unwrap();
    path.iter()
        .map(|point| {
            let way = if point["inbound"] == true { "in" } else { "out" };
            let text = |name: &str| point["tunnel"][name].as_str().unwrap_or_default().to_owned();
            let device = point["device"].as_str().unwrap();
            format!("{device} {way} {} {}>{}", text("protocol"), text("source"), text("destination"))
        })
        .collect()
}

fn is_one_connection_on_both_nodes(test: &str, carrier: &Carrier) {
    let Some(nodes) = nodes(test, carrier) else { return };
    let port = call(&nodes, carrier.pods[1]);
    let [first, second] = nodes.weir.each_ref().map(|weir| {
        weir.call("the end", port, |flow| flow["weir"]["state"] == "CONNECTION_STATE_CLOSED").unwrap()
    });
    let around = format!("{} {}>{}", carrier.name, NODES[0], NODES[1]);
    assert_eq!(passed(&first), ["pod in  >", "tunl0 out  >", &format!("eth0 out {around}")], "{first:#}");
    assert_eq!(passed(&second), [&format!("eth0 in {around}"), "tunl0 in  >", "pod out  >"], "{second:#}");
    assert_eq!(first["weir"]["join_key"], second["weir"]["join_key"]);
    for flow in [&first, &second] {
        let payload =
            ["forward", "reverse"].map(|way| number(&flow["weir"]["total"][format!("payload_bytes_{way}")]));
        // Socat is slow, so that something may be sent again; counted twice it would be all.
        assert!((700..1400).contains(&payload[0]) && (3000..6000).contains(&payload[1]), "{flow:#}");
        assert_eq!(flow["IP"]["destination"], carrier.pods[1].to_string());
    }
}

#[test]
fn a_call_through_ipip_is_one_connection_with_its_tunnel_told() {
    let test = "a_call_through_ipip_is_one_connection_with_its_tunnel_told";
    is_one_connection_on_both_nodes(test, &nodes::IPIP);
}

#[test]
fn a_call_through_gre_is_one_connection_with_its_tunnel_told() {
    let test = "a_call_through_gre_is_one_connection_with_its_tunnel_told";
    is_one_connection_on_both_nodes(test, &nodes::GRE);
}

#[test]
fn a_call_through_sit_is_one_connection_with_its_tunnel_told() {
    let test = "a_call_through_sit_is_one_connection_with_its_tunnel_told";
    is_one_connection_on_both_nodes(test, &nodes::SIT);
}

#[test]
fn an_sctp_association_through_a_service_is_one_connection() {
    let Some(nodes) = nodes("an_sctp_association_through_a_service_is_one_connection", &nodes::IPIP) else {
        return;
    };
    let vip = "10.96.0.1".parse().unwrap();
    nodes.nodes[0]
        .run(&format!(
            "iptables -t nat -A PREROUTING -d {vip} -p sctp --dport 3868 -j DNAT --to-destination {}:3869",
            nodes::IPIP.pods[1]
        ))
        .unwrap();
    let port = 40_123;
    sctp::associate(&nodes.pods[0], (vip, 3868), port, &nodes.pods[1], 3869).unwrap();
    let flow = nodes.weir[0]
        .call("the association", port, |flow| number(&flow["weir"]["total"]["packets_forward"]) == 4)
        .unwrap();
    assert_eq!(
        (number(&flow["l4"]["SCTP"]["source_port"]), number(&flow["l4"]["SCTP"]["destination_port"])),
        (u64::from(port), 3869)
    );
    assert_eq!(
        (&flow["weir"]["nat"]["vip"], &flow["weir"]["nat"]["source"]),
        (&vip.to_string().into(), &"NAT_SOURCE_CONNTRACK".into()),
        "{flow:#}"
    );
    assert_eq!(number(&flow["weir"]["total"]["packets_reverse"]), 3, "{flow:#}");
    assert_eq!(flow["verdict"], "FORWARDED", "{flow:#}");
}
