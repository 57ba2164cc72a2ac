//! 12. A capability that waits for the right file.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{Disk, WORDS, off, on, probe};
use crate::stage::case::Case;
use crate::stage::verdict::{Verdict, fail};

/// The image holds the program with the marked file, and a file of root's.
pub fn inheritable(case: &Case) -> Verdict {
    let disk = Disk::new("/tmp/disk")?;
    let root = disk.0.join("demo");
    crate::rootfs::copy(&case.demo(), &root).map_err(|error| fail("a copy of demo", error))?;
    fs::copy(probe(case).program(), root.join("capable"))?;
    probe(case).run(&["attack", "inheritable-mark", "/tmp/disk/demo/capable"])?.code_is(0)?;
    fs::write(root.join("closed"), WORDS)?;
    fs::set_permissions(root.join("closed"), fs::Permissions::from_mode(0o600))?;
    let attack = ["/capable", "attack", "inheritable", "/closed"];

    let run = probe(case).run(&[&["careless", "inheritable", "/tmp/disk/demo"][..], &attack].concat())?;
    off(&run, run.out.contains(WORDS), "CAP_DAC_OVERRIDE as uid 1000, and with it root's files")?;
    let flags = ["run", "--user", "1000", "--rootfs", "/tmp/disk/demo", "--"];
    let run = case.run(&[&flags[..], &attack].concat())?;
    on(&run, run.out.contains(WORDS), "CapEff: 0000000000000000, open /closed: Permission denied")
}
