//! Where containers' cgroups are: `TOP/gantry/NAME`, the same below the top of each tree.
//!
//! The top is the root of what this process sees mounted, where it may write there: the whole machine for its root, a
//! part of it in a cgroup namespace or a container. Else it is the cgroup in which this process is itself: what was
//! delegated to an ordinary user. `--cgroup-parent` names another. A tree without such a place is closed to us.

use std::fs;
use std::path::{Component, Path, PathBuf};

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat};
use process::{Error, Result};

use crate::{Controller, Hierarchies, Hierarchy, Version};

/// The folder below the top that holds our containers.
pub const GANTRY: &str = "gantry";

/// Where processes go that stand in the way of the "no internal processes" rule.
pub const LEAF: &str = "gantry-leaf";

// ANCHOR: types
/// The top of one tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Top {
    /// The tree's interface.
    pub version: Version,
    /// What it controls.
    pub controllers: Vec<Controller>,
    /// The folders from which controllers must be handed down, the outermost first; the last one is the top itself.
    pub way: Vec<PathBuf>,
    /// Whether we are in the top ourselves, or in its leaf. Then whoever is there may be moved; elsewhere it is others.
    pub ours: bool,
}

/// The tops of all trees that are open to us, that of version 2 first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// One for each of these trees.
    pub tops: Vec<Top>,
}
// ANCHOR_END: types

impl Top {
    /// The top itself.
    pub fn folder(&self) -> &Path {
        self.way.last().map_or(Path::new("/"), PathBuf::as_path)
    }

    /// Where our containers are.
    pub fn gantry(&self) -> PathBuf {
        self.folder().join(GANTRY)
    }
}

impl Place {
    // ANCHOR: choose
    /// The tops in these trees; `parent` is a path from each tree's root. What is not there of it is made, and stays:
    /// it is its owner's to remove.
    ///
    /// # Errors
    /// A parent that leads upwards, or among our containers.
    pub fn choose(trees: &Hierarchies, parent: Option<&Path>) -> Result<Place> {
        let parent = parent.map(below_root).transpose()?;
        let mut place = Place::default();
        for tree in &trees.0 {
            let way = match &parent {
                Some(parent) => way_to(&tree.point, parent),
                None => top_of(tree, may_write).into_iter().collect(),
            };
            if let [first, ..] = &way[..] {
                let controllers = handed_down(tree, first);
                let ours = own_of(tree).as_ref() == way.last();
                place.tops.push(Top { version: tree.version, controllers, way, ours });
            }
        }
        Ok(place)
    }
    // ANCHOR_END: choose
}

/// The tree's controllers, as far as they have come down to the first folder of a way; from there we hand them down.
fn handed_down(tree: &Hierarchy, first: &Path) -> Vec<Controller> {
    let offered = fs::read_to_string(first.join("cgroup.controllers"));
    let there =
        |controller: &Controller| offered.as_ref().map_or(true, |offered| controller.is_there(offered));
    tree.controllers.iter().copied().filter(there).collect()
}

/// The root of what is mounted, or our own cgroup: the first that we may write.
fn top_of(tree: &Hierarchy, may_write: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    [Some(tree.point.clone()), own_of(tree)].into_iter().flatten().find(|folder| may_write(folder))
}

/// Our own cgroup; the one around it, if that is a leaf in which an earlier run has put us.
fn own_of(tree: &Hierarchy) -> Option<PathBuf> {
    let own = tree.own.as_ref()?;
    let own = if own.ends_with(LEAF) { own.parent().unwrap_or(own) } else { own };
    // Part by part, so that the root itself does not end with a slash.
    Some(tree.point.components().chain(own.components()).collect())
}

/// Whether we may make cgroups in a folder, and move processes there.
fn may_write(folder: &Path) -> bool {
    let ours = |path: &Path, wish| faccessat(AT_FDCWD, path, wish, AtFlags::AT_EACCESS).is_ok();
    ours(folder, AccessFlags::W_OK | AccessFlags::X_OK)
        && ours(&folder.join("cgroup.procs"), AccessFlags::W_OK)
}

/// The path without its leading `/`.
fn below_root(parent: &Path) -> Result<PathBuf> {
    let refuse = |cause| Err(Error::refused("--cgroup-parent", parent.display(), cause));
    if !parent.is_absolute() {
        return refuse("it begins at the root of the tree: /workshop");
    }
    if parent.components().any(|part| part == Component::ParentDir) {
        return refuse("it must not contain `..`");
    }
    if parent.components().any(|part| part.as_os_str() == GANTRY) {
        return refuse("in `gantry` are our containers; whatever else is there would be swept away");
    }
    Ok(parent.strip_prefix("/").unwrap_or(parent).to_owned())
}

/// The folders from `point` to `parent`, both included.
fn way_to(point: &Path, parent: &Path) -> Vec<PathBuf> {
    let mut way = vec![point.to_owned()];
    for part in parent.components() {
        way.push(way[way.len() - 1].join(part));
    }
    way
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(own: Option<&str>) -> Hierarchy {
        Hierarchy {
            version: Version::V2,
            controllers: vec![Controller::Pids],
            names: Vec::new(),
            point: "/sys/fs/cgroup".into(),
            own: own.map(PathBuf::from),
        }
    }

    #[test]
    fn root_has_all_and_a_user_what_was_delegated() {
        let scope = "user.slice/run-1.scope";
        let top = |own: Option<&str>, writable: &[&str]| {
            top_of(&tree(own), |folder| writable.iter().any(|path| folder == Path::new(path)))
        };
        let (delegated, in_leaf) = (format!("/sys/fs/cgroup/{scope}"), format!("{scope}/{LEAF}"));
        assert_eq!(top(Some(scope), &["/sys/fs/cgroup"]), Some("/sys/fs/cgroup".into()));
        assert_eq!(top(Some(scope), &[&delegated]), Some(delegated.clone().into()));
        assert_eq!(top(Some(&in_leaf), &[&delegated]), Some(delegated.into()));
        assert_eq!(top(Some(scope), &[]), None);
        assert_eq!(top(None, &[]), None);
    }

    #[test]
    fn only_where_we_are_may_others_be_moved() {
        let ours = |own: &str, parent: &str| {
            Place::choose(&Hierarchies(vec![tree(Some(own))]), Some(Path::new(parent))).unwrap().tops[0].ours
        };
        assert!(ours("", "/") && ours("a/b", "/a/b") && ours("a/gantry-leaf", "/a") && ours(LEAF, "/"));
        assert!(!ours("a", "/") && !ours("", "/a") && !ours("a/b", "/a"));
    }

    #[test]
    fn a_parent_is_a_path_from_the_root() {
        let place = |parent: &str| Place::choose(&Hierarchies(vec![tree(None)]), Some(Path::new(parent)));
        let way = |parent| place(parent).unwrap().tops[0].way.clone();
        assert_eq!(way("/"), [Path::new("/sys/fs/cgroup")]);
        assert_eq!(way("/a/b").len(), 3);
        assert!(place("a").is_err());
        assert!(place("/a/../b").is_err());
        assert!(place("/a/gantry/quay").is_err());
    }
}
