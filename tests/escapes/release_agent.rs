//! 8. The program that the kernel runs when a control group is empty.

use super::{off, off_only_in_own_kernel, on, own_kernel};
use crate::lab::Ground;
use crate::stage::case::Case;
use crate::stage::verdict::Verdict;

pub fn release_agent(case: &Case) -> Verdict {
    if own_kernel() && case.ground == Ground::Root {
        let run =
            case.run(&["run", "--privileged", "--rootfs", "demo", "--", "probe", "attack", "release-agent"])?;
        let got = run.out.contains("as uid 0 in the host's PID namespace");
        off(&run, got, "a program run as root, outside of every namespace")?;
    } else {
        off_only_in_own_kernel();
    }
    // The way of CVE-2022-0492: no capability, but a user namespace in which one has them all.
    let attack = ["probe", "attack", "may-mount"];
    let open = ["run", "--security-opt", "seccomp=unconfined", "--rootfs", "demo", "--"];
    let run = case.run(&[&open[..], &attack].concat())?;
    off(
        &run,
        run.out.contains("in a user namespace of our own"),
        "CAP_SYS_ADMIN in a user namespace of its own",
    )?;
    let run = case.run(&[&["run", "--rootfs", "demo", "--"][..], &attack].concat())?;
    on(&run, run.code == 0, "mount: EPERM, unshare user namespace: EPERM")
}
