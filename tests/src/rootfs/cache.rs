//! Whether the tree that we have is still right; and making it anew, whole or not at all.
//!
//! Beside each tree lies a stamp: our format, the kind, and for every file it was made of its path, size and
//! time of change; then the programs that were looked for in vain. The tree is fresh while all of that still
//! holds. The stamp is taken away before a tree is replaced and written after, so that an interruption
//! leaves a stale tree or none, never half of one that counts as good. A new tree grows under another name
//! and changes places with the old one in one step. One builder at a time: `flock`.

use std::fmt::Write;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, Flock, FlockArg, RenameFlags, renameat2};

use super::plan::Plan;
use super::{Demo, Kind, programs, skeleton};

/// Rises whenever the same sources would give another tree.
const FORMAT: &str = "gantry rootfs 1";

/// The tree of the wished kind (the better one, if none is wished) in `folder`, made if it is not fresh.
///
/// # Errors
/// As [`super::demo`].
pub fn make(folder: &Path, wish: Option<Kind>) -> Result<Demo> {
    let place = Place::new(folder, wish);
    if let Some(demo) = place.fresh(wish) {
        return Ok(demo);
    }
    std::fs::create_dir_all(folder).with_context(|| format!("make the folder {}", folder.display()))?;
    let _alone = lock(&folder.join("lock"))?;
    if let Some(demo) = place.fresh(wish) {
        return Ok(demo);
    }
    place.build(wish).with_context(|| format!("make the root file system {}", place.tree.display()))
}

/// Where the tree and its companions lie.
struct Place {
    tree: PathBuf,
    growing: PathBuf,
    stamp: PathBuf,
}

impl Place {
    fn new(folder: &Path, wish: Option<Kind>) -> Place {
        let name = wish.map_or("demo".to_owned(), |kind| format!("demo-{kind}"));
        Place {
            tree: folder.join(&name),
            growing: folder.join(format!(".{name}.new")),
            stamp: folder.join(format!(".{name}.stamp")),
        }
    }

    /// The tree, if its stamp still holds.
    fn fresh(&self, wish: Option<Kind>) -> Option<Demo> {
        let stamp = std::fs::read_to_string(&self.stamp).ok()?;
        let (kind, missing) = holds(&stamp)?;
        let best = wish.unwrap_or_else(|| best(programs::find_usual));
        // A busybox that only PATH knows is as good as one in the usual folders.
        let right = kind == best || (wish.is_none() && kind == Kind::Busybox);
        (right && self.tree.is_dir()).then(|| Demo { path: self.tree.clone(), kind, missing, fresh: false })
    }

    fn build(&self, wish: Option<Kind>) -> Result<Demo> {
        let kind = wish.unwrap_or_else(|| best(programs::find));
        let mut plan = Plan::default();
        skeleton::common(&mut plan);
        let missing = match kind {
            Kind::Busybox => programs::busybox(&mut plan).map(|()| Vec::new())?,
            Kind::Host => {
                skeleton::terminals(&mut plan);
                programs::host(&mut plan)?
            }
        };
        // Before the files are copied: one that changes meanwhile makes the stamp stale, not wrong.
        let stamp = stamp(kind, &plan, &missing)?;
        remove(&self.growing)?;
        std::fs::create_dir(&self.growing).with_context(|| format!("make {}", self.growing.display()))?;
        plan.carry_out(&self.growing)?;
        self.replace(&stamp)?;
        Ok(Demo { path: self.tree.clone(), kind, missing, fresh: true })
    }

    /// Puts the grown tree in its place, and the stamp beside it last.
    fn replace(&self, stamp: &str) -> Result<()> {
        remove(&self.stamp)?;
        let swap = RenameFlags::RENAME_EXCHANGE;
        match renameat2(AT_FDCWD, &self.growing, AT_FDCWD, &self.tree, swap) {
            Ok(()) => {}
            // Nothing to change places with, or a file system that cannot.
            Err(Errno::ENOENT | Errno::EINVAL | Errno::ENOSYS) => {
                remove(&self.tree)?;
                std::fs::rename(&self.growing, &self.tree)
                    .with_context(|| format!("put {} in place", self.tree.display()))?;
            }
            Err(errno) => {
                return Err(errno).with_context(|| format!("put {} in place", self.tree.display()));
            }
        }
        remove(&self.growing)?;
        let draft = self.stamp.with_extension("stamp.new");
        let about = || format!("write {}", self.stamp.display());
        std::fs::write(&draft, stamp).with_context(about)?;
        std::fs::rename(&draft, &self.stamp).with_context(about)
    }
}

fn best(finder: fn(&str) -> Option<PathBuf>) -> Kind {
    if programs::static_busybox(finder).is_some() { Kind::Busybox } else { Kind::Host }
}

fn lock(path: &Path) -> Result<Flock<File>> {
    let about = || format!("lock {}: was it made by another user?", path.display());
    let file = File::options().create(true).append(true).open(path).with_context(about)?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno).with_context(about)
}

fn stamp(kind: Kind, plan: &Plan, missing: &[String]) -> Result<String> {
    let mut text = format!("{FORMAT}\nkind\t{kind}\n");
    let mut sources: Vec<&Path> = plan.sources().collect();
    sources.sort();
    sources.dedup();
    for source in sources {
        let line = facts(source).with_context(|| format!("look at {}", source.display()))?;
        writeln!(text, "from\t{line}\t{}", source.display())?;
    }
    for name in missing {
        writeln!(text, "missing\t{name}")?;
    }
    text.push_str("end\n");
    Ok(text)
}

/// Kind and missing programs of a stamp, if all that it says is still so.
fn holds(stamp: &str) -> Option<(Kind, Vec<String>)> {
    let mut lines = stamp.strip_suffix("end\n")?.lines();
    lines.next().filter(|format| *format == FORMAT)?;
    let kind = lines.next()?.strip_prefix("kind\t")?.parse().ok()?;
    let mut missing = Vec::new();
    for line in lines {
        match line.split_once('\t')? {
            ("from", rest) => {
                let (then, path) = rest.rsplit_once('\t')?;
                if facts(Path::new(path)).ok()? != then {
                    return None;
                }
            }
            ("missing", name) => missing.push(name.to_owned()),
            _ => return None,
        }
    }
    missing.iter().all(|name| programs::find_usual(name).is_none()).then_some((kind, missing))
}

fn facts(path: &Path) -> std::io::Result<String> {
    let facts = path.metadata()?;
    Ok(format!("{} {}.{:09}", facts.len(), facts.mtime(), facts.mtime_nsec()))
}

fn remove(path: &Path) -> Result<()> {
    let gone = match path.symlink_metadata() {
        Ok(facts) if facts.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(_) => return Ok(()),
    };
    gone.with_context(|| format!("remove {}: was it made by another user?", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::testing::Scratch;

    #[test]
    fn a_tree_is_reused_until_its_stamp_no_longer_holds() {
        let scratch = Scratch::new("cache");
        let first = make(scratch.path(), Some(Kind::Host)).unwrap();
        assert!(first.fresh && first.path.join("usr/bin/sh").exists());
        assert!(!make(scratch.path(), Some(Kind::Host)).unwrap().fresh);
        let stamp = scratch.path().join(".demo-host.stamp");
        let text = std::fs::read_to_string(&stamp).unwrap();
        for (what, changed) in [
            ("a source of another size", text.replacen("from\t", "from\t1", 1)),
            ("a source that is gone", text.replacen("\t/", "\t/gone/", 1)),
            ("a program that appeared", text.replace("end\n", "missing\tls\nend\n")),
            ("another format", text.replacen(FORMAT, "gantry rootfs 0", 1)),
            ("an unfinished stamp", text.replace("end\n", "")),
        ] {
            std::fs::write(&stamp, changed).unwrap();
            assert!(make(scratch.path(), Some(Kind::Host)).unwrap().fresh, "{what}");
        }
    }

    #[test]
    fn what_an_interrupted_builder_left_is_swept_away() {
        let scratch = Scratch::new("half");
        std::fs::create_dir_all(scratch.path().join(".demo-host.new/usr")).unwrap();
        std::fs::create_dir_all(scratch.path().join("demo-host/half")).unwrap();
        let demo = make(scratch.path(), Some(Kind::Host)).unwrap();
        assert!(demo.fresh && !demo.path.join("half").exists());
        let mut left: Vec<_> =
            scratch.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, [".demo-host.stamp", "demo-host", "lock"]);
    }

    #[test]
    fn builders_at_once_make_one_tree() {
        let scratch = Scratch::new("race");
        let made = std::thread::scope(|scope| {
            let builders: Vec<_> =
                (0..4).map(|_| scope.spawn(|| make(scratch.path(), Some(Kind::Host)).unwrap())).collect();
            builders.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(made.iter().filter(|demo| demo.fresh).count(), 1);
    }
}
