//! Where the loader of this machine would find each library, and where it must lie inside.
//!
//! The order is the loader's own (ld.so(8)): `DT_RPATH` of the file and of those that brought it in, but
//! only where the file has no `DT_RUNPATH`; then `DT_RUNPATH`; then the folders of `/etc/ld.so.conf`; then
//! the default ones. A file for another machine is passed over, as the loader does.
//!
//! Inside there is no `ld.so.cache`, so only the default folders are searched. Hence what was found by the
//! configuration goes beside libc, whose folder is a default one by definition; what was found through an
//! absolute path in a header keeps that path. musl's loader is its own libc and never opens a file for it.
//!
//! Left out: `LD_LIBRARY_PATH`, `glibc-hwcaps`, and libraries opened at run time by name (`dlopen`).

use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::elf::{Elf, Machine};

/// The folders in which a loader looks of its own accord, for all distributions that we know.
const DEFAULT_FOLDERS: [&str; 8] = [
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
    "/usr/local/lib",
    "/lib64/lp64d",
    "/usr/lib64/lp64d",
    "/system/profile/lib",
];

/// Names that musl's loader answers itself, behind `lib` (`ldso/dynlink.c`: reserved).
const MUSL_OWN: [&str; 7] = ["libc.", "libpthread.", "librt.", "libm.", "libdl.", "libutil.", "libxnet."];

/// One file to take along.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Library {
    /// Where it is on this machine.
    pub source: PathBuf,
    /// Where the loader will look for it inside.
    pub inside: PathBuf,
}

/// The loader's folders on this machine.
#[derive(Debug, Clone)]
pub struct Search {
    folders: Vec<PathBuf>,
}

impl Search {
    /// Reads the loader's configuration of this machine. Missing files count as empty ones.
    pub fn of_this_machine() -> Search {
        let mut folders = Vec::new();
        read_conf(Path::new("/etc/ld.so.conf"), 0, &mut folders);
        for file in matching("/etc/ld-musl-*.path") {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            folders.extend(text.split([':', '\n']).filter(|line| !line.is_empty()).map(PathBuf::from));
        }
        let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
        folders.extend(["/lib", "/usr/lib"].map(|lib| Path::new(lib).join(&triplet)));
        folders.extend(DEFAULT_FOLDERS.map(PathBuf::from));
        let mut seen = BTreeSet::new();
        folders.retain(|folder| folder.is_absolute() && folder.is_dir() && seen.insert(folder.clone()));
        Search { folders }
    }

    /// The loader and every library that the program at `path` needs, directly or not; none if static.
    ///
    /// # Errors
    /// An unreadable file, or a library that is nowhere to be found: it is named, with who needs it.
    pub fn closure(&self, path: &Path, elf: &Elf) -> Result<Vec<Library>> {
        let loader = Loader::of(elf, self)?;
        let mut found = BTreeSet::new();
        if let Some(interpreter) = &elf.interpreter {
            let source =
                canonical(interpreter).with_context(|| format!("the loader of {}", path.display()))?;
            found.insert(Library { source, inside: interpreter.clone() });
        }
        let mut seen = BTreeSet::new();
        let mut queue = VecDeque::from([Wanting::new(path, elf.clone(), &[])?]);
        while let Some(wanting) = queue.pop_front() {
            for name in &wanting.elf.needed {
                if loader.is_its_own(name) || !seen.insert(name.clone()) {
                    continue;
                }
                let (library, next) = self.find(name, &wanting, &loader)?;
                found.insert(library);
                queue.push_back(next);
            }
        }
        Ok(found.into_iter().collect())
    }

    fn find(&self, name: &str, wanting: &Wanting, loader: &Loader) -> Result<(Library, Wanting)> {
        let by_header = wanting.folders.iter().map(|(folder, fixed)| (folder, *fixed));
        let by_machine = self.folders.iter().chain(&loader.own_folder).map(|folder| (folder, false));
        let by_name = name.contains('/').then(|| (Path::new(name).to_owned(), true));
        let places = by_header.chain(by_machine).map(|(folder, fixed)| (folder.join(name), fixed));
        for (candidate, fixed) in by_name.into_iter().chain(places) {
            if !matches!(Machine::of(&candidate), Ok(Some(machine)) if machine == wanting.elf.machine) {
                continue;
            }
            let Some(elf) = Elf::read(&candidate)? else { continue };
            let inside = if fixed { candidate.clone() } else { loader.system_folder.join(name) };
            let source = canonical(&candidate)?;
            let next = Wanting::new(&source, elf, &wanting.inherited)?;
            return Ok((Library { source, inside }, next));
        }
        bail!(
            "{} needs the library {name}, which is in none of the loader's folders: is its package complete?",
            wanting.path.display()
        )
    }
}

/// What a program's loader fixes for all its libraries.
struct Loader {
    musl: bool,
    /// The loader's own folder, for systems where libraries stand nowhere else (Nix, Guix).
    own_folder: Option<PathBuf>,
    /// A folder that the loader searches of its own accord.
    system_folder: PathBuf,
}

impl Loader {
    fn of(elf: &Elf, search: &Search) -> Result<Loader> {
        let Some(interpreter) = &elf.interpreter else {
            return Ok(Loader { musl: false, own_folder: None, system_folder: "/usr/lib".into() });
        };
        let real = canonical(interpreter).context("the program's loader")?;
        let musl = interpreter.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ld-musl"));
        let own_folder = real.parent().map(Path::to_owned);
        let of_libc = search.folders.iter().chain(&own_folder).find(|folder| {
            let machine = Machine::of(&folder.join(if musl { "libc.so" } else { "libc.so.6" }));
            matches!(machine, Ok(Some(machine)) if machine == elf.machine)
        });
        let system_folder = match of_libc {
            Some(folder) if !musl => canonical(folder)?,
            _ => interpreter.parent().unwrap_or(Path::new("/lib")).to_owned(),
        };
        Ok(Loader { musl, own_folder, system_folder })
    }

    fn is_its_own(&self, name: &str) -> bool {
        self.musl && MUSL_OWN.iter().any(|own| name.starts_with(own))
    }
}

/// A file whose needs are being looked up.
struct Wanting {
    path: PathBuf,
    elf: Elf,
    /// Its folders in order, and whether the path means the same inside.
    folders: Vec<(PathBuf, bool)>,
    /// The `DT_RPATH` folders that it hands to what it loads.
    inherited: Vec<(PathBuf, bool)>,
}

impl Wanting {
    fn new(path: &Path, elf: Elf, from_above: &[(PathBuf, bool)]) -> Result<Wanting> {
        let real = canonical(path)?;
        let origin = real.parent().unwrap_or(Path::new("/")).to_string_lossy().into_owned();
        let expand = |folder: &String| {
            let text = folder.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin);
            let fixed = text == *folder;
            (!text.contains('$') && text.starts_with('/')).then(|| (PathBuf::from(text), fixed))
        };
        let runpath: Vec<_> = elf.runpath.iter().filter_map(expand).collect();
        let rpath = elf.rpath.iter().filter_map(expand);
        let inherited: Vec<_> = rpath.chain(from_above.iter().cloned()).collect();
        let folders = if elf.runpath.is_empty() { inherited.clone() } else { runpath };
        Ok(Wanting { path: path.to_owned(), elf, folders, inherited })
    }
}

fn canonical(path: &Path) -> Result<PathBuf> {
    path.canonicalize().with_context(|| format!("find {}", path.display()))
}

/// Adds the folders of one configuration file of the loader; it may include others.
fn read_conf(path: &Path, depth: u8, folders: &mut Vec<PathBuf>) {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        match line.split_once(char::is_whitespace) {
            Some(("include", patterns)) if depth < 4 => {
                for pattern in patterns.split_whitespace() {
                    let pattern = path.parent().unwrap_or(Path::new("/etc")).join(pattern);
                    for file in matching(&pattern.to_string_lossy()) {
                        read_conf(&file, depth + 1, folders);
                    }
                }
            }
            None if line.starts_with('/') => folders.push(PathBuf::from(line)),
            _ => {}
        }
    }
}

/// The files that match a path with at most one `*` in its last part, sorted as the loader sorts them.
fn matching(pattern: &str) -> Vec<PathBuf> {
    let (folder, name) = pattern.rsplit_once('/').unwrap_or(("/", pattern));
    let Some((head, tail)) = name.split_once('*') else { return vec![PathBuf::from(pattern)] };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let fits =
        |name: &str| name.len() >= head.len() + tail.len() && name.starts_with(head) && name.ends_with(tail);
    let mut files: Vec<_> = entries
        .filter(|entry| fits(&entry.file_name().to_string_lossy()))
        .map(|entry| entry.path())
        .collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::testing::Scratch;

    #[test]
    fn the_closure_of_a_program_holds_its_loader_and_libc() {
        let own = std::env::current_exe().unwrap();
        let elf = Elf::read(&own).unwrap().unwrap();
        let libraries = Search::of_this_machine().closure(&own, &elf).unwrap();
        let inside = |path: &Path| libraries.iter().any(|library| library.inside == path);
        assert!(inside(elf.interpreter.as_deref().unwrap()), "{libraries:?}");
        assert!(libraries.iter().all(|library| library.source.is_file()));
        assert!(libraries.len() > elf.needed.len(), "{libraries:?}");
    }

    #[test]
    fn a_missing_library_is_named_with_who_needs_it() {
        let own = std::env::current_exe().unwrap();
        let mut elf = Elf::read(&own).unwrap().unwrap();
        elf.needed.push("libnowhere.so.7".into());
        let error = Search::of_this_machine().closure(&own, &elf).unwrap_err().to_string();
        assert!(error.contains("libnowhere.so.7") && error.contains(own.to_str().unwrap()), "{error}");
    }

    #[test]
    fn a_library_found_by_its_header_keeps_its_path_and_one_beside_the_program_does_not() {
        let scratch = Scratch::new("headers");
        let own = std::env::current_exe().unwrap();
        let lent = scratch.path().join("lib/libcrane.so.1");
        std::fs::create_dir(lent.parent().unwrap()).unwrap();
        std::fs::copy(&own, &lent).unwrap();
        let program = scratch.path().join("bin/crane");
        std::fs::create_dir(program.parent().unwrap()).unwrap();
        std::fs::copy(&own, &program).unwrap();
        let place = |runpath: &str| {
            let mut elf = Elf::read(&own).unwrap().unwrap();
            elf.needed.push("libcrane.so.1".into());
            elf.runpath = vec![runpath.into()];
            let found = Search::of_this_machine().closure(&program, &elf).unwrap();
            found.into_iter().find(|library| library.source == lent.canonicalize().unwrap()).unwrap().inside
        };
        assert_eq!(place(lent.parent().unwrap().to_str().unwrap()), lent);
        assert!(place("$ORIGIN/../lib").ends_with("libcrane.so.1"));
        assert_ne!(place("$ORIGIN/../lib"), lent);
    }

    #[test]
    fn musls_loader_is_its_own_libc_and_other_libraries_go_beside_it() {
        let scratch = Scratch::new("musl");
        let own = std::env::current_exe().unwrap();
        let loader = scratch.path().join("ld-musl-x86_64.so.1");
        let lent = scratch.path().join("lib/libcrane.so.1");
        std::fs::create_dir(lent.parent().unwrap()).unwrap();
        std::fs::copy(&own, &loader).unwrap();
        std::fs::copy(&own, &lent).unwrap();
        let mut elf = Elf::read(&own).unwrap().unwrap();
        elf.interpreter = Some(loader.clone());
        elf.needed = vec!["libc.musl-x86_64.so.1".into(), "libcrane.so.1".into()];
        let search = Search { folders: vec![lent.parent().unwrap().to_owned()] };
        let mut crane = Wanting::new(&own, elf.clone(), &[]).unwrap();
        crane.elf.needed.clear();
        let found = search.find("libcrane.so.1", &crane, &Loader::of(&elf, &search).unwrap()).unwrap().0;
        assert_eq!(found, Library { source: lent, inside: scratch.path().join("libcrane.so.1") });
        assert!(Loader::of(&elf, &search).unwrap().is_its_own("libc.musl-x86_64.so.1"));
    }

    #[test]
    fn the_configuration_is_read_with_what_it_includes() {
        let scratch = Scratch::new("conf");
        std::fs::create_dir(scratch.path().join("conf.d")).unwrap();
        std::fs::write(scratch.path().join("conf.d/b.conf"), "/b # second\n").unwrap();
        std::fs::write(scratch.path().join("conf.d/a.conf"), "# none\n/a\n").unwrap();
        std::fs::write(scratch.path().join("conf.d/c.off"), "/c\n").unwrap();
        std::fs::write(scratch.path().join("ld.so.conf"), "include conf.d/*.conf\nhwcap 0 x\n/z\n").unwrap();
        let mut folders = Vec::new();
        read_conf(&scratch.path().join("ld.so.conf"), 0, &mut folders);
        assert_eq!(folders, ["/a", "/b", "/z"].map(PathBuf::from));
    }

    #[test]
    fn a_configuration_that_includes_itself_ends() {
        let scratch = Scratch::new("loop");
        std::fs::write(scratch.path().join("x.conf"), "include x.conf\n/x\n").unwrap();
        let mut folders = Vec::new();
        read_conf(&scratch.path().join("x.conf"), 0, &mut folders);
        assert!(folders.len() <= 5);
    }
}
