//! Policies that a kernel enforces, and what weir says of every call between all pods: what it observes, what it evaluates, and
//! where the two disagree once the kernel's rules are no longer the policies'.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod rules;
mod world;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use weir_tests::{DEADLINE, is_root, skip_unless, wait_for};

use world::{Call, PORTS, World, counted, disagreements, evaluated};

/// Connections that have nothing to do with what is changed.
const OTHERS: u16 = 1000;
/// Longer than weir waits before it calls something a disagreement.
const LATER: Duration = Duration::from_secs(20);

/// What weir observed of a call; none where it cannot say yet.
fn observed(flow: &Value) -> Option<bool> {
    match flow["verdict"].as_str()? {
        "FORWARDED" => Some(true),
        "DROPPED" => Some(false),
        _ => None,
    }
}

/// The records of these calls, once something was observed of each.
fn records(world: &World, calls: &[Call]) -> BTreeMap<u16, Value> {
    let mut last = BTreeMap::new();
    let all = wait_for("a record of every call", DEADLINE, || {
        last = world.told().ok()?;
        calls
            .iter()
            .all(|call| last.get(&call.own).is_some_and(|flow| observed(flow).is_some()))
            .then_some(())
    });
    let missing = |call: &&Call| last.get(&call.own).and_then(observed).is_none();
    let missing: Vec<_> = calls.iter().filter(missing).map(|call| (call, last.get(&call.own))).collect();
    assert!(all.is_ok(), "{missing:#?}");
    last
}

#[test]
fn what_is_observed_is_what_is_evaluated_until_the_kernels_rules_change() {
    let test = "what_is_observed_is_what_is_evaluated_until_the_kernels_rules_change";
    let root = is_root().then_some(());
    let Some(()) = skip_unless(test, root, "network namespaces need root") else { return };
    let world = World::new().unwrap();
    every_pair_agrees(&world);
    let (removed, added) = (a_rule_is_removed(&world), a_rule_is_added(&world));
    others_have_nothing_to_tell(&world);
    only_these_disagree(&world, &[removed, added]);
}

#[test]
fn a_node_on_which_nothing_enforces_policies_says_so() {
    let test = "a_node_on_which_nothing_enforces_policies_says_so";
    let root = is_root().then_some(());
    let Some(()) = skip_unless(test, root, "network namespaces need root") else { return };
    let world = World::new().unwrap();
    world.nft("flush ruleset").unwrap();
    let (from, to) = (world.pod("lab/probe").unwrap(), world.pod("shop/db").unwrap());
    for own in 22_000..22_005 {
        assert!(world.call(from, to, 9090, own).unwrap().connected, "nothing stops it");
    }
    let said = wait_for("the sentence that nothing enforces policies", LATER, || {
        let status = world.weir.status().ok()?;
        let notices = status["weir"]["notices"].as_array()?.clone();
        notices.iter().filter_map(Value::as_str).find(|it| it.contains("enforces")).map(str::to_owned)
    });
    let expected =
        ["nothing on this node enforces NetworkPolicy", " 5 were delivered, and none was seen stopped"];
    let is_said = said.as_ref().is_ok_and(|said| expected.iter().all(|part| said.contains(part)));
    assert!(is_said, "{said:?}: {:#}", world.weir.status().unwrap());
}

/// The calls, the packets and the policies say the same of every pair.
fn every_pair_agrees(world: &World) {
    let calls = world.call_all().unwrap();
    let told = records(world, &calls);
    let (mut passed, mut stopped) = (0, 0);
    for call in &calls {
        let flow = &told[&call.own];
        let pair =
            format!("{} to {} on {}", world.pods[call.from].path(), world.pods[call.to].path(), call.port);
        assert_eq!(observed(flow), Some(call.connected), "{pair}: observed; {flow:#}");
        assert_eq!(evaluated(flow), Some(call.connected), "{pair}: evaluated; {flow:#}");
        *if call.connected { &mut passed } else { &mut stopped } += 1;
    }
    verdicts_name_the_policies(world, &told);
    assert_eq!(calls.len(), world.pods.len() * (world.pods.len() - 1) * PORTS.len());
    assert!(
        passed >= 15 && stopped >= 15,
        "a world in which policies matter: {passed} pass, {stopped} do not"
    );
}

/// Each direction that policies decide has a verdict of its own, with the policies that allow or deny it.
fn verdicts_name_the_policies(world: &World, told: &BTreeMap<u16, Value>) {
    let verdicts = world.verdicts().unwrap();
    for (port, flow) in told {
        for judgement in flow["weir"]["policies"].as_array().unwrap() {
            let (verdict, side) = match judgement["ruling"].as_str().unwrap() {
                "POLICY_RULING_ALLOWED" => ("FORWARDED", "allowed_by"),
                "POLICY_RULING_DENIED" => ("DROPPED", "denied_by"),
                _ => continue,
            };
            let direction = judgement["direction"].as_str().unwrap().replace("POLICY_DIRECTION_", "");
            let field = format!("{}_{side}", direction.to_lowercase());
            let of_this = |flow: &&Value| flow["traffic_direction"] == *direction;
            let last = verdicts.get(port).and_then(|all| all.iter().rfind(of_this));
            assert!(last.is_some(), "no verdict of {direction}: {flow:#}");
            let last = last.unwrap();
            let names = |list: &Value| -> Vec<String> {
                let names = list.as_array().into_iter().flatten();
                names.map(|it| it["name"].as_str().unwrap().to_owned()).collect()
            };
            assert_eq!(last["verdict"], verdict, "{last:#}");
            assert_eq!(names(&last[&field]), names(&judgement["opinions"]), "{last:#}");
        }
    }
}

/// Denied by policies, and from now on not stopped.
fn a_rule_is_removed(world: &World) -> u16 {
    let (from, to) = (world.pod("lab/probe").unwrap(), world.pod("shop/api").unwrap());
    world.stop_enforcing(to, "ingress").unwrap();
    let call = world.call(from, to, 8080, 21_000).unwrap();
    assert!(call.connected, "the rule is gone");
    call.own
}

/// Allowed by policies, and from now on stopped.
fn a_rule_is_added(world: &World) -> u16 {
    let (from, to) = (world.pod("shop/web").unwrap(), world.pod("shop/db").unwrap());
    let addresses = [from, to].map(|pod| world.pods[pod].address.clone());
    let [source, destination] = addresses;
    let rule = format!("insert rule ip policies forward ip saddr {source} ip daddr {destination} drop");
    world.nft(&rule).unwrap();
    let call = world.call(from, to, 8080, 21_001).unwrap();
    assert!(!call.connected, "the rule is there");
    call.own
}

/// Calls of the same minute that policies and kernel agree about.
fn others_have_nothing_to_tell(world: &World) {
    let (from, to) = (world.pod("shop/web").unwrap(), world.pod("shop/api").unwrap());
    for own in 30_000..30_000 + OTHERS {
        assert!(world.call(from, to, 8080, own).unwrap().connected);
    }
}

fn only_these_disagree(world: &World, calls: &[u16; 2]) {
    let expected = ["POLICY_CONFLICT_DENIED_BUT_DELIVERED", "POLICY_CONFLICT_ALLOWED_BUT_DROPPED"];
    let mut last = BTreeMap::new();
    let come = wait_for("both disagreements", LATER, || {
        last = world.told().ok()?;
        calls
            .iter()
            .all(|call| last.get(call).is_some_and(|flow| !disagreements(flow).is_empty()))
            .then_some(())
    });
    let of_both = calls.map(|call| last.get(&call));
    assert!(come.is_ok(), "{of_both:#?}");
    for (call, conflict) in calls.iter().zip(expected) {
        assert_eq!(disagreements(&last[call]), [conflict], "{:#}", last[call]);
    }
    let others = 30_000..30_000 + OTHERS;
    assert_eq!(last.keys().filter(|port| others.contains(port)).count(), usize::from(OTHERS));
    // Until every one of the others had its time, none of them may turn out to disagree.
    let seconds = Duration::from_secs(7);
    let more = wait_for("another disagreement", seconds, || {
        (counted(&world.weir.status().ok()?) > calls.len() as u64).then_some(())
    });
    assert!(more.is_err(), "{:#}", world.weir.status().unwrap());
    let told = world.told().unwrap();
    let disagree: Vec<_> = told.iter().filter(|(_, flow)| !disagreements(flow).is_empty()).collect();
    assert_eq!(disagree.len(), calls.len(), "{disagree:#?}");
    let policy = &world.weir.status().unwrap()["weir"]["policy"];
    assert_eq!(policy["policies"], "5", "{policy}");
    assert!(
        !world.weir.status().unwrap()["weir"]["notices"].to_string().contains("enforces"),
        "rules do enforce"
    );
}
