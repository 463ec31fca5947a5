//! What this process uses, as the kernel counts it.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::governor::Usage;

/// Until now. Memory is 0 where /proc does not tell.
#[must_use]
pub fn now() -> Usage {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    Usage {
        cpu: Duration::new(cpu.tv_sec.try_into().unwrap_or(0), cpu.tv_nsec.try_into().unwrap_or(0)),
        resident_bytes: std::fs::read_to_string("/proc/self/status")
            .ok()
            .and_then(|status| resident(&status))
            .unwrap_or(0),
    }
}

/// `VmRSS` (proc_pid_status(5)), which is in kB of 1024 bytes.
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_from_its_line() {
        assert_eq!(resident("Name:\tx\nVmRSS:\t   12345 kB\nRssAnon:\t 7 kB\n"), Some(12_345 * 1024));
        assert_eq!(resident("VmRSS:\t 12 MB\n"), None);
        assert_eq!(resident(""), None);
    }

    #[test]
    fn this_process_uses_something() {
        let usage = now();
        assert!(usage.cpu > Duration::ZERO);
        assert!(usage.resident_bytes > 1 << 20, "{usage:?}");
    }
}
