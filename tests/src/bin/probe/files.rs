//! Files: a random series of operations, the same for the same seed; and a whole tree in words, to be compared.
//!
//! What an operation does depends on the seed and on what the tree looks like, never on the time or on inode numbers.
//! So on two trees that look alike, the same series must have the same outcome, step for step.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions, Permissions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, makedev, mknod, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::mkfifo;

/// Times after this one (in 2020) are those of the test itself.
const RECENT: i64 = 1_577_836_800;

/// A series in progress.
struct Series {
    random: u64,
    /// Folders that this series made: the union of layers renames no others.
    own_folders: BTreeSet<PathBuf>,
    /// Files with several names that this series made: of others the union would change one name only.
    own_links: BTreeSet<PathBuf>,
    made: usize,
}

/// `SEED COUNT`: as many operations in the working directory; says each, and its outcome.
pub fn files(words: &[String]) -> Result<String, String> {
    let number =
        |index: usize| words.get(index).and_then(|word| word.parse::<u64>().ok()).ok_or("SEED COUNT");
    let mut series = Series {
        random: number(0)?.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        own_folders: BTreeSet::new(),
        own_links: BTreeSet::new(),
        made: 0,
    };
    let mut told = String::new();
    for _ in 0..number(1)? {
        let (what, outcome) = series.step();
        let outcome = outcome.map_or_else(|error| format!("{:?}", error.kind()), |()| "ok".to_owned());
        let _ = writeln!(told, "{what}: {outcome}");
    }
    // Last, or the time of a folder would move again.
    if words.get(2).is_some_and(|word| word == "settle") {
        for path in all().into_iter().rev() {
            series.give_time(&path).map_err(|error| error.to_string())?;
        }
    }
    Ok(told)
}

impl Series {
    /// A number below `end`.
    fn below(&mut self, end: usize) -> usize {
        // xorshift64*
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end.max(1)
    }

    fn one_of(&mut self, paths: Vec<PathBuf>) -> Option<PathBuf> {
        let index = self.below(paths.len());
        paths.into_iter().nth(index)
    }

    /// A new path, or one that is there.
    fn place(&mut self) -> PathBuf {
        let folders = of_kind(|kind| kind.is_dir());
        let folder = self.one_of(folders).unwrap_or_default();
        self.made += 1;
        let name = match self.below(12) {
            0 => format!("long-{}-{}", "x".repeat(120), self.made),
            1 => format!("ünïcode \n{}", self.made),
            2..=5 => format!("n{}", self.below(6)),
            _ => format!("f{}", self.below(1000)),
        };
        folder.join(name)
    }

    /// A file that may be changed: not one with names that the union would part.
    fn file(&mut self) -> PathBuf {
        let mut files = of_kind(|kind| kind.is_file());
        files.retain(|path| !is_linked(path) || self.own_links.contains(path));
        self.one_of(files).unwrap_or_else(|| "none".into())
    }

    fn folder(&mut self) -> PathBuf {
        let folders =
            of_kind(|kind| kind.is_dir()).into_iter().filter(|path| path != Path::new("")).collect();
        self.one_of(folders).unwrap_or_else(|| "none".into())
    }

    fn anything(&mut self) -> PathBuf {
        let mut paths = all();
        paths.retain(|path| path != Path::new("") && !is_linked(path));
        self.one_of(paths).unwrap_or_else(|| "none".into())
    }

    fn content(&mut self) -> Vec<u8> {
        let length = [0, 1, 100, 4096, 5000, 20_000][self.below(6)];
        let byte = self.below(256) as u8;
        (0..length).map(|index| byte.wrapping_add((index / 7) as u8)).collect()
    }

    fn give_time(&mut self, path: &Path) -> io::Result<()> {
        let mut hasher = DefaultHasher::new();
        path.hash(&mut hasher);
        let hash = hasher.finish();
        let seconds = if hash.is_multiple_of(50) { -1000 } else { (hash % 1_000_000_000) as i64 };
        let time = TimeSpec::new(seconds, (hash >> 32) as i64 % 1_000_000_000);
        Ok(utimensat(AT_FDCWD, &named(path), &time, &time, UtimensatFlags::NoFollowSymlink)?)
    }

    /// One operation: in words, and its outcome.
    fn step(&mut self) -> (String, io::Result<()>) {
        let kind = self.below(24);
        let path = match kind {
            0..=5 | 22 | 23 => self.place(),
            6..=9 | 13 | 14 => self.file(),
            10 | 11 => self.folder(),
            _ => self.anything(),
        };
        let outcome = match kind {
            0 | 1 => self.content_to(&path),
            2 | 22 | 23 => fs::create_dir(&path).map(|()| self.own_folders.insert(path.clone())).map(drop),
            3 => symlink(["a//b/", "/etc/passwd", &"t".repeat(150), "../x"][self.below(4)], &path),
            4 => self.special(&path),
            5 => self.linked(&path),
            6 => OpenOptions::new()
                .append(true)
                .open(&path)
                .and_then(|mut file| file.write_all(&self.content())),
            7 => {
                let size = self.below(9000) as u64;
                OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(size))
            }
            8 => punch(&path, self.below(3) as i64 * 4096),
            9 => self.sparse(&path),
            10 => self.anew(&path),
            11 | 12 => remove(&path),
            13..=15 => self.rename(&path),
            16 | 17 => fs::symlink_metadata(&path).and_then(|found| match found.is_symlink() {
                true => Ok(()),
                false => fs::set_permissions(&path, Permissions::from_mode(self.below(0o10000) as u32)),
            }),
            18 => lchown(&path, Some([0, 1, 1000, 3_000_000][self.below(4)]), Some(self.below(3) as u32)),
            19 => self.give_time(&path),
            _ => self.attribute(&path),
        };
        (format!("{kind} {}", path.display().to_string().escape_default()), outcome)
    }

    fn content_to(&mut self, path: &Path) -> io::Result<()> {
        if is_linked(path) {
            return Ok(());
        }
        // Through a link it would be another file, perhaps outside.
        let _ = fs::remove_file(path);
        fs::write(path, self.content())
    }

    fn special(&mut self, path: &Path) -> io::Result<()> {
        match self.below(3) {
            0 => Ok(mkfifo(path, Mode::from_bits_truncate(0o640))?),
            1 => Ok(mknod(path, SFlag::S_IFCHR, Mode::from_bits_truncate(0o600), makedev(1, 3))?),
            _ => Ok(mknod(path, SFlag::S_IFBLK, Mode::from_bits_truncate(0o600), makedev(7, 300))?),
        }
    }

    /// A file with two names.
    fn linked(&mut self, path: &Path) -> io::Result<()> {
        let names = ["a", "b"].map(|end| path.with_file_name(format!("linked-{}{end}", self.below(1000))));
        OpenOptions::new().write(true).create_new(true).open(&names[0])?.write_all(&self.content())?;
        fs::hard_link(&names[0], &names[1])?;
        self.own_links.extend(names);
        Ok(())
    }

    fn sparse(&mut self, path: &Path) -> io::Result<()> {
        let place = 65_536 + self.below(10) as u64 * 10_000;
        OpenOptions::new().write(true).open(path)?.write_all_at(b"behind a hole", place)
    }

    /// A folder removed and made again: nothing of the old one is in it.
    fn anew(&mut self, path: &Path) -> io::Result<()> {
        fs::symlink_metadata(path)?;
        remove(path)?;
        fs::create_dir(path)?;
        self.own_folders.insert(path.to_owned());
        fs::write(path.join("n1"), self.content())
    }

    fn rename(&mut self, path: &Path) -> io::Result<()> {
        let to = self.place();
        let is_folder = fs::symlink_metadata(path)?.is_dir();
        let own = self.own_folders.contains(path) && !holds_others(path, &self.own_folders);
        // A folder of the layers cannot be renamed in their union: EXDEV, and mv(1) copies.
        if is_linked(path)
            || (is_folder && !own)
            || fs::symlink_metadata(&to).is_ok_and(|there| there.is_dir())
        {
            return Ok(());
        }
        fs::rename(path, &to)?;
        if is_folder {
            self.own_folders.insert(to);
        }
        Ok(())
    }

    fn attribute(&mut self, path: &Path) -> io::Result<()> {
        let name = ["user.harbour", "user.two words", "trusted.quay", "security.capability"][self.below(4)];
        let value: &[u8] = match name {
            // Version 2, effective, cap_net_raw: a line's end is among its bytes.
            "security.capability" => &[1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            _ => [&b""[..], b"value", b"two\nlines=\0\x01"][self.below(3)],
        };
        if name == "security.capability" && !fs::symlink_metadata(path)?.is_file() {
            return Ok(());
        }
        set_attribute(path, name, value)
    }
}

/// Whether something in a folder is of another series.
fn holds_others(folder: &Path, own: &BTreeSet<PathBuf>) -> bool {
    all().iter().any(|path| {
        path.starts_with(folder)
            && (is_linked(path) || (path.is_dir() && !path.is_symlink() && !own.contains(path)))
    })
}

fn is_linked(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"linked-"))
}

/// The working directory has no other name.
fn named(path: &Path) -> PathBuf {
    if path == Path::new("") { ".".into() } else { path.to_owned() }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path)?.is_dir() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    }
}

fn punch(path: &Path, offset: i64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    // SAFETY: numbers only.
    let done = unsafe { libc::fallocate(file.as_raw_fd(), mode, offset, 4096) };
    nix::errno::Errno::result(done).map(drop).map_err(io::Error::from)
}

fn set_attribute(path: &Path, name: &str, value: &[u8]) -> io::Result<()> {
    let (path, name) = (CString::new(path.as_os_str().as_bytes())?, CString::new(name)?);
    // SAFETY: all three live through the call, and the value has the length that we name.
    let done =
        unsafe { libc::lsetxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    nix::errno::Errno::result(done).map(drop).map_err(io::Error::from)
}

/// Extended attributes, a line each, overlay's own too.
pub fn attributes(files: &[String]) -> Result<String, String> {
    let each = files.iter().flat_map(|file| named_values(Path::new(file)));
    let lines = each.map(|(name, value)| format!("{name}={}", String::from_utf8_lossy(&value)));
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

/// Names and values, without those of overlay itself.
fn others(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = named_values(path);
    found.retain(|name, _| !name.starts_with("user.overlay.") && !name.starts_with("trusted.overlay."));
    found
}

/// Names and values of extended attributes.
fn named_values(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else { return BTreeMap::new() };
    let mut names = vec![0_u8; 65_536];
    // SAFETY: path and buffer live through the call, and the buffer has the length that we name.
    let length = unsafe { libc::llistxattr(path.as_ptr(), names.as_mut_ptr().cast(), names.len()) };
    names.truncate(length.max(0) as usize);
    let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let value = |name: &[u8]| {
        let (name, mut value) = (CString::new(name).ok()?, vec![0_u8; 65_536]);
        // SAFETY: as above.
        let length =
            unsafe { libc::lgetxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
        value.truncate(length.max(0) as usize);
        Some((name.to_string_lossy().into_owned(), value))
    };
    names.filter_map(value).collect()
}

/// Every path in the working directory, itself first as the empty one, parents before what is in them.
fn all() -> Vec<PathBuf> {
    fn below(folder: &Path, found: &mut Vec<PathBuf>) {
        let mut inner: Vec<PathBuf> = fs::read_dir(named(folder))
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| folder.join(entry.file_name()))
            .collect();
        inner.sort();
        for path in inner {
            found.push(path.clone());
            if fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir()) {
                below(&path, found);
            }
        }
    }
    let mut found = vec![PathBuf::new()];
    below(Path::new(""), &mut found);
    found
}

fn of_kind(fits: impl Fn(fs::FileType) -> bool) -> Vec<PathBuf> {
    let is = |path: &PathBuf| fs::symlink_metadata(named(path)).is_ok_and(|found| fits(found.file_type()));
    all().into_iter().filter(is).collect()
}

/// `[exact]`: the tree in the working directory, a line a file. Times of today are `now`, unless `exact`.
pub fn tree(words: &[String]) -> Result<String, String> {
    let exact = words.first().is_some_and(|word| word == "exact");
    let mut first = BTreeMap::new();
    let lines: Vec<String> = all()
        .iter()
        .filter_map(|path| {
            describe(path, exact, &mut first).map_err(|error| eprintln!("{path:?}: {error}")).ok()
        })
        .collect();
    Ok(lines.join("\n"))
}

fn describe(path: &Path, exact: bool, first: &mut BTreeMap<(u64, u64), String>) -> io::Result<String> {
    let place = named(path);
    let found = fs::symlink_metadata(&place)?;
    let name = path.display().to_string().escape_default().to_string();
    let kind = found.file_type();
    let content = match kind {
        _ if kind.is_symlink() => format!("-> {}", fs::read_link(&place)?.display()),
        _ if kind.is_file() => {
            let mut hasher = DefaultHasher::new();
            io::read_to_string(File::open(&place)?)
                .map_or_else(|_| fs::read(&place), |text| Ok(text.into_bytes()))?
                .hash(&mut hasher);
            format!("{} bytes {:x}", found.len(), hasher.finish())
        }
        _ if kind.is_block_device() || kind.is_char_device() => format!("device {}", found.rdev()),
        _ => String::new(),
    };
    let time = match found.mtime() {
        seconds if seconds > RECENT && !exact => "now".to_owned(),
        seconds => format!("{seconds}.{:09}", found.mtime_nsec()),
    };
    let one = match kind.is_file() {
        true => first.entry((found.dev(), found.ino())).or_insert_with(|| name.clone()).clone(),
        false => String::new(),
    };
    let same = if one.is_empty() || one == name { String::new() } else { format!(" = {one}") };
    let (mode, uid, gid) = (found.mode(), found.uid(), found.gid());
    Ok(format!("{name}{same} {mode:o} {uid}:{gid} {time} {content} {:?}", others(&place)))
}
