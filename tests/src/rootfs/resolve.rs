//! A path inside a root file system, as a path of this machine.
//!
//! Symbolic links are followed as they would be inside: an absolute one starts again at the root, and `..`
//! never leaves it. The last part is not followed, so that a link can be replaced. Parts that do not exist
//! yet are taken as they are.
//!
//! This walks by name, so it is only for trees that nobody changes meanwhile: those that we are building.
//! For a container's tree, chapter 2 lets the kernel do it (`openat2`).

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use anyhow::{Result, bail};

/// The kernel's own limit.
const MOST_LINKS: u32 = 40;

/// Where `path` of the tree at `root` lies.
///
/// # Errors
/// A loop of symbolic links.
pub fn inside(root: &Path, path: &Path) -> Result<PathBuf> {
    let mut left = parts(path);
    let mut done: Vec<OsString> = Vec::new();
    let mut links = 0;
    while let Some(part) = left.pop_front() {
        if part == ".." {
            done.pop();
            continue;
        }
        done.push(part);
        let here = done.iter().fold(root.to_owned(), |whole, part| whole.join(part));
        let Ok(target) = std::fs::read_link(&here) else { continue };
        if left.is_empty() {
            continue;
        }
        links += 1;
        if links > MOST_LINKS {
            bail!("{} in {}: too many symbolic links", path.display(), root.display());
        }
        done.pop();
        if target.is_absolute() {
            done.clear();
        }
        for part in parts(&target).into_iter().rev() {
            left.push_front(part);
        }
    }
    Ok(done.iter().fold(root.to_owned(), |whole, part| whole.join(part)))
}

fn parts(path: &Path) -> VecDeque<OsString> {
    let name = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        _ => None,
    };
    path.components().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::rootfs::testing::Scratch;

    #[test]
    fn links_and_dots_stay_inside() {
        let scratch = Scratch::new("resolve");
        let root = scratch.path();
        std::fs::create_dir_all(root.join("usr/bin")).unwrap();
        symlink("usr/bin", root.join("bin")).unwrap();
        symlink("/usr", root.join("abs")).unwrap();
        symlink("../../../..", root.join("usr/up")).unwrap();
        symlink("sh", root.join("usr/bin/ash")).unwrap();
        let at = |path: &str| inside(root, Path::new(path)).unwrap();
        assert_eq!(at("/bin/sh"), root.join("usr/bin/sh"));
        assert_eq!(at("/bin/ash"), root.join("usr/bin/ash"));
        assert_eq!(at("/abs/bin/new"), root.join("usr/bin/new"));
        assert_eq!(at("/usr/up/etc/passwd"), root.join("etc/passwd"));
        assert_eq!(at("/../../etc"), root.join("etc"));
        assert_eq!(at("/not/yet/there"), root.join("not/yet/there"));
    }

    #[test]
    fn a_loop_is_an_error() {
        let scratch = Scratch::new("loops");
        symlink("b", scratch.path().join("a")).unwrap();
        symlink("a", scratch.path().join("b")).unwrap();
        assert!(inside(scratch.path(), Path::new("/a/x")).is_err());
    }
}
