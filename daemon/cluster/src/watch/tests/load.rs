//! What a large cluster costs: 100,000 pods, and 100 changes of pods each second.
//!
//! `cargo test -p weir-cluster --features sources --lib watch::tests::load -- --ignored --nocapture measure`
//!
//! The server is a process of its own, so that the figures are the watch's and the cluster's alone.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::*;

const PODS: u32 = 100_000;
const SECONDS: u32 = 20;
const PER_SECOND: u32 = 100;
const STARTED: &str = "listening on ";

fn large_pod(number: u32, generation: u32) -> Value {
    let [_, b, c, d] = (number + 1).to_be_bytes();
    let mut pod = pod(&format!("web-7d4b9c6f5d-{number:06}"), &format!("10.{b}.{c}.{d}"));
    pod["metadata"]["namespace"] = format!("team-{}", number % 50).into();
    pod["metadata"]["labels"] = json!({
        "app.kubernetes.io/name": format!("app-{}", number % 500), "app.kubernetes.io/part-of": "shop",
        "pod-template-hash": "7d4b9c6f5d", "team": format!("team-{}", number % 50),
    });
    pod["metadata"]["annotations"] = json!({ "generation": generation.to_string() });
    // As much as a usual pod has that weir does not look at.
    let filling = "x".repeat(3_000);
    pod["spec"]["containers"][0]["env"] = json!([{ "name": "FILLING", "value": filling }]);
    pod["status"]["phase"] = if generation.is_multiple_of(2) { "Running" } else { "Pending" }.into();
    pod
}

/// Ends the server with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
#[ignore = "the server's side of a measurement"]
async fn serve() {
    let server = shop().await;
    for number in 0..PODS {
        server.put("pods", large_pod(number, 0));
    }
    println!("{STARTED}{}", server.address);
    let until = async {
        while server.asked("pods").watches == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(300), until).await.unwrap();
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / PER_SECOND);
    for change in 0..SECONDS * PER_SECOND {
        ticks.tick().await;
        server.put("pods", large_pod(change * 37 % PODS, change / PODS + 1));
    }
    server.put("jobs", bare("shop", "the-end"));
    std::future::pending::<()>().await;
}

#[tokio::test]
#[ignore = "a measurement of half a minute"]
async fn measure() {
    let mut server = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "watch::tests::load::serve"])
        .stdout(Stdio::piped())
        .spawn()
        .map(Process)
        .unwrap();
    let mut lines = BufReader::new(server.0.stdout.take().unwrap()).lines();
    let address = lines.find_map(|line| {
        let line = line.unwrap();
        line.split_once(STARTED).map(|(_, address)| address.parse().unwrap())
    });
    let begun = Instant::now();
    let settings = Settings { page_size: 500, silence: Duration::from_secs(300), ..settings() };
    let (watch, mut changes) = Watch::start(ApiServer::at(address.unwrap()).unwrap(), settings).unwrap();
    let mut cluster = Cluster::default();
    while !changes.is_ready() {
        assert!(changes.apply_next(&mut cluster).await);
    }
    let (listed, cpu) = (begun.elapsed(), cpu_seconds());
    println!(
        "first lists: {listed:.1?}, CPU {cpu:.2} s, memory {} MiB, most {} MiB",
        mebibytes("VmRSS"),
        mebibytes("VmHWM")
    );
    let end = ObjectKey { kind: ObjectKind::Job, name: crate::object::ObjectName::new("shop", "the-end") };
    let begun = Instant::now();
    while !cluster.objects.contains_key(&end) {
        assert!(changes.apply_next(&mut cluster).await);
    }
    let (took, cpu) = (begun.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    println!(
        "{} changes in {took:.1} s: CPU {:.2} % of a core, memory {} MiB, {:?}",
        SECONDS * PER_SECOND,
        100.0 * cpu / took,
        mebibytes("VmRSS"),
        watch.stats(),
    );
    assert_eq!(cluster.stats().objects, 100_000 + 16);
}

/// User and system time of this process: fields 14 and 15 of proc_pid_stat(5), in hundredths of a second.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u32 = fields[11].parse::<u32>().unwrap() + fields[12].parse::<u32>().unwrap();
    f64::from(ticks) / 100.0
}

fn mebibytes(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_matches(|it: char| !it.is_ascii_digit()).parse::<u64>().unwrap() / 1024
}
