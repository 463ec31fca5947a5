//! What is said where capabilities are missing.

use std::sync::mpsc::sync_channel;

use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use weir_daemon::capture::{live, sink};
use weir_daemon::{conntrack, nflog};

use crate::namespace::{World, may_run};

#[test]
fn a_missing_capability_is_named_with_the_way_to_get_it() {
    if !may_run("a_missing_capability_is_named_with_the_way_to_get_it") {
        return;
    }
    let world = World::new();
    let sentences = world.node.enter(|| {
        let none = CapabilitySet::empty();
        // Of this thread alone, which ends with the closure.
        set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
            .unwrap();
        let (sender, _inputs) = sync_channel(8);
        let queue = || sink(sender.clone());
        let groups = nflog::Settings { groups: vec![11], ..nflog::Settings::default() };
        [
            live::start(live::Settings::default(), queue()).unwrap_err().to_string(),
            conntrack::start(conntrack::Settings::default(), queue()).unwrap_err().to_string(),
            nflog::start(&groups, queue()).unwrap_err().to_string(),
        ]
    });
    for (sentence, capability) in sentences.iter().zip(["CAP_NET_RAW", "CAP_NET_ADMIN", "CAP_NET_ADMIN"]) {
        assert!(sentence.contains("no permission"), "{sentence}");
        assert!(sentence.contains(capability) && sentence.contains("setcap"), "{sentence}");
        assert!(!sentence.contains('\n'), "{sentence}");
    }
    assert!(sentences[0].contains("veth-pod"), "{}", sentences[0]);
}

#[cfg(feature = "ebpf")]
#[test]
fn every_capability_that_programs_need_is_named() {
    use rustix::thread::CapabilitySet;
    use weir_daemon::capture::ebpf;

    if !may_run("every_capability_that_programs_need_is_named") {
        return;
    }
    let world = World::new();
    let with = |held: CapabilitySet| {
        world.node.enter(|| {
            set_capabilities(None, CapabilitySets { effective: held, permitted: held, inheritable: held })
                .unwrap();
            let (sender, _inputs) = sync_channel(8);
            ebpf::start(&ebpf::Settings::default(), sink(sender)).map(drop).map_err(|error| error.to_string())
        })
    };
    let none = with(CapabilitySet::empty()).unwrap_err();
    assert!(none.contains("CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON are missing"), "{none}");
    let some = with(CapabilitySet::BPF | CapabilitySet::PERFMON).unwrap_err();
    assert!(some.contains("CAP_NET_ADMIN is missing") && !some.contains("CAP_BPF"), "{some}");
    assert!(!none.contains('\n') && none.contains("setcap"), "{none}");
    assert_eq!(with(CapabilitySet::BPF | CapabilitySet::PERFMON | CapabilitySet::NET_ADMIN), Ok(()));
}
