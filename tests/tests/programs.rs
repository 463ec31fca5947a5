//! What the programs say when what they are given is bad: one sentence that names the thing, an exit code, and nothing lost
//! that could be had. The real programs, each run to its end.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use weir_tests::{
    DEADLINE, Ended, Running, answering, finish, is_root, program, root, skip_unless, wait_for, weir,
};

/// A recording that is whole.
fn recording() -> PathBuf {
    root().join("tests/scenarios/two-nodes/rowan.pcapng")
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn replay(args: &[&str]) -> Ended {
    let mut all = vec!["replay"];
    all.extend(args);
    weir("weir-daemon", &all).unwrap()
}

/// Offset of the first pcapng block that begins behind `after`.
fn block_behind(bytes: &[u8], after: usize) -> usize {
    let mut offset = 0;
    while offset <= after {
        let length: [u8; 4] = bytes[offset + 4..offset + 8].try_into().unwrap();
        offset += u32::from_le_bytes(length) as usize;
    }
    offset
}

/// The same numbers each time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap()
    }
}

#[test]
fn what_is_no_capture_is_named_in_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let mut numbers = Numbers(1);
    let random: Vec<u8> = (0..4096).map(|_| u8::try_from(numbers.next() & 0xff).unwrap()).collect();
    let files: [(&str, &[u8], &str); 5] = [
        ("empty", b"", "it is empty"),
        ("short", b"\xd4\xc3", "ends within its first header"),
        ("random", &random, "none of their magic numbers"),
        ("zipped", b"\x1f\x8b\x08\x00rest", "compressed by gzip"),
        ("text", b"10:00 it hangs again\n", "none of their magic numbers"),
    ];
    let mut cases: Vec<(PathBuf, &str)> = Vec::new();
    for (name, bytes, why) in files {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        cases.push((path, why));
    }
    cases.push((folder.path().to_owned(), "it is a folder"));
    cases.push((folder.path().join("missing"), "No such file"));
    for (path, why) in cases {
        let ended = replay(&[text(&path)]);
        assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{ended:?}");
        let said = ended.sentence();
        assert!(said.starts_with("weir-daemon: ") && said.contains(text(&path)), "{ended:?}");
        assert!(said.contains(why), "{why}: {said}");
    }
}

#[test]
fn what_precedes_a_cut_or_damage_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(recording()).unwrap();
    let whole = replay(&[text(&recording())]);
    assert_eq!((whole.code, whole.err.as_str()), (Some(0), ""));
    let place = block_behind(&bytes, bytes.len() / 2);

    let cut = folder.path().join("cut.pcapng");
    std::fs::write(&cut, &bytes[..place + 9]).unwrap();
    let ended = replay(&[text(&cut)]);
    assert_eq!(ended.code, Some(0), "a capture that was killed is no failure");
    let said = ended.sentence();
    assert!(said.contains(text(&cut)) && said.contains(&format!("cut short: the record at byte {place}")));
    assert!(!said.contains('\x1b'), "no colours where there is no terminal: {said:?}");
    let told = ended.out.lines().count();
    assert!(told > 5 && told < whole.out.lines().count(), "{told}");

    let damaged = folder.path().join("damaged.pcapng");
    let mut wrong = bytes.clone();
    wrong[place + 4..place + 8].copy_from_slice(&7_u32.to_le_bytes());
    std::fs::write(&damaged, &wrong).unwrap();
    let after = replay(&[text(&damaged)]);
    assert_eq!(after.code, Some(1));
    let said = after.sentence();
    assert!(said.contains(text(&damaged)) && said.contains(&format!("damaged at byte {place}")), "{said}");
    assert_eq!(after.out, ended.out, "the same as before the cut, open connections included");
    let summary = replay(&[text(&damaged), "--output", "summary"]);
    assert!(summary.code == Some(1) && summary.out.contains(" packets, "), "{}", summary.out);
}

#[test]
fn no_change_to_a_capture_makes_the_program_panic() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(recording()).unwrap();
    let file = folder.path().join("changed.pcapng");
    let mut numbers = Numbers(7);
    for round in 0..16 {
        let mut changed = bytes.clone();
        for _ in 0..=round * 4 {
            let at = numbers.next() % changed.len();
            changed[at] = u8::try_from(numbers.next() & 0xff).unwrap();
        }
        std::fs::write(&file, &changed).unwrap();
        let ended = replay(&[text(&file), "--output", "summary"]);
        assert!(matches!(ended.code, Some(0 | 1)) && !ended.err.contains("panicked"), "{round}: {ended:?}");
        assert!(ended.code == Some(0) || !ended.sentence().is_empty(), "{round}: {ended:?}");
    }
}

#[test]
fn a_bad_manifest_is_named_with_document_and_field() {
    const POD: &str = "{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop}, \
                       spec: {nodeName: n1, containers: []}, status: {podIP: 10.0.0.1}}";
    let folder = tempfile::tempdir().unwrap();
    let other = POD.replace("10.0.0.1", "10.0.0.2");
    let wrong = POD.replace("10.0.0.1", "10.0.0.999").replace("web", "api");
    let whole = std::fs::read_to_string(root().join("tests/scenarios/two-nodes/cluster.yaml")).unwrap();
    let files: [(&str, Vec<u8>, &[&str]); 6] = [
        ("field.yaml", format!("---\n{POD}\n---\n{wrong}\n").into(), &["document 2", "shop/api", "podIP"]),
        (
            "contradiction.yaml",
            format!("---\n{POD}\n---\n{other}\n").into(),
            &["Pod shop/web", "document 1", "document 2"],
        ),
        ("half.yaml", whole.as_bytes()[..whole.len() / 2].to_vec(), &["document 1"]),
        ("syntax.yaml", b"kind: [".into(), &["document 1", "line 1"]),
        ("binary.yaml", b"\x7fELF\x00\x01".into(), &["not text"]),
        ("empty.yaml", b"".into(), &["is empty"]),
    ];
    for (name, bytes, needles) in files {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let ended = replay(&[text(&recording()), "--cluster", text(&path)]);
        assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{ended:?}");
        for needle in needles.iter().chain(&[name]) {
            assert!(ended.sentence().contains(needle), "{name}, {needle}: {ended:?}");
        }
    }
    for (path, why) in
        [(folder.path().join("missing.yaml"), "No such file"), (folder.path().to_owned(), "directory")]
    {
        let ended = replay(&[text(&recording()), "--cluster", text(&path)]);
        assert_eq!(ended.code, Some(1));
        assert!(ended.sentence().contains(text(&path)) && ended.sentence().contains(why), "{ended:?}");
    }
}

/// A node that serves the recording.
fn served(folder: &Path) -> (Running, PathBuf) {
    let socket = folder.join("node.sock");
    let mut command = Command::new(program("weir-daemon").unwrap());
    command.arg("replay").arg(recording()).arg("--unix").arg(&socket);
    let node = Running::logging(&mut command, &folder.join("node.log")).unwrap();
    answering(&socket).unwrap();
    (node, socket)
}

fn observe(socket: &Path, args: &[&str]) -> Ended {
    let server = format!("unix://{}", socket.display());
    let mut all = vec!["observe", "--server", &server];
    all.extend(args);
    weir("weir", &all).unwrap()
}

#[test]
fn a_bad_filter_is_named_by_field_and_position() {
    let folder = tempfile::tempdir().unwrap();
    let (_node, socket) = served(folder.path());
    let cases: [(&[&str], &[&str]); 9] = [
        (&["--from-ip", "10.0.0.1", "--from-ip", "300.1.1.1"], &["whitelist[0].source_ip[1]", "300.1.1.1"]),
        (&["--ip", "10.0.0.0/99"], &["source_ip[0]", "10.0.0.0/99"]),
        (&["--label", "a in ("], &["source_label[0]", "a in ("]),
        (&["--from-ip", "10.0.0.1", "--not", "--to-ip", "x"], &["blacklist[0].destination_ip[0]", "\"x\""]),
        (&["--port", "99999"], &["--port", "0 to 65535"]),
        (&["--verdict", "MAYBE"], &["--verdict", "FORWARDED"]),
        (&["--allowlist", "{\"source_pod\":[1]}"], &["--allowlist", "line 1 column 16"]),
        (&["--allowlist", "{\"source_pood\":[]}"], &["--allowlist", "source_pood"]),
        (&["--since", "soon"], &["--since", "soon"]),
    ];
    for (args, needles) in cases {
        let ended = observe(&socket, args);
        assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{args:?}: {ended:?}");
        for needle in needles {
            assert!(ended.sentence().contains(needle), "{args:?}, {needle}: {ended:?}");
        }
    }
}

#[test]
fn a_server_that_is_none_is_named() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = free.local_addr().unwrap().to_string();
    drop(free);
    let web = TcpListener::bind("127.0.0.1:0").unwrap();
    let not_grpc = web.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in web.incoming() {
            let mut stream = stream.unwrap();
            // What it is asked is of no matter, and whether the answer arrives neither.
            let _ = stream.read(&mut [0; 64]);
            let _ = stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n");
        }
    });
    let missing = "unix:///nonexistent/weir.sock";
    let cases = [
        (nobody.as_str(), "Connection refused"),
        (not_grpc.as_str(), "does a weir-relay (or weir-daemon) answer there?"),
        (missing, "No such file"),
        ("here", "use host:port or unix:///path"),
        ("https://localhost:443", "no TLS"),
    ];
    for (server, why) in cases {
        for command in ["observe", "status"] {
            let ended = weir("weir", &[command, "--server", server]).unwrap();
            assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{ended:?}");
            let said = ended.sentence();
            assert!(said.contains(server) && said.contains(why), "{server}, {why}: {ended:?}");
        }
    }
}

#[test]
fn an_address_in_use_or_open_to_others_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("taken.sock");
    let (tcp, _unix) = (TcpListener::bind("127.0.0.1:0").unwrap(), UnixListener::bind(&path).unwrap());
    let address = tcp.local_addr().unwrap().to_string();
    let file = recording();
    let daemon = |args: &[&str]| {
        let mut all = vec![text(&file)];
        all.extend(args);
        replay(&all)
    };
    let relay = |args: &[&str]| {
        let mut all = vec!["--peer", "n=127.0.0.1:9"];
        all.extend(args);
        weir("weir-relay", &all).unwrap()
    };
    let cases = [
        (daemon(&["--listen", &address]), address.as_str(), "another program has this port"),
        (daemon(&["--unix", text(&path)]), text(&path), "another daemon is listening"),
        (daemon(&["--listen", "0.0.0.0:0"]), "0.0.0.0:0", "--insecure"),
        (relay(&["--listen", &address, "--unix", "none"]), &address, "in use by another program"),
        (relay(&["--listen", "none", "--unix", text(&path)]), text(&path), "in use by another program"),
        (relay(&["--listen", "0.0.0.0:0", "--unix", "none"]), "0.0.0.0:0", "--insecure"),
    ];
    for (ended, what, why) in cases {
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let last = ended.err.trim_end().lines().last().unwrap_or("");
        assert!(last.contains(what) && last.contains(why), "{what}, {why}: {ended:?}");
        assert!(!ended.err.contains('\x1b'), "no colours where there is no terminal: {ended:?}");
    }
}

#[test]
fn colours_are_for_terminals() {
    let folder = tempfile::tempdir().unwrap();
    let (_node, socket) = served(folder.path());
    let coloured = |ended: Ended| {
        assert!(ended.code == Some(0) && ended.out.contains("FORWARDED"), "{ended:?}");
        ended.out.contains('\x1b')
    };
    assert!(!coloured(observe(&socket, &[])));
    assert!(coloured(observe(&socket, &["--color", "always"])));
    let on_a_terminal = |no_color: Option<&str>, colour: &str| {
        let weir = program("weir").unwrap();
        let line = format!("{} observe --server unix://{} --color {colour}", text(&weir), text(&socket));
        let mut command = Command::new("script");
        command.args(["-qec", &line, "/dev/null"]).env_remove("NO_COLOR");
        coloured(finish(command.envs(no_color.map(|value| ("NO_COLOR", value)))).unwrap())
    };
    assert!(on_a_terminal(None, "auto"));
    assert!(!on_a_terminal(Some("1"), "auto"));
    assert!(on_a_terminal(Some(""), "auto"), "empty is as good as not set");
    assert!(!on_a_terminal(None, "never"));
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let (_node, socket) = served(folder.path());
    let mut replay = Command::new(program("weir-daemon").unwrap());
    replay.arg("replay").arg(recording());
    let mut observe = Command::new(program("weir").unwrap());
    observe.args(["observe", "--all", "-o", "json", "--server", &format!("unix://{}", text(&socket))]);
    for mut command in [replay, observe] {
        // Nobody will ever read: the first write fails.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let log = tempfile::NamedTempFile::new().unwrap();
        command.stdin(Stdio::null()).stdout(writer).stderr(log.reopen().unwrap());
        let mut running = Running::of(command.spawn().unwrap());
        let status = wait_for("its end", DEADLINE, || running.child().try_wait().unwrap()).unwrap();
        let said = std::fs::read_to_string(log.path()).unwrap();
        assert!(status.success() && said.is_empty(), "{command:?}: {status} {said}");
    }
}

/// What came through a pipe is told while the pipe waits for more, and in the end all is as from the file.
#[test]
fn a_capture_through_a_pipe_is_told_as_it_comes() {
    let whole = std::fs::read(recording()).unwrap();
    let (first, rest) = whole.split_at(block_behind(&whole, whole.len() / 2));
    let (reader, mut writer) = std::io::pipe().unwrap();
    let told = tempfile::NamedTempFile::new().unwrap();
    let mut command = Command::new(program("weir-daemon").unwrap());
    command.args(["replay", "-"]).stdin(reader).stdout(told.reopen().unwrap()).stderr(Stdio::inherit());
    let mut running = Running::of(command.spawn().unwrap());
    drop(command);
    writer.write_all(first).unwrap();
    let lines = || std::fs::read_to_string(told.path()).unwrap().lines().count();
    wait_for("the first flows", DEADLINE, || (lines() > 0).then_some(())).unwrap();
    writer.write_all(rest).unwrap();
    drop(writer);
    let status = wait_for("its end", DEADLINE, || running.child().try_wait().unwrap()).unwrap();
    assert!(status.success());
    let from_the_file = replay(&[text(&recording())]);
    assert_eq!(std::fs::read_to_string(told.path()).unwrap(), from_the_file.out);
}

#[test]
fn a_missing_capability_is_named_with_the_way_to_get_it() {
    let test = "a_missing_capability_is_named_with_the_way_to_get_it";
    if skip_unless(test, is_root().then_some(()), "only root can give capabilities up").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("node.sock");
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", "-all", "--inh-caps", "-all"]).arg(program("weir-daemon").unwrap());
    let ended = finish(command.args(["run", "--unix", text(&socket)])).unwrap();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for needle in ["no permission", "CAP_NET_RAW", "setcap", "securityContext"] {
        assert!(ended.sentence().contains(needle), "{ended:?}");
    }
    assert!(!socket.exists(), "nothing is left behind");
}
