//! What the policies say of the opened connection now: when that is asked, and what came of it.
//!
//! A record tells what they said when the connection began, of the directions that its nodes judge: a call that was stopped
//! before it came to the server's node has no judgement of the server. So the server is asked, once for each connection
//! that is opened and failed, was denied, or contradicts what policies say of it.

use std::sync::Arc;

use weir_proto::flow::layer4::Protocol;
use weir_proto::weir::v1::{Connection, ExplainPolicyRequest, ExplainPolicyResponse, PolicyRuling};

use super::connections::failed;
use super::{Effect, Link, Model};

/// How far the question is.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Asked {
    /// It was not asked.
    #[default]
    No,
    /// It was, and nothing came yet.
    Waiting,
    /// The answer.
    Answered(Box<ExplainPolicyResponse>),
    /// There is none, and why.
    Failed(String),
}

impl Model {
    /// The question about the opened connection, once.
    pub(super) fn question(&mut self) -> Option<Effect> {
        let is_up = self.link == Link::Up;
        let opened = self.opened.as_mut().filter(|opened| is_up && opened.asked == Asked::No)?;
        let request = request(&opened.connection)?;
        opened.asked = Asked::Waiting;
        Some(Effect::Explain(opened.row.id.clone(), request))
    }

    /// The answer, if that connection is still the opened one.
    pub(super) fn explained(&mut self, id: &Arc<str>, answer: Result<ExplainPolicyResponse, String>) {
        if let Some(opened) = self.opened.as_mut().filter(|opened| opened.row.id == *id) {
            opened.asked = match answer {
                Ok(answer) => Asked::Answered(Box::new(answer)),
                Err(why) => Asked::Failed(why),
            };
        }
    }
}

/// Between the true ends; nothing where there is nothing to ask.
fn request(connection: &Connection) -> Option<ExplainPolicyRequest> {
    let flow = connection.flow.as_ref()?;
    let detail = flow.weir.as_ref()?;
    let is_denied = detail.policies.iter().any(|one| one.ruling() == PolicyRuling::Denied);
    if !is_denied && detail.disagreements.is_empty() && !failed(flow) {
        return None;
    }
    let (protocol, port) = match flow.l4.as_ref()?.protocol.as_ref()? {
        Protocol::Tcp(tcp) => ("tcp", tcp.destination_port),
        Protocol::Udp(udp) => ("udp", udp.destination_port),
        Protocol::Sctp(sctp) => ("sctp", sctp.destination_port),
        _ => return None,
    };
    let ip = flow.ip.as_ref()?;
    Some(ExplainPolicyRequest {
        source: ip.source.clone(),
        destination: ip.destination.clone(),
        port,
        protocol: protocol.to_owned(),
    })
}
