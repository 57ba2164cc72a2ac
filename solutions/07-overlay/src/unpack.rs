//! From a tar to a folder, whoever made the tar.
//!
//! A tar is a program: "make this, here". A hostile one says `../../etc/passwd`, or makes a link and then writes
//! through it. So a path is never joined to a string: its folder is opened inside the target ([`mount::resolve`]), where
//! no link is followed and `..` is refused, and its last part is made there anew, never opened.
//!
//! A layer is unpacked for mounting, with whiteouts as overlay wants them; or onto a plain tree, where what a whiteout
//! names is removed. Whiteouts concern lower layers only: what this tar has made itself stays, in whatever order.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io::{BufReader, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use mount::resolve::{self, Links, Place};
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{Mode, SFlag, fchmod, fstat, fstatat, makedev, mkdirat, mknodat};
use nix::unistd::{linkat, symlinkat};
use process::{Context, Error, Result};
use tar::EntryType;

use crate::archive::{Archive, Entry};
use crate::content;
use crate::node::{Attributes, LeftOut, is_real_root, kind};
use crate::tree;
use crate::whiteout::{self, Meaning};
use crate::xattr;

/// What the folder is that a tar is unpacked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A layer to be mounted: whiteouts become overlay's.
    Layer,
    /// A tree that is complete in itself: what whiteouts name is removed.
    Tree,
}

/// Unpacks an uncompressed tar; reads it to its end.
///
/// # Errors
/// It is no tar, or an entry of it is not acceptable; what was unpacked before stays.
pub fn unpack(tar: impl Read, root: BorrowedFd<'_>, target: Target) -> Result<LeftOut> {
    let mut archive = Archive::new(BufReader::with_capacity(1 << 16, tar));
    let mut unpacker = Unpacker {
        root,
        target,
        made: BTreeSet::new(),
        folders: BTreeMap::new(),
        last: None,
        left_out: LeftOut::default(),
    };
    while let Some(entry) = archive.next_entry()? {
        if !whiteout::lies_in_note(Path::new(OsStr::from_bytes(&entry.path)))? {
            unpacker.entry(&entry, &mut archive)?;
        }
    }
    unpacker.finish()
}

struct Unpacker<'a> {
    root: BorrowedFd<'a>,
    target: Target,
    /// What this tar has made.
    made: BTreeSet<PathBuf>,
    /// Its folders: whatever is made in one moves its time, so they get their attributes last.
    folders: BTreeMap<PathBuf, Attributes>,
    /// The folder of the entry before.
    last: Option<(PathBuf, OwnedFd)>,
    left_out: LeftOut,
}

// ANCHOR: inside
/// A path of a tar as one below the root: folder and name. The root itself is `/` and `.`.
///
/// # Errors
/// It leads upwards.
fn inside(path: &[u8]) -> Result<(PathBuf, OsString)> {
    let path = Path::new(OsStr::from_bytes(path));
    let mut clean = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                return Err(Error::refused("unpack", path.display(), "`..` leads out of the layer"));
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    let name = clean.file_name().unwrap_or(OsStr::new(".")).to_owned();
    Ok((clean.parent().unwrap_or(Path::new("/")).to_owned(), name))
}

impl Unpacker<'_> {
    /// Opens the folder of an entry, made if need be. No link leads there.
    ///
    /// Most entries lie where the one before lay. That folder is still the same one: an entry removes what is in its
    /// folder, never the folder itself.
    fn folder(&mut self, path: &Path) -> Result<OwnedFd> {
        match self.last.take() {
            Some((last, folder)) if last == path => Ok(folder),
            _ => {
                self.unveil(path)?;
                resolve::place(self.root, path, Place::Folder, Links::Refuse)
            }
        }
    }

    /// Does what one entry says.
    fn entry(&mut self, entry: &Entry, content: &mut impl Read) -> Result<()> {
        let (folder, name) = inside(&entry.path)?;
        let parent = self.folder(&folder)?;
        match name.as_bytes().starts_with(whiteout::PREFIX.as_bytes()) {
            true => self.hide(parent.as_fd(), &folder, &name),
            false => self.make(parent.as_fd(), &folder, &name, entry, content),
        }
        .map_err(|error| Error { subject: String::from_utf8_lossy(&entry.path).into_owned(), ..error })?;
        self.last = Some((folder, parent));
        Ok(())
    }
}
// ANCHOR_END: inside

impl Unpacker<'_> {
    // ANCHOR: hide
    /// Does what the name of a whiteout says.
    fn hide(&mut self, parent: BorrowedFd<'_>, folder: &Path, name: &OsStr) -> Result<()> {
        match whiteout::meaning(name)? {
            Meaning::Removed(name) => self.remove(parent, folder, name),
            Meaning::Opaque => self.clear(parent, folder),
            Meaning::Note => Ok(()),
        }
    }

    /// Lower layers' file of this name is removed.
    fn remove(&mut self, parent: BorrowedFd<'_>, folder: &Path, name: &OsStr) -> Result<()> {
        let path = folder.join(name);
        if self.target == Target::Tree {
            return if self.has_made(&path) { self.prune(path) } else { tree::remove(parent, name) };
        }
        match whiteout::make(parent, name) {
            // This tar has made it anew. A folder would show what lower layers have in it.
            Err(Errno::EEXIST) => match tree::open(parent, name) {
                Ok(inner) => self.opaque(inner.as_fd(), &path),
                Err(_) => Ok(()),
            },
            done => {
                done.map_err(|errno| Error::new("make a whiteout", "", errno).because(no_whiteout(errno)))
            }
        }
    }

    /// What lower layers have in this folder is removed.
    fn clear(&mut self, parent: BorrowedFd<'_>, folder: &Path) -> Result<()> {
        match self.target {
            Target::Layer => self.opaque(parent, folder),
            Target::Tree => self.prune(folder.to_owned()),
        }
    }
    // ANCHOR_END: hide

    // ANCHOR: prune
    /// Removes what this tar has not made from one of its folders in a tree, and from its folders in that one. If the
    /// path is no folder, it is this tar's own file, and stays.
    ///
    /// Each folder is opened by its path: descriptors do not add up, however deep it is.
    fn prune(&self, path: PathBuf) -> Result<()> {
        let mut rest = vec![path];
        while let Some(path) = rest.pop() {
            let (parent, name) = inside(path.as_os_str().as_bytes())?;
            let parent = resolve::open(self.root, &parent, Links::Refuse).during("open", path.display())?;
            let Ok(folder) = tree::open(parent.as_fd(), &name) else { continue };
            for name in tree::names(folder.as_fd()).during("read", path.display())? {
                match path.join(&name) {
                    made if self.has_made(&made) => rest.push(made),
                    _ => tree::remove(folder.as_fd(), &name)?,
                }
            }
        }
        Ok(())
    }

    /// A folder of a layer hides what lower layers have in it.
    fn opaque(&self, folder: BorrowedFd<'_>, path: &Path) -> Result<()> {
        if path == "/" {
            let cause = "a union shows what lower layers have at its top, whatever a layer says there";
            return Err(Error::refused("unpack", "", cause));
        }
        whiteout::make_opaque(folder).during("make opaque", "")
    }

    /// If this tar has made a whiteout on the way to `path`, a folder takes its place, and hides what it was.
    fn unveil(&self, path: &Path) -> Result<()> {
        // What is there, and no whiteout, lies below none.
        for veil in path.ancestors().filter(|_| self.target == Target::Layer) {
            match resolve::open(self.root, veil, Links::Refuse).and_then(fstat) {
                Err(Errno::ENOENT | Errno::ENOTDIR) => {}
                Ok(found) if whiteout::is_whiteout(&found) => {
                    let (parent, name) = inside(veil.as_os_str().as_bytes())?;
                    let parent = resolve::open(self.root, &parent, Links::Refuse);
                    return make_folder(parent.during("open", veil.display())?.as_fd(), &name, self.target);
                }
                _ => break,
            }
        }
        Ok(())
    }
    // ANCHOR_END: prune

    /// Whether this tar has made `path`, or something in it: paths in it come right behind it in the order.
    fn has_made(&self, path: &Path) -> bool {
        self.made.range(path.to_owned()..).next().is_some_and(|made| made.starts_with(path))
    }

    // ANCHOR: make
    /// Makes what an entry describes, in the place of whatever is there.
    fn make(
        &mut self,
        parent: BorrowedFd<'_>,
        folder: &Path,
        name: &OsStr,
        entry: &Entry,
        content: &mut impl Read,
    ) -> Result<()> {
        let (path, attributes) = (folder.join(name), attributes(entry));
        if entry.kind == EntryType::Directory {
            make_folder(parent, name, self.target)?;
            self.folders.insert(path.clone(), attributes);
        } else if name == "." {
            return Err(Error::refused("unpack", "", "the root of a layer is a folder"));
        } else {
            tree::remove(parent, name)?;
            // Folders that were there get no attributes any more.
            while let Some((gone, _)) = self.folders.range(path.clone()..).next()
                && gone.starts_with(&path)
            {
                let gone = gone.clone();
                self.folders.remove(&gone);
            }
            self.make_file(parent, name, entry, &attributes, content)?;
        }
        self.made.insert(path);
        Ok(())
    }

    /// Makes anything but a folder.
    fn make_file(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        entry: &Entry,
        attributes: &Attributes,
        content: &mut impl Read,
    ) -> Result<()> {
        match entry.kind {
            EntryType::Regular | EntryType::Continuous => {
                let file = content::write(parent, name, entry.size, content)?;
                return attributes.give(file.as_fd(), name, &mut self.left_out);
            }
            // The other name's attributes are its own.
            EntryType::Link => return self.link(&entry.link, parent, name),
            EntryType::Symlink => {
                symlinkat(OsStr::from_bytes(&entry.link), parent, name).during("symlink", "")?;
            }
            _ if !make_special(parent, name, entry)? => {
                self.left_out.devices += 1;
                return Ok(());
            }
            _ => {}
        }
        attributes.give_to_special(parent, name, &mut self.left_out)
    }
    // ANCHOR_END: make

    /// One more name for a file of this layer.
    fn link(&self, to: &[u8], parent: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
        let (folder, other) = inside(to)?;
        let from = resolve::open(self.root, &folder, Links::Refuse);
        // The whiteout of one name would hide another one, and the tar's list of files would not show it.
        let found =
            from.as_ref().ok().and_then(|from| fstatat(from, &*other, AtFlags::AT_SYMLINK_NOFOLLOW).ok());
        if found.is_some_and(|found| whiteout::is_whiteout(&found)) {
            return Err(Error::refused("link", "", "a hard link leads to a file, not to a whiteout"));
        }
        // The link itself, if it is one: nothing is followed.
        let done = from.and_then(|from| linkat(from, &*other, parent, name, AtFlags::empty()));
        done.map_err(|errno| {
            let cause = match errno {
                Errno::ENOENT => "a hard link leads to a file of the same layer, before it",
                Errno::ELOOP => "a hard link does not lead through a symbolic link",
                _ => "",
            };
            Error::new("link", "", errno).because(cause)
        })
    }

    /// Folders get their attributes, the innermost first.
    fn finish(mut self) -> Result<LeftOut> {
        for (path, attributes) in std::mem::take(&mut self.folders).iter().rev() {
            let (folder, name) = inside(path.as_os_str().as_bytes())?;
            let parent = self.folder(&folder)?;
            let object = tree::open(parent.as_fd(), &name).during("open", path.display())?;
            attributes.give(object.as_fd(), &name, &mut self.left_out)?;
        }
        Ok(self.left_out)
    }
}

fn no_whiteout(errno: Errno) -> &'static str {
    match errno {
        Errno::EPERM => {
            "an overlay holds no whiteouts of another one; let $GANTRY_STATE be on another file system"
        }
        _ => "",
    }
}

/// An entry's attributes without those that are overlay's own notes.
fn attributes(entry: &Entry) -> Attributes {
    let mut attributes = entry.attributes.clone();
    attributes.extended.retain(|(name, _)| !whiteout::is_own(name));
    attributes
}

/// Makes a folder, or leaves the one that is there; without its extended attributes, for it gets new ones.
fn make_folder(parent: BorrowedFd<'_>, name: &OsStr, target: Target) -> Result<()> {
    let found = fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW);
    if found.is_ok_and(|found| kind(&found) == libc::S_IFDIR) {
        let folder = tree::open(parent, name).during("open", "")?;
        let old = Attributes::of(folder.as_fd()).during("read the attributes of", "")?.extended;
        return old
            .iter()
            .try_for_each(|(name, _)| xattr::remove(folder.as_fd(), name))
            .during("change the attributes of", "");
    }
    tree::remove(parent, name)?;
    mkdirat(parent, name, Mode::S_IRWXU).during("mkdir", "")?;
    let folder = tree::open(parent, name).during("open", "")?;
    // A whiteout or a file of this layer stood there: lower layers' folder of this name is another one.
    if target == Target::Layer && found.is_ok() {
        whiteout::make_opaque(folder.as_fd()).during("make opaque", "")?;
    }
    // As long as no entry says otherwise.
    fchmod(folder, Mode::from_bits_truncate(0o755)).during("chmod", "")
}

/// Makes a device or a queue; false where we may not.
fn make_special(parent: BorrowedFd<'_>, name: &OsStr, entry: &Entry) -> Result<bool> {
    let (kind, number) = match (entry.kind, entry.device) {
        (EntryType::Char, (0, 0)) => {
            return Err(Error::refused(
                "unpack",
                "",
                "a device 0/0 is overlay's own mark, and no file of a layer",
            ));
        }
        (EntryType::Char, (major, minor)) => (SFlag::S_IFCHR, makedev(major, minor)),
        (EntryType::Block, (major, minor)) => (SFlag::S_IFBLK, makedev(major, minor)),
        (EntryType::Fifo, _) => (SFlag::S_IFIFO, 0),
        (other, _) => return Err(Error::refused("unpack", "", format!("an entry of kind {other:?}"))),
    };
    match mknodat(parent, name, kind, Mode::empty(), number) {
        Err(Errno::EPERM) if !is_real_root() => Ok(false),
        done => done.map(|()| true).during("mknod", ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        let read = |path: &str| {
            inside(path.as_bytes()).map(|(folder, name)| format!("{} {}", folder.display(), name.display()))
        };
        assert_eq!(read("etc/motd").unwrap(), "/etc motd");
        assert_eq!(read("/etc/motd").unwrap(), "/etc motd");
        assert_eq!(read("./etc//./motd/").unwrap(), "/etc motd");
        assert_eq!(read("./").unwrap(), "/ .");
        assert_eq!(read("").unwrap(), "/ .");
        for wrong in ["..", "../x", "/..", "a/../b", "a/..", "./../../etc/passwd"] {
            assert!(read(wrong).unwrap_err().to_string().contains(".."), "{wrong}");
        }
    }
}
