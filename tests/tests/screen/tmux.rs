//! A terminal of tmux's, in which a program runs as a person would start it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use weir_tests::{DEADLINE, wait_for};

/// A tmux server of its own with one shell in one window; it ends with the test.
pub struct Pane {
    label: String,
    pub folder: PathBuf,
}

impl Pane {
    /// A shell in this folder, which is its home too.
    pub fn open(label: &str, folder: &Path, (columns, lines): (u16, u16)) -> Self {
        let pane = Self {
            label: format!("weir-test-{label}-{}", std::process::id()),
            folder: folder.canonicalize().unwrap(),
        };
        let (columns, lines) = (columns.to_string(), lines.to_string());
        let home = format!("HOME={}", pane.folder.display());
        let state = format!("XDG_STATE_HOME={}/state", pane.folder.display());
        let cwd = pane.folder.to_str().unwrap();
        let new = ["-f", "/dev/null", "new-session", "-d", "-x", &columns, "-y", &lines, "-c", cwd];
        let shell = ["env", &home, &state, "LC_ALL=C.UTF-8", "PS1=> ", "sh"];
        let all: Vec<&str> = new.iter().chain(&shell).copied().collect();
        pane.tmux(&all);
        pane
    }

    pub fn tmux(&self, args: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command.args(["-u", "-L", &self.label]).args(args).env_remove("TMUX");
        let Output { status, stdout, stderr } = command.output().unwrap();
        assert!(status.success(), "tmux {args:?}: {}", String::from_utf8_lossy(&stderr));
        String::from_utf8_lossy(&stdout).into_owned()
    }

    /// Presses keys, by their names in tmux.
    pub fn press(&self, keys: &[&str]) {
        let all: Vec<&str> = ["send-keys"].iter().chain(keys).copied().collect();
        self.tmux(&all);
    }

    /// Types text as it is.
    pub fn types(&self, text: &str) {
        self.tmux(&["send-keys", "-l", text]);
    }

    pub fn resize(&self, columns: u16, lines: u16) {
        self.tmux(&["resize-window", "-x", &columns.to_string(), "-y", &lines.to_string()]);
    }

    pub fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Waits until the screen is as wanted, and gives it.
    pub fn until(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let seen = wait_for(what, DEADLINE, || Some(self.screen()).filter(|screen| wanted(screen)));
        seen.unwrap_or_else(|error| panic!("{error}; the screen:\n{}", self.screen()))
    }

    /// Waits until the screen holds a text.
    pub fn shows(&self, text: &str) -> String {
        self.until(text, |screen| screen.contains(text))
    }

    /// The settings of the terminal, as `stty` says them, with its size left out.
    pub fn settings(&self, name: &str) -> String {
        let path = self.folder.join(name);
        self.types(&format!("stty -a | tail -n +2 > {name}; echo {name} done"));
        self.press(&["Enter"]);
        self.until(name, |screen| {
            screen.lines().any(|line| line.trim_start_matches("> ") == format!("{name} done"))
        });
        std::fs::read_to_string(path).unwrap()
    }
}

impl Drop for Pane {
    fn drop(&mut self) {
        // Over already is as good as ended.
        let _ = Command::new("tmux").args(["-L", &self.label, "kill-server"]).output();
    }
}
