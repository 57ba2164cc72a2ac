//! The mounts of chapter 2 by the classic mount(2), to be held beside `src/detached.rs`.
//!
//! Nothing else uses this. It covers `/tmp` and works there, so it wants a mount namespace to throw away:
//! `unshare --user --map-root-user --mount cargo run -q -p mount --example classic`

use std::fs;

use nix::Result;
use nix::mount::{MsFlags, mount};

const NONE: Option<&str> = None;

// ANCHOR: classic
/// A new file system: type, place, restrictions and options in one call.
fn tmpfs(target: &str, options: &str) -> Result<()> {
    mount(Some("tmpfs"), target, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some(options))
}

/// A volume. The same call with another flag does another thing, and most arguments mean nothing now.
fn volume(source: &str, target: &str) -> Result<()> {
    mount(Some(source), target, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE)
}

/// A read-only volume takes two calls, because MS_BIND ignores MS_RDONLY.
fn read_only(source: &str, target: &str) -> Result<()> {
    volume(source, target)?;
    // From here on it is visible, and writable, until the second call. That one needs all the flags that the
    // mount has already, or it asks to take them away; and it changes the topmost mount only.
    let change = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    mount(NONE, target, NONE, change | MsFlags::MS_NOSUID | MsFlags::MS_NODEV, NONE)
}
// ANCHOR_END: classic

fn main() -> std::io::Result<()> {
    tmpfs("/tmp", "mode=1777,size=1m")?;
    fs::create_dir_all("/tmp/source/below")?;
    fs::create_dir_all("/tmp/view")?;
    tmpfs("/tmp/source/below", "mode=755,size=64k")?;
    read_only("/tmp/source", "/tmp/view")?;
    for file in ["/tmp/view/file", "/tmp/view/below/file"] {
        match fs::write(file, "through a read-only volume") {
            Ok(()) => println!("{file}: written"),
            Err(error) => println!("{file}: {error}"),
        }
    }
    Ok(())
}
