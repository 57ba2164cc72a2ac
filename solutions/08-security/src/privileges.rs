//! Second half: the program's user gives up what is left.
//!
//! The steps and their order stand in [`crate::order`]. The filter was made before the process existed: here it is one
//! system call.

use std::path::PathBuf;

use nix::errno::Errno;
use nix::unistd::geteuid;
use process::{Birth, Error, Isolation, Result};

use crate::capability::{SYS_ADMIN, Set};
use crate::landlock;
use crate::limit::Limit;
use crate::order::{Plan, Step, as_user};
use crate::resolve::Facts;
use crate::seccomp::{Choice, Filter, lets_pass, must_let_us_finish};
use crate::{credentials, kernel};

/// The privileges of a container's program.
pub struct Privileges {
    /// What root keeps; anybody else keeps nothing.
    pub capabilities: Set,
    /// Whether no exec may bring privileges.
    pub no_new_privileges: bool,
    /// Which calls it may make.
    pub seccomp: Choice,
    /// The only places in which it finds files.
    pub landlock: Vec<landlock::Rule>,
    /// Limits.
    pub limits: Vec<Limit>,
    /// Whether our own PID 1 stays.
    pub init: bool,
    /// Where filters are kept.
    pub state: PathBuf,
    filter: Option<Filter>,
    steps: Vec<Step>,
}

impl Privileges {
    /// Those of a container that says nothing else, with these capabilities.
    pub fn new(capabilities: Set, state: PathBuf) -> Privileges {
        Privileges {
            capabilities,
            no_new_privileges: false,
            seccomp: Choice::Builtin,
            landlock: Vec::new(),
            limits: Vec::new(),
            init: false,
            state,
            filter: None,
            steps: Vec::new(),
        }
    }
}

impl Isolation for Privileges {
    fn name(&self) -> &'static str {
        "privileges"
    }

    // ANCHOR: prepare
    fn prepare(&mut self, _birth: &mut Birth) -> Result<()> {
        if !self.landlock.is_empty() {
            landlock::version()?;
        }
        self.filter = self.seccomp.filter(&Facts::here(self.capabilities)?, &self.state)?;
        let program = self.filter.as_ref().map(|filter| &filter.program);
        if let Some(program) = program {
            must_let_us_finish(program, self.init)?;
        }
        self.steps = as_user(Plan {
            no_new_privileges: self.no_new_privileges,
            filter: program.map(|program| lets_pass(program, libc::SYS_capset, &[])),
            init: self.init,
        })?;
        Ok(())
    }
    // ANCHOR_END: prepare

    fn inside(&mut self) -> Result<()> {
        self.steps.iter().try_for_each(|step| self.perform(*step))
    }
}

impl Privileges {
    // ANCHOR: perform
    fn perform(&self, step: Step) -> Result<()> {
        let keep = if geteuid().is_root() { self.capabilities } else { Set::EMPTY };
        match step {
            Step::BeUntraceable => credentials::be_untraceable(),
            Step::ForgetToKeep => credentials::keep_over_setuid(false),
            Step::TakeLimits => self.limits.iter().try_for_each(Limit::take),
            Step::NoNewPrivileges => credentials::no_new_privileges(),
            Step::DropAllButAdmin => credentials::reduce_to(keep | Set::one(SYS_ADMIN)),
            Step::LimitFiles => landlock::enforce(&self.landlock),
            Step::DropCapabilities => credentials::reduce_to(keep),
            Step::PutFilterOn => self.filter.as_ref().map_or(Ok(()), put_on),
            other => unreachable!("{other:?} is for root"),
        }
    }
    // ANCHOR_END: perform
}

fn put_on(filter: &Filter) -> Result<()> {
    kernel::seccomp(&filter.program, filter.flags).map_err(|errno| {
        let cause = match errno {
            Errno::EACCES => "without CAP_SYS_ADMIN it takes --security-opt no-new-privileges",
            Errno::ENOSYS | Errno::EINVAL => "this kernel has no filters, or not with these flags",
            _ => "",
        };
        Error::new("seccomp", format!("{} instructions", filter.program.len()), errno).because(cause)
    })
}
