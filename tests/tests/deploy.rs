//! `deploy/weir.yaml` against the programs it starts: its flags are theirs, its rights are what the watch asks for, its
//! ports are the defaults. Parsed strictly: a field that is not known here is an error, as is one misspelt.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

#[path = "deploy/kubernetes.rs"]
mod kubernetes;

use std::collections::{BTreeMap, BTreeSet};

use clap::{ArgMatches, Command, CommandFactory, FromArgMatches, Parser};
use kubernetes::{Container, Document, PodTemplate, Service, Subject};
use weir_cluster::watch::{VERBS, with_substitutes};
use weir_proto::settings::{self, Program};

fn documents() -> Vec<Document> {
    let path = weir_tests::root().join("deploy/weir.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn templates() -> BTreeMap<String, PodTemplate> {
    let template = |document| match document {
        Document::DaemonSet { metadata, spec, .. } => Some((metadata.name, spec.template)),
        Document::Deployment { metadata, spec, .. } => Some((metadata.name, spec.template)),
        _ => None,
    };
    documents().into_iter().filter_map(template).collect()
}

fn container(of: &str) -> Container {
    let mut containers = templates().remove(of).unwrap().spec.containers;
    assert_eq!(containers.len(), 1);
    containers.remove(0)
}

/// Seconds between SIGTERM and SIGKILL.
fn grace(of: &str) -> u64 {
    templates()[of].spec.termination_grace_period_seconds.into()
}

fn services() -> BTreeMap<String, Service> {
    let service = |document| match document {
        Document::Service { metadata, spec, .. } => Some((metadata.name, spec)),
        _ => None,
    };
    documents().into_iter().filter_map(service).collect()
}

/// What the program makes of its arguments, with the ConfigMap's files where they are mounted.
fn parsed(container: &Container, command: Command, program: Program) -> ArgMatches {
    let folder = tempfile::tempdir().unwrap();
    for document in documents() {
        let Document::ConfigMap { data, metadata, .. } = document else { continue };
        assert_eq!(metadata.name, "weir");
        for (name, text) in data {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
    }
    let mount = container.volume_mounts.iter().find(|mount| mount.name == "config").unwrap();
    assert!(mount.read_only);
    let here = folder.path().to_str().unwrap();
    let typed = container.command.iter().chain(&container.args);
    let typed = typed.map(|arg| arg.replace(&mount.mount_path, here).into());
    settings::parse(command, program, typed).unwrap()
}

/// The names of all environment variables that a program or one of its commands reads.
fn variables(command: &Command) -> BTreeSet<String> {
    let own = command.get_arguments().filter_map(|argument| argument.get_env());
    let mut names: BTreeSet<_> = own.map(|name| name.to_string_lossy().into_owned()).collect();
    names.extend(command.get_subcommands().flat_map(variables));
    names
}

#[test]
fn the_rights_are_what_the_watch_asks_for_and_no_more() {
    let mut granted = BTreeSet::new();
    for document in documents() {
        let Document::ClusterRole { rules, metadata, .. } = document else { continue };
        assert_eq!(metadata.name, "weir-daemon");
        for rule in rules {
            assert_eq!(rule.verbs, VERBS);
            for group in &rule.api_groups {
                granted.extend(rule.resources.iter().map(|resource| (group.clone(), resource.clone())));
            }
        }
    }
    let asked = with_substitutes().map(|kind| (kind.group.to_owned(), kind.plural.to_owned())).collect();
    assert_eq!(granted, asked);
}

#[test]
fn the_rights_are_the_daemons_alone() {
    for document in documents() {
        if let Document::ClusterRoleBinding { role_ref, subjects, .. } = document {
            assert_eq!((role_ref.kind.as_str(), role_ref.name.as_str()), ("ClusterRole", "weir-daemon"));
            let daemon = Subject {
                kind: "ServiceAccount".into(),
                name: "weir-daemon".into(),
                namespace: "weir".into(),
            };
            assert_eq!(subjects, [daemon]);
        }
    }
    let accounts: Vec<_> = templates().into_values().map(|it| it.spec.service_account_name).collect();
    assert_eq!(accounts, ["weir-daemon", "weir-relay"]);
}

#[test]
fn the_daemons_flags_and_variables_are_the_programs() {
    let daemon = container("weir-daemon");
    let matches = parsed(&daemon, weir_daemon::config::Cli::command(), settings::DAEMON);
    let cli = weir_daemon::config::Cli::from_arg_matches(&matches).unwrap();
    let weir_daemon::config::Command::Run(run) = cli.command else { panic!("not run") };
    assert!(run.kubernetes.kubernetes && run.serve.insecure);
    assert_eq!(run.serve.listen.unwrap().port(), 4244);
    assert!(run.serve.stop_deadline_s < grace("weir-daemon"));
    let known = variables(&settings::configured(weir_daemon::config::Cli::command(), settings::DAEMON));
    for variable in &daemon.env {
        assert!(known.contains(&variable.name), "{} is read by nobody", variable.name);
    }
    let node = daemon.env.iter().find(|variable| variable.name == "WEIR_DAEMON_NODE").unwrap();
    assert_eq!(node.value_from.field_ref.field_path, "spec.nodeName");
}

#[test]
fn the_relays_flags_and_variables_are_the_programs() {
    let relay = container("weir-relay");
    let matches = parsed(&relay, weir_relay::config::Args::command(), settings::RELAY);
    let args = weir_relay::config::Args::from_arg_matches(&matches).unwrap();
    assert!(args.stop_deadline < grace("weir-relay"));
    assert_eq!(args.peer_dns, ["weir-daemon.weir.svc:4244"]);
    assert!(args.check().is_ok());
    let default = weir_relay::config::Args::try_parse_from(["weir-relay"]).unwrap().listen;
    assert_eq!(default.rsplit(':').next(), Some("4245"));
    assert!(relay.env.is_empty());
}

#[test]
fn ports_and_probes_fit_together() {
    for (name, port) in [("weir-daemon", 4244), ("weir-relay", 4245)] {
        let container = container(name);
        let ports: Vec<_> = container.ports.iter().map(|it| (it.name.as_str(), it.container_port)).collect();
        assert_eq!(ports, [("grpc", port)]);
        for probe in [&container.liveness_probe, &container.readiness_probe] {
            assert_eq!(probe.grpc.port, port);
        }
    }
    let asked = |name: &str| {
        let container = container(name);
        (container.liveness_probe.grpc.service, container.readiness_probe.grpc.service)
    };
    let (live, ready) = asked("weir-daemon");
    assert_eq!((live.as_str(), ready.as_str()), (weir_daemon::serve::LIVE, weir_daemon::serve::READY));
    let (live, ready) = asked("weir-relay");
    assert_eq!((live.as_str(), ready.as_str()), (weir_relay::serve::LIVE, weir_relay::serve::READY));
    let services = services();
    let daemon = &services["weir-daemon"];
    assert_eq!((daemon.cluster_ip.as_deref(), daemon.publish_not_ready_addresses), (Some("None"), true));
    assert_eq!(daemon.ports[0].port, 4244);
    assert_eq!(services["weir-relay"].ports[0].port, 80);
    let templates = templates();
    for (name, service) in &services {
        assert_eq!(service.selector, templates[name].metadata.labels, "{name} selects its pods");
        assert_eq!(service.ports[0].target_port, "grpc");
    }
}

#[test]
fn the_pods_may_do_no_more_than_they_must() {
    for (name, template) in templates() {
        let container = container(&name);
        let security = &container.security_context;
        assert!(!security.privileged && !security.allow_privilege_escalation, "{name}");
        assert!(security.read_only_root_filesystem, "{name}");
        assert_eq!(security.capabilities.drop, ["ALL"], "{name}");
        assert_eq!(security.seccomp_profile.kind, "RuntimeDefault", "{name}");
        let (added, host): (&[&str], _) = if name == "weir-daemon" {
            (&["NET_RAW", "NET_ADMIN", "BPF", "PERFMON"], true)
        } else {
            (&[], false)
        };
        assert_eq!(security.capabilities.add, added, "{name}");
        assert_eq!(template.spec.host_network, host, "{name}");
        assert_eq!(security.run_as_non_root, !host, "{name}");
        let volumes: BTreeSet<_> = template.spec.volumes.iter().map(|volume| &volume.name).collect();
        let mounts: BTreeSet<_> = container.volume_mounts.iter().map(|mount| &mount.name).collect();
        assert_eq!(volumes, mounts, "{name}");
    }
    let spec = templates().remove("weir-daemon").unwrap().spec;
    let everywhere: Vec<_> = spec.tolerations.iter().map(|toleration| toleration.operator.as_str()).collect();
    assert_eq!(everywhere, ["Exists"]);
}

#[test]
fn everything_is_in_weirs_namespace() {
    for document in documents() {
        let metadata = document.metadata();
        let cluster_wide = matches!(
            document,
            Document::Namespace { .. } | Document::ClusterRole { .. } | Document::ClusterRoleBinding { .. }
        );
        let namespace = metadata.namespace.as_deref();
        assert_eq!(namespace, (!cluster_wide).then_some("weir"), "{}", metadata.name);
    }
}
