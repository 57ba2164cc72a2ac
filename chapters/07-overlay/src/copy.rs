//! A union without overlay: the layers copied over each other into one folder.
//!
//! For file systems on which overlay cannot write, such as another overlay or NFS. It costs the size of all layers for
//! each container, so it is the last resort. Each layer is packed and unpacked again: so whiteouts, links and owners
//! are handled by what handles them anyway.

use std::fs::{self, File};
use std::io::Seek;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use process::{Context, Result};

use crate::node::LeftOut;
use crate::pack::pack;
use crate::tree;
use crate::unpack::{Target, unpack};
use crate::whiteout::Notes;

// ANCHOR: copy
/// Copies layers, the lowest first, into a folder; what a copy left there that was broken off is removed.
///
/// # Errors
/// ENOSPC; or what packing and unpacking say.
pub fn union(layers: &[PathBuf], folder: &Path) -> Result<()> {
    let to = File::open(folder).during("open", folder.display())?;
    tree::names(to.as_fd())
        .during("read", folder.display())?
        .iter()
        .try_for_each(|name| tree::remove(to.as_fd(), name))?;
    let mut left_out = LeftOut::default();
    for layer in layers {
        let from = File::open(layer).during("open", layer.display())?;
        let mut tar = nameless(folder)?;
        left_out = left_out.and(pack(from.as_fd(), Notes::ours(), &mut tar)?);
        tar.rewind().during("read", "the copy")?;
        left_out = left_out.and(unpack(&tar, to.as_fd(), Target::Tree)?);
    }
    left_out.tell();
    Ok(())
}
// ANCHOR_END: copy

/// A file without a name in `folder`'s file system: gone when closed.
///
/// # Errors
/// EOPNOTSUPP: that file system has none.
pub fn nameless(folder: &Path) -> Result<File> {
    let open = fs::OpenOptions::new().read(true).write(true).custom_flags(libc::O_TMPFILE).open(folder);
    open.during("make a file in", folder.display())
}
