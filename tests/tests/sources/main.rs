//! Where eBPF cannot be had: what is missing and how to get it is said in one sentence, and a daemon that may choose takes
//! libpcap and goes on.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

#[path = "../../../daemon/ebpf/compile.rs"]
mod compile;

use std::path::{Path, PathBuf};
use std::process::Command;

use weir_tests::node::number;
use weir_tests::pods::{DEVICES, Pods};
use weir_tests::{DEADLINE, Ended, Running, answering, ask, finish, is_root, program, skip_unless, wait_for};

struct World {
    pods: Pods,
    folder: tempfile::TempDir,
}

/// Two pods, or the line that says why there are none.
fn world(test: &str) -> Option<World> {
    skip_unless(test, is_root().then_some(()), "network namespaces need root")?;
    let world = World { pods: Pods::new().unwrap(), folder: tempfile::tempdir().unwrap() };
    Pods::write_cluster(world.folder.path()).unwrap();
    Some(world)
}

impl World {
    fn socket(&self) -> PathBuf {
        self.folder.path().join("node.sock")
    }

    /// A daemon with these flags, run by way of `before`, words that end where a program's name is expected.
    fn daemon(&self, before: &[&str], flags: &[&str]) -> Command {
        let mut words = before.iter();
        let mut command = self.pods.node.command(words.next().unwrap());
        command.args(words).arg(program("weir-daemon").unwrap());
        command.args(["run", "--node", "n1", "--cluster-file"]).arg(self.folder.path().join("cluster.yaml"));
        command.arg("--unix").arg(self.socket()).args(flags);
        command
    }

    /// It does not start, and says why in one line.
    fn refused(&self, before: &[&str], flags: &[&str]) -> String {
        let Ended { code, err, .. } = finish(&mut self.daemon(before, flags)).unwrap();
        assert_eq!(code, Some(1), "{err}");
        let last = err.lines().last().unwrap_or_default().to_owned();
        assert!(err.lines().filter(|line| line.contains("ebpf")).count() <= 1, "said once: {err}");
        last
    }

    /// It starts and captures by libpcap; gives why not by eBPF.
    fn by_pcap(&self, before: &[&str], flags: &[&str]) -> String {
        let log = self.folder.path().join("node.log");
        let _daemon = Running::logging(&mut self.daemon(before, flags), &log).unwrap();
        answering(&self.socket()).unwrap();
        let source = wait_for("both devices to be captured", DEADLINE, || {
            let status = ask(&self.socket(), &["status"]).ok()?.into_iter().next()?;
            let source = status["weir"]["source"].clone();
            (number(&source["devices"]) >= DEVICES.len() as u64).then_some(source)
        })
        .unwrap();
        assert_eq!(source["kind"], "SOURCE_KIND_PCAP", "{source}");
        source["why"].as_str().unwrap_or_default().to_owned()
    }
}

fn assert_sentence(sentence: &str, parts: &[&str]) {
    assert!(!sentence.is_empty() && !sentence.contains('\n'), "one sentence: {sentence:?}");
    for part in parts {
        assert!(sentence.contains(part), "{part:?} is not in {sentence:?}");
    }
}

#[test]
fn a_dropped_capability_is_named_with_the_way_to_get_it() {
    let Some(world) = world("a_dropped_capability_is_named_with_the_way_to_get_it") else { return };
    for (capability, named) in [("cap_bpf,cap_sys_admin", "CAP_BPF"), ("cap_net_admin", "CAP_NET_ADMIN")] {
        let drop = format!("--drop={capability}");
        let before = ["capsh", &drop, "--shell=/usr/bin/env", "--"];
        let sentence = world.refused(&before, &["--source", "ebpf"]);
        assert_sentence(&sentence, &[named, "securityContext.capabilities"]);
        let why = world.by_pcap(&before, &["--source", "auto"]);
        assert_sentence(&why, &[named]);
    }
}

#[test]
fn hidden_types_of_the_kernel_are_named_with_what_it_lacks() {
    let Some(world) = world("hidden_types_of_the_kernel_are_named_with_what_it_lacks") else { return };
    let hidden = "mount --bind /dev/null /sys/kernel/btf/vmlinux && exec \"$@\"";
    let before = ["unshare", "--mount", "sh", "-c", hidden, "sh"];
    let sentence = world.refused(&before, &["--source", "ebpf"]);
    assert_sentence(&sentence, &["/sys/kernel/btf/vmlinux", "CONFIG_DEBUG_INFO_BTF"]);
    let why = world.by_pcap(&before, &["--source", "auto"]);
    assert_sentence(&why, &["/sys/kernel/btf/vmlinux", "CONFIG_DEBUG_INFO_BTF"]);
}

#[test]
fn a_program_that_the_verifier_refuses_is_told_with_its_last_word() {
    let Some(world) = world("a_program_that_the_verifier_refuses_is_told_with_its_last_word") else { return };
    let object = refused_object(world.folder.path());
    let flags = ["--ebpf-object", object.to_str().unwrap()];
    let sentence = world.refused(&["env"], &[&["--source", "ebpf"][..], &flags].concat());
    assert_sentence(&sentence, &["verifier", "--source pcap"]);
    let why = world.by_pcap(&["env"], &[&["--source", "auto"][..], &flags].concat());
    assert_sentence(&why, &["verifier"]);
}

/// The daemon's own programs, but for one that reads where nothing may be read.
fn refused_object(folder: &Path) -> PathBuf {
    let (source, object) = (folder.join("refused.bpf.c"), folder.join("refused.bpf.o"));
    let programs = weir_tests::root().join("daemon/ebpf/tcx.bpf.c").canonicalize().unwrap();
    let text = format!(
        "#define weir_in weir_in_as_it_is\n#include \"{}\"\n#undef weir_in\nSEC(\"classifier\")\n\
         int weir_in(struct __sk_buff *skb)\n{{\n\treturn *(volatile int *)(unsigned long)skb->mark;\n}}\n",
        programs.display()
    );
    std::fs::write(&source, text).unwrap();
    compile::compile(compile::find_clang().unwrap(), &source, &object).unwrap();
    object
}
