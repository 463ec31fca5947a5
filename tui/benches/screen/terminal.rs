//! The real program in a terminal of tmux's, spoken to over tmux's control mode: one process for all commands, so that a
//! look at the screen costs less than a millisecond.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

const DEADLINE: Duration = Duration::from_secs(30);
/// Ticks a second of the times in `/proc/PID/stat`, on every Linux.
const TICKS_PER_S: f64 = 100.0;

pub struct Terminal {
    label: String,
    tmux: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Terminal {
    pub fn open(columns: u16, lines: u16, program: &str) -> Result<Self> {
        let label = format!("weir-bench-{}", std::process::id());
        let mut tmux = Command::new("tmux")
            .args(["-u", "-f", "/dev/null", "-L", &label, "-C", "new-session"])
            .args(["-x", &columns.to_string(), "-y", &lines.to_string(), program])
            .env_remove("TMUX")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting tmux")?;
        let stdin = tmux.stdin.take().context("tmux has no input")?;
        let stdout = BufReader::new(tmux.stdout.take().context("tmux has no output")?);
        let mut terminal = Self { label, tmux, stdin, stdout };
        terminal.answer()?;
        terminal.ask(&format!("refresh-client -C {columns}x{lines}"))?;
        Ok(terminal)
    }

    /// The lines of the next answer; what the program prints meanwhile is passed over.
    fn answer(&mut self) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        let mut is_inside = false;
        loop {
            let mut bytes = Vec::new();
            if self.stdout.read_until(b'\n', &mut bytes)? == 0 {
                bail!("tmux has ended");
            }
            let line = String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned();
            match line.split(' ').next() {
                Some("%begin") => is_inside = true,
                Some("%end") => return Ok(lines),
                Some("%error") => bail!("tmux: {}", lines.join(" ")),
                _ if is_inside => lines.push(line),
                _ => {}
            }
        }
    }

    fn ask(&mut self, command: &str) -> Result<Vec<String>> {
        writeln!(self.stdin, "{command}")?;
        self.stdin.flush()?;
        self.answer()
    }

    pub fn screen(&mut self) -> Result<String> {
        Ok(self.ask("capture-pane -p")?.join("\n"))
    }

    pub fn press(&mut self, key: &str) -> Result<()> {
        self.ask(&format!("send-keys {key}")).map(drop)
    }

    /// Time until the screen is as wanted.
    pub fn until(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> Result<Duration> {
        let start = Instant::now();
        loop {
            let screen = self.screen()?;
            if wanted(&screen) {
                return Ok(start.elapsed());
            }
            if start.elapsed() > DEADLINE {
                bail!("{what}: not within {DEADLINE:?}:\n{screen}");
            }
        }
    }

    /// Time from a key to the screen that follows from it.
    pub fn key(&mut self, key: &str, wanted: impl Fn(&str) -> bool) -> Result<Duration> {
        let start = Instant::now();
        self.press(key)?;
        self.until(key, wanted)?;
        Ok(start.elapsed())
    }

    /// The process of the program.
    pub fn process(&mut self) -> Result<Process> {
        let lines = self.ask("list-panes -F '#{pane_pid}'")?;
        let id = lines.first().context("no pane")?.trim().parse().context("no process of the pane")?;
        Ok(Process(id))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Over already is as good as ended.
        let _ = Command::new("tmux").args(["-L", &self.label, "kill-server"]).output();
        let _ = self.tmux.kill();
        let _ = self.tmux.wait();
    }
}

pub struct Process(u32);

impl Process {
    /// Processor time that it has used, seconds.
    pub fn cpu_s(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0))?;
        let fields = stat.rsplit_once(')').context("no stat")?.1;
        let ticks = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
        Ok(ticks.sum::<f64>() / TICKS_PER_S)
    }

    /// Memory that it holds, mebibytes.
    pub fn resident_mib(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib / 1024.0)
    }

    /// Share of one core over so long.
    pub async fn share(&self, over: Duration) -> Result<f64> {
        let (before, start) = (self.cpu_s()?, Instant::now());
        tokio::time::sleep(over).await;
        Ok((self.cpu_s()? - before) * 100.0 / start.elapsed().as_secs_f64())
    }
}
