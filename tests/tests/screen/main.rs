//! The screen as a person sees it: the real `weir` in a real terminal, a real relay, and daemons that serve what two nodes
//! recorded. Every view, filter, sort, freeze, follow, one connection with its hops on both nodes, help, copy, export,
//! resize, a relay that is killed, and every way out.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

mod tmux;

use std::path::{Path, PathBuf};
use std::process::Command;

use tmux::Pane;
use weir_tests::{DEADLINE, Running, answering, ask, program, root, wait_for};

/// Two nodes and a relay, each a process.
struct Cluster {
    folder: PathBuf,
    relay: Option<Running>,
    nodes: Vec<Running>,
}

impl Cluster {
    /// A relay that knows both nodes, and no node yet.
    fn new(folder: &Path) -> Self {
        let mut cluster = Self { folder: folder.to_owned(), relay: None, nodes: Vec::new() };
        cluster.start_relay();
        cluster
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.sock"))
    }

    fn server(&self) -> String {
        format!("unix://{}", self.socket("relay").display())
    }

    fn start_relay(&mut self) {
        let mut command = Command::new(program("weir-relay").unwrap());
        for node in ["rowan", "alder"] {
            command.arg("--peer").arg(format!("{node}=unix://{}", self.socket(node).display()));
        }
        command.arg("--unix").arg(self.socket("relay")).args(["--listen", "none"]);
        self.relay = Some(Running::logging(&mut command, &self.folder.join("relay.log")).unwrap());
        answering(&self.socket("relay")).unwrap();
    }

    /// Sends the relay a signal and waits for its end.
    fn end_relay(&mut self, signal: rustix::process::Signal) {
        let mut relay = self.relay.take().unwrap();
        send(relay.child().id(), signal);
        wait_for("the relay's end", DEADLINE, || relay.child().try_wait().unwrap()).unwrap();
    }

    fn start_node(&mut self, name: &str) {
        let scenario = root().join("tests/scenarios/two-nodes");
        let mut command = Command::new(program("weir-daemon").unwrap());
        command.arg("replay").arg(scenario.join(format!("{name}.pcapng")));
        command.arg("--cluster").arg(scenario.join("cluster.yaml"));
        command.args(["--node", name]).arg("--unix").arg(self.socket(name));
        let node = Running::logging(&mut command, &self.folder.join(format!("{name}.log"))).unwrap();
        self.nodes.push(node);
        answering(&self.socket(name)).unwrap();
    }

    /// How many connections the command line shows for this query.
    fn count(&self, query: &str) -> usize {
        let lines = ask(&self.socket("relay"), &["observe", "--connections", "-q", query]).unwrap();
        lines.iter().filter(|line| line.get("connection").is_some()).count()
    }
}

fn send(process: u32, signal: rustix::process::Signal) {
    let process = rustix::process::Pid::from_raw(i32::try_from(process).unwrap()).unwrap();
    rustix::process::kill_process(process, signal).unwrap();
}

fn start_weir(pane: &Pane, cluster: &Cluster) {
    let weir = program("weir").unwrap().canonicalize().unwrap();
    pane.types(&format!(
        "clear; echo as before; {} --server {}; echo exit=$?",
        weir.display(),
        cluster.server()
    ));
    pane.press(&["Enter"]);
    pane.until("the screen", |screen| screen.contains("1 Connections") && screen.contains("CLIENT"));
}

/// The process that the pane's shell waits for.
fn weir_process(pane: &Pane) -> u32 {
    let shell = pane.tmux(&["list-panes", "-F", "#{pane_pid}"]);
    let path = format!("/proc/{0}/task/{0}/children", shell.trim());
    std::fs::read_to_string(path).unwrap().split_whitespace().next().unwrap().parse().unwrap()
}

fn of(count: usize) -> String {
    format!(" {count} of ")
}

/// All of it at one size.
fn walk(label: &str, size: (u16, u16), other_size: (u16, u16)) {
    let folder = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::new(folder.path());
    cluster.start_node("rowan");
    let pane = Pane::open(label, folder.path(), size);
    let before = pane.settings("before");
    start_weir(&pane, &cluster);
    frozen(&pane, &mut cluster);
    views(&pane);
    filters(&pane, &cluster);
    sorts(&pane);
    one_connection(&pane);
    pane.resize(other_size.0, other_size.1);
    pane.until("the other size", |screen| {
        screen.lines().count() == usize::from(other_size.1) && screen.contains("CLIENT")
    });
    pane.resize(size.0, size.1);
    pane.until("the size again", |screen| screen.contains("? keys  q quit") && screen.contains("CLIENT"));
    relay_goes_and_comes(&pane, &mut cluster);
    pane.press(&["q"]);
    let after = pane.shows("exit=0");
    assert!(
        after.contains("as before") && !after.contains("1 Connections"),
        "what was there is back:\n{after}"
    );
    assert_eq!(pane.settings("after"), before);
}

/// Another node comes while nothing moves.
fn frozen(pane: &Pane, cluster: &mut Cluster) {
    let some =
        wait_for("connections of one node", DEADLINE, || Some(cluster.count("")).filter(|some| *some > 0))
            .unwrap();
    pane.until("the connections of one node", |screen| screen.contains(&of(some)));
    pane.press(&["Space"]);
    let still = pane.shows("FROZEN +0 new");
    cluster.start_node("alder");
    let counted = pane.until("a count of what came", |screen| {
        screen.contains("FROZEN +") && !screen.contains("FROZEN +0 new")
    });
    let rows = |screen: &str| screen.lines().skip(3).take(10).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(rows(&still), rows(&counted));
    pane.press(&["Space"]);
    let all = cluster.count("");
    pane.until("all connections", |screen| !screen.contains("FROZEN") && screen.contains(&of(all)));
}

fn views(pane: &Pane) {
    for (key, title) in [
        ("2", "DESTINATION"),
        ("3", "SHARE"),
        ("4", "QUERIES"),
        ("5", "STOPPED BY"),
        ("6", "FLOWS/S"),
        ("1", "RTT"),
    ] {
        pane.press(&[key]);
        pane.until(title, |screen| screen.lines().nth(2).is_some_and(|line| line.contains(title)));
    }
    pane.press(&["?"]);
    pane.shows("next row that failed");
    pane.press(&["Escape"]);
    // A key that follows Escape at once would be read as one with Alt.
    pane.until("no help", |screen| !screen.contains("next row that failed"));
    pane.press(&["3"]);
    pane.shows("SHARE");
    pane.press(&["Enter"]);
    pane.shows("/dst.svc~");
    pane.press(&["Escape"]);
    pane.shows("SHARE");
    pane.press(&["1"]);
    pane.shows("RTT");
}

fn filters(pane: &Pane, cluster: &Cluster) {
    pane.types("/verdict=droped");
    pane.until("what is wrong", |screen| {
        screen.contains("✗/verdict=droped") && screen.contains("did you mean")
    });
    pane.press(&["Enter"]);
    pane.shows("✗/verdict=droped");
    pane.press(&["BSpace", "BSpace", "Tab"]);
    let dropped = cluster.count("verdict=dropped");
    assert!(dropped > 0);
    pane.until("what is right", |screen| {
        screen.contains("✓/verdict=dropped") && screen.contains(&format!(" {dropped} rows"))
    });
    pane.press(&["Enter"]);
    pane.until("the rows that pass", |screen| screen.contains(&of(dropped)));
    pane.types("/");
    pane.press(&["C-u"]);
    pane.types("not verdict=dropped proto=tcp");
    pane.press(&["Enter"]);
    let passing = cluster.count("not verdict=dropped proto=tcp");
    pane.until("the rows of the other filter", |screen| screen.contains(&of(passing)));
    pane.press(&["/", "Up", "Up"]);
    pane.shows("✓/verdict=dropped");
    pane.press(&["Escape"]);
    pane.press(&["Escape"]);
    let kept = pane.folder.join("state/weir/filters");
    let lines = std::fs::read_to_string(kept).unwrap();
    assert_eq!(lines, "verdict=dropped\nnot verdict=dropped proto=tcp\n");
    let all = cluster.count("");
    pane.until("all rows", |screen| screen.contains(&of(all)));
}

fn sorts(pane: &Pane) {
    pane.shows("TIME▼");
    pane.press(&[">"]);
    pane.shows("CLIENT▼");
    pane.press(&["r"]);
    pane.shows("CLIENT▲");
    pane.types(":sort rt");
    pane.press(&["Tab", "Enter"]);
    pane.shows("RTT▲");
    pane.types(":nonsense");
    pane.shows("no such command");
    pane.press(&["Enter"]);
    pane.shows("no command nonsense");
}

fn one_connection(pane: &Pane) {
    pane.types("/tunnel=vxlan proto=tcp verdict=ok state=closed");
    pane.press(&["Enter"]);
    pane.until("a row", |screen| screen.lines().nth(3).is_some_and(|line| line.starts_with('✓')));
    pane.press(&["f"]);
    pane.until("followed", |screen| screen.lines().nth(3).is_some_and(|line| line.starts_with("✓»")));
    pane.press(&["Enter"]);
    pane.until("both nodes on the way", |screen| {
        ["[rowan]", "[alder]", "=vxlan", "evidence", "verdict"].iter().all(|part| screen.contains(part))
    });
    pane.press(&["y"]);
    pane.shows("copied");
    let copied = pane.tmux(&["show-buffer"]);
    for part in ["node       rowan", "node       alder", "in vxlan", "handshake to the server", "traffic"] {
        assert!(copied.contains(part), "{part} is told:\n{copied}");
    }
    pane.press(&["e", "j"]);
    pane.shows("1 rows written to");
    let written = std::fs::read_to_string(pane.folder.join("weir-connections-1.json")).unwrap();
    assert!(written.starts_with('{') && written.lines().count() == 1);
    pane.press(&["Escape"]);
    pane.shows("CLIENT");
    for (key, ending) in [("c", "csv"), ("l", "sh")] {
        pane.press(&["e", key]);
        let path = pane.folder.join(format!("weir-connections-1.{ending}"));
        wait_for(ending, DEADLINE, || path.exists().then_some(())).unwrap();
    }
    pane.press(&["Escape"]);
    pane.press(&["f"]);
}

fn relay_goes_and_comes(pane: &Pane, cluster: &mut Cluster) {
    for signal in [rustix::process::Signal::KILL, rustix::process::Signal::TERM] {
        let all = cluster.count("");
        pane.until("all connections", |screen| screen.contains(&of(all)));
        cluster.end_relay(signal);
        let away = pane.shows("✗ AWAY");
        let row = away.lines().nth(3).unwrap();
        assert!(row.contains('~'), "a row of before says so: {row}");
        cluster.start_relay();
        pane.until("both nodes again", |screen| screen.contains("nodes 2/2") && !screen.contains("AWAY"));
        pane.until("rows told anew", |screen| {
            let rows: Vec<&str> = screen.lines().skip(3).take(all).collect();
            rows.iter().all(|row| row.starts_with(['✓', '✗']) && !row.contains('~'))
        });
    }
}

#[test]
fn at_80_columns() {
    walk("narrow", (80, 24), (200, 50));
}

#[test]
fn at_200_columns() {
    walk("wide", (200, 50), (80, 24));
}

#[test]
fn every_way_out_gives_the_terminal_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::new(folder.path());
    cluster.start_node("rowan");
    let pane = Pane::open("exits", folder.path(), (80, 24));
    let before = pane.settings("before");
    for signal in [
        rustix::process::Signal::TERM,
        rustix::process::Signal::INT,
        rustix::process::Signal::HUP,
        rustix::process::Signal::QUIT,
    ] {
        start_weir(&pane, &cluster);
        send(weir_process(&pane), signal);
        let after = pane.shows("exit=0");
        assert!(after.contains("as before") && !after.contains("CLIENT"), "{signal:?}:\n{after}");
        assert_eq!(pane.settings("after"), before, "{signal:?}");
        assert_eq!(
            pane.tmux(&["display", "-p", "#{mouse_any_flag}#{alternate_on}#{cursor_flag}"]).trim(),
            "001"
        );
    }
    start_weir(&pane, &cluster);
    pane.press(&["C-c"]);
    pane.shows("exit=0");
    assert_eq!(pane.settings("after"), before);
}
