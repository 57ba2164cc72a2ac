//! A host CPU for a machine of its own.
//!
//! A machine with one CPU hands over between its kernel and its processes at every system call. Pinned to one
//! host CPU that hand-over stays in one cache and is about five times cheaper. Several machines share the CPUs
//! out among them: a taken CPU is an abstract Unix socket of that name, so the claim ends with its owner and
//! leaves no file.
//!
//! Left out: fairness. When all CPUs are taken, a machine shares one, chosen by its starter's process id.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

/// One host CPU, ours as long as this lives.
#[derive(Debug)]
pub struct Claim {
    cpu: usize,
    /// Held, never used: its name is the claim.
    _name: Option<UnixListener>,
}

impl Claim {
    /// A free CPU out of those that this process may use; a shared one when all are taken.
    pub fn any() -> Claim {
        let cpus = allowed();
        for &cpu in &cpus {
            let name = SocketAddr::from_abstract_name(format!("gantry-lab-cpu-{cpu}"));
            if let Ok(listener) = name.and_then(|name| UnixListener::bind_addr(&name)) {
                return Claim { cpu, _name: Some(listener) };
            }
        }
        Claim { cpu: cpus[std::process::id() as usize % cpus.len()], _name: None }
    }

    /// The set with this CPU alone.
    pub fn set(&self) -> CpuSet {
        let mut set = CpuSet::new();
        set.set(self.cpu).expect("the number came from such a set");
        set
    }
}

fn allowed() -> Vec<usize> {
    let set = sched_getaffinity(Pid::this()).unwrap_or_else(|_| CpuSet::new());
    let cpus: Vec<_> = (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).collect();
    if cpus.is_empty() { vec![0] } else { cpus }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_is_claimed_once() {
        let (one, two) = (Claim::any(), Claim::any());
        if one._name.is_some() && two._name.is_some() {
            assert_ne!(one.cpu, two.cpu);
        }
        assert!(allowed().contains(&one.cpu) && allowed().contains(&two.cpu));
        assert!(one.set().is_set(one.cpu).unwrap());
    }
}
