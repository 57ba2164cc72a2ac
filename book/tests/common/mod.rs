//! The demo book of the tests: every directive once, with the real theme.

use std::path::{Path, PathBuf};

use book::bench::copy_tree;
use book::site::Site;

/// The workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate stands in the workspace").to_owned()
}

/// A fresh copy of the demo workspace in `target/`, with the theme and the settings of the real book.
pub fn demo(name: &str) -> Site {
    let folder = root().join("target/gantry/tests").join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).expect("remove the last demo book");
    }
    let book = root().join("book");
    copy_tree(&book.join("tests/fixture"), &folder).expect("copy the demo");
    copy_tree(&book.join("theme"), &folder.join("book/theme")).expect("copy the theme");
    std::fs::copy(book.join("book.toml"), folder.join("book/book.toml")).expect("copy book.toml");
    Site::at(&folder).expect("read the demo's course.toml")
}
