//! Which process a lease belongs to, so that it can be told later whether that process still runs.
//!
//! A PID alone does not tell: the kernel gives it to another process one day. With the time at which the process
//! started it means one process of this boot, and with the boot's own id one process for ever.
//! See proc_pid_stat(5).
//!
//! Left out: PID namespaces. All who share a state directory must see the same `/proc`.

use std::fmt;
use std::fs;

use process::{Error, Result};

/// A process, now or once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runner {
    /// Its number.
    pub pid: u32,
    /// When it started, in clock ticks since the boot.
    pub start: u64,
    /// The id of that boot.
    pub boot: String,
}

impl Runner {
    // ANCHOR: runner
    /// The calling process.
    ///
    /// # Errors
    /// `/proc` is not mounted.
    pub fn myself() -> Result<Runner> {
        let pid = std::process::id();
        let start =
            start_of(pid).ok_or_else(|| Error::refused("read", "/proc/self/stat", "is /proc mounted?"))?;
        Ok(Runner { pid, start, boot: boot() })
    }

    /// The process that was written down as three words; see its `Display`.
    pub fn parse(text: &str) -> Option<Runner> {
        let mut words = text.split(' ');
        let (pid, start) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(Runner { pid, start, boot: words.next()?.to_owned() })
    }

    /// Whether it still runs.
    pub fn is_alive(&self) -> bool {
        self.boot == boot() && start_of(self.pid) == Some(self.start)
    }
    // ANCHOR_END: runner
}

fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

fn start_of(pid: u32) -> Option<u64> {
    start_in(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The start time in the text of a `stat` file; none for a zombie, which runs no more.
///
/// The second field is the program's name in parentheses, and may itself contain blanks and parentheses.
fn start_in(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = after_name.split(' ').collect();
    // The first of these is field 3, the state; the start time is field 22.
    if ["Z", "X"].contains(fields.first()?) { None } else { fields.get(19)?.parse().ok() }
}

impl fmt::Display for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.pid, self.start, self.boot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_hides_nothing() {
        let stat = |state| {
            format!("4711 (a) b (c) {state} 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 8812345 20 21")
        };
        assert_eq!(start_in(&stat("S")), Some(8_812_345));
        assert_eq!(start_in(&stat("Z")), None);
        assert_eq!(start_in("4711 (half"), None);
    }

    #[test]
    fn we_run_and_whoever_had_our_number_does_not() {
        let myself = Runner::myself().unwrap();
        assert!(Runner::parse(&myself.to_string()).unwrap().is_alive());
        assert!(!Runner { start: myself.start + 1, ..myself.clone() }.is_alive());
        assert!(!Runner { boot: "another".to_owned(), ..myself }.is_alive());
        assert!(Runner::parse("4711").is_none());
    }
}
