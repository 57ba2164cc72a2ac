//! A folder for one test.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use crate::tree;

/// Gone when dropped.
pub(crate) struct Folder {
    path: PathBuf,
    file: File,
}

impl Folder {
    pub(crate) fn new() -> Folder {
        let path = std::env::temp_dir().join(tree::fresh_name("gantry-overlay-").unwrap());
        std::fs::create_dir(&path).unwrap();
        Folder { file: File::open(&path).unwrap(), path }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}
