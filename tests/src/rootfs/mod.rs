//! A root file system without a download: `demo`, made of this machine's own programs.
//!
//! A static busybox makes a whole system of one file. Where there is none, a shell, the core utilities and
//! a few tools for processes, mounts and links are taken along with the libraries that their ELF headers
//! name. The result lies in `target/gantry/rootfs`, is made once and again when its sources change, and is
//! only ever there as a whole. `GANTRY_ROOTFS=busybox` or `=host` asks for one kind; that one lies apart.
//!
//! Everybody works on a private copy ([`copy`]); `demo` itself is never entered.
//!
//! Reads like: [`programs`] says what to take, [`libraries`] adds what that needs, [`skeleton`] the rest of
//! the tree; all three write a [`plan`], which is then carried out; [`cache`] decides whether it must be.
//!
//! Left out: packages, ownership (all files belong to whoever made it), device nodes.

mod cache;
mod copying;
mod elf;
mod libraries;
mod plan;
mod programs;
mod resolve;
mod skeleton;
#[cfg(test)]
mod testing;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

pub use copying::copy;
pub use programs::{Kind, find as find_program, static_busybox};

/// A root file system in the cache.
#[derive(Debug, Clone)]
pub struct Demo {
    /// Its folder.
    pub path: PathBuf,
    /// What it is made of.
    pub kind: Kind,
    /// Programs of the list that this machine does not have; empty for busybox.
    pub missing: Vec<String>,
    /// Whether it was made by this call.
    pub fresh: bool,
}

/// The folder of the demo root file system of the workspace at `root`, made first if need be.
///
/// # Errors
/// This machine has not what it takes (the message says what), or the folder cannot be written.
pub fn demo(root: &Path) -> Result<PathBuf> {
    Ok(make(root)?.path)
}

/// As [`demo`], with what is known about it.
///
/// # Errors
/// As [`demo`].
pub fn make(root: &Path) -> Result<Demo> {
    cache::make(&root.join("target/gantry/rootfs"), wish()?)
}

/// Adds the ELF program at `program` as `to` (an absolute path inside), with every library that it needs.
/// A program that is already there is replaced.
///
/// # Errors
/// `program` is not an ELF file or a library is missing; or the tree holds a different version of one.
pub fn add_program(rootfs: &Path, program: &Path, to: &str) -> Result<()> {
    if !to.starts_with('/') {
        bail!("add {} as {to}: the path inside must be absolute", program.display());
    }
    add_libraries(rootfs, program)?;
    let mut plan = plan::Plan::default();
    plan.file(to, program, 0o755);
    let place = resolve::inside(rootfs, Path::new(to))?;
    match std::fs::remove_file(&place) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("replace {}", place.display()))
        }
        _ => plan.carry_out(rootfs).map(|_| ()),
    }
}

/// Adds every library that the ELF program at `program` needs, but not the program.
///
/// # Errors
/// As [`add_program`].
pub fn add_libraries(rootfs: &Path, program: &Path) -> Result<()> {
    let Some(elf) = elf::Elf::read(program)? else { bail!("{} is not an ELF program", program.display()) };
    let mut plan = plan::Plan::default();
    plan.libraries(libraries::Search::of_this_machine().closure(program, &elf)?);
    plan.carry_out(rootfs).map(|_| ())
}

/// What `cargo workshop rootfs` prints: where it is, of which kind, how big.
///
/// # Errors
/// As [`demo`].
pub fn describe(root: &Path) -> Result<String> {
    let demo = make(root)?;
    let (files, bytes) = copying::measure(&demo.path)?;
    let state = if demo.fresh { "made now" } else { "reused" };
    let mut text = format!(
        "{}\nkind   {} ({state})\nsize   {:.1} MB in {files} files\n",
        demo.path.display(),
        demo.kind,
        bytes as f64 / 1e6
    );
    if !demo.missing.is_empty() {
        text += &format!("not on this machine, so not inside: {}\n", demo.missing.join(" "));
    }
    Ok(text)
}

/// The kind that [`demo`] is or would be made of here.
pub fn kind_here() -> Kind {
    match wish() {
        Ok(Some(kind)) => kind,
        _ if programs::static_busybox(programs::find).is_some() => Kind::Busybox,
        _ => Kind::Host,
    }
}

/// The kind that the environment asks for.
fn wish() -> Result<Option<Kind>> {
    match std::env::var("GANTRY_ROOTFS") {
        Err(_) => Ok(None),
        Ok(word) if word.is_empty() => Ok(None),
        Ok(word) => word.parse().map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::testing::Scratch;
    use super::*;

    #[test]
    fn a_program_comes_with_its_libraries_and_can_be_replaced() {
        let scratch = Scratch::new("add");
        let own = std::env::current_exe().unwrap();
        for _ in 0..2 {
            add_program(scratch.path(), &own, "/usr/bin/probe").unwrap();
        }
        let elf = elf::Elf::read(&own).unwrap().unwrap();
        assert!(scratch.path().join("usr/bin/probe").is_file());
        assert!(resolve::inside(scratch.path(), &elf.interpreter.unwrap()).unwrap().is_file());
    }

    #[test]
    fn all_that_a_header_names_is_inside() {
        let scratch = Scratch::new("inside");
        let demo = cache::make(scratch.path(), Some(Kind::Host)).unwrap().path;
        add_program(&demo, &std::env::current_exe().unwrap(), "/usr/bin/probe").unwrap();
        let there = |path: &Path| resolve::inside(&demo, path).unwrap().is_file();
        let mut libraries = std::collections::BTreeMap::new();
        let mut files = Vec::new();
        let mut queue = vec![demo.clone()];
        while let Some(folder) = queue.pop() {
            for path in folder.read_dir().unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_symlink() {
                    continue;
                } else if path.is_dir() {
                    queue.push(path);
                } else if let Some(elf) = elf::Elf::read(&path).unwrap() {
                    libraries.insert(path.file_name().unwrap().to_str().unwrap().to_owned(), elf.machine);
                    files.push((path, elf));
                }
            }
        }
        assert!(files.len() > 60);
        for (path, elf) in files {
            assert!(elf.interpreter.is_none_or(|loader| there(&loader)), "the loader of {}", path.display());
            let musl_has_it = |name: &String| name.starts_with("libc.musl");
            for name in elf.needed.iter().filter(|name| !musl_has_it(name)) {
                assert_eq!(libraries.get(name), Some(&elf.machine), "{name} of {}", path.display());
            }
        }
    }

    #[test]
    fn wrong_use_is_told() {
        let scratch = Scratch::new("wrong");
        let own = std::env::current_exe().unwrap();
        let said = |result: Result<()>| result.unwrap_err().to_string();
        assert!(said(add_program(scratch.path(), &own, "usr/bin/x")).contains("must be absolute"));
        assert!(said(add_program(scratch.path(), Path::new("/etc/passwd"), "/x")).contains("not an ELF"));
        assert!("vmware".parse::<Kind>().unwrap_err().to_string().contains("host"));
    }
}
