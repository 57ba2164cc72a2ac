//! `watch`: `check` on every save.
//!
//! Looks at the modification times of the chapter's files three times a second. That needs no library, works
//! on every file system, and editors that save by renaming are no special case.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use workshop::lab::Ground;
use workshop::{terminal, workspace};

use super::Here;
use super::check::{must_exist, once};
use super::target::Target;

/// How often the files are looked at.
const TICK: Duration = Duration::from_millis(300);

type Times = BTreeMap<PathBuf, (SystemTime, u64)>;

/// Checks, waits for a save, and again, until Ctrl-C.
pub fn watch(here: &Here, target: &Target, ground: Option<Ground>) -> Result<u8> {
    let (chapter, exercise) = target.find(&here.course)?;
    must_exist(here, chapter)?;
    let folder = chapter.starter_dir(&here.root);
    loop {
        let seen = times(&folder);
        terminal::clear()?;
        if let Err(error) = once(here, chapter, exercise, ground) {
            eprintln!("{error:#}");
        }
        let shown = workspace::shown(&here.root, &folder);
        terminal::print(&format!("\nWaiting for you to save a file in {shown} (Ctrl-C ends) ...\n"))?;
        wait_for_change(&folder, seen);
    }
}

/// Returns when the files differ from `seen` and have come to rest: an editor may write several.
fn wait_for_change(folder: &Path, seen: Times) {
    let mut before = seen.clone();
    loop {
        let now = times(folder);
        if now != seen && now == before {
            return;
        }
        before = now;
        sleep(TICK);
    }
}

/// When each file was written, and its size. What cannot be read is left out: it may be about to return.
fn times(folder: &Path) -> Times {
    let names = workspace::files(folder).unwrap_or_default();
    let time = |name: PathBuf| {
        let about = folder.join(&name).metadata().ok()?;
        Some((name, (about.modified().ok()?, about.len())))
    };
    names.into_iter().filter_map(time).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_save_a_new_file_and_a_removal_are_seen_and_the_editor_s_own_files_are_not() {
        let folder = workspace::Scratch::new("watch").unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("lib.rs"), "a").unwrap();
        let first = times(folder.path());
        fs::write(path(".lib.rs.swp"), "x").unwrap();
        assert_eq!(times(folder.path()), first);
        fs::write(path("lib.rs"), "ab").unwrap();
        let second = times(folder.path());
        assert_ne!(second, first);
        fs::write(path("gate.rs"), "").unwrap();
        assert_ne!(times(folder.path()), second);
        fs::remove_file(path("gate.rs")).unwrap();
        assert_eq!(times(folder.path()), second);
    }
}
