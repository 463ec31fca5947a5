//! `weir policy explain`: what was typed -> a question about two ends; and how its answer becomes an exit code.
//!
//! The names of ends are checked by who knows the cluster; what can be wrong without it is refused here.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, Command};
use weir_proto::weir::v1::{ExplainPolicyRequest, ExplainPolicyResponse};

use crate::print::all_pass;

/// Exit code where the connection does not pass.
const DENIED: u8 = 1;
/// Exit code where nobody can say: undecidable, or an error.
pub const UNKNOWN: u8 = 2;

const ENDS: &str = "\
FROM and TO are an address, NAMESPACE/NAME of a pod or of a workload (any of its pods), or, as TO, of a Service; without
a namespace: default. PORT is the Service's where TO is a Service, else the pod's; without it, each port that TO is
known to have.

Exit code: 0 where all of it passes, 1 where something does not, 2 where nobody can say, or on an error.

  weir policy explain shop/web shop/api 8080
  weir policy explain 10.244.1.5 192.0.2.9 443
  weir policy explain shop/web kube-system/kube-dns 53 --protocol udp";

/// The command with what is below it.
#[must_use]
pub fn command() -> Command {
    Command::new("policy")
        .about("Says what the NetworkPolicies say")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(explain())
}

fn explain() -> Command {
    let end = |name: &'static str, help| Arg::new(name).required(true).value_name(name).help(help);
    let words = |name: &'static str, values: &'static [&'static str], help| {
        let parser = PossibleValuesParser::new(values);
        Arg::new(name).long(name).value_parser(parser).default_value(values[0]).help(help)
    };
    Command::new("explain")
        .about("Says whether one end may call another by the policies as they are now, and why")
        .arg(end("FROM", "Who calls: an address, or NAMESPACE/NAME of a pod or a workload"))
        .arg(end("TO", "Who is called: the same, or a Service"))
        .arg(
            Arg::new("PORT")
                .value_parser(clap::value_parser!(u32).range(1..=65535))
                .help("The port that is called; without it each port that TO is known to have"),
        )
        .arg(words("protocol", &["tcp", "udp", "sctp"], "The transport protocol"))
        .arg(words("output", &["text", "json"], "How to print").short('o'))
        .after_help(ENDS)
}

/// The question that was typed.
#[must_use]
pub fn request(matches: &ArgMatches) -> ExplainPolicyRequest {
    let text = |name: &str| matches.get_one::<String>(name).cloned().unwrap_or_default();
    ExplainPolicyRequest {
        source: text("FROM"),
        destination: text("TO"),
        port: matches.get_one::<u32>("PORT").copied().unwrap_or_default(),
        protocol: text("protocol"),
    }
}

/// What a script goes by.
#[must_use]
pub fn exit_code(response: &ExplainPolicyResponse) -> u8 {
    match all_pass(response) {
        Some(true) => 0,
        Some(false) => DENIED,
        None => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &str) -> Result<ExplainPolicyRequest, String> {
        let typed = command().try_get_matches_from(words.split(' ')).map_err(|error| error.to_string())?;
        typed.subcommand_matches("explain").map(request).ok_or_else(|| "no explain".to_owned())
    }

    #[test]
    fn what_was_typed_is_asked() {
        let asked = read("policy explain shop/web 10.0.0.7 53 --protocol udp").unwrap();
        assert_eq!((asked.source.as_str(), asked.destination.as_str()), ("shop/web", "10.0.0.7"));
        assert_eq!((asked.port, asked.protocol.as_str()), (53, "udp"));
        let every = read("policy explain web api").unwrap();
        assert_eq!((every.port, every.protocol.as_str()), (0, "tcp"));
    }

    #[test]
    fn what_can_be_no_question_is_refused() {
        for words in ["policy", "policy explain shop/web", "policy explain a b 0", "policy explain a b 65536"]
        {
            assert!(read(words).is_err(), "{words}");
        }
        assert!(read("policy explain a b 1 --protocol icmp").unwrap_err().contains("tcp, udp, sctp"));
    }
}
