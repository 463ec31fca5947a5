//! What weir itself takes under steady loads: new connections at a rate, packets at a rate, connections that stay open.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use weir_tests::node::{Watched, number};
use weir_tests::pods::{Pods, SERVER};
use weir_tests::results::Figure;
use weir_tests::{DEADLINE, wait_for};

use crate::loads::{Load, Servers};
use crate::process::{self, Counting};
use crate::watcher::{Kind, watching};

/// New connections a second, packets a second.
const CONNECTIONS: u32 = 1_000;
const PACKETS: u32 = 10_000;
/// Connections that stay open.
const OPEN: usize = 50_000;
const PORT: u16 = 9_100;
/// Ports that open connections lead to, since one has only 64,000 callers of one address.
const OPEN_PORTS: u16 = 2;
/// A paced load acts so often.
const BEAT: Duration = Duration::from_millis(10);

pub fn figures(seconds: u64) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for kind in [Kind::Ebpf, Kind::Pcap] {
        figures.extend(of(kind, seconds)?);
    }
    figures.extend(in_the_kernel(seconds)?);
    Ok(figures)
}

fn of(kind: Kind, seconds: u64) -> Result<Vec<Figure>> {
    let pods = Pods::new()?;
    let (idle, by) = (Duration::from_secs(seconds), kind.what());
    let (mut watched, _folder) = watch(kind, &pods)?;
    let pid = watched.daemon.child().id();
    let rest = cpu_share(pid, || pause(idle))?;
    let connections = cpu_share(pid, || new_connections(&pods, seconds))?;
    let packets = cpu_share(pid, || datagrams(&pods, seconds))?;
    drop(watched);
    let (mut watched, _folder) = watch(kind, &pods)?;
    let pid = watched.daemon.child().id();
    let held = hold_open(&pods)?;
    wait_for("the connections to be known", DEADLINE, || {
        let known = number(&watched.status().ok()?["weir"]["connections"]);
        (known >= OPEN as u64).then_some(())
    })?;
    let (resident, maps) = (process::resident(pid)?, process::maps(pid)?);
    drop(held);
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let name = |what: &str| format!("{what}_{}", kind.name());
    let core = "% of a core";
    Ok(vec![
        Figure::new(&name("idle_cpu"), rest, core, &format!("{by}, no traffic: the daemon's CPU time")),
        Figure::new(
            &name("connections_cpu"),
            connections,
            core,
            &format!("{by}, 1,000 new connections/s on two devices"),
        ),
        Figure::new(
            &name("packets_cpu"),
            packets,
            core,
            &format!("{by}, 10,000 packets/s of one conversation on two devices"),
        ),
        Figure::new(
            &name("open_resident"),
            mib(resident),
            "MiB",
            &format!("{by}, 50,000 open connections: resident memory"),
        ),
        Figure::new(
            &name("open_maps"),
            mib(maps),
            "MiB",
            &format!("{by}: memory of its tables in the kernel"),
        ),
    ])
}

fn watch(kind: Kind, pods: &Pods) -> Result<(Watched, tempfile::TempDir)> {
    let folder = tempfile::tempdir()?;
    Pods::write_cluster(folder.path())?;
    let watched = Watched::start(&pods.node, folder.path(), "node", &["--source", kind.name()])?;
    watching(&watched)?;
    Ok((watched, folder))
}

/// Percent of a core that the process took while this was done.
fn cpu_share(pid: u32, load: impl FnOnce() -> Result<()>) -> Result<f64> {
    let (before, begun) = (process::cpu(pid)?, Instant::now());
    load()?;
    Ok((process::cpu(pid)? - before).as_secs_f64() / begun.elapsed().as_secs_f64() * 100.0)
}

fn pause(time: Duration) -> Result<()> {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
    Ok(())
}

/// Calls at the rate, evenly.
fn paced(seconds: u64, rate: u32, mut act: impl FnMut() -> Result<()>) -> Result<()> {
    let (begun, mut done) = (Instant::now(), 0_u64);
    let all = seconds * u64::from(rate);
    while done < all {
        let due = (begun.elapsed().as_micros() as u64 * u64::from(rate) / 1_000_000).min(all);
        while done < due {
            act()?;
            done += 1;
        }
        pause(BEAT)?;
    }
    let late = begun.elapsed().saturating_sub(Duration::from_secs(seconds));
    anyhow::ensure!(late < Duration::from_secs(1), "the load could not keep its rate: {late:?} late");
    Ok(())
}

/// Each asks in a few bytes and is answered in some hundred, as a small HTTP call.
fn new_connections(pods: &Pods, seconds: u64) -> Result<()> {
    let listener = pods.server.enter(|| Ok(TcpListener::bind((SERVER, PORT))?))?;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for stream in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                // What goes wrong here goes wrong at the caller too, who says so.
                let _ = stream.and_then(|mut stream| {
                    let mut asked = [0; 100];
                    stream.read_exact(&mut asked)?;
                    stream.write_all(&[b'x'; 600])
                });
            }
        });
        let called = pods.client.enter(|| paced(seconds, CONNECTIONS, call));
        stop.store(true, Ordering::Relaxed);
        // The last one lets the server see that it is to stop.
        let woken = pods.client.enter(|| Ok(TcpStream::connect(SocketAddrV4::new(SERVER, PORT))?));
        called.and(woken.map(drop))
    })
}

fn call() -> Result<()> {
    let mut stream = TcpStream::connect(SocketAddrV4::new(SERVER, PORT)).context("a call")?;
    stream.write_all(&[b'q'; 100])?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    anyhow::ensure!(answer.len() == 600, "{} bytes", answer.len());
    Ok(())
}

/// Half of the packets there, half back.
fn datagrams(pods: &Pods, seconds: u64) -> Result<()> {
    let server = pods.server.enter(|| Ok(UdpSocket::bind((SERVER, PORT))?))?;
    let client = pods.client.enter(|| Ok(UdpSocket::bind("0.0.0.0:0")?))?;
    client.connect((SERVER, PORT))?;
    client.set_read_timeout(Some(DEADLINE))?;
    let mut bytes = [0; 200];
    paced(seconds, PACKETS / 2, || {
        client.send(&[b'x'; 200])?;
        let (length, from) = server.recv_from(&mut bytes)?;
        server.send_to(&bytes[..length], from)?;
        client.recv(&mut bytes)?;
        Ok(())
    })
}

/// Connections that have exchanged nothing yet, both ends of each.
fn hold_open(pods: &Pods) -> Result<Vec<(TcpStream, TcpStream)>> {
    raise_descriptors()?;
    let listeners: Vec<TcpListener> = pods
        .server
        .enter(|| (0..OPEN_PORTS).map(|port| Ok(TcpListener::bind((SERVER, PORT + port))?)).collect())?;
    pods.client.enter(|| {
        let mut held = Vec::with_capacity(OPEN);
        while held.len() < OPEN {
            for (port, listener) in (PORT..).zip(&listeners) {
                let ours = TcpStream::connect(SocketAddrV4::new(SERVER, port))?;
                held.push((ours, listener.accept()?.0));
            }
        }
        Ok(held)
    })
}

fn raise_descriptors() -> Result<()> {
    let wanted = 4 * OPEN as u64;
    let limit = rustix::process::Rlimit { current: Some(wanted), maximum: Some(wanted) };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit)
        .context("cannot hold so many connections open")
}

/// Time a packet in weir's programs, while the kernel counts it, which costs time too.
fn in_the_kernel(seconds: u64) -> Result<Vec<Figure>> {
    let pods = Pods::new()?;
    let (mut watched, folder) = watch(Kind::Ebpf, &pods)?;
    let servers = Servers::start(&pods, folder.path())?;
    let pid = watched.daemon.child().id();
    let _counting = Counting::begin()?;
    let mut figures = Vec::new();
    for load in Load::ALL {
        let (time_before, runs_before) = process::programs(pid)?;
        load.run(&pods, &servers, seconds)?;
        let (time, runs) = process::programs(pid)?;
        anyhow::ensure!(runs > runs_before, "the programs did not run, or the kernel does not count them");
        let each = (time - time_before) as f64 / (runs - runs_before) as f64;
        let what = format!("eBPF programs' time a packet and device: {}", load.what());
        figures.push(Figure::new(&format!("kernel_{}", load.name()), each, "ns", &what));
    }
    Ok(figures)
}
