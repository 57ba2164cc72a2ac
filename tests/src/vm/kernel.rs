//! Finding the kernel that the lab boots.
//!
//! Three places, in this order: `GANTRY_LAB_KERNEL`, the user's cache, Debian's package. The first one that
//! exists is taken. One that is named but unusable is an error, never skipped in silence: whoever named it
//! wants to know. The kernel's configuration is read here, so callers know what it lacks before they boot.
//!
//! Left out: building a kernel. `tests/vm/README.md` says how.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::config::{Built, Config, Need};

/// Where Debian's package `user-mode-linux` puts its kernel, and below which folder its modules.
const DEBIAN: (&str, &str) = ("/usr/bin/linux.uml", "/usr/lib/uml/modules");

/// Which of the three places a kernel came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The environment variable `GANTRY_LAB_KERNEL`.
    Environment,
    /// `gantry/linux-uml` in the user's cache folder.
    Cache,
    /// Debian's package `user-mode-linux`.
    Debian,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Source::Environment => "from GANTRY_LAB_KERNEL",
            Source::Cache => "from the cache",
            Source::Debian => "from the package user-mode-linux",
        })
    }
}

/// A user-mode Linux kernel that can run here.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// The program.
    pub path: PathBuf,
    /// How it was found.
    pub source: Source,
    /// Its release, `6.1.176`.
    pub version: String,
    /// What it was built with.
    pub config: Config,
    /// The folder of its modules (`…/modules/VERSION`), where it has any and they are installed.
    pub modules: Option<PathBuf>,
    /// Whether it can run its processes under seccomp instead of ptrace: several times faster.
    pub seccomp: bool,
}

impl Kernel {
    /// The kernel that the environment, the cache or the distribution offers.
    ///
    /// # Errors
    /// Inside the lab itself, when none is there (the message lists the places and the fix), or when the first one found does not
    /// run or cannot carry the lab.
    pub fn find() -> Result<Kernel> {
        let inside = fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| text.contains("User Mode Linux"));
        ensure!(!inside, "this is the kernel lab already, and it does not boot inside itself");
        let cache = env::var_os("XDG_CACHE_HOME")
            .filter(|dir| Path::new(dir).is_absolute())
            .map(PathBuf::from)
            .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")));
        Kernel::find_in(env::var_os("GANTRY_LAB_KERNEL"), cache.as_deref(), Path::new(DEBIAN.0))
    }

    /// [`Kernel::find`] with the three places given.
    ///
    /// # Errors
    /// As [`Kernel::find`].
    pub fn find_in(named: Option<OsString>, cache: Option<&Path>, debian: &Path) -> Result<Kernel> {
        if let Some(path) = named.filter(|path| !path.is_empty()) {
            return Kernel::open(path.as_ref(), Source::Environment);
        }
        let cached = cache.map(|dir| dir.join("gantry/linux-uml"));
        if let Some(path) = cached.as_deref().filter(|path| path.exists()) {
            return Kernel::open(path, Source::Cache);
        }
        if debian.exists() {
            return Kernel::open(debian, Source::Debian);
        }
        let cached = cached.unwrap_or_else(|| "~/.cache/gantry/linux-uml".into());
        bail!(
            "no kernel for the kernel lab. Looked at:\n  \
             GANTRY_LAB_KERNEL (not set)\n  {} (not there)\n  {} (not there)\n\
             Fix: `apt install user-mode-linux` (Debian, Ubuntu), or build one: tests/vm/README.md.",
            cached.display(),
            debian.display()
        )
    }

    /// Asks the program at `path` what it is.
    ///
    /// # Errors
    /// When it does not run, is no user-mode Linux, or lacks what the lab itself stands on.
    pub fn open(path: &Path, source: Source) -> Result<Kernel> {
        let path = path.canonicalize().with_context(|| format!("{source}: {}", path.display()))?;
        let version = ask(&path, "--version", source)?.trim().to_owned();
        let config = Config::parse(&ask(&path, "--showconfig", source)?);
        let modules = Path::new(DEBIAN.1).join(&version);
        let modules = Some(modules).filter(|dir| config.has_modules() && dir.join("modules.dep").exists());
        let seccomp = ask(&path, "--help", source)?.lines().any(|line| line.starts_with("seccomp="));
        let kernel = Kernel { path, source, version, config, modules, seccomp };
        let vital: Vec<_> = kernel.lacks().into_iter().filter(|need| need.vital).collect();
        if let Some(need) = vital.first() {
            bail!(
                "{kernel} cannot carry the lab: built without CONFIG_{} ({}){}",
                need.option,
                need.purpose,
                if kernel.config.has_modules() { ", or its modules are not installed" } else { "" }
            );
        }
        Ok(kernel)
    }

    /// What the course needs and this kernel does not have.
    pub fn lacks(&self) -> Vec<&'static Need> {
        self.config.lacks(self.modules.is_some())
    }

    /// Whether the machine can have more than one CPU.
    pub fn smp(&self) -> bool {
        self.config.get("SMP") == Some(Built::In)
    }

    /// One line for the kernel, then one a need that it does not meet.
    pub fn report(&self) -> String {
        let mut text = format!("kernel lab: {self}\n");
        for need in self.lacks() {
            text += &format!("  lacks CONFIG_{}: {}\n", need.option, need.purpose);
        }
        text
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Linux {} {} ({})", self.version, self.source, self.path.display())
    }
}

/// What `path OPTION` prints; these options answer without booting.
fn ask(path: &Path, option: &str, source: Source) -> Result<String> {
    let output = Command::new(path).arg(option).output().with_context(|| {
        format!("run {} {option} ({source}): is it an executable for this machine?", path.display())
    })?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() || text.is_empty() {
        bail!("{} {option} ({source}): {}; is it a user-mode Linux kernel?", path.display(), output.status);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_lists_the_places_and_the_fix() {
        let text = Kernel::find_in(None, Some(Path::new("/nowhere")), Path::new("/nor/here"))
            .unwrap_err()
            .to_string();
        for part in [
            "GANTRY_LAB_KERNEL",
            "/nowhere/gantry/linux-uml",
            "/nor/here",
            "apt install",
            "tests/vm/README.md",
        ] {
            assert!(text.contains(part), "{part} is missing in: {text}");
        }
    }

    #[test]
    fn a_named_kernel_that_is_no_kernel_is_an_error() {
        let error = Kernel::find_in(Some("/bin/false".into()), None, Path::new("/bin/true")).unwrap_err();
        assert!(format!("{error:#}").contains("is it a user-mode Linux kernel"), "{error:#}");
        assert!(Kernel::find_in(Some("/no/such/file".into()), None, Path::new("/bin/true")).is_err());
    }
}
