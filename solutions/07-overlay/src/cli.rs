//! The flags of this floor, which acts at two places: before the root is exchanged, and where users are looked up.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{ArgMatches, Command, arg};
use network::cli::state;
use process::cli::{Floor, Isolations};
use process::{Context, Error, Program, Result};
use user::identity::read_inside;

use crate::container::{self, Wish};
use crate::node::is_real_root;
use crate::{Container, Layered, Store};

/// Before chapter 2's floor: it makes the folder that becomes the root.
pub const FLOOR: Floor = Floor { flags, isolations };

/// In the place of chapter 4's last floor: users are those of the union.
pub const IDENTITY: Floor = Floor { flags: |command| command, isolations: identity };

fn flags(command: Command) -> Command {
    command.args([
        arg!(--layer <"DIR|ID"> ... "A layer of its /, the lowest first: a folder, or one of the store with all below"),
        arg!(--keep "Keep what the container writes, under its --name"),
    ])
}

fn isolations(given: &ArgMatches, program: &mut Program) -> Result<Isolations> {
    let words: Vec<&String> = given.get_many("layer").into_iter().flatten().collect();
    let (name, keep) = (given.get_one::<String>("name"), given.get_flag("keep"));
    if keep && (words.is_empty() || name.is_none()) {
        return Err(Error::refused("--keep", "", "it needs layers to write on, and a --name to be found by"));
    }
    if words.is_empty() {
        return Ok(Vec::new());
    }
    if given.contains_id("rootfs") {
        return Err(Error::refused("--layer", words[0], "the root is --rootfs, or made of layers"));
    }
    let store = Store::open(&state())?;
    // Until the container says that it uses them, nobody may remove a layer.
    let _held = store.lock()?;
    let mut layers = Vec::new();
    for word in words {
        layers.extend(trees(&store, word)?);
    }
    let mapped = is_real_root() && user::cli::maps(given)?.is_some();
    let wish = Wish { layers, mapped, kept: keep };
    let container = Container::open(&state(), name.map(String::as_str), wish)?;
    program.root = Some(container.merged());
    Ok(vec![Box::new(Layered::new(container))])
}

/// The folders that `--layer` means.
fn trees(store: &Store, word: &str) -> Result<Vec<PathBuf>> {
    let folder = Path::new(word);
    match store.find(word)? {
        Some(top) if !folder.exists() => store.chain(top),
        _ => fs::canonicalize(folder)
            .during("open", word)
            .map(|folder| vec![folder])
            .map_err(|error| error.because("--layer is a folder, or the id of a layer of the store")),
    }
}

fn identity(given: &ArgMatches, program: &mut Program) -> Result<Isolations> {
    let root = program.root.clone();
    let layered = given.contains_id("layer");
    user::cli::identity_with(given, program, |file| match root.as_deref() {
        Some(merged) if layered => container::read(merged.parent().unwrap_or(merged), file),
        root => read_inside(root, file),
    })
}
