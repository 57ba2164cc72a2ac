//! Two wrong ways to make a mount's target inside a root file system, and the right one.
//!
//! Nothing else uses this. It needs no privileges: it plays the runner and the hostile image in one, in a
//! folder of its own. `cargo run -q -p mount --example naive`

use std::fs::{self, File};
use std::io::{Error, Result};
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::path::Path;

use mount::resolve::{self, Links, Place};

// ANCHOR: joined
/// Wrong: the kernel follows the image's links from *our* root.
fn joined(root: &Path, target: &str) -> Result<()> {
    fs::create_dir_all(root.join(target))
}
// ANCHOR_END: joined

// ANCHOR: checked
/// Still wrong: what was checked is not what is used, when somebody acts in between.
fn checked(root: &Path, target: &str, somebody_acts: impl FnOnce() -> Result<()>) -> Result<()> {
    let parent = root.join(target).parent().unwrap_or(root).canonicalize()?;
    if !parent.starts_with(root) {
        return Err(Error::other("it leads outside"));
    }
    somebody_acts()?;
    fs::create_dir(root.join(target))
}
// ANCHOR_END: checked

/// What chapter 2 does.
fn in_root(root: &Path, target: &str) -> Result<()> {
    let root = File::open(root)?;
    match resolve::place(root.as_fd(), &Path::new("/").join(target), Place::Folder, Links::Follow) {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::other(error)),
    }
}

fn main() -> Result<()> {
    let place = std::env::temp_dir().join(format!("gantry-naive-{}", std::process::id()));
    let (root, outside) = (place.join("root"), place.join("outside"));
    fs::create_dir_all(root.join("data"))?;
    fs::create_dir(&outside)?;
    symlink(&outside, root.join("link"))?;
    // The image's own process, at the worst moment: `data` is the link now.
    let swap = || fs::rename(root.join("data"), root.join("aside")).and(symlink(&outside, root.join("data")));

    let told = |way: &str, result: Result<()>| {
        let escaped = fs::read_dir(&outside).is_ok_and(|mut found| found.next().is_some());
        let end = result.map_or_else(|error| error.to_string(), |()| "done".to_owned());
        println!("{way}: {end}{}", if escaped { ", and something was made OUTSIDE" } else { "" });
        let _ = fs::remove_dir(outside.join("new"));
    };
    told("joined            ", joined(&root, "link/new"));
    told("checked           ", checked(&root, "link/new", || Ok(())));
    told("checked, and raced", checked(&root, "data/new", swap));
    told("openat2, in root  ", in_root(&root, "data/new"));
    fs::remove_dir_all(place)
}
