//! The isolation of this chapter: a container in a cgroup of its own, with its limits, and a view of it.
//!
//! ```text
//! parent                                     child
//! make the cgroup, write the limits
//! open the doors (version 1)
//! clone3, into it (version 2) ────────────▶  born inside
//!                                              mounts, network, ...
//!                                              walks through the doors (version 1)
//!                                              its own cgroup namespace; /sys/fs/cgroup
//! ```
//! Version 2 needs no move. In version 1 a process must be moved, and whoever moves another one, by `cgroup.procs`, makes
//! the kernel wait until all processors have taken note (an RCU grace period, about 13 ms). Not so who moves a single
//! thread, and that itself: a `0` in `tasks` (Linux 5.5). The child has one thread only, so it goes by itself, through
//! files that its parent has opened: the kernel asks what the opener may do.
//!
//! Nothing inside may change a limit. `/sys/fs/cgroup` is read-only; and what the kernel would run at the end of a cgroup
//! (`release_agent`, CVE-2022-0492) stands in the root of a tree only, which the namespace does not show, and new trees
//! cannot be made from inside of one. But the container's root may mount, until chapter 8 takes that away: it makes the
//! view writable again, or mounts a second one. Then two lines are left. The files belong to others: so it is where the
//! container's ids are others' outside (`--uid-map 0:100000:65536`), and not where its root is the runner's own id
//! (`0:0:1`, or no user namespace). Or the kernel refuses: version 2 does, where the machine's own mount has the option
//! `nsdelegate`; version 1 has no such option. With `--cgroupns host` the machine's root finds the release agent, too.

use std::fs::File;
use std::io::Write;

use mount::detached::Detached;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use process::{Birth, Child, Context, Error, Isolation, Result};

use crate::devices::Rule;
use crate::limits::Limits;
use crate::place::Place;
use crate::yard::Yard;
use crate::{Cgroup, Hierarchies, delegation, oom, view, yard};

// ANCHOR: types
/// What is wished for.
#[derive(Debug)]
pub struct Wish {
    /// The name of the cgroup.
    pub name: String,
    /// Where it is made; none for a container without one.
    pub place: Option<Place>,
    /// What it may use.
    pub limits: Limits,
    /// Which devices, besides those that all may use.
    pub devices: Vec<Rule>,
    /// And those that it is shown: where nobody can forbid the others, nobody need allow these.
    pub shown_devices: Vec<Rule>,
    /// Whether all others must be forbidden, or there is no container.
    pub listed: bool,
    /// Whether it has a cgroup namespace of its own.
    pub private: bool,
    /// The trees to show in `/sys/fs/cgroup`; none where it has no `/sys` of its own.
    pub shown: Option<Hierarchies>,
    /// Whether it may make cgroups of its own.
    pub writable: bool,
    /// Whether there is to be no container where no cgroup can be made.
    pub needed: bool,
}

/// A container's membership in a cgroup.
pub struct Membership {
    wish: Wish,
    /// From `prepare` on.
    cgroup: Option<Cgroup>,
    /// A file `tasks` in each tree of version 1, open for writing.
    doors: Vec<File>,
    hosts_view: Option<Detached>,
    /// Why none could be made, where nobody needs one; told when the container is about to run without.
    without: Option<Error>,
}
// ANCHOR_END: types

impl Membership {
    /// A wish to be in a cgroup.
    pub fn new(wish: Wish) -> Membership {
        Membership { wish, cgroup: None, doors: Vec::new(), hosts_view: None, without: None }
    }

    /// Makes the cgroup, with its limits, after whatever others left was swept.
    fn make(&mut self, place: &Place) -> Result<()> {
        let yard = Yard::enter(place)?;
        // What cannot be swept now is told by `clean`.
        let _ = yard.sweep();
        let made = yard.create(&self.wish.name);
        drop(yard);
        let cgroup = self.cgroup.insert(made.inspect_err(|_| yard::tidy(place))?);
        for warning in cgroup.apply(&self.wish.limits)? {
            eprintln!("a limit is not complete: {warning}");
        }
        // Before there is a cgroup below: version 1 does not change the rules over its head.
        cgroup.allow_devices(&self.wish.devices, &self.wish.shown_devices, self.wish.listed)?;
        if self.wish.writable { delegation::make_inner(cgroup) } else { Ok(()) }
    }
}

impl Isolation for Membership {
    fn name(&self) -> &'static str {
        "cgroup"
    }

    fn prepare(&mut self, birth: &mut Birth) -> Result<()> {
        yard::check_name(&self.wish.name)?;
        if let Some(place) = self.wish.place.clone() {
            match self.make(&place) {
                Err(error) if !self.wish.needed && !is_anothers(&error) => {
                    self.without = Some(error);
                    self.remove();
                }
                made => made?,
            }
        }
        if !self.wish.private && self.wish.shown.is_some() {
            self.hosts_view = Some(view::of_host()?);
        }
        self.be_born_in(birth)
    }

    fn outside(&mut self, child: &Child) -> Result<()> {
        match &self.cgroup {
            Some(cgroup) if self.wish.writable => delegation::give(cgroup, child.pid()),
            _ => Ok(()),
        }
    }

    fn inside(&mut self) -> Result<()> {
        self.enter()?;
        if self.wish.private {
            view::unshare_namespace()?;
        }
        if let Some(error) = &self.without {
            eprintln!("the container has no limits: {error}");
        }
        match (&self.hosts_view, &self.wish.shown) {
            (Some(copy), _) => view::show_hosts(copy),
            (None, Some(trees)) => view::show(trees, self.wish.writable),
            (None, None) => Ok(()),
        }
    }
}

/// A name that is taken is another's container, and a lock that is held is another's will: that is told, limits or not.
fn is_anothers(error: &Error) -> bool {
    [Errno::EEXIST, Errno::ETIMEDOUT].contains(&error.errno)
}

// ANCHOR: born
impl Membership {
    /// First moment: version 2 takes the folder in which the process is to be born; in version 1 we open the doors.
    fn be_born_in(&mut self, birth: &mut Birth) -> Result<()> {
        let Some(cgroup) = &self.cgroup else { return Ok(()) };
        if let Some(folder) = cgroup.unified() {
            birth.in_cgroup(folder.home()?);
        }
        for folder in cgroup.legacy() {
            self.doors.push(folder.opened_home()?.open_file("tasks", OFlag::O_WRONLY)?.into());
        }
        Ok(())
    }

    /// Third moment: we go in. From here on, whatever we start is in the cgroup.
    fn enter(&mut self) -> Result<()> {
        for mut door in self.doors.drain(..) {
            door.write_all(b"0").during("move into the cgroup", "by a file `tasks` of version 1")?;
        }
        Ok(())
    }
}
// ANCHOR_END: born

// ANCHOR: drop
impl Drop for Membership {
    /// Tells of the kernel's kills, while there is somebody to ask; then nothing is left of the cgroup.
    fn drop(&mut self) {
        self.cgroup.iter().for_each(oom::report);
        self.remove();
    }
}

impl Membership {
    /// What does not go now is swept by the next run, when its lock is free.
    fn remove(&mut self) {
        let (Some(cgroup), Some(place)) = (self.cgroup.take(), &self.wish.place) else { return };
        if let Err(error) = cgroup.remove() {
            eprintln!("the container's cgroup stays until the next run: {error}");
        }
        drop(cgroup);
        yard::tidy(place);
    }
}
// ANCHOR_END: drop
