//! `--ulimit`: what one process may use of a resource, and its files and processes together.
//!
//! A limit has two numbers: the *soft* one counts, and any process may raise it up to the *hard* one. To raise that takes
//! CAP_SYS_RESOURCE on the host; so it is raised from outside. Lowered it is inside, as late as possible: our own last
//! steps open files, too. See getrlimit(2), prlimit(2).

use nix::errno::Errno;
use nix::unistd::Pid;
use process::{Error, Result};

use crate::kernel::prlimit;

/// A limit that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// `nofile`.
    pub name: &'static str,
    /// `RLIMIT_*`.
    pub resource: u32,
    /// What counts.
    pub soft: u64,
    /// How far it can be raised.
    pub hard: u64,
}

// ANCHOR: names
/// The names of limits, as Docker and a shell's `ulimit` know them.
const NAMES: [(&str, u32); 15] = [
    ("core", libc::RLIMIT_CORE),
    ("cpu", libc::RLIMIT_CPU),
    ("data", libc::RLIMIT_DATA),
    ("fsize", libc::RLIMIT_FSIZE),
    ("locks", libc::RLIMIT_LOCKS),
    ("memlock", libc::RLIMIT_MEMLOCK),
    ("msgqueue", libc::RLIMIT_MSGQUEUE),
    ("nice", libc::RLIMIT_NICE),
    ("nofile", libc::RLIMIT_NOFILE),
    ("nproc", libc::RLIMIT_NPROC),
    ("rss", libc::RLIMIT_RSS),
    ("rtprio", libc::RLIMIT_RTPRIO),
    ("rttime", libc::RLIMIT_RTTIME),
    ("sigpending", libc::RLIMIT_SIGPENDING),
    ("stack", libc::RLIMIT_STACK),
];
// ANCHOR_END: names

// ANCHOR: limit
impl Limit {
    /// A wish, `nofile=1024:2048`; one number is both, -1 or `unlimited` is no limit.
    ///
    /// # Errors
    /// There is no such resource, or a soft limit above the hard one.
    pub fn parse(text: &str) -> Result<Limit> {
        let refuse = |cause: &str| Error::refused("--ulimit", text, cause);
        let (name, numbers) = text.split_once('=').ok_or_else(|| refuse("write it as NAME=SOFT[:HARD]"))?;
        let known = NAMES.iter().find(|(known, _)| *known == name);
        let (name, resource) = *known.ok_or_else(|| refuse("there is no such limit"))?;
        let (soft, hard) = numbers.split_once(':').unwrap_or((numbers, numbers));
        let number = |word: &str| match word {
            "-1" | "unlimited" => Ok(libc::RLIM64_INFINITY),
            word => word.parse().map_err(|_| refuse("a limit is a number, or `unlimited`")),
        };
        let limit = Limit { name, resource, soft: number(soft)?, hard: number(hard)? };
        if limit.soft > limit.hard {
            return Err(refuse("the soft limit must not be above the hard one"));
        }
        Ok(limit)
    }

    /// Raises the hard limit of a process, where it is lower, and leaves the soft one.
    ///
    /// # Errors
    /// EPERM: the host's administrator did not give us the right.
    pub fn raise(&self, process: Pid) -> Result<()> {
        let now = prlimit(process, self.resource, None).map_err(|errno| self.cannot(errno))?;
        if now.rlim_max >= self.hard {
            return Ok(());
        }
        let higher = libc::rlimit64 { rlim_max: self.hard, ..now };
        prlimit(process, self.resource, Some(higher)).map(drop).map_err(|errno| self.cannot(errno))
    }

    /// Takes it for this process.
    ///
    /// # Errors
    /// None that a user could cause.
    pub fn take(&self) -> Result<()> {
        let limit = libc::rlimit64 { rlim_cur: self.soft, rlim_max: self.hard };
        prlimit(Pid::from_raw(0), self.resource, Some(limit)).map(drop).map_err(|errno| self.cannot(errno))
    }
    // ANCHOR_END: limit

    fn cannot(&self, errno: Errno) -> Error {
        let most = std::fs::read_to_string("/proc/sys/fs/nr_open").ok();
        let most = most.and_then(|text| text.trim().parse::<u64>().ok());
        let is_too_many = self.name == "nofile" && most.is_some_and(|most| self.hard > most);
        let cause = match errno {
            Errno::EPERM if is_too_many => "no process of this machine may have more than `fs.nr_open` says",
            Errno::EPERM => {
                "to raise a hard limit takes CAP_SYS_RESOURCE on the host; `ulimit -H -a` shows yours"
            }
            _ => "",
        };
        Error::new("set the limit", self.name, errno).because(cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read() {
        let limit = |text| Limit::parse(text).map(|limit| (limit.resource, limit.soft, limit.hard));
        assert_eq!(limit("nofile=1024:2048").unwrap(), (libc::RLIMIT_NOFILE, 1024, 2048));
        assert_eq!(limit("nproc=7").unwrap(), (libc::RLIMIT_NPROC, 7, 7));
        assert_eq!(limit("core=0:-1").unwrap(), (libc::RLIMIT_CORE, 0, u64::MAX));
        assert_eq!(limit("stack=unlimited").unwrap(), (libc::RLIMIT_STACK, u64::MAX, u64::MAX));
        for (text, words) in [
            ("nofile", "NAME=SOFT"),
            ("files=1", "no such limit"),
            ("nofile=2:1", "above"),
            ("nofile=-1:5", "above"),
            ("nofile=x", "number"),
            ("nofile=1:", "number"),
        ] {
            assert!(limit(text).unwrap_err().to_string().contains(words), "{text}");
        }
    }
}
