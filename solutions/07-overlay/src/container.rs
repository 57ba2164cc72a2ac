//! A container's own folder: where its changes go, and what they are changes of.
//!
//! ```text
//! STATE/containers/<name>/upper    what it writes
//!                         work     overlay's own
//!                         merged   where the union is mounted, in the container's mount namespace only
//!                         empty    an empty folder, for unions that nobody writes to
//!                         layers   its chain, a path a line, the lowest first
//!                         kept     there if it outlives its runner
//!                         mapped   there if its ids are not those of the disk
//!                         copied   `yes` if `merged` is a copy, because there can be no union here
//! ```
//!
//! Invariants: whoever runs or removes a container holds the lock on its folder. A folder that is neither locked nor
//! kept was left by a killed runner, and the next removes it. The lock on `containers` is held while names come and go.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File};
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use process::{Context, Error, Result};

use crate::node::{Attributes, LeftOut};
use crate::store::{DRAFT, folder_in, lock, make_folder};
use crate::task::{apart, as_root};
use crate::union::{Union, Upper, is_impossible};
use crate::whiteout::Notes;
use crate::{copy, tree};

/// A container that is ours: nobody else runs or removes it meanwhile.
pub struct Container {
    /// Its folder.
    pub folder: PathBuf,
    /// Its chain, the lowest first.
    pub layers: Vec<PathBuf>,
    /// Whether real root gives it other ids than the disk has.
    pub mapped: bool,
    /// Whether it outlives its runner.
    pub kept: bool,
    _lock: Flock<File>,
}

/// What a container is to be.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Its chain, the lowest first; at least one.
    pub layers: Vec<PathBuf>,
    /// Whether real root gives it other ids than the disk has.
    pub mapped: bool,
    /// Whether it is to outlive its runner.
    pub kept: bool,
}

/// What is known of a container that may be somebody else's.
#[derive(Debug, Clone)]
pub struct Known {
    /// Its name.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// Its chain, the lowest first.
    pub layers: Vec<PathBuf>,
    /// Whether somebody runs it.
    pub runs: bool,
}

/// The folder of all containers; made where there is none. Who is not its owner may pass, not look: root of a user
/// namespace, on its way to its own.
fn home(state: &Path) -> Result<PathBuf> {
    folder_in(state, "containers", 0o711)
}

impl Container {
    // ANCHOR: container
    /// A container on these layers: a new one, or one that was kept under this name.
    ///
    /// # Errors
    /// It runs; or it was kept and is not to be kept, or stands on other layers.
    pub fn open(state: &Path, name: Option<&str>, wish: Wish) -> Result<Container> {
        let home = home(state)?;
        let name = name.map_or_else(|| tree::fresh_name(""), |name| Ok(name.to_owned()))?;
        network::store::check_name(&name)?;
        let turn = lock(&home, FlockArg::LockExclusive)?;
        let left = set_aside(&home)?;
        let container = Container::claim(home.join(&name), wish).map_err(|error| error.within("overlay"));
        drop(turn);
        for (name, _lock) in left {
            // What somebody made unchangeable in a container must not stop all others.
            if let Err(error) = remove(&home, &name) {
                eprintln!("a container whose runner is gone stays: {error}");
            }
        }
        container
    }

    /// Makes a folder ours; the lock on all of them is held. One that is there is kept, or somebody's.
    fn claim(folder: PathBuf, wish: Wish) -> Result<Container> {
        let refuse =
            |cause: &str| Err(Error::refused("run", folder.file_name().unwrap_or_default().display(), cause));
        match DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            done => done.during("create", folder.display())?,
        }
        let Ok(lock) = lock(&folder, FlockArg::LockExclusiveNonblock) else {
            return refuse("a container of that name runs");
        };
        let Wish { layers, mapped, kept } = wish;
        match read_layers(&folder) {
            Err(_) => {
                let container = Container { folder, layers, mapped, kept, _lock: lock };
                container.furnish().map(|()| container)
            }
            Ok(_) if !kept => refuse(
                "a container of that name was kept; --keep goes on with it, `containers rm` removes it",
            ),
            Ok(found) if found != layers => refuse("the container of that name stands on other layers"),
            Ok(_) if is_mapped(&folder) != mapped => {
                refuse("the container of that name has another kind of ids: with or without --uid-map")
            }
            Ok(_) => {
                let container = Container { folder, layers, mapped, kept, _lock: lock };
                container.tidy().map(|()| container)
            }
        }
    }
    // ANCHOR_END: container

    /// Makes what a new one needs. `kept` comes last: with it, the container is there.
    fn furnish(&self) -> Result<()> {
        for name in ["upper", "work", "merged", "empty"] {
            make_folder(&self.folder.join(name), 0o755)?;
        }
        self.like_its_top()?;
        let lines: Vec<String> = self.layers.iter().map(|layer| format!("{}\n", layer.display())).collect();
        if lines.iter().any(|line| line.trim_end_matches('\n').contains('\n')) {
            return Err(Error::refused("stack", "", "a line's end in the path of a layer"));
        }
        let write = |file, text: &str| fs::write(self.folder.join(file), text).during("write", file);
        write("layers", &lines.concat())?;
        write("copied", "no")?;
        for (file, wanted) in [("mapped", self.mapped), ("kept", self.kept)] {
            if wanted {
                write(file, "")?;
            }
        }
        Ok(())
    }

    /// Removes what the last mount left in `work`, and would stop the next: `incompat/volatile` above all.
    fn tidy(&self) -> Result<()> {
        remove(&self.folder, OsStr::new("work"))?;
        fs::create_dir(self.folder.join("work")).during("create", "work")
    }

    /// The root of a union is the top of its chain, and that is our folder: it must look like the one below.
    fn like_its_top(&self) -> Result<()> {
        let Some(top) = self.layers.last() else {
            return Err(Error::refused("run", "", "a container needs a layer"));
        };
        let top = File::open(top).during("open", top.display())?;
        let like = Attributes::of(top.as_fd()).during("read the attributes of", "the top layer")?;
        let upper = self.folder.join("upper");
        as_root(move || {
            let folder = File::open(&upper).during("open", upper.display())?;
            like.give(folder.as_fd(), OsStr::new("upper"), &mut LeftOut::default())?;
            Ok(Vec::new())
        })
        .map(drop)
    }

    // ANCHOR: raise
    /// Mounts its union on `merged`, in the mount namespace of this process; or copies it there, where the kernel
    /// cannot stack these file systems.
    ///
    /// # Errors
    /// Neither can be done.
    pub fn raise(&self, lowers: Vec<PathBuf>) -> Result<()> {
        if is_copy(&self.folder) {
            return Ok(());
        }
        let place = |name| self.folder.join(name);
        let upper = Upper { upper: place("upper"), work: place("work"), volatile: !self.kept };
        let union = Union { lowers, upper: Some(upper), notes: Notes::ours() };
        match union.attach(&self.merged(), &self.folder) {
            Err(error) if is_impossible(&error) && self.stacks(&union)? => {
                Err(error
                    .because("a layer's kind of file system cannot be one, or is stacked too deep already"))
            }
            Err(error) if is_impossible(&error) => {
                eprintln!("the layers are copied, not stacked: {error}");
                copy::union(&union.lowers, &self.merged())?;
                fs::write(place("copied"), "yes").during("write", "copied")
            }
            done => done,
        }
    }

    /// Whether an empty folder could be its layer: then not this place is at fault, but another layer.
    fn stacks(&self, union: &Union) -> Result<bool> {
        self.tidy()?;
        let lowers = vec![self.folder.join("empty")];
        Ok(Union { lowers, ..union.clone() }.attach(&self.merged(), &self.folder).is_ok())
    }
    // ANCHOR_END: raise

    /// Where its root is, once [`Container::raise`] was called.
    pub fn merged(&self) -> PathBuf {
        self.folder.join("merged")
    }

    /// A container that was kept, to work on while nobody runs it.
    ///
    /// # Errors
    /// There is none of that name, or it runs.
    pub fn take(state: &Path, name: &str) -> Result<Container> {
        let Known { folder, layers, .. } = find(state, name)?;
        let _turn = lock(&home(state)?, FlockArg::LockExclusive)?;
        let lock = lock(&folder, FlockArg::LockExclusiveNonblock)
            .map_err(|error| error.because("it runs; its files change while they are read"))?;
        Ok(Container { mapped: is_mapped(&folder), folder, layers, kept: true, _lock: lock })
    }

    /// Removes it, kept or not.
    ///
    /// # Errors
    /// EPERM: something in it was made unchangeable.
    pub fn remove(mut self) -> Result<()> {
        self.kept = true;
        throw_away(&self.folder)
    }
}

impl Drop for Container {
    /// What fails here is left to the next runner.
    fn drop(&mut self) {
        if !self.kept {
            let _ = throw_away(&self.folder);
        }
    }
}

fn throw_away(folder: &Path) -> Result<()> {
    let home = folder.parent().unwrap_or(Path::new("/"));
    remove(home, folder.file_name().unwrap_or(OsStr::new("")))
}

/// Removes something with all that is in it. Files of ids that only a user namespace has are removed there.
fn remove(home: &Path, name: &OsStr) -> Result<()> {
    let (home, name) = (home.to_owned(), name.to_owned());
    as_root(move || {
        let folder = File::open(&home).during("open", home.display())?;
        // Folders were moved up: where it is now must be said.
        let told = |error: Error| Error { subject: home.join(&error.subject).display().to_string(), ..error };
        tree::remove(folder.as_fd(), &name).map_err(told)?;
        Ok(Vec::new())
    })
    .map(drop)
}

// ANCHOR: aside
/// Takes the names of containers whose runners are gone, and that are not kept; each with its lock, to be removed.
fn set_aside(home: &Path) -> Result<Vec<(OsString, Flock<File>)>> {
    let folder = File::open(home).during("open", home.display())?;
    let mut aside = Vec::new();
    for name in tree::names(folder.as_fd()).during("read", home.display())? {
        let place = home.join(&name);
        let Ok(lock) = lock(&place, FlockArg::LockExclusiveNonblock) else { continue };
        if place.join("kept").exists() {
            continue;
        }
        let other = tree::fresh_name(DRAFT)?;
        match fs::rename(&place, home.join(&other)) {
            // Its own runner was about to remove it.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            done => done.during("rename", place.display()).map(|()| aside.push((other.into(), lock)))?,
        }
    }
    Ok(aside)
}
// ANCHOR_END: aside

/// All containers.
///
/// # Errors
/// EACCES: they are not ours.
pub fn list(state: &Path) -> Result<Vec<Known>> {
    let home = home(state)?;
    let folder = File::open(&home).during("open", home.display())?;
    // Our looking must not be taken for a runner.
    let _turn = lock(&home, FlockArg::LockExclusive)?;
    let names = tree::names(folder.as_fd()).during("read", home.display())?;
    let known = |name: OsString| -> Option<Known> {
        let folder = home.join(&name);
        let name = name.into_string().ok().filter(|name| !name.starts_with('.'))?;
        let runs = lock(&folder, FlockArg::LockExclusiveNonblock).is_err();
        Some(Known { name, layers: read_layers(&folder).ok()?, folder, runs })
    };
    Ok(names.into_iter().filter_map(known).collect())
}

/// The container of this name.
///
/// # Errors
/// There is none.
pub fn find(state: &Path, name: &str) -> Result<Known> {
    let none = || Error::refused("find the container", name, "`containers ls` shows those that are kept");
    list(state)?.into_iter().find(|known| known.name == name).ok_or_else(none)
}

/// The name of a container that stands on this layer.
///
/// # Errors
/// EACCES: they are not ours.
pub fn user_of(state: &Path, layer: &Path) -> Result<Option<String>> {
    let uses = |known: &Known| known.layers.iter().any(|own| own == layer);
    Ok(list(state)?.into_iter().find(uses).map(|known| known.name))
}

fn is_mapped(folder: &Path) -> bool {
    folder.join("mapped").exists()
}

/// Whose notes are in the upper folder there: it is written by a mount of root in its user namespace, or of ours.
fn notes_in(folder: &Path) -> Notes {
    if is_mapped(folder) { Notes::User } else { Notes::ours() }
}

/// Whether `merged` is a copy of the layers, and whole.
fn is_copy(folder: &Path) -> bool {
    fs::read_to_string(folder.join("copied")).is_ok_and(|word| word == "yes")
}

fn read_layers(folder: &Path) -> Result<Vec<PathBuf>> {
    let file = folder.join("layers");
    let text = fs::read_to_string(&file).during("read", file.display())?;
    Ok(text.lines().map(PathBuf::from).collect())
}

impl Known {
    /// What it changed, a line each.
    ///
    /// # Errors
    /// It is a copy, of which nobody knows what it was.
    pub fn changes(&self) -> Result<Vec<u8>> {
        self.must_be_union()?;
        let (folder, mut lowers, notes) = (self.folder.clone(), self.layers.clone(), self.notes());
        apart(move || {
            // Two at least, also of a single layer.
            lowers.push(folder.join("empty"));
            below(lowers, &folder, notes)?;
            let open = |name| File::open(folder.join(name)).during("open", name);
            let changes = crate::diff::changes(open("upper")?.as_fd(), open("merged")?.as_fd(), notes)?;
            Ok(changes.iter().map(|change| format!("{change}\n")).collect::<String>().into_bytes())
        })
    }

    /// Whose notes are in its upper folder.
    pub fn notes(&self) -> Notes {
        notes_in(&self.folder)
    }

    /// That its upper folder holds its changes.
    ///
    /// # Errors
    /// It does not.
    pub fn must_be_union(&self) -> Result<()> {
        if is_copy(&self.folder) {
            let cause =
                "its layers were copied, since they could not be stacked: what it changed is not known";
            return Err(Error::refused("read the changes of", &self.name, cause));
        }
        Ok(())
    }
}

/// The text of a file in the root of a container with this folder, as it is now; empty where there is none. Links lead
/// from layer to layer, so the union is mounted for it, in a child.
///
/// # Errors
/// It is no regular file, or too long.
pub fn read(folder: &Path, file: &str) -> Result<String> {
    let (folder, file, notes) = (folder.to_owned(), file.to_owned(), notes_in(folder));
    let bytes = apart(move || {
        let mut lowers = read_layers(&folder)?;
        lowers.push(folder.join("upper"));
        below(lowers, &folder, notes)?;
        user::identity::read_inside(Some(&folder.join("merged")), &file).map(String::into_bytes)
    })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Mounts a union for reading on a container's `merged`, in a mount namespace that nobody else sees.
fn below(lowers: Vec<PathBuf>, folder: &Path, notes: Notes) -> Result<()> {
    Union { lowers, upper: None, notes }.attach(&folder.join("merged"), folder)
}
