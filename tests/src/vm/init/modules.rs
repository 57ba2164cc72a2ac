//! Kernel modules, for a kernel that was not built whole (Debian's).
//!
//! `modules.dep` names for each module the ones that must go in before it, the last one first.
//!
//! Invariant: what the root stands on must load; a module of the course that is not there is left out, and
//! [`crate::vm::Kernel::lacks`] has told the user so.
//! Left out: loading on demand. The kernel does it itself through `/lib/modules`, where the host has `modprobe`.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};

/// What the machine's root stands on. Must be there, built in or as a module.
pub const FOR_THE_ROOT: &[&str] = &["overlay"];

/// What the course uses.
pub const FOR_THE_COURSE: &[&str] = &[
    "veth",
    "br_netfilter",
    "nf_tables",
    "nft_ct",
    "nft_masq",
    "nft_chain_nat",
    "nft_compat",
    "tun",
    "fuse",
    "loop",
];

/// `MODULE_INIT_COMPRESSED_FILE` of `linux/module.h`: the kernel unpacks the file itself (Linux 5.17).
const COMPRESSED: u32 = 4;

/// Loads modules, each with those that it needs.
///
/// # Errors
/// When `modules.dep` cannot be read, or a module that is there is refused.
pub fn load(folder: &Path, names: &[&str]) -> Result<()> {
    let table = folder.join("modules.dep");
    let table = fs::read_to_string(&table).with_context(|| format!("read {}", table.display()))?;
    let needs = parse(&table);
    for name in names {
        let Some((path, before)) = needs.get(*name) else { continue };
        for path in before.iter().rev().chain([path]) {
            insert(&folder.join(path))?;
        }
    }
    Ok(())
}

/// Lets `modprobe` find the modules too.
///
/// # Errors
/// When the link cannot be made.
pub fn install(folder: &Path) -> Result<()> {
    let name = folder.file_name().context("the modules' folder has no name")?;
    fs::create_dir_all("/lib/modules").context("make /lib/modules")?;
    let link = Path::new("/lib/modules").join(name);
    if link.exists() {
        Ok(())
    } else {
        symlink(folder, &link).with_context(|| format!("make {}", link.display()))
    }
}

/// From a module's name to its path and the paths of what it needs.
fn parse(table: &str) -> HashMap<String, (&str, Vec<&str>)> {
    let rows = table.lines().filter_map(|line| {
        let (path, needs) = line.split_once(':')?;
        let file = path.rsplit('/').next()?;
        let name = file.split('.').next()?.replace('-', "_");
        Some((name, (path, needs.split_whitespace().collect())))
    });
    rows.collect()
}

fn insert(path: &Path) -> Result<()> {
    let flags = match path.extension().and_then(|name| name.to_str()) {
        Some("ko") => ModuleInitFlags::empty(),
        Some("xz" | "zst" | "gz") => ModuleInitFlags::from_bits_retain(COMPRESSED),
        _ => bail!("{}: not a kernel module", path.display()),
    };
    let file = File::open(path).with_context(|| format!("open module {}", path.display()))?;
    match finit_module(file, c"", flags) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(errno).with_context(|| format!("load module {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_what_goes_in_before() {
        let table = "kernel/net/bridge/br_netfilter.ko: kernel/net/bridge/bridge.ko kernel/net/802/stp.ko\n\
                     kernel/fs/overlayfs/overlay.ko.xz:\nkernel/crypto/sha256-generic.ko:\n";
        let needs = parse(table);
        assert_eq!(needs["br_netfilter"].1, ["kernel/net/bridge/bridge.ko", "kernel/net/802/stp.ko"]);
        assert_eq!(needs["overlay"], ("kernel/fs/overlayfs/overlay.ko.xz", vec![]));
        assert!(needs.contains_key("sha256_generic"));
    }
}
