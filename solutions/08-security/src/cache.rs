//! Compiled filters on disk, one file each, under the digest of everything that they were made of.
//!
//! ```text
//! STATE/seccomp/4f2a...e1      "gantry 1", a digest of the name and what follows, the filter
//! ```
//!
//! A profile of 17 KB is read and resolved in about a millisecond, a program loaded in some microseconds. But whoever
//! can write here chooses the filters of all later containers. So a file counts only if it and its folder belong to us
//! (or root), nobody else can write to them, no link led there, and its bytes are whole. Otherwise the
//! reason is told and the filter is made anew. The state folder is no place for a container's volume.

use std::fs::{self, File, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use process::{Context, Error, Result};
use sha2::{Digest, Sha256};

use crate::resolve::Facts;

/// What a file begins with. The number changes with the form of these files.
const MARK: &[u8] = b"gantry 1";

/// The filters in a state folder.
pub struct Cache(PathBuf);

// ANCHOR: key
/// The name of a filter: the digest of all that decides what it is. `maker` says which file of ours made it: another one
/// may make another program of the same profile.
pub fn key(profile: &str, facts: &Facts, maker: &str) -> String {
    let facts = format!("{facts:?}");
    let mut digest = Sha256::new();
    for part in [MARK, maker.as_bytes(), facts.as_bytes(), profile.as_bytes()] {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
// ANCHOR_END: key

impl Cache {
    /// The cache in a state folder, which need not be there.
    pub fn new(state: &Path) -> Cache {
        Cache(state.join("seccomp"))
    }

    // ANCHOR: load
    /// The filter of that name, if there is one.
    ///
    /// # Errors
    /// There is one that we cannot trust.
    pub fn load(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let path = self.0.join(key);
        let folder = match open(&self.0, libc::O_DIRECTORY) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened.during("open", self.0.display())?,
        };
        must_be_ours(&folder, &self.0)?;
        let mut file = match open(&path, 0) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened.during("open", path.display())?,
        };
        must_be_ours(&file, &path)?;
        // Room for all of it and the end, or it would be read in a dozen pieces.
        let mut bytes = Vec::with_capacity(LONGEST as usize);
        (&mut file).take(LONGEST).read_to_end(&mut bytes).during("read", path.display())?;
        let damaged = || Error::refused("use the filter", path.display(), "it is damaged");
        unwrap(key, &bytes).map(|filter| Some(filter.to_vec())).ok_or_else(damaged)
    }
    // ANCHOR_END: load

    /// Keeps a filter: whole, or not at all.
    ///
    /// # Errors
    /// The folder cannot be made or written, or is not ours.
    pub fn store(&self, key: &str, filter: &[u8]) -> Result<()> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0);
        made.during("create", self.0.display())?;
        must_be_ours(&open(&self.0, libc::O_DIRECTORY).during("open", self.0.display())?, &self.0)?;
        let (path, new) = (self.0.join(key), self.0.join(format!(".{key}.{}", std::process::id())));
        let written = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)
            .and_then(|mut file| file.write_all(&wrap(key, filter)))
            .and_then(|()| fs::set_permissions(&new, Permissions::from_mode(0o600)))
            .and_then(|()| fs::rename(&new, &path));
        if written.is_err() {
            // What is left of it has no name that anybody looks for.
            let _ = fs::remove_file(&new);
        }
        written.during("write", path.display())
    }
}

/// No filter is longer: 4,096 instructions of 8 bytes, and what stands before them.
const LONGEST: u64 = 4096 * 8 + 64;

/// Opens for reading, and follows no link.
fn open(path: &Path, flags: i32) -> std::io::Result<File> {
    File::options().read(true).custom_flags(flags | libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)
}

// ANCHOR: ours
/// Whether nobody but us and root could have written here.
fn must_be_ours(file: &File, path: &Path) -> Result<()> {
    let found = file.metadata().during("stat", path.display())?;
    let refuse = |cause: &str| Err(Error::refused("use the filter", path.display(), cause));
    if found.uid() != geteuid().as_raw() && found.uid() != 0 {
        return refuse("it belongs to somebody else");
    }
    if found.mode() & 0o022 != 0 {
        return refuse("others can write to it");
    }
    if !found.is_file() && !found.is_dir() {
        return refuse("it is no file");
    }
    Ok(())
}
// ANCHOR_END: ours

/// The bytes of a file: mark, digest, filter.
fn wrap(key: &str, filter: &[u8]) -> Vec<u8> {
    [MARK, &digest(key, filter)[..], filter].concat()
}

/// The filter in the bytes of a file; none if they are not as they were written, or were written under another name.
fn unwrap<'a>(key: &str, bytes: &'a [u8]) -> Option<&'a [u8]> {
    let (found, filter) = bytes.strip_prefix(MARK)?.split_at_checked(32)?;
    (digest(key, filter) == found).then_some(filter)
}

fn digest(key: &str, filter: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(key).chain_update(filter).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::Set;

    /// A folder that is gone when the test ends.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let path = std::env::temp_dir().join(format!("gantry-cache-{name}-{}", std::process::id()));
            fs::create_dir(&path).unwrap();
            Scratch(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_filter_is_kept_and_a_damaged_one_is_told() {
        let state = Scratch::new("kept");
        let cache = Cache::new(&state.0);
        let filter = *b"instructions of a filter";
        assert_eq!(cache.load("demo").unwrap(), None);
        cache.store("demo", &filter).unwrap();
        assert_eq!(cache.load("demo").unwrap(), Some(filter.to_vec()));
        let file = state.0.join("seccomp/demo");
        let whole = fs::read(&file).unwrap();
        let said = || cache.load("demo").unwrap_err().to_string();
        for broken in [&whole[..20], &whole[..whole.len() - 8], b"", &[&whole[..], &[0; 8]].concat()] {
            fs::write(&file, broken).unwrap();
            assert!(said().contains("damaged"), "{broken:?}");
        }
        fs::write(state.0.join("seccomp/other"), &whole).unwrap();
        assert!(cache.load("other").unwrap_err().to_string().contains("damaged"), "under another name");
        fs::remove_file(state.0.join("seccomp/other")).unwrap();
        let mut changed = whole.clone();
        *changed.last_mut().unwrap() ^= 1;
        fs::write(&file, changed).unwrap();
        assert!(said().contains("damaged"));
        cache.store("demo", &filter).unwrap();
        assert_eq!(cache.load("demo").unwrap(), Some(filter.to_vec()));
        assert_eq!(fs::read_dir(state.0.join("seccomp")).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn what_others_can_write_is_not_used() {
        let state = Scratch::new("others");
        let cache = Cache::new(&state.0);
        cache.store("demo", b"a filter").unwrap();
        let (folder, file) = (state.0.join("seccomp"), state.0.join("seccomp/demo"));
        let set = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        for (path, mode, good) in [(&file, 0o620, 0o600), (&file, 0o602, 0o600), (&folder, 0o777, 0o700)] {
            set(path, mode);
            assert!(cache.load("demo").unwrap_err().to_string().contains("others can write"));
            set(path, good);
            cache.load("demo").unwrap().unwrap();
        }
        fs::rename(&file, state.0.join("elsewhere")).unwrap();
        std::os::unix::fs::symlink(state.0.join("elsewhere"), &file).unwrap();
        assert!(cache.load("demo").unwrap_err().to_string().contains("ELOOP"));
    }

    #[test]
    fn everything_that_matters_is_in_the_name() {
        let facts = Facts {
            capabilities: Set(3),
            arch: crate::calls::Arch::X86_64,
            kernel: (6, 1),
            shared_terminal: true,
        };
        let key = |profile, facts: &Facts| key(profile, facts, "1:2");
        let name = key("{}", &facts);
        assert_eq!((name.len(), name.as_str()), (64, key("{}", &facts).as_str()));
        let others = [
            super::key("{}", &facts, "1:3"),
            key("{ }", &facts),
            key("{}", &Facts { capabilities: Set(1), ..facts }),
            key("{}", &Facts { arch: crate::calls::Arch::I386, ..facts }),
            key("{}", &Facts { kernel: (6, 2), ..facts }),
            key("{}", &Facts { shared_terminal: false, ..facts }),
        ];
        assert!(others.iter().all(|other| *other != name));
    }
}
