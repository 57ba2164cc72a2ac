//! Where we run: distribution, container, WSL, virtual machine, user, terminal.
//!
//! None of it is needed by itself, but it explains gaps and decides how they are mended. Everything is
//! guessed from files that those systems leave about; all guessing is done on a [`Place`] made of text, so
//! that tests can make one up.

use std::io::IsTerminal;
use std::path::Path;

use super::probe::{Gap, Probe};

/// The surroundings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// The distribution's full name.
    pub distribution: String,
    /// Its id and those of its relatives, `ubuntu debian`.
    pub family: String,
    /// The container's kind, if we are in one.
    pub container: Option<&'static str>,
    /// 1 or 2, if we are in the Windows Subsystem for Linux.
    pub wsl: Option<u8>,
    /// The virtual machine's maker, if its firmware tells.
    pub machine: Option<String>,
    /// Whether real root asks.
    pub root: bool,
    /// Whether it is root of a user namespace only, as in a rootless container.
    pub rootless: bool,
}

/// The files that [`Place`] is guessed from.
#[derive(Debug, Clone, Copy, Default)]
pub struct Clues<'a> {
    /// `/etc/os-release`
    pub os_release: &'a str,
    /// `/proc/version`
    pub version: &'a str,
    /// `/proc/1/environ` as far as it may be read
    pub environment_of_init: &'a str,
    /// `/proc/cpuinfo`
    pub processor: &'a str,
    /// `/proc/self/uid_map`
    pub uid_map: &'a str,
    /// Whether the effective uid is 0
    pub uid_is_0: bool,
    /// `/sys/class/dmi/id/sys_vendor` and `product_name`
    pub firmware: &'a str,
    /// `/.dockerenv` is there
    pub dockerenv: bool,
    /// `/run/.containerenv` is there
    pub containerenv: bool,
}

impl Place {
    /// Looks around.
    pub fn look() -> Place {
        let firmware =
            ["sys_vendor", "product_name"].map(|name| read(&format!("/sys/class/dmi/id/{name}"))).join(" ");
        let clues = Clues {
            os_release: &read("/etc/os-release"),
            version: &read("/proc/version"),
            environment_of_init: &read("/proc/1/environ"),
            processor: &read("/proc/cpuinfo"),
            uid_map: &read("/proc/self/uid_map"),
            uid_is_0: nix::unistd::geteuid().is_root(),
            firmware: &firmware,
            dockerenv: Path::new("/.dockerenv").exists(),
            containerenv: Path::new("/run/.containerenv").exists(),
        };
        Place::guess(clues)
    }

    /// The place that the clues point to.
    pub fn guess(clues: Clues<'_>) -> Place {
        let value = |key: &str| {
            let line = clues.os_release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.unwrap_or_default().trim_matches('"').to_owned()
        };
        let distribution = value("PRETTY_NAME");
        let user_mode = clues.processor.contains("User Mode Linux");
        let everybody = clues.uid_map.split_whitespace().eq(["0", "0", "4294967295"]);
        Place {
            distribution: if distribution.is_empty() {
                "an unknown distribution".into()
            } else {
                distribution
            },
            family: format!("{} {}", value("ID"), value("ID_LIKE")),
            // User-mode Linux shows the files of the machine that it runs on, its container marks too.
            container: if user_mode { None } else { container(clues) },
            wsl: wsl(clues.version),
            machine: if user_mode { Some("user-mode Linux".into()) } else { machine(clues.firmware) },
            root: clues.uid_is_0 && everybody,
            rootless: clues.uid_is_0 && !everybody,
        }
    }

    /// One line: `Debian GNU/Linux 12, in a container (Docker), as root`.
    pub fn line(&self) -> String {
        let mut parts = vec![self.distribution.clone()];
        parts.extend(self.wsl.map(|version| format!("in WSL {version}")));
        parts.extend(self.container.map(|kind| format!("in a container ({kind})")));
        parts.extend(self.machine.as_ref().map(|maker| format!("in a virtual machine ({maker})")));
        parts.push(match (self.root, self.rootless) {
            (true, _) => "as root".into(),
            (_, true) => "as root of a user namespace".into(),
            _ => "as an ordinary user".into(),
        });
        parts.join(", ")
    }

    /// The command that installs a package here; the packages are named for apt, dnf, pacman and apk.
    pub fn install(&self, [apt, dnf, pacman, apk]: [&str; 4]) -> String {
        let is = |name: &str| self.family.split_whitespace().any(|word| word.starts_with(name));
        if is("debian") || is("ubuntu") {
            format!("sudo apt install {apt}")
        } else if is("fedora") || is("rhel") || is("centos") {
            format!("sudo dnf install {dnf}")
        } else if is("arch") {
            format!("sudo pacman -S {pacman}")
        } else if is("alpine") {
            format!("sudo apk add {apk}")
        } else if is("suse") || is("opensuse") {
            format!("sudo zypper install {dnf}")
        } else {
            format!("install the package `{apt}` (Debian's name)")
        }
    }
}

/// WSL 1 is told; containers and machines only explain other gaps.
pub fn wsl_probe(place: &Place) -> Option<Probe> {
    (place.wsl == Some(1)).then(|| {
        let gap = Gap::new(
            "WSL 1 imitates Linux and has no namespaces. WSL 2 runs a real Linux kernel.",
            "In a Windows terminal: `wsl --set-version <distribution> 2`.",
        );
        Probe::missing("WSL", "version 1", gap).for_chapters(0..=16).not_in_kernel_lab()
    })
}

/// Where the checkout lies: some file systems cannot hold a root file system.
pub fn checkout_probe(root: &Path) -> Probe {
    let kind = nix::sys::statfs::statfs(root).map(|facts| facts.filesystem_type().0 as u64).unwrap_or(0);
    let foreign = match kind & 0xffff_ffff {
        0x0102_1997 => Some("9p, a share of another system"),
        0x4d44 => Some("FAT"),
        0x2011_bab0 => Some("exFAT"),
        0x5346_544e | 0x7366_746e => Some("NTFS"),
        0x786f_4256 => Some("a VirtualBox share"),
        _ => None,
    };
    let Some(kind) = foreign else { return Probe::ok("checkout", root.display().to_string()) };
    let gap = Gap::new(
        "Such a file system keeps no permissions and no symbolic links, and is slow.",
        "Move the checkout to your home folder inside Linux, for example ~/gantry.",
    );
    Probe::missing("checkout", format!("{} is on {kind}", root.display()), gap)
        .for_chapters(0..=16)
        .not_in_kernel_lab()
}

/// Whether somebody sits in front of it.
pub fn terminal_probe() -> Probe {
    let name = std::env::var("TERM").unwrap_or_default();
    if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        return Probe::ok("terminal", name);
    }
    let gap = Gap::new(
        "Standard input or output is not a terminal. Everything works; the lab's shell is for a terminal.",
        "Run `cargo workshop` in a terminal window when you want the lab's shell.",
    );
    Probe::partly("terminal", "none", gap)
}

/// A file's text; empty if it is not there or not ours to read.
pub fn read(path: &str) -> String {
    let bytes = std::fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn container(clues: Clues<'_>) -> Option<&'static str> {
    let named = clues.environment_of_init.split('\0').find_map(|entry| entry.strip_prefix("container="));
    match named {
        Some("podman") => Some("podman"),
        Some("lxc" | "lxc-libvirt") => Some("LXC"),
        Some("systemd-nspawn") => Some("systemd-nspawn"),
        Some(_) => Some("a container engine"),
        None if clues.containerenv => Some("podman"),
        None if clues.dockerenv => Some("Docker"),
        None => None,
    }
}

fn wsl(version: &str) -> Option<u8> {
    if version.contains("WSL2") || version.contains("microsoft-standard") {
        return Some(2);
    }
    version.contains("Microsoft").then_some(1)
}

fn machine(firmware: &str) -> Option<String> {
    let known = [
        ("QEMU", "QEMU"),
        ("KVM", "KVM"),
        ("VMware", "VMware"),
        ("VirtualBox", "VirtualBox"),
        ("innotek", "VirtualBox"),
        ("Parallels", "Parallels"),
        ("Amazon EC2", "Amazon EC2"),
        ("Google Compute", "Google Compute Engine"),
        ("Virtual Machine", "Hyper-V"),
        ("Apple Virtualization", "Apple"),
        ("Xen", "Xen"),
    ];
    known.iter().find(|(mark, _)| firmware.contains(mark)).map(|(_, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_and_subsystems_are_recognised() {
        let guess = Place::guess;
        let docker = guess(Clues { dockerenv: true, ..Clues::default() });
        assert_eq!(docker.container, Some("Docker"));
        let podman = Clues { environment_of_init: "PATH=/bin\0container=podman\0", ..Clues::default() };
        assert_eq!(guess(podman).container, Some("podman"));
        let two = "Linux version 5.15.153.1-microsoft-standard-WSL2 (root@x)";
        assert_eq!(guess(Clues { version: two, ..Clues::default() }).wsl, Some(2));
        let one = "Linux version 4.4.0-19041-Microsoft (Microsoft@Microsoft.com)";
        assert_eq!(guess(Clues { version: one, ..Clues::default() }).wsl, Some(1));
        assert_eq!(guess(Clues { version: "Linux version 6.1.0", ..Clues::default() }).wsl, None);
        let vm = guess(Clues { firmware: "innotek GmbH\n VirtualBox\n", ..Clues::default() });
        assert_eq!(vm.machine.as_deref(), Some("VirtualBox"));
        assert!(wsl_probe(&guess(Clues { version: one, ..Clues::default() })).is_some());
    }

    #[test]
    fn the_fix_speaks_the_distributions_language() {
        let names = ["gcc", "gcc", "gcc", "build-base"];
        let of = |os_release| Place::guess(Clues { os_release, ..Clues::default() }).install(names);
        assert_eq!(of("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n"), "sudo apt install gcc");
        assert_eq!(of("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n"), "sudo dnf install gcc");
        assert_eq!(of("ID=alpine\n"), "sudo apk add build-base");
        assert!(of("ID=gentoo\n").contains("Debian's name"));
    }

    #[test]
    fn the_line_names_what_matters() {
        let os_release = "PRETTY_NAME=\"Ubuntu 24.04 LTS\"\nID=ubuntu\n";
        let place = Place::guess(Clues { os_release, containerenv: true, ..Clues::default() });
        assert_eq!(place.line(), "Ubuntu 24.04 LTS, in a container (podman), as an ordinary user");
        let root =
            Clues { uid_is_0: true, uid_map: "         0       1000          1\n", ..Clues::default() };
        assert!(Place::guess(root).line().ends_with("as root of a user namespace"));
        let real = Clues { uid_map: "         0          0 4294967295\n", ..root };
        assert!(Place::guess(real).line().ends_with("as root"));
        let lab = Clues { processor: "vendor_id\t: User Mode Linux\n", dockerenv: true, ..real };
        assert!(Place::guess(lab).line().contains("virtual machine (user-mode Linux), as root"));
    }
}
