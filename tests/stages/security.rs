//! Stage 8: what is claimed of `security`, the runner of chapter 8. Filters stand in `security_seccomp.rs`, profiles in `security_profile.rs`, covered files
//! and switches in `security_paths.rs`, devices in `security_devices.rs`, limits, keys and Landlock in `security_rest.rs`.
//!
//! The tests of an exercise need it and those before it. So the first ones say that there is to be no filter and nothing
//! covered ([`OPEN`]), and those before the last one share the host's network: a network of one's own has switches set.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::mount::{full, mount_tmpfs, unmount};
use super::security_devices::{a_device_is_shown, no_disk_is_open_without_a_list};
use super::security_paths::{
    a_file_that_is_not_the_null_device_is_not_mounted, a_privileged_container_sees_everything,
    a_switch_of_the_container_is_set, a_switch_of_the_machine_is_refused, all_of_it_holds_without_rights,
    low_ports_are_open_in_a_network_of_ones_own, secrets_of_the_kernel_are_covered,
    switches_of_the_machine_are_read_only, the_covers_can_be_left_out,
};
use super::security_profile::{
    a_profile_cannot_lie_to_the_runner, a_profile_depends_on_the_container, a_profile_that_is_none_is_told,
};
use super::security_rest::{
    a_damaged_cache_is_of_no_use, files_can_be_limited_to_places, keys_of_the_caller_are_out_of_reach,
    limits_are_taken, no_descriptor_leads_outside, the_callers_groups_are_left, the_oom_score_is_set,
    the_runners_file_is_out_of_reach, the_runners_memory_is_out_of_reach, what_is_not_done_is_told,
};
use super::security_seccomp::{
    a_filter_forbids_what_its_profile_says, arguments_are_compared_in_full,
    dockers_profile_forbids_what_it_should, every_way_to_a_call_is_guarded, init_runs_under_a_filter,
    new_calls_do_not_exist, privileges_do_not_come_back, the_filter_comes_last,
};
use crate::lab::Ground;
use crate::stage::case::{Case, Run};
use crate::stage::tests;
use crate::stage::verdict::{Trouble, Verdict, same};

tests![
    roots_capabilities_are_dockers_fourteen,
    a_user_has_none_under_the_same_ceiling,
    capabilities_are_added_and_dropped,
    a_capability_that_nobody_has_is_told,
    the_ceiling_cannot_be_broken_by_a_file,
    inherited_capabilities_end_here,
    a_drop_counts,
    limits_are_taken,
    the_oom_score_is_set,
    keys_of_the_caller_are_out_of_reach,
    a_device_is_shown,
    no_disk_is_open_without_a_list,
    the_callers_groups_are_left,
    files_can_be_limited_to_places,
    no_descriptor_leads_outside,
    the_runners_file_is_out_of_reach,
    the_runners_memory_is_out_of_reach,
    what_is_not_done_is_told,
    a_profile_depends_on_the_container,
    a_profile_that_is_none_is_told,
    a_filter_forbids_what_its_profile_says,
    every_way_to_a_call_is_guarded,
    new_calls_do_not_exist,
    the_filter_comes_last,
    a_profile_cannot_lie_to_the_runner,
    init_runs_under_a_filter,
    dockers_profile_forbids_what_it_should,
    arguments_are_compared_in_full,
    privileges_do_not_come_back,
    a_damaged_cache_is_of_no_use,
    secrets_of_the_kernel_are_covered,
    switches_of_the_machine_are_read_only,
    a_file_that_is_not_the_null_device_is_not_mounted,
    the_covers_can_be_left_out,
    a_privileged_container_sees_everything,
    a_switch_of_the_container_is_set,
    a_switch_of_the_machine_is_refused,
    low_ports_are_open_in_a_network_of_ones_own,
    all_of_it_holds_without_rights,
    capabilities_are_shown,
];

/// No filter, nothing covered, no switches.
pub(super) const OPEN: [&str; 6] =
    ["--network", "host", "--security-opt", "seccomp=unconfined", "--security-opt", "systempaths=unconfined"];

/// Nothing covered, no switches.
pub(super) const FILTERED: [&str; 4] = ["--network", "host", "--security-opt", "systempaths=unconfined"];

/// What Docker leaves to root, 14 bits.
pub(super) const FOURTEEN: u64 = 0xa804_25fb;

/// Runs a script in `demo` with capabilities alone.
pub(super) fn open(case: &Case, flags: &[&str], script: &str) -> Result<Run, Trouble> {
    full(case, &[&OPEN, flags].concat(), script)
}

/// Runs a script in `demo` with capabilities and a filter.
pub(super) fn filtered(case: &Case, flags: &[&str], script: &str) -> Result<Run, Trouble> {
    full(case, &[&FILTERED, flags].concat(), script)
}

/// All that this lab's root has.
fn all_of_ours() -> Result<u64, Trouble> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapPrm:"));
    Ok(line.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or_default())
}

/// The five sets as `probe capabilities` prints them.
fn sets(permitted: u64, bounding: u64) -> String {
    format!(
        "CapInh {:016x}\nCapPrm {permitted:016x}\nCapEff {permitted:016x}\nCapBnd {bounding:016x}\nCapAmb {:016x}",
        0, 0
    )
}

/// An ordinary user that this lab has: where there is one id only, root is all there is.
pub(super) fn has_users(case: &Case) -> bool {
    case.ground == Ground::Root
}

pub fn roots_capabilities_are_dockers_fourteen(case: &Case) -> Verdict {
    let ours = all_of_ours()?;
    let expected = FOURTEEN & ours;
    open(case, &[], "probe capabilities")?.code_is(0)?.out_is(&sets(expected, expected))?;
    // As far as the host's administrator has them.
    same("capabilities of Docker's that this lab has", FOURTEEN, expected)?;
    // In a user namespace of its own the same fourteen count, for that namespace.
    let own = open(case, &["--uid-map", "0:0:1"], "probe capabilities")?;
    own.code_is(0)?.out_is(&sets(FOURTEEN, FOURTEEN))?;
    Ok(())
}

pub fn a_user_has_none_under_the_same_ceiling(case: &Case) -> Verdict {
    if !has_users(case) {
        // One id only: whoever runs is root, and has the fourteen.
        let run = open(case, &["--user", "0"], "probe capabilities; id -u")?;
        run.code_is(0)?.out_is(&(sets(FOURTEEN, FOURTEEN) + "\n0"))?;
        return Ok(());
    }
    let run = open(case, &["--user", "1000"], "probe capabilities; id -u")?;
    run.code_is(0)?.out_is(&(sets(0, FOURTEEN) + "\n1000"))?;
    // As in Docker, a capability that is added raises the ceiling, and is no gift to who is not root.
    let run = open(case, &["--user", "1000", "--cap-add", "NET_ADMIN"], "probe capabilities")?;
    run.out_is(&sets(0, FOURTEEN | 1 << 12))?;
    Ok(())
}

pub fn capabilities_are_added_and_dropped(case: &Case) -> Verdict {
    let ours = all_of_ours()?;
    for (flags, expected) in [
        (&["--cap-add", "NET_ADMIN"][..], FOURTEEN | 1 << 12),
        (&["--cap-add", "cap_sys_time", "--cap-drop", "CHOWN"], FOURTEEN & !1 | 1 << 25),
        (&["--cap-drop", "ALL"], 0),
        (&["--cap-drop", "ALL", "--cap-add", "KILL", "--cap-add", "CAP_CHOWN"], 1 << 5 | 1),
        (&["--cap-add", "ALL"], ours),
        (&["--cap-add", "ALL", "--cap-drop", "SYS_ADMIN"], ours & !(1 << 21)),
        (&["--privileged"], ours),
    ] {
        let run = open(case, flags, "probe capabilities")?;
        run.code_is(0)?.out_is(&sets(expected, expected))?;
    }
    // One word takes all and the other gives all: whoever wrote both did not mean one of them.
    for flags in
        [["--privileged", "--cap-drop", "ALL"].as_slice(), &["--cap-add", "ALL", "--cap-drop", "ALL"]]
    {
        open(case, flags, "true")?.code_is(125)?.err_has("--cap-drop ALL")?.err_is_one_line()?;
    }
    Ok(())
}

pub fn a_capability_that_nobody_has_is_told(case: &Case) -> Verdict {
    let run = open(case, &["--cap-add", "FLY"], "true")?;
    run.code_is(125)?.err_has("FLY")?.err_is_one_line()?;
    open(case, &["--cap-drop", "CAP_"], "true")?.code_is(125)?.err_is_one_line()?;
    // What this lab's root lacks cannot be given away. Inside a container of ours, nearly everything is lacking.
    let bin = format!("{}/bin:/opt/bin:ro", crate::lab::HOME);
    let inner = format!(
        "/opt/bin/{} run --rootfs / --bare --userns host --network none --cgroups disabled --cap-add SYS_TIME --security-opt seccomp=unconfined -- true",
        case.binary
    );
    let run = open(case, &["--cgroups", "disabled", "-v", &bin], &inner)?;
    run.code_is(125)?.err_has("CAP_SYS_TIME")?.err_is_one_line()?;
    open(case, &["--cap-add", "SYS_PTRACE"], "true")?.code_is(0)?;
    Ok(())
}

pub fn a_drop_counts(case: &Case) -> Verdict {
    let script = "touch /file && chown 0:0 /file && echo chowned; chroot / true && echo chrooted";
    open(case, &["--cap-add", "SYS_CHROOT"], script)?.out_is("chowned\nchrooted")?;
    open(case, &["--cap-drop", "SYS_CHROOT"], "chroot / true && echo chrooted")?.out_is("")?;
    // CAP_SYS_ADMIN is not among the fourteen: no mounts, no namespaces.
    open(case, &[], "mount -t tmpfs none /mnt && echo mounted; unshare -m true && echo unshared")?
        .out_is("")?;
    open(case, &["--cap-add", "SYS_ADMIN"], "mount -t tmpfs none /mnt && echo mounted")?.out_is("mounted")?;
    Ok(())
}

/// A folder of the host with programs that bring every capability along: `of-root` by its owner, `with-all` by its own
/// set. It goes away with this.
pub(super) struct Mighty(&'static Path);

impl Mighty {
    /// On a file system of its own: those of the lab let no file bring anything.
    pub(super) fn new(case: &Case) -> Result<Mighty, Trouble> {
        let mighty = Mighty(Path::new("/tmp/mighty"));
        mount_tmpfs(mighty.0)?;
        for (name, mode) in [("of-root", 0o4755), ("with-all", 0o755)] {
            fs::copy(case.demo().join("usr/bin/probe"), mighty.0.join(name))?;
            fs::set_permissions(mighty.0.join(name), fs::Permissions::from_mode(mode))?;
        }
        give_all(&mighty.0.join("with-all"))?;
        Ok(mighty)
    }
}

impl Drop for Mighty {
    fn drop(&mut self) {
        // The lab looks for what is left.
        let _ = unmount(self.0);
    }
}

/// As a volume, the folder keeps its power: only no_new_privs takes it.
pub(super) const MIGHTY: [&str; 2] = ["-v", "/tmp/mighty:/mighty"];

/// `struct vfs_cap_data`, version 2: permitted all, inheritable all, and not effective, or exec would refuse a file that
/// cannot have them all.
fn give_all(file: &Path) -> Verdict {
    let words: [u32; 5] = [0x0200_0000, u32::MAX, u32::MAX, 0x1ff, 0x1ff];
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let path =
        std::ffi::CString::new(file.as_os_str().as_encoded_bytes()).expect("no zero byte in a test's path");
    // SAFETY: strings and bytes that live through the call.
    let done = unsafe {
        libc::setxattr(path.as_ptr(), c"security.capability".as_ptr(), bytes.as_ptr().cast(), bytes.len(), 0)
    };
    Ok(nix::errno::Errno::result(done).map(drop)?)
}

pub fn the_ceiling_cannot_be_broken_by_a_file(case: &Case) -> Verdict {
    let _files = Mighty::new(case)?;
    let permitted = |run: &Run| {
        let line = run.out.lines().find_map(|line| line.strip_prefix("CapPrm "));
        line.and_then(|set| u64::from_str_radix(set, 16).ok()).unwrap_or(u64::MAX)
    };
    let user: &[&str] = if has_users(case) { &["--user", "1000"] } else { &[] };
    for file in ["/mighty/of-root", "/mighty/with-all"] {
        let flags = [user, &MIGHTY, &["--cap-drop", "CHOWN"]].concat();
        let run = open(case, &flags, &format!("{file} capabilities"))?;
        let ceiling = FOURTEEN & !1;
        run.code_is(0)?.claim(
            permitted(&run) & !ceiling == 0,
            format!("{file} brings no capability that is not under the ceiling {ceiling:x}"),
        )?;
        if has_users(case) {
            // That it brings something shows that the file works, and that the ceiling is what holds it.
            run.claim(permitted(&run) == ceiling, "the file brings all that is under the ceiling")?;
        }
    }
    Ok(())
}

pub fn inherited_capabilities_end_here(case: &Case) -> Verdict {
    let _files = Mighty::new(case)?;
    // A caller with inheritable and ambient capabilities, as some daemons were (CVE-2022-24769).
    let program = ["--", "/mighty/with-all", "capabilities"];
    let words = [&["run", "--rootfs", "demo"], &OPEN[..], &MIGHTY, &program].concat();
    let inherit = || {
        let all = |halves: &mut [[u32; 3]; 2]| halves.iter_mut().for_each(|half| half[2] = half[1]);
        let (header, mut halves) = ([0x2008_0522_u32, 0], [[0_u32; 3]; 2]);
        // SAFETY: both have the kernel's layout for this version, and live through the calls.
        unsafe {
            libc::syscall(libc::SYS_capget, header.as_ptr(), halves.as_mut_ptr().cast::<u8>());
            all(&mut halves);
            nix::errno::Errno::result(libc::syscall(
                libc::SYS_capset,
                header.as_ptr(),
                halves.as_ptr().cast::<u8>(),
            ))?;
            libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE, 12, 0, 0);
        }
        Ok(())
    };
    let run = case.start_with(&words, |command| {
        use std::os::unix::process::CommandExt;
        // SAFETY: system calls only; a test has one thread.
        unsafe { command.pre_exec(inherit) };
    })?;
    run.wait()?.code_is(0)?.out_is(&sets(FOURTEEN, FOURTEEN))?;
    Ok(())
}

pub fn capabilities_are_shown(case: &Case) -> Verdict {
    let table = case.run(&["capabilities"])?;
    table
        .code_is(0)?
        .out_has("12   NET_ADMIN")?
        .out_has("13 * NET_RAW")?
        .out_has("40   CHECKPOINT_RESTORE")?;
    let own = case.run(&["capabilities", "self"])?;
    own.code_is(0)?.out_has("bounding")?.out_has("inheritable  0000000000000000  0  none")?;
    own.out_has(&format!("permitted    {:016x}", all_of_ours()?))?;
    case.run(&["capabilities", "../1"])?.code_is(125)?.err_is_one_line()?;
    case.run(&["capabilities", "999999999"])?.code_is(125)?.err_has("ENOENT")?.err_is_one_line()?;
    Ok(())
}
