//! From a folder to a tar: what a container wrote, as a layer.
//!
//! The upper folder of an overlay is read and translated: whiteouts to their names in a tar, opaque folders too. The
//! order is that of the names, and nothing of the moment goes in: the same tree gives the same bytes, and so the same
//! digest.
//!
//! A header's fields are used where they hold what is to be said; else, and for what has no field, there are PAX
//! records. Holes are written as the zeroes that they read as. Left out: sockets, which are nothing without the
//! process that listens; and attributes whose names a record cannot hold, which is told.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, fstat};
use process::{Context, Error, Result};
use tar::{Builder, EntryType, Header};

use crate::archive::EXTENDED;
use crate::node::{self, Attributes, LeftOut, kind};
use crate::whiteout::{self, Notes};
use crate::{tree, xattr};

/// Packs a folder in a layer's notation; its opaque folders are those of `notes`.
///
/// # Errors
/// It cannot be read, or `out` not be written.
pub fn pack(root: BorrowedFd<'_>, notes: Notes, out: impl Write) -> Result<LeftOut> {
    let mut packer =
        Packer { notes, tar: Builder::new(out), links: HashMap::new(), left_out: LeftOut::default() };
    let root = tree::open(root, OsStr::new(".")).during("open", "the layer")?;
    packer.put_object(
        root.as_fd(),
        b"./",
        &fstat(&root).during("stat", "/")?,
        root.as_fd(),
        OsStr::new("."),
    )?;
    packer.folder(root.as_fd(), b"")?;
    packer.tar.into_inner().and_then(|mut out| out.flush()).during("write", "the tar")?;
    Ok(packer.left_out)
}

struct Packer<W: Write> {
    notes: Notes,
    tar: Builder<W>,
    /// The first path of each file that has several names.
    links: HashMap<(u64, u64), Vec<u8>>,
    left_out: LeftOut,
}

impl<W: Write> Packer<W> {
    // ANCHOR: pack
    /// What is in a folder, by name.
    fn folder(&mut self, folder: BorrowedFd<'_>, path: &[u8]) -> Result<()> {
        let told = OsStr::from_bytes(path).display();
        if whiteout::is_opaque(folder, self.notes).during("read", &told)? {
            self.put_mark(&[path, whiteout::OPAQUE.as_bytes()].concat())?;
        }
        for name in tree::names(folder).during("read", &told)? {
            let object = node::open(folder, &name).during("open", name.display())?;
            let found = fstat(&object).during("stat", name.display())?;
            let inner = [path, name.as_bytes()].concat();
            match kind(&found) {
                _ if whiteout::is_whiteout(&found) => {
                    self.put_mark(&[path, whiteout::PREFIX.as_bytes(), name.as_bytes()].concat())?;
                }
                _ if name.as_bytes().starts_with(whiteout::PREFIX.as_bytes()) => {
                    return Err(unspeakable(&inner));
                }
                libc::S_IFDIR => {
                    let inner = [&inner[..], b"/"].concat();
                    self.put_object(object.as_fd(), &inner, &found, folder, &name)?;
                    let path = Path::new(OsStr::from_bytes(&inner));
                    self.folder(tree::descend(folder, &name, path)?.as_fd(), &inner)?;
                }
                libc::S_IFSOCK => {}
                _ => self.put_object(object.as_fd(), &inner, &found, folder, &name)?,
            }
        }
        Ok(())
    }
    // ANCHOR_END: pack

    /// A whiteout: an empty file whose name says it all.
    fn put_mark(&mut self, path: &[u8]) -> Result<()> {
        let nothing = Attributes {
            mode: 0,
            uid: 0,
            gid: 0,
            modified: nix::sys::time::TimeSpec::new(0, 0),
            extended: vec![],
        };
        self.put(path, EntryType::Regular, b"", (0, 0), &nothing, 0, io::empty())
    }

    /// A file of any kind, with its content.
    fn put_object(
        &mut self,
        object: BorrowedFd<'_>,
        path: &[u8],
        found: &FileStat,
        parent: BorrowedFd<'_>,
        name: &OsStr,
    ) -> Result<()> {
        let told = OsStr::from_bytes(path).display();
        let attributes = Attributes::of(object).during("read the attributes of", &told)?;
        self.left_out.names += xattr::unspeakable(object).during("read the attributes of", &told)?;
        let device = (libc::major(found.st_rdev), libc::minor(found.st_rdev));
        let is_folder = kind(found) == libc::S_IFDIR;
        if found.st_nlink > 1 && !is_folder {
            if let Some(first) = self.links.get(&(found.st_dev, found.st_ino)).cloned() {
                return self.put(path, EntryType::Link, &first, (0, 0), &attributes, 0, io::empty());
            }
            self.links.insert((found.st_dev, found.st_ino), path.to_vec());
        }
        let target = match kind(found) {
            libc::S_IFLNK => readlinkat(parent, name).during("readlink", &told)?,
            _ => Default::default(),
        };
        let kind = match kind(found) {
            libc::S_IFDIR => EntryType::Directory,
            libc::S_IFLNK => EntryType::Symlink,
            libc::S_IFCHR => EntryType::Char,
            libc::S_IFBLK => EntryType::Block,
            libc::S_IFIFO => EntryType::Fifo,
            _ => {
                let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                let file = openat(parent, name, flags, Mode::empty()).during("open", &told)?;
                let size = found.st_size as u64;
                return self.put(path, EntryType::Regular, b"", (0, 0), &attributes, size, File::from(file));
            }
        };
        self.put(path, kind, target.as_bytes(), device, &attributes, 0, io::empty())
    }

    /// Writes one entry, with the records before it that its header cannot hold.
    #[expect(clippy::too_many_arguments, reason = "these are the fields of an entry")]
    fn put(
        &mut self,
        path: &[u8],
        kind: EntryType,
        link: &[u8],
        device: (u32, u32),
        attributes: &Attributes,
        size: u64,
        content: impl Read,
    ) -> Result<()> {
        let records = records(path, link, kind, attributes);
        let mut header = Header::new_ustar();
        copy_into(&mut header.as_old_mut().name, path);
        copy_into(&mut header.as_old_mut().linkname, link);
        header.set_entry_type(kind);
        header.set_mode(attributes.mode);
        header.set_uid(attributes.uid.into());
        header.set_gid(attributes.gid.into());
        header.set_mtime(attributes.modified.tv_sec().try_into().unwrap_or(0));
        header.set_size(size);
        let numbers = header.set_device_major(device.0).and(header.set_device_minor(device.1));
        header.set_cksum();
        let put = numbers
            .and_then(|()| {
                self.tar.append_pax_extensions(records.iter().map(|(key, value)| (&**key, &value[..])))
            })
            // Exactly as many bytes as the header says, even if the file changes now.
            .and_then(|()| self.tar.append(&header, content.take(size).chain(io::repeat(0)).take(size)));
        put.during("write", OsStr::from_bytes(path).display())
    }
}

/// What is to be said of an entry beside its header.
fn records(path: &[u8], link: &[u8], kind: EntryType, attributes: &Attributes) -> Vec<(String, Vec<u8>)> {
    let mut records = Vec::new();
    let mut say = |key: &str, value: &[u8]| records.push((key.to_owned(), value.to_vec()));
    if path.len() > 100 {
        say("path", path);
    }
    if link.len() > 100 {
        say("linkpath", link);
    }
    for (key, id) in [("uid", attributes.uid), ("gid", attributes.gid)] {
        if id > 0o7_777_777 {
            say(key, id.to_string().as_bytes());
        }
    }
    let (seconds, parts) = (attributes.modified.tv_sec(), attributes.modified.tv_nsec());
    if parts != 0 || !(0..0o77_777_777_777).contains(&seconds) {
        say("mtime", decimal(seconds, parts).as_bytes());
    }
    if kind != EntryType::Link {
        let speakable = attributes.extended.iter().filter(|(name, _)| !name.contains('='));
        speakable.for_each(|(name, value)| say(&format!("{EXTENDED}{name}"), value));
    }
    records
}

/// Seconds with nine decimals. Half a second before 1970 is -0.5.
fn decimal(seconds: i64, parts: i64) -> String {
    match (seconds < 0, parts) {
        (true, 1..) => {
            let whole = -(seconds + 1);
            format!("-{whole}.{:09}", 1_000_000_000 - parts)
        }
        _ => format!("{seconds}.{parts:09}"),
    }
}

fn copy_into(field: &mut [u8], bytes: &[u8]) {
    let length = field.len().min(bytes.len());
    field[..length].copy_from_slice(&bytes[..length]);
}

fn unspeakable(path: &[u8]) -> Error {
    Error::new("pack", OsStr::from_bytes(path).display(), Errno::EINVAL)
        .because("in a layer a name that begins with `.wh.` means something else")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_with_nine_decimals() {
        assert_eq!(decimal(1, 250_000_000), "1.250000000");
        assert_eq!(decimal(-2, 750_000_000), "-1.250000000");
        assert_eq!(decimal(-1, 500_000_000), "-0.500000000");
        assert_eq!(decimal(-3, 0), "-3.000000000");
    }
}
