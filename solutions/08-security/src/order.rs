//! The order in which a container's root loses its power, and the reason for each position.
//!
//! ```text
//! still root, with all capabilities            because
//!   leave the caller's groups                  takes CAP_SETGID; before the program's user takes its own
//!   leave the caller's keys                    keyctl is forbidden later
//!   place devices                              mounts
//!   shut all others                            changes a mount
//!   set switches                               mounts, and writes what is root's
//!   cover the kernel's files                   mounts
//!   lower the ceiling (bounding set)           takes CAP_SETPCAP; over setuid, we keep for the filter only
//!   keep over setuid                           or the next step would take CAP_SYS_ADMIN, too
//! the program's user (chapter 4)
//!   be untraceable                             soon there is nothing that we may and others here may not
//!   forget to keep                             it has done its service
//! with no_new_privs                            without
//!   set no_new_privs                             keep CAP_SYS_ADMIN, drop the rest
//!   limit files (Landlock)                       limit files: takes that capability
//!   take limits: our steps opened files          take limits
//!   drop capabilities                            put the filter on: takes it, too
//!   put the filter on                            drop capabilities: the filter must let capset pass
//! ```
//!
//! The filter is last wherever it can be: each step behind it is a call that a profile has to allow. Without no_new_privs
//! the kernel wants CAP_SYS_ADMIN for a filter, or an ordinary user could let a setuid program run under a filter that
//! lies to it. Then one call comes after: capset. If a profile forbids that one, we can do without: the ceiling is lowered,
//! nothing is inheritable, and exec itself computes the very same sets. Only the init of `--init` never executes
//! anything, and would stay mighty; that is refused.

use process::{Error, Result};

/// One step; its subject stands in the isolation that does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// No supplementary groups.
    LeaveGroups,
    /// A session keyring of its own.
    LeaveKeys,
    /// Devices of the host to their places.
    PlaceDevices,
    /// Device nodes of the image open nothing.
    ShutDevices,
    /// `--sysctl`.
    SetSwitches,
    /// Masked and read-only paths.
    CoverPaths,
    /// `/sys` writable, for `--privileged`.
    OpenSys,
    /// The bounding set.
    LowerCeiling,
    /// Capabilities outlive the change of the user.
    KeepOverSetuid,
    /// Nobody may look into us until we are the program.
    BeUntraceable,
    /// From here on not any more.
    ForgetToKeep,
    /// `--ulimit`.
    TakeLimits,
    /// no_new_privs.
    NoNewPrivileges,
    /// What the program may have, and CAP_SYS_ADMIN until the filter is on.
    DropAllButAdmin,
    /// Landlock.
    LimitFiles,
    /// What the program may have, and nothing else.
    DropCapabilities,
    /// seccomp.
    PutFilterOn,
}

/// What is asked for, as far as the order depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Whether no exec may bring privileges.
    pub no_new_privileges: bool,
    /// Whether there is a filter, and if so, whether it lets capset pass.
    pub filter: Option<bool>,
    /// Whether our own PID 1 stays.
    pub init: bool,
}

/// How the container's `/proc` and `/sys` are to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paths {
    /// It has none of its own, or they stay uncovered.
    Left,
    /// Secrets covered, switches read-only.
    Covered,
    /// All open, `/sys` for writing, too.
    Open,
}

// ANCHOR: order
/// Before the program's user is taken.
pub fn as_root(paths: Paths) -> Vec<Step> {
    let mut steps = vec![Step::LeaveGroups, Step::LeaveKeys];
    steps.extend([Step::PlaceDevices, Step::ShutDevices, Step::SetSwitches]);
    match paths {
        Paths::Left => {}
        Paths::Covered => steps.push(Step::CoverPaths),
        Paths::Open => steps.push(Step::OpenSys),
    }
    steps.extend([Step::LowerCeiling, Step::KeepOverSetuid]);
    steps
}

/// After it was taken.
///
/// # Errors
/// Our own PID 1 would keep CAP_SYS_ADMIN.
pub fn as_user(plan: Plan) -> Result<Vec<Step>> {
    let mut steps = vec![Step::BeUntraceable, Step::ForgetToKeep];
    let filter = plan.filter.map(|_| Step::PutFilterOn);
    if plan.no_new_privileges {
        steps.extend([Step::NoNewPrivileges, Step::LimitFiles, Step::TakeLimits, Step::DropCapabilities]);
        steps.extend(filter);
        return Ok(steps);
    }
    steps.extend([Step::DropAllButAdmin, Step::LimitFiles, Step::TakeLimits]);
    steps.extend(filter);
    match plan.filter {
        Some(false) if plan.init => {
            let cause = "it refuses `capset`, and init would keep CAP_SYS_ADMIN; add no-new-privileges";
            return Err(Error::refused("use", "the seccomp profile with --init", cause));
        }
        Some(false) => {}
        _ => steps.push(Step::DropCapabilities),
    }
    Ok(steps)
}
// ANCHOR_END: order

#[cfg(test)]
mod tests {
    use super::*;

    fn place(steps: &[Step], step: Step) -> usize {
        steps.iter().position(|other| *other == step).unwrap_or_else(|| panic!("no {step:?} in {steps:?}"))
    }

    #[test]
    fn the_ceiling_comes_after_all_that_takes_a_capability() {
        let steps = as_root(Paths::Covered);
        assert!(place(&steps, Step::CoverPaths) < place(&steps, Step::LowerCeiling));
        assert_eq!(steps.last(), Some(&Step::KeepOverSetuid));
        assert!(!as_root(Paths::Left).contains(&Step::CoverPaths));
        assert!(as_root(Paths::Open).contains(&Step::OpenSys));
    }

    #[test]
    fn the_filter_is_last_or_only_capset_follows() {
        for init in [false, true] {
            let plan = |no_new_privileges, filter| as_user(Plan { no_new_privileges, filter, init });
            for lets_capset in [false, true] {
                let steps = plan(true, Some(lets_capset)).unwrap();
                assert_eq!(steps[0], Step::BeUntraceable, "before anything is given up");
                assert_eq!(steps.last(), Some(&Step::PutFilterOn));
                assert!(place(&steps, Step::NoNewPrivileges) < place(&steps, Step::DropCapabilities));
            }
            let steps = plan(false, Some(true)).unwrap();
            assert_eq!(steps[steps.len() - 2..], [Step::PutFilterOn, Step::DropCapabilities]);
            assert!(place(&steps, Step::DropAllButAdmin) < place(&steps, Step::LimitFiles));
            assert!(place(&steps, Step::LimitFiles) < place(&steps, Step::TakeLimits));
            assert!(place(&steps, Step::TakeLimits) < place(&steps, Step::PutFilterOn));
            assert_eq!(plan(false, None).unwrap().last(), Some(&Step::DropCapabilities));
        }
        let plan = Plan { no_new_privileges: false, filter: Some(false), init: false };
        assert_eq!(as_user(plan).unwrap().last(), Some(&Step::PutFilterOn), "exec drops the rest");
        let said = as_user(Plan { init: true, ..plan }).unwrap_err().to_string();
        assert!(said.contains("capset"), "{said}");
    }
}
