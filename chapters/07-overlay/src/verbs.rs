//! What there is besides running containers: layers of the store, containers that were kept, and their changes.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read, Seek, Write as _};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use clap::{ArgMatches, Command, arg, value_parser};
use network::cli::state;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use process::{Context, Error, Result};

use crate::digest::{Digest, Digesting};
use crate::pack::pack;
use crate::task::as_root;
use crate::unpack::{Target, unpack};
use crate::{Container, Store, container, copy, tree};

/// All commands of this chapter.
pub fn commands() -> [Command; 5] {
    let file = |text: &'static str| {
        clap::Arg::new("FILE").required(true).help(text).value_parser(value_parser!(PathBuf))
    };
    let many = || arg!(<NAME> ... "Which ones");
    [
        Command::new("diff")
            .about("What a container changed: added, changed, deleted")
            .arg(arg!(<NAME> "The container")),
        Command::new("commit").about("Make a layer of what a container changed; says its id").args([
            arg!(<NAME> "The container"),
            arg!(-o --output <FILE> "Into this tar, not into the store").value_parser(value_parser!(PathBuf)),
        ]),
        Command::new("apply").about("Unpack a layer's tar onto a plain tree").args([
            file("The tar, gzipped or not; `-` is stdin"),
            arg!(<DIR> "The tree").value_parser(value_parser!(PathBuf)),
        ]),
        Command::new("layer").about("Layers of the store").subcommand_required(true).subcommands([
            Command::new("import").about("Unpack a layer's tar; says its id").args([
                file("The tar, gzipped or not; `-` is stdin"),
                arg!(--parent <ID> "The layer below it"),
                arg!(--"diff-id" <DIGEST> "What the uncompressed tar must be"),
            ]),
            Command::new("ls").about("List them"),
            Command::new("rm").about("Remove layers that nobody uses").arg(many()),
        ]),
        Command::new("containers").about("Containers that were kept").subcommand_required(true).subcommands(
            [Command::new("ls").about("List them"), Command::new("rm").about("Remove them").arg(many())],
        ),
    ]
}

/// Whether a verb is one of these.
pub fn is_ours(verb: &str) -> bool {
    commands().iter().any(|command| command.get_name() == verb)
}

// ANCHOR: verbs
/// Does what the verb says; the exit code.
///
/// # Errors
/// Those of the store and of the kernel.
pub fn run(verb: &str, given: &ArgMatches) -> Result<u8> {
    let name = || given.get_one::<String>("NAME").map_or("", String::as_str);
    match (verb, given.subcommand()) {
        ("diff", _) => say(&changes(name())?)?,
        ("commit", _) => println!("{}", commit(name(), given.get_one::<PathBuf>("output"))?),
        ("apply", _) => apply(given)?,
        ("layer", Some(("import", given))) => println!("{}", import(given)?),
        ("layer", Some(("ls", _))) => say(layers()?.as_bytes())?,
        ("layer", Some((_, given))) => names(given).try_for_each(remove_layer)?,
        (_, Some(("ls", _))) => say(containers()?.as_bytes())?,
        (_, given) => given.into_iter().flat_map(|(_, given)| names(given)).try_for_each(remove_container)?,
    }
    Ok(0)
}

fn changes(name: &str) -> Result<Vec<u8>> {
    want_descriptors()?;
    container::find(&state(), name)?.changes()
}

/// The layer of a container's changes: in a file, or in the store on top of its chain.
fn commit(name: &str, output: Option<&PathBuf>) -> Result<Digest> {
    want_descriptors()?;
    let known = container::find(&state(), name)?;
    known.must_be_union()?;
    let container = Container::take(&state(), name)?;
    let store = Store::open(&state())?;
    let (notes, upper) = (known.notes(), container.folder.join("upper"));
    let write = move |tar: File| -> Result<Digest> {
        let diff = as_root(move || {
            let upper = File::open(&upper).during("open", upper.display())?;
            let mut out = Digesting::new(std::io::BufWriter::with_capacity(1 << 16, tar));
            pack(upper.as_fd(), notes, &mut out)?.tell();
            Ok(out.digest().to_string().into_bytes())
        })?;
        String::from_utf8_lossy(&diff).parse()
    };
    if let Some(path) = output {
        return replace(path, write);
    }
    let tar = copy::nameless(&state())?;
    let mut copy = tar.try_clone().during("dup", "the tar")?;
    write(tar)?;
    copy.rewind().during("read", "the tar")?;
    add(store.clone(), copy, store.top_of(&container.layers), None)
}
// ANCHOR_END: verbs

/// Writes a file that is whole or as it was: beside it first. What is no regular file, a pipe for instance, is written
/// as it is.
fn replace<T>(path: &Path, write: impl FnOnce(File) -> Result<T>) -> Result<T> {
    if path.metadata().is_ok_and(|found| !found.is_file()) {
        return write(File::options().write(true).open(path).during("open", path.display())?);
    }
    // A link stays one.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let beside = path.with_file_name(tree::fresh_name(".tmp-")?);
    let done = File::create_new(&beside).during("create", path.display()).and_then(write);
    let done =
        done.and_then(|value| fs::rename(&beside, &path).during("rename", path.display()).map(|()| value));
    if done.is_err() {
        let _ = fs::remove_file(&beside);
    }
    done
}

/// What is made without an entry of its own must not depend on who unpacks it.
fn forget_umask() {
    umask(Mode::S_IWGRP | Mode::S_IWOTH);
}

/// A walk holds descriptors for each level of a tree.
fn want_descriptors() -> Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).during("getrlimit", "descriptors")?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).during("setrlimit", "descriptors")
}

fn names(given: &ArgMatches) -> impl Iterator<Item = &str> {
    given.get_many::<String>("NAME").into_iter().flatten().map(String::as_str)
}

fn say(bytes: &[u8]) -> Result<()> {
    std::io::stdout().write_all(bytes).during("write", "stdout")
}

/// A file, or stdin.
fn input(given: &ArgMatches) -> Result<Box<dyn Read>> {
    let path = given.get_one::<PathBuf>("FILE").cloned().unwrap_or_default();
    if path == Path::new("-") {
        return Ok(Box::new(std::io::stdin()));
    }
    Ok(Box::new(File::open(&path).during("open", path.display())?))
}

fn apply(given: &ArgMatches) -> Result<()> {
    let (tar, folder) = (input(given)?, given.get_one::<PathBuf>("DIR").cloned().unwrap_or_default());
    let folder = File::open(&folder).during("open", folder.display())?;
    forget_umask();
    as_root(move || {
        unpack(crate::store::uncompressed(tar)?, folder.as_fd(), Target::Tree)?.tell();
        Ok(Vec::new())
    })
    .map(drop)
}

fn import(given: &ArgMatches) -> Result<Digest> {
    let store = Store::open(&state())?;
    let parent = given.get_one::<String>("parent").map(|text| layer(&store, text)).transpose()?;
    let expected = given.get_one::<String>("diff-id").map(|text| text.parse()).transpose()?;
    add(store, input(given)?, parent, expected)
}

fn add(
    store: Store,
    tar: impl Read + 'static,
    parent: Option<Digest>,
    expected: Option<Digest>,
) -> Result<Digest> {
    forget_umask();
    let chain = as_root(move || {
        let (layer, left_out) = store.import(tar, parent, expected)?;
        left_out.tell();
        Ok(layer.chain.to_string().into_bytes())
    })?;
    String::from_utf8_lossy(&chain).parse()
}

fn layer(store: &Store, text: &str) -> Result<Digest> {
    let none = || Error::refused("find the layer", text, "`layer ls` shows those that there are");
    store.find(text)?.ok_or_else(none)
}

fn layers() -> Result<String> {
    let mut text = format!("{:<73} {:<22} PARENT\n", "LAYER", "DIFF ID");
    for (chain, layer) in Store::open(&state())?.list()? {
        let short = |digest: Digest| format!("{:.19}", digest.to_string());
        let (diff, parent) = match layer {
            Some(layer) => (short(layer.diff), layer.parent.map_or("-".to_owned(), short)),
            None => ("damaged".to_owned(), "-".to_owned()),
        };
        let _ = writeln!(text, "{:<73} {diff:<22} {parent}", chain.to_string());
    }
    Ok(text)
}

fn remove_layer(text: &str) -> Result<()> {
    let store = Store::open(&state())?;
    let chain = layer(&store, text)?;
    as_root(move || store.remove(&state(), chain).map(|()| Vec::new())).map(drop)
}

fn containers() -> Result<String> {
    let mut text = format!("{:<24} {:<8} LAYERS\n", "NAME", "STATE");
    for known in container::list(&state())? {
        let state = if known.runs { "runs" } else { "kept" };
        let _ = writeln!(text, "{:<24} {state:<8} {}", known.name, known.layers.len());
    }
    Ok(text)
}

fn remove_container(name: &str) -> Result<()> {
    Container::take(&state(), name)?.remove()
}
