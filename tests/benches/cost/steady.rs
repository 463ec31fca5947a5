//! What weir itself takes under steady loads: new connections at a rate, packets at a rate, connections that stay open.

use std::io::{BufRead as _, Read as _, Write as _};
use std::net::{SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::net::{AddressFamily, SocketType};
use weir_tests::node::{Watched, number};
use weir_tests::pods::{Pods, SERVER};
use weir_tests::results::Figure;
use weir_tests::{DEADLINE, Running, wait_for};

use crate::least::{Least, Program};
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
const OPEN_PORTS: RangeInclusive<u16> = 9_101..=9_104;
/// A paced load acts so often.
const BEAT: Duration = Duration::from_millis(10);

pub fn figures(seconds: u64) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for kind in [Kind::Ebpf, Kind::Pcap] {
        figures.extend(of(kind, seconds)?);
    }
    figures.extend(in_the_kernel(seconds)?);
    figures.extend(at_least(seconds)?);
    Ok(figures)
}

fn of(kind: Kind, seconds: u64) -> Result<Vec<Figure>> {
    let pods = Pods::new()?;
    let (idle, by) = (Duration::from_secs(seconds), kind.what());
    let (mut watched, folder) = watch(kind, &pods, &[])?;
    let pid = watched.daemon.child().id();
    let rest = cpu_share(pid, || pause(idle))?;
    let connections = cpu_share(pid, || new_connections(&pods, seconds))?;
    let packets = cpu_share(pid, || datagrams(&pods, seconds))?;
    drop((watched, folder));
    let (resident, maps) = memory(kind, &pods, &[])?;
    let (small, _) = memory(kind, &pods, &["--ring-flows", FEW_FLOWS])?;
    let name = |what: &str| format!("{what}_{}", kind.name());
    let cpu = |what: &str, value, load: &str| {
        Figure::new(&name(what), value, "% of a core", &format!("{by}, {load}: the daemon's CPU time"))
    };
    let memory = |what: &str, value, of: &str| Figure::new(&name(what), value, "MiB", &format!("{by}, {of}"));
    Ok(vec![
        cpu("idle_cpu", rest, "no traffic"),
        cpu("connections_cpu", connections, "1,000 new connections/s on two devices"),
        cpu("packets_cpu", packets, "10,000 packets/s of one conversation on two devices"),
        memory("open_resident", resident, "50,000 open connections: resident memory"),
        memory("open_resident_small", small, "the same with `--ring-flows 8192`"),
        memory("open_maps", maps, "memory of its tables and ring in the kernel"),
    ])
}

/// Flows kept for readers, where memory is short.
const FEW_FLOWS: &str = "8192";

/// MiB that are resident with connections open, and that its maps take in the kernel.
fn memory(kind: Kind, pods: &Pods, flags: &[&str]) -> Result<(f64, f64)> {
    let (mut watched, _folder) = watch(kind, pods, flags)?;
    let pid = watched.daemon.child().id();
    let held = hold_open(pods)?;
    wait_for("the connections to be known", DEADLINE, || {
        let known = number(&watched.status().ok()?["weir"]["connections"]);
        (known >= OPEN as u64).then_some(())
    })?;
    let (resident, maps) = (process::resident(pid)?, process::maps(pid)?);
    drop(held);
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    Ok((mib(resident), mib(maps)))
}

fn watch(kind: Kind, pods: &Pods, flags: &[&str]) -> Result<(Watched, tempfile::TempDir)> {
    let folder = tempfile::tempdir()?;
    Pods::write_cluster(folder.path())?;
    let flags = [&["--source", kind.name()], flags].concat();
    let watched = Watched::start(&pods.node, folder.path(), "node", &flags)?;
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

/// Connections that have exchanged nothing yet. The server's ends wait to be taken, so that they need no descriptors; the
/// client's are held by processes of their own, since one may have fewer descriptors than there are connections.
fn hold_open(pods: &Pods) -> Result<(Vec<OwnedFd>, Vec<Running>)> {
    let each = OPEN / OPEN_PORTS.count();
    pods.server.shell(&format!("echo {} > /proc/sys/net/core/somaxconn", 2 * each))?;
    let listeners: Vec<OwnedFd> =
        pods.server.enter(|| OPEN_PORTS.map(|port| listen(port, 2 * each)).collect())?;
    let mut holders = Vec::new();
    for port in OPEN_PORTS {
        let mut command = pods.client.command(std::env::current_exe()?);
        command.args(["--hold", &port.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = Running::of(command.spawn()?);
        let said = holder.child().stdout.take().context("no output")?;
        let mut line = String::new();
        std::io::BufReader::new(said).read_line(&mut line)?;
        anyhow::ensure!(line == HELD, "a holder of connections ended: {line:?}");
        holders.push(holder);
    }
    Ok((listeners, holders))
}

/// What a holder says once it has all.
const HELD: &str = "held\n";

/// Opens connections to this port and holds them until its standard input ends.
#[expect(clippy::print_stdout, reason = "whoever started it waits for this")]
pub fn hold(port: u16) -> Result<()> {
    let connect = |_| TcpStream::connect(SocketAddrV4::new(SERVER, port));
    let held: Vec<TcpStream> = (0..OPEN / OPEN_PORTS.count()).map(connect).collect::<Result<_, _>>()?;
    print!("{HELD}");
    std::io::stdout().flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    drop(held);
    Ok(())
}

fn listen(port: u16, backlog: usize) -> Result<OwnedFd> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    rustix::net::bind(&socket, &SocketAddrV4::new(SERVER, port))?;
    rustix::net::listen(&socket, i32::try_from(backlog)?)?;
    Ok(socket)
}

/// Time a packet in weir's programs, while the kernel counts it, which costs time too.
fn in_the_kernel(seconds: u64) -> Result<Vec<Figure>> {
    let pods = Pods::new()?;
    let (mut watched, folder) = watch(Kind::Ebpf, &pods, &[])?;
    let _servers = Servers::start(&pods, folder.path())?;
    let pid = watched.daemon.child().id();
    let _counting = Counting::begin()?;
    let mut figures = Vec::new();
    for load in Load::ALL {
        let (time_before, runs_before) = process::programs(pid)?;
        load.run(&pods, seconds)?;
        let (time, runs) = process::programs(pid)?;
        anyhow::ensure!(runs > runs_before, "the programs did not run, or the kernel does not count them");
        let each = (time - time_before) as f64 / (runs - runs_before) as f64;
        let what = format!("eBPF programs' time a packet and device: {}", load.what());
        figures.push(Figure::new(&format!("kernel_{}", load.name()), each, "ns", &what));
    }
    Ok(figures)
}

/// The same of programs that do next to nothing, under the same load.
fn at_least(seconds: u64) -> Result<Vec<Figure>> {
    let (pods, folder) = (Pods::new()?, tempfile::tempdir()?);
    let _servers = Servers::start(&pods, folder.path())?;
    let _counting = Counting::begin()?;
    let mut figures = Vec::new();
    for program in Program::ALL {
        let least = Least::hang(program, &pods)?;
        Load::Requests.run(&pods, seconds)?;
        let (time, runs) = least.told()?;
        anyhow::ensure!(runs > 0, "the program did not run");
        let name = format!("kernel_requests_{}", program.name());
        let what = format!("the same under HTTP requests on kept connections, of {}", program.what());
        figures.push(Figure::new(&name, time as f64 / runs as f64, "ns", &what));
    }
    Ok(figures)
}
