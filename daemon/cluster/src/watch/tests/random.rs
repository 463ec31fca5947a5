//! Random changes and faults after each other: after each round the cluster is as the server.

use super::*;

/// Numbers that depend on the seed alone.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

const FAULTS: [Fault; 11] = [
    Fault::Status(500, "InternalError"),
    Fault::Status(410, "Expired"),
    Fault::Cut,
    Fault::EndsAtOnce,
    Fault::CutInEvent,
    Fault::ErrorEvent(410, "Expired"),
    Fault::ErrorEvent(500, "InternalError"),
    Fault::Slow,
    Fault::PageGone,
    Fault::Garbage,
    Fault::GarbageEvent,
];

fn change(draw: &mut Draw, server: &Server) {
    let number = draw.below(9);
    let name = format!("web-{number}");
    match draw.below(6) {
        0 => server.delete("pods", "shop", &name),
        1 => server.put("jobs", bare("shop", &name)),
        2 => server.delete("jobs", "shop", &name),
        _ => server.put("pods", pod(&name, &format!("10.244.{}.{number}", draw.below(200)))),
    }
}

#[tokio::test]
async fn after_any_faults_the_cluster_is_as_the_server() {
    for seed in 0..4 {
        let mut draw = Draw(seed);
        let mut watching = Watching::start(shop().await).await;
        for round in 0..25 {
            for _ in 0..draw.below(3) {
                let fault = FAULTS[usize::try_from(draw.below(11)).unwrap()];
                watching.server.fault(if draw.below(4) == 0 { "jobs" } else { "pods" }, fault);
            }
            for _ in 0..draw.below(8) {
                change(&mut draw, &watching.server);
            }
            match draw.below(6) {
                0 => watching.server.cut_connections(),
                1 => watching.server.compact(),
                2 => watching.server.bookmark("pods"),
                _ => {}
            }
            change(&mut draw, &watching.server);
            println!("seed {seed}, round {round}");
            watching.until_equal().await;
        }
        let asked = watching.server.asked("pods");
        assert!(asked.all() < 600, "{asked:?}");
    }
}
