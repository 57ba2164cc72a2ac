//! Nothing that a learner wrote is ever lost: files that a command replaces are kept aside first.
//!
//! Each run of a command that replaces files makes one folder, `.gantry/kept/2025-11-23T21-35-00Z`, only
//! when there is something to keep, and copies files into it under their paths from the workspace's root.
//!
//! Left out: throwing old ones away. They are small, and they are the learner's.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{clock, workspace};

/// Copies files aside before they are replaced.
#[derive(Debug)]
pub struct Keeper {
    root: PathBuf,
    folder: Option<PathBuf>,
}

impl Keeper {
    /// A keeper for the workspace at `root`; makes nothing yet.
    pub fn new(root: &Path) -> Keeper {
        Keeper { root: root.to_owned(), folder: None }
    }

    /// Copies the file at `path`, which stands below the workspace's root, aside.
    ///
    /// # Errors
    /// The file cannot be read, or its copy not written.
    pub fn keep(&mut self, path: &Path) -> Result<()> {
        let below = path.strip_prefix(&self.root).context("a kept file stands in the workspace")?;
        let copy = self.make_folder()?.join(below);
        let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
        workspace::write_atomically(&copy, &bytes).context("keep the old file aside")
    }

    /// Where the old files are, if there were any.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    fn make_folder(&mut self) -> Result<PathBuf> {
        if let Some(folder) = &self.folder {
            return Ok(folder.clone());
        }
        let all = workspace::state_dir(&self.root).join("kept");
        fs::create_dir_all(&all).with_context(|| format!("create {}", all.display()))?;
        let name = clock::folder_name();
        for count in 1.. {
            let folder = if count == 1 { all.join(&name) } else { all.join(format!("{name}-{count}")) };
            match fs::create_dir(&folder) {
                Ok(()) => return Ok(self.folder.insert(folder).clone()),
                // Two runs in one second: each has its own.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| format!("create {}", folder.display())),
            }
        }
        unreachable!("there is always a next number")
    }
}
