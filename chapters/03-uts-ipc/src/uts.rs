//! The UTS namespace: the two names of a machine.
//!
//! uname(2) tells five strings. Three say what the kernel is; the host name and the NIS domain name can be
//! set, and these two are what the namespace holds. A new one begins as a copy of the old.
//!
//! Left out: names in files (`/etc/hostname`, `/etc/hosts`), which the kernel does not read.

use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::unistd::sethostname;
use process::{Birth, Context, Error, Isolation, Result};

/// The longest name in bytes: `__NEW_UTS_LEN` of `<linux/utsname.h>`.
const LONGEST_NAME: usize = 64;

/// A UTS namespace of its own, and the names in it; one that is not given stays the host's.
#[derive(Debug, Default)]
pub struct UtsNamespace {
    /// What `hostname` prints, at most 64 bytes.
    pub hostname: Option<String>,
    /// What `domainname` prints, at most 64 bytes.
    pub domainname: Option<String>,
}

impl Isolation for UtsNamespace {
    fn name(&self) -> &'static str {
        "uts namespace"
    }

    // ANCHOR: uts
    fn prepare(&mut self, birth: &mut Birth) -> Result<()> {
        todo!("3.1 Give it a name")
    }

    fn inside(&mut self) -> Result<()> {
        todo!("3.1 Give it a name")
    }
    // ANCHOR_END: uts
}

/// setdomainname(2), for which `nix` has no function.
fn setdomainname(name: &str) -> nix::Result<()> {
    // SAFETY: the kernel reads as many bytes as we name, and they live through the call.
    Errno::result(unsafe { libc::setdomainname(name.as_ptr().cast(), name.len()) }).map(drop)
}
