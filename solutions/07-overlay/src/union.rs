//! Many folders, one tree: the union mount.
//!
//! The kernel's overlay file system takes a chain of folders for reading (lower), one for writing (upper), and one for
//! its own steps (work). Options are data here; [`Union::attach`] makes the mount of them. A chain is configured link
//! by link, a call each: one string with all of them would be cut at a page, and a value in `fsconfig` at 255 bytes.
//!
//! Redirects and metacopies are off, whatever the kernel was built with: with them an upper folder holds notes instead
//! of files, and could be read by nobody but a mount. Hard links are not tracked across layers (`index=off`): a chain that
//! was moved or copied would be refused. See overlayfs in the kernel's documentation.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use mount::detached::Detached;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::Mode;
use nix::sys::utsname::uname;
use nix::unistd::{chdir, fchdir};
use process::{Context, Error, Result};

use crate::whiteout::Notes;

/// The longest chain that the kernel takes, `OVL_MAX_STACK`.
pub const LONGEST: usize = 500;

/// The longest value of one `fsconfig` call, in bytes.
const LONGEST_VALUE: usize = 255;

/// Where the names of the chain are short.
const SHORT: &str = "short";

/// A union that is to be mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Union {
    /// The layers, the lowest first, as images list them.
    pub lowers: Vec<PathBuf>,
    /// Where changes go; none: there can be none, and two lowers at least.
    pub upper: Option<Upper>,
    /// Whose notes say what is removed and what is opaque, in all of these folders.
    pub notes: Notes,
}

/// Where changes go: two folders of one file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upper {
    /// What differs from the layers.
    pub upper: PathBuf,
    /// The kernel's own; empty.
    pub work: PathBuf,
    /// Whether nobody needs it after the mount is gone: then nothing of it must reach the disk (since Linux 5.10).
    pub volatile: bool,
}

/// Key and value; a flag's value is empty.
pub type Options = Vec<(String, String)>;

impl Union {
    // ANCHOR: options
    /// What the kernel is told. `lowerdir+` adds a layer below those before it: the topmost comes first.
    ///
    /// # Errors
    /// A path is no UTF-8, or there are too many layers.
    pub fn options(&self) -> Result<Options> {
        if self.lowers.len() > LONGEST {
            let cause = format!("the kernel stacks {LONGEST} layers at most");
            return Err(Error::refused("stack", format!("{} layers", self.lowers.len()), cause));
        }
        let mut options = Options::new();
        let mut say = |key: &str, value: &str| options.push((key.to_owned(), value.to_owned()));
        for lower in self.lowers.iter().rev() {
            say("lowerdir+", text(lower)?);
        }
        if let Some(Upper { upper, work, volatile }) = &self.upper {
            say("upperdir", text(upper)?);
            say("workdir", text(work)?);
            if *volatile {
                say("volatile", "");
            }
        }
        for (key, value) in [("redirect_dir", "nofollow"), ("metacopy", "off"), ("index", "off")] {
            say(key, value);
        }
        // Its notes are extended attributes; those called `trusted.` are for real root only (since Linux 5.11).
        if self.notes == Notes::User {
            say("userxattr", "");
        }
        Ok(options)
    }

    /// The mount, without a place yet.
    ///
    /// # Errors
    /// EINVAL: a file system here cannot be the upper one. ENODEV: this kernel has no overlay.
    pub fn mount(&self) -> Result<Detached> {
        Detached::fresh("overlay", &self.options()?, 0).map_err(explain)
    }
    // ANCHOR_END: options

    // ANCHOR: attach
    /// Mounts it on `place`, a folder of this mount namespace. `scratch` is a folder for short names, where it takes
    /// them.
    ///
    /// # Errors
    /// As [`Union::mount`].
    pub fn attach(&self, place: &Path, scratch: &Path) -> Result<()> {
        if !adds_layers() || self.has_long_names() {
            return self.attach_by_short_names(place, scratch);
        }
        let folder = open(place, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty());
        let folder = folder.during("open", place.display())?;
        self.mount()?.attach(folder.as_fd()).during("move_mount", place.display())
    }

    fn has_long_names(&self) -> bool {
        let upper = self.upper.iter().flat_map(|upper| [&upper.upper, &upper.work]);
        self.lowers.iter().chain(upper).any(|path| path.as_os_str().len() > LONGEST_VALUE)
    }

    /// As before Linux 6.7, by one call of mount(2), whose options fill one page at most: 500 layers fit if each is
    /// called by a number. So we go to a folder where they are.
    fn attach_by_short_names(&self, place: &Path, scratch: &Path) -> Result<()> {
        let names = scratch.join(SHORT);
        fs::create_dir_all(&names).during("create", names.display())?;
        let short = self.shortened(&names)?;
        let here = open(".", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).during("open", ".")?;
        let place = fs::canonicalize(place).during("open", place.display())?;
        chdir(&names).during("chdir", names.display())?;
        let text = classic(&short.options()?);
        let done = mount(Some("overlay"), &place, Some("overlay"), MsFlags::empty(), Some(&*text));
        fchdir(&here).during("chdir", "back")?;
        done.map_err(|errno| explain(Error::new("mount", "overlay", errno)))
    }

    /// The same union by names that are numbers, links in `folder`.
    fn shortened(&self, folder: &Path) -> Result<Union> {
        let link = |name: String, path: &PathBuf| -> Result<PathBuf> {
            let target = fs::canonicalize(path).during("open", path.display())?;
            match symlink(&target, folder.join(&name)) {
                Err(_) if fs::read_link(folder.join(&name)).is_ok_and(|found| found == target) => {}
                done => done.during("symlink", &name)?,
            }
            Ok(name.into())
        };
        let lowers = self.lowers.iter().enumerate().map(|(number, path)| link(number.to_string(), path));
        let upper = self.upper.as_ref().map(|upper| -> Result<Upper> {
            Ok(Upper {
                upper: link("upper".into(), &upper.upper)?,
                work: link("work".into(), &upper.work)?,
                volatile: upper.volatile,
            })
        });
        Ok(Union { lowers: lowers.collect::<Result<_>>()?, upper: upper.transpose()?, notes: self.notes })
    }
    // ANCHOR_END: attach
}

/// The options as one string for mount(2), where the chain is one option with colons.
fn classic(options: &Options) -> String {
    let (chain, others): (Options, Options) =
        options.iter().cloned().partition(|(key, _)| key == "lowerdir+");
    let chain: Vec<String> = chain.into_iter().map(|(_, path)| path).collect();
    let others = others.into_iter().map(|(key, value)| match value.is_empty() {
        true => key,
        false => format!("{key}={value}"),
    });
    std::iter::once(format!("lowerdir={}", chain.join(":"))).chain(others).collect::<Vec<_>>().join(",")
}

/// Whether this kernel knows `lowerdir+`.
fn adds_layers() -> bool {
    let release = uname().map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0_u32));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (6, 7)
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| Error::refused("stack", path.display(), "a layer's path is no UTF-8"))
}

/// Whether overlay may not be to be had here at all, with whatever layers.
pub fn is_impossible(error: &Error) -> bool {
    [Errno::EINVAL, Errno::ENODEV, Errno::EPERM, Errno::EOPNOTSUPP].contains(&error.errno)
}

fn explain(error: Error) -> Error {
    let cause = match error.errno {
        Errno::EINVAL => {
            format!("{}; overlay and network file systems cannot be an upper one", error.cause)
        }
        Errno::ENODEV => "this kernel has no overlay; try `modprobe overlay`".to_owned(),
        Errno::EPERM => "in a user namespace it needs Linux 5.11".to_owned(),
        Errno::ELOOP => "a layer lies in another one, or is there twice".to_owned(),
        _ => return error,
    };
    error.because(cause.trim_start_matches("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn union(count: usize) -> Union {
        let upper = Upper { upper: "/c/upper".into(), work: "/c/work".into(), volatile: true };
        let lowers = (0..count).map(|n| format!("/layers/{n}").into()).collect();
        Union { lowers, upper: Some(upper), notes: Notes::Trusted }
    }

    #[test]
    fn the_topmost_layer_comes_first() {
        let options = union(3).options().unwrap();
        let chain: Vec<_> =
            options.iter().filter(|(key, _)| key == "lowerdir+").map(|(_, path)| path.as_str()).collect();
        assert_eq!(chain, ["/layers/2", "/layers/1", "/layers/0"]);
        let has = |key: &str, value: &str| options.contains(&(key.to_owned(), value.to_owned()));
        assert!(has("upperdir", "/c/upper") && has("workdir", "/c/work") && has("volatile", ""));
        assert!(has("redirect_dir", "nofollow") && has("metacopy", "off") && !has("userxattr", ""));
        let users = Union { notes: Notes::User, ..union(1) };
        assert!(users.options().unwrap().contains(&("userxattr".to_owned(), String::new())));
    }

    #[test]
    fn five_hundred_layers_fit_a_page_by_numbers() {
        let mut numbered = union(LONGEST);
        numbered.lowers = (0..LONGEST).map(|n| n.to_string().into()).collect();
        numbered.notes = Notes::User;
        let text = classic(&numbered.options().unwrap());
        assert!(text.len() < 4096 && text.starts_with("lowerdir=499:498:"), "{} bytes", text.len());
        assert!(text.ends_with(",volatile,redirect_dir=nofollow,metacopy=off,index=off,userxattr"));
        assert!(union(LONGEST + 1).options().unwrap_err().to_string().contains("500"));
    }

    #[test]
    fn long_names_are_seen() {
        assert!(!union(3).has_long_names());
        let mut long = union(3);
        long.lowers[1] = format!("/{}", "x".repeat(255)).into();
        assert!(long.has_long_names());
    }
}
