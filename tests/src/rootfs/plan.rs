//! What a tree shall hold, as data; and the one place that writes it.
//!
//! A plan maps each path inside to a folder, a link, a text, or a file of this machine. It is made without
//! touching anything, and carried out in a fixed order: folders, links, then content, so that `/bin` is a
//! link before anything goes to `/bin/sh`.
//!
//! Set-user-id bits are never taken along, and two names of one file stay two names of one file: some
//! machines' core utilities are a single program under a hundred names.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::libraries::Library;
use super::resolve;

/// One thing in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A folder with these permission bits.
    Folder(u32),
    /// A symbolic link to this text.
    Link(PathBuf),
    /// A file with this content.
    Text(String),
    /// A copy of a file of this machine, with these permission bits.
    File(PathBuf, u32),
}

/// The tree to be, by path inside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    items: BTreeMap<PathBuf, Item>,
}

impl Plan {
    /// Adds a folder.
    pub fn folder(&mut self, path: &str, mode: u32) {
        self.items.insert(path.into(), Item::Folder(mode));
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: impl Into<PathBuf>, target: impl Into<PathBuf>) {
        self.items.insert(path.into(), Item::Link(target.into()));
    }

    /// Adds a file with the given content.
    pub fn text(&mut self, path: &str, content: impl Into<String>) {
        self.items.insert(path.into(), Item::Text(content.into()));
    }

    /// Adds a copy of the file `source`.
    pub fn file(&mut self, path: impl Into<PathBuf>, source: impl Into<PathBuf>, mode: u32) {
        self.items.insert(path.into(), Item::File(source.into(), mode));
    }

    /// Adds libraries at the places where the loader looks for them.
    pub fn libraries(&mut self, libraries: impl IntoIterator<Item = Library>) {
        for library in libraries {
            self.file(library.inside, library.source, 0o755);
        }
    }

    /// What stands at `path`.
    pub fn get(&self, path: &Path) -> Option<&Item> {
        self.items.get(path)
    }

    /// The files of this machine that the tree is made of.
    pub fn sources(&self) -> impl Iterator<Item = &Path> {
        self.items.values().filter_map(|item| match item {
            Item::File(source, _) => Some(source.as_path()),
            _ => None,
        })
    }

    /// Writes it below `root`. What is there already stays, if it is the same.
    ///
    /// # Errors
    /// Something else is in the way, or a file cannot be read or written; the path is named.
    pub fn carry_out(&self, root: &Path) -> Result<()> {
        let mut written = HashMap::new();
        for pass in 0..3 {
            for (path, item) in &self.items {
                let turn = match item {
                    Item::Folder(_) => 0,
                    Item::Link(_) => 1,
                    Item::Text(_) | Item::File(..) => 2,
                };
                if turn == pass {
                    let about = || format!("put {} into {}", path.display(), root.display());
                    write(root, path, item, &mut written).with_context(about)?;
                }
            }
        }
        Ok(())
    }
}

/// The files written so far, by device and inode of their source.
type Written = HashMap<(u64, u64), PathBuf>;

fn write(root: &Path, path: &Path, item: &Item, written: &mut Written) -> Result<()> {
    let place = resolve::inside(root, path)?;
    if let Some(parent) = place.parent() {
        make_folders(root, parent)?;
    }
    match item {
        Item::Folder(mode) => {
            make_folders(root, &place)?;
            set_mode(&place, *mode)
        }
        Item::Link(target) => match std::fs::read_link(&place) {
            Ok(there) if there == *target => Ok(()),
            _ => Ok(symlink(target, &place)?),
        },
        Item::Text(content) => {
            std::fs::write(&place, content)?;
            set_mode(&place, 0o644)
        }
        Item::File(source, mode) => copy_file(source, &place, *mode, written),
    }
}

fn copy_file(source: &Path, place: &Path, mode: u32, written: &mut Written) -> Result<()> {
    let about = || format!("copy {}", source.display());
    let facts = source.metadata().with_context(about)?;
    if !facts.is_file() {
        bail!("{} is not a regular file", source.display());
    }
    if let Ok(there) = place.symlink_metadata() {
        if there.is_file() && there.len() == facts.len() {
            return Ok(());
        }
        bail!("{} is there already, in another version than {}", place.display(), source.display());
    }
    match written.get(&(facts.dev(), facts.ino())) {
        Some(twin) => std::fs::hard_link(twin, place)?,
        None => {
            // Under another name first: `add_program` may be interrupted in a tree that is in use.
            let draft = draft(place);
            std::fs::copy(source, &draft).with_context(about)?;
            set_mode(&draft, mode)?;
            std::fs::rename(&draft, place).with_context(about)?;
            written.insert((facts.dev(), facts.ino()), place.to_owned());
        }
    }
    Ok(())
}

/// `.NAME.new` in the same folder.
fn draft(place: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(place.file_name().unwrap_or_default());
    name.push(".new");
    place.with_file_name(name)
}

/// Makes the folders between `root` and `place`, readable for all whatever the umask says.
fn make_folders(root: &Path, place: &Path) -> Result<()> {
    let Ok(below) = place.strip_prefix(root) else { return Ok(()) };
    let mut here = root.to_owned();
    for part in below {
        here.push(part);
        match std::fs::create_dir(&here) {
            Ok(()) => set_mode(&here, 0o755)?,
            Err(_) if here.is_dir() => {}
            Err(error) => return Err(error).with_context(|| format!("make the folder {}", here.display())),
        }
    }
    Ok(())
}

fn set_mode(place: &Path, mode: u32) -> Result<()> {
    std::fs::set_permissions(place, std::fs::Permissions::from_mode(mode))
        .with_context(|| format!("set the permissions of {}", place.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::testing::Scratch;

    #[test]
    fn links_come_before_what_goes_through_them() {
        let scratch = Scratch::new("plan");
        let mut plan = Plan::default();
        plan.folder("/usr/bin", 0o755);
        plan.link("/bin", "usr/bin");
        plan.file("/bin/passwd", "/etc/passwd", 0o755);
        plan.text("/bin/note", "hello\n");
        plan.carry_out(scratch.path()).unwrap();
        assert!(scratch.path().join("usr/bin/passwd").is_file());
        assert!(scratch.path().join("usr/bin/note").is_file());
        plan.carry_out(scratch.path()).unwrap();
    }

    #[test]
    fn names_of_one_file_stay_together_and_set_user_id_is_dropped() {
        let scratch = Scratch::new("twins");
        let (one, two) = (scratch.path().join("one"), scratch.path().join("two"));
        std::fs::write(&one, "x").unwrap();
        std::fs::set_permissions(&one, std::fs::Permissions::from_mode(0o4755)).unwrap();
        std::fs::hard_link(&one, &two).unwrap();
        let mut plan = Plan::default();
        plan.file("/t/a", &one, 0o755);
        plan.file("/t/b", &two, 0o755);
        plan.carry_out(scratch.path()).unwrap();
        let facts = |name: &str| scratch.path().join("t").join(name).metadata().unwrap();
        assert_eq!(facts("a").ino(), facts("b").ino());
        assert_eq!(facts("a").mode() & 0o7777, 0o755);
    }

    #[test]
    fn another_version_is_not_overwritten() {
        let scratch = Scratch::new("versions");
        let mut plan = Plan::default();
        plan.file("/passwd", "/etc/passwd", 0o644);
        std::fs::write(scratch.path().join("passwd"), "older").unwrap();
        let error = format!("{:#}", plan.carry_out(scratch.path()).unwrap_err());
        assert!(error.contains("another version"), "{error}");
    }
}
