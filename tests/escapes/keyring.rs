//! 14. The keys of the session that started the container.

use super::{off, on, probe};
use crate::stage::case::Case;
use crate::stage::verdict::Verdict;

const KEY: &str = "the host's key";

pub fn keyring(case: &Case) -> Verdict {
    let (host, attack) = (probe(case), ["probe", "attack", "keyring"]);
    let run =
        host.run(&[&["attack", "keyring-host", "probe", "careless", "plain", "demo"][..], &attack].concat())?;
    off(&run, run.out.contains(KEY), "a key of the session from which the container was started")?;
    let engine = |flags: &[&str]| {
        let first = ["attack", "keyring-host", &case.binary, "run", "--rootfs", "demo"];
        host.run(&[&first, flags, &["--"], &attack].concat())
    };
    let run = engine(&[])?;
    on(&run, run.out.contains(KEY), "Operation not permitted")?;
    // Without the filter there is still nothing to find: the container has a session keyring of its own.
    let run = engine(&["--security-opt", "seccomp=unconfined"])?;
    on(&run, run.out.contains(KEY), "ENOKEY")
}
