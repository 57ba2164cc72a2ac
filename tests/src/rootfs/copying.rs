//! A private copy of a root file system, and its size.
//!
//! Copies folders, files, symbolic links, permission bits and hard links, with the kernel moving the bytes
//! (`std::fs::copy` uses `copy_file_range`, which shares blocks where the file system can). The copy belongs
//! to whoever makes it. Anything else (devices, pipes, sockets) is refused: a demo root file system has none.

use std::collections::HashMap;
use std::fs::{DirBuilder, Metadata};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Copies the tree `from` to `to`, which must be a new or an empty folder.
///
/// # Errors
/// `to` holds something, or a file cannot be read or written; its path is named.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    if to.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        bail!("copy {} to {}: the folder is not empty", from.display(), to.display());
    }
    copy_folder(from, to, &mut HashMap::new())
}

/// How many files a tree has, and their bytes; a file with two names counts once.
///
/// # Errors
/// A folder cannot be read.
pub fn measure(tree: &Path) -> Result<(u64, u64)> {
    let mut seen = std::collections::HashSet::new();
    let mut queue = vec![tree.to_owned()];
    let (mut files, mut bytes) = (0, 0);
    while let Some(folder) = queue.pop() {
        for (path, facts) in entries(&folder)? {
            if facts.is_dir() {
                queue.push(path);
            } else if facts.is_file() && seen.insert(facts.ino()) {
                files += 1;
                bytes += facts.len();
            }
        }
    }
    Ok((files, bytes))
}

fn copy_folder(from: &Path, to: &Path, twins: &mut HashMap<u64, PathBuf>) -> Result<()> {
    let mode = from.metadata().with_context(|| format!("read {}", from.display()))?.mode() & 0o7777;
    make_folder(to)?;
    for (source, facts) in entries(from)? {
        let place = to.join(source.file_name().unwrap_or_default());
        let about = || format!("copy {} to {}", source.display(), place.display());
        let kind = facts.file_type();
        if kind.is_dir() {
            copy_folder(&source, &place, twins)?;
        } else if kind.is_symlink() {
            let target = std::fs::read_link(&source).with_context(about)?;
            symlink(target, &place).with_context(about)?;
        } else if kind.is_file() {
            copy_file(&source, &facts, &place, twins).with_context(about)?;
        } else {
            bail!("copy {}: neither a file nor a folder nor a link", source.display());
        }
    }
    // Last: a folder may forbid writing.
    std::fs::set_permissions(to, std::fs::Permissions::from_mode(mode))
        .with_context(|| format!("set the permissions of {}", to.display()))
}

fn copy_file(
    from: &Path,
    facts: &Metadata,
    to: &Path,
    twins: &mut HashMap<u64, PathBuf>,
) -> std::io::Result<()> {
    if let Some(twin) = twins.get(&facts.ino()) {
        return std::fs::hard_link(twin, to);
    }
    std::fs::copy(from, to)?;
    if facts.nlink() > 1 {
        twins.insert(facts.ino(), to.to_owned());
    }
    Ok(())
}

fn make_folder(path: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(_) if path.is_dir() => Ok(()),
        made => made.with_context(|| format!("make the folder {}", path.display())),
    }
}

fn entries(folder: &Path) -> Result<Vec<(PathBuf, Metadata)>> {
    let about = || format!("read the folder {}", folder.display());
    let entries = std::fs::read_dir(folder).with_context(about)?;
    entries
        .map(|entry| {
            let entry = entry?;
            Ok((entry.path(), entry.metadata()?))
        })
        .collect::<std::io::Result<_>>()
        .with_context(about)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::testing::Scratch;

    #[test]
    fn a_copy_keeps_modes_links_and_twins() {
        let scratch = Scratch::new("copy");
        let (from, to) = (scratch.path().join("from"), scratch.path().join("to"));
        std::fs::create_dir_all(from.join("tmp")).unwrap();
        std::fs::set_permissions(from.join("tmp"), std::fs::Permissions::from_mode(0o1777)).unwrap();
        std::fs::write(from.join("a"), "anchor").unwrap();
        std::fs::set_permissions(from.join("a"), std::fs::Permissions::from_mode(0o750)).unwrap();
        std::fs::hard_link(from.join("a"), from.join("b")).unwrap();
        symlink("../outside", from.join("tmp/link")).unwrap();
        copy(&from, &to).unwrap();
        let facts = |name: &str| to.join(name).symlink_metadata().unwrap();
        assert_eq!(facts("tmp").mode() & 0o7777, 0o1777);
        assert_eq!(facts("a").mode() & 0o7777, 0o750);
        assert_eq!(facts("a").ino(), facts("b").ino());
        assert_eq!(std::fs::read_link(to.join("tmp/link")).unwrap(), Path::new("../outside"));
        assert_eq!(measure(&to).unwrap(), (1, 6));
        assert!(copy(&from, &to).unwrap_err().to_string().contains("not empty"));
    }

    #[test]
    fn a_pipe_is_refused() {
        let scratch = Scratch::new("pipe");
        let from = scratch.path().join("from");
        std::fs::create_dir(&from).unwrap();
        nix::unistd::mkfifo(&from.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(copy(&from, &scratch.path().join("to")).is_err());
    }
}
