//! The isolation of this chapter: a container in a cgroup of its own, with its limits, and a view of it.
//!
//! ```text
//! parent                                     child
//! make the cgroup, write the limits
//! clone3, into it (version 2) ────────────▶  born inside
//! a thread moves it (version 1)                mounts, network, ...
//!      └── done, or why not ── pipe ────────▶  reads it; its own cgroup namespace; /sys/fs/cgroup
//! ```
//! Version 2 needs no move. In version 1 a process must be moved, and the first move after a pause waits for all
//! processors to take note (an RCU grace period, about 13 ms): so it happens beside the child's other work, once.
//!
//! Nothing inside may change a limit. As long as the root of the container is the machine's root (without a user
//! namespace, until chapter 8 takes its capabilities) it could mount the trees again, writable; what it would find there
//! is only what its cgroup namespace shows. In a user namespace it cannot even write that: the files belong to others.

use std::io::{PipeReader, PipeWriter, Read, Write};
use std::thread::Builder;

use mount::detached::Detached;
use nix::errno::Errno;
use process::{Birth, Child, Context, Error, Isolation, Result};

use crate::devices::Rule;
use crate::limits::Limits;
use crate::place::Place;
use crate::yard::Yard;
use crate::{Cgroup, Folder, Hierarchies, delegation, oom, view, yard};

/// What the thread says when all went well; an error begins with something else.
const DONE: &[u8] = b"moved";

/// A small thread: it writes a few files.
const STACK: usize = 64 << 10;

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
    /// Which devices.
    pub devices: Vec<Rule>,
    /// Whether the user said something about devices.
    pub devices_asked: bool,
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
    /// Where the thread tells how the move went, version 1.
    moved: Option<(PipeReader, Option<PipeWriter>)>,
    hosts_view: Option<Detached>,
}
// ANCHOR_END: types

impl Membership {
    /// A wish to be in a cgroup.
    pub fn new(wish: Wish) -> Membership {
        Membership { wish, cgroup: None, moved: None, hosts_view: None }
    }

    /// Makes the cgroup, with its limits, after whatever others left was swept.
    fn make(&mut self, place: &Place) -> Result<()> {
        let yard = Yard::enter(place)?;
        // What cannot be swept now is told by `clean`.
        let _ = yard.sweep();
        let cgroup = self.cgroup.insert(yard.create(&self.wish.name)?);
        for warning in cgroup.apply(&self.wish.limits)? {
            eprintln!("a limit is not complete: {warning}");
        }
        // Before there is a cgroup below: version 1 does not change the rules over its head.
        cgroup.allow_devices(&self.wish.devices, self.wish.devices_asked)?;
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
                // A name that is taken is another's container, whatever we need.
                Err(error) if !self.wish.needed && error.errno != Errno::EEXIST => {
                    eprintln!("the container has no limits: {error}");
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
        if let (Some(cgroup), true) = (&self.cgroup, self.wish.writable) {
            delegation::give(cgroup, child.pid())?;
        }
        self.start_move(child)
    }

    fn inside(&mut self) -> Result<()> {
        self.wait_for_move()?;
        if self.wish.private {
            view::unshare_namespace()?;
        }
        match (&self.hosts_view, &self.wish.shown) {
            (Some(copy), _) => view::show_hosts(copy),
            (None, Some(trees)) => view::show(trees, self.wish.writable),
            (None, None) => Ok(()),
        }
    }
}

// ANCHOR: born
impl Membership {
    /// First moment: version 2 takes the folder in which the process is to be born, version 1 needs a move.
    fn be_born_in(&mut self, birth: &mut Birth) -> Result<()> {
        let Some(cgroup) = &self.cgroup else { return Ok(()) };
        if let Some(folder) = cgroup.unified() {
            birth.in_cgroup(folder.home()?);
        }
        if cgroup.legacy().next().is_some() {
            let (reader, writer) = std::io::pipe().during("pipe", "")?;
            self.moved = Some((reader, Some(writer)));
        }
        Ok(())
    }

    /// Second moment: the move begins, and nobody waits for it here.
    fn start_move(&mut self, child: &Child) -> Result<()> {
        let (Some(cgroup), Some((_, writer))) = (&self.cgroup, &mut self.moved) else { return Ok(()) };
        let (homes, pid) =
            (cgroup.legacy().map(Folder::opened_home).collect::<Result<Vec<_>>>()?, child.pid());
        let Some(mut writer) = writer.take() else { return Ok(()) };
        let work = move || {
            let moved = homes.iter().try_for_each(|home| home.write("cgroup.procs", &pid.to_string()));
            // If nobody reads it, the child is dead, and its own end tells more.
            let _ = writer.write_all(&moved.map_or_else(|error| error.encode(), |()| DONE.to_vec()));
        };
        Builder::new().stack_size(STACK).spawn(work).map(drop).during("make a thread", "for the move")
    }
}
// ANCHOR_END: born

// ANCHOR: moved
impl Membership {
    /// Third moment: from here on, whatever we start is in the cgroup.
    fn wait_for_move(&mut self) -> Result<()> {
        let Some((mut reader, writer)) = self.moved.take() else { return Ok(()) };
        // Our copy of the other end would keep the pipe open for ever.
        drop(writer);
        let mut answer = Vec::new();
        reader.read_to_end(&mut answer).during("read", "how the move went")?;
        match &answer[..] {
            DONE => Ok(()),
            [] => Err(Error::refused("move into the cgroup", "", "the runner is gone")),
            error => Err(Error::decode(error)),
        }
    }
}
// ANCHOR_END: moved

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
        let _ = cgroup.remove();
        drop(cgroup);
        yard::tidy(place);
    }
}
// ANCHOR_END: drop
