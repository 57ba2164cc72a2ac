//! First half: what only root can do, and the host.
//!
//! The steps and their order stand in [`crate::order`]. From outside come what takes the host's powers: a lower score
//! for the OOM killer, and hard limits above ours.

use std::fs;

use mount::root::Root;
use nix::errno::Errno;
use process::{Child, Context, Isolation, Result};

use crate::capability::Set;
use crate::limit::Limit;
use crate::order::{Paths, Step, as_root};
use crate::sysctl::{self, Sysctl};
use crate::{credentials, device, kernel, paths};

/// The settings of a container that its program's user could not make any more.
pub struct Settings {
    /// Whether device nodes in its root file system open, as far as its cgroup lets them.
    pub nodes_open: bool,
    /// Switches of its namespaces.
    pub sysctls: Vec<Sysctl>,
    /// How its `/proc` and `/sys` look.
    pub paths: Paths,
    /// The most that any of its processes can ever have.
    pub ceiling: Set,
    /// How gladly the kernel kills it when memory is short, -1000 to 1000.
    pub oom_score: Option<i32>,
    /// Limits, to be raised as far as needed.
    pub limits: Vec<Limit>,
}

impl Isolation for Settings {
    fn name(&self) -> &'static str {
        "settings"
    }

    // ANCHOR: outside
    fn outside(&mut self, child: &Child) -> Result<()> {
        if let Some(score) = self.oom_score {
            let path = format!("/proc/{}/oom_score_adj", child.pid());
            fs::write(&path, score.to_string()).during("write", &path).map_err(|error| {
                match error.errno {
                    Errno::EACCES => {
                        error.because("below the caller's own it takes CAP_SYS_RESOURCE on the host")
                    }
                    _ => error,
                }
            })?;
        }
        self.limits.iter().try_for_each(|limit| limit.raise(child.pid()))
    }

    fn inside(&mut self) -> Result<()> {
        as_root(self.paths).into_iter().try_for_each(|step| self.perform(step))
    }
    // ANCHOR_END: outside
}

impl Settings {
    // ANCHOR: perform
    fn perform(&self, step: Step) -> Result<()> {
        match step {
            Step::LeaveGroups => credentials::leave_groups(),
            Step::LeaveKeys => kernel::new_keyring().during("make", "a session keyring"),
            Step::PlaceDevices => device::place_carried(),
            Step::ShutDevices if self.nodes_open => Ok(()),
            Step::ShutDevices => Root::current()?.shut_devices(),
            Step::SetSwitches if self.sysctls.is_empty() => Ok(()),
            Step::SetSwitches => sysctl::write(&self.sysctls),
            Step::CoverPaths => paths::cover(),
            Step::OpenSys => paths::open_sys(),
            Step::LowerCeiling => credentials::bound_to(self.ceiling),
            Step::KeepOverSetuid => credentials::keep_over_setuid(true),
            other => unreachable!("{other:?} is not for root"),
        }
    }
    // ANCHOR_END: perform
}
