//! The flags of this floor.

use std::path::PathBuf;

use clap::{ArgMatches, Command, arg, value_parser};
use process::cli::{Floor, Isolations};
use process::{Error, Program, Result};

use crate::{Mount, MountNamespace};

/// This chapter's floor.
pub const FLOOR: Floor = Floor { flags, isolations };

fn flags(command: Command) -> Command {
    command.args([
        arg!(--rootfs <DIR> "Make this folder the container's /").value_parser(value_parser!(PathBuf)),
        arg!(-v --volume <"SOURCE:TARGET[:ro]"> ... "Show a file or folder of the host inside"),
        arg!(--tmpfs <"TARGET[:OPTIONS]"> ... "Mount a temporary file system"),
        arg!(--"read-only" "Let nothing in the root file system be changed"),
        arg!(--bare "Leave out /proc, /sys and /dev"),
    ])
}

/// Whether the container gets a `/dev` of its own.
pub fn has_dev(given: &ArgMatches, program: &Program) -> bool {
    program.root.is_some() && !given.get_flag("bare")
}

fn isolations(given: &ArgMatches, program: &mut Program) -> Result<Isolations> {
    if let Some(folder) = given.get_one::<PathBuf>("rootfs") {
        program.root = Some(folder.clone());
    }
    let words = |name| given.get_many::<String>(name).into_iter().flatten();
    let volumes = words("volume").map(|text| Mount::volume(text));
    let tmpfs = words("tmpfs").map(|text| Mount::tmpfs(text));
    let mut mounts = tmpfs.chain(volumes).collect::<Result<Vec<_>>>()?;
    // Parents before what lies in them, or they would cover it.
    mounts.sort_by_key(|mount| mount.target.components().count());
    let namespace = MountNamespace {
        rootfs: program.root.clone(),
        read_only: given.get_flag("read-only"),
        bare: given.get_flag("bare"),
        mounts,
    };
    if namespace.rootfs.is_none() && (namespace.read_only || !namespace.mounts.is_empty()) {
        return Err(Error::refused("run", "", "--volume, --tmpfs and --read-only need a --rootfs"));
    }
    Ok(vec![Box::new(namespace)])
}
