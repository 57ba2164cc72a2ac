//! What must be installed: Rust, a C compiler for linking, programs for the demo, the kernel lab's kernel.

use std::path::{Path, PathBuf};

use super::place::Place;
use super::probe::{Gap, Probe};
use crate::rootfs::{Kind, find_program, kind_here};

/// Programs of the host kind that the book's shell parts use.
const USED_BY_THE_BOOK: [&str; 8] = ["ps", "mount", "umount", "ip", "unshare", "nsenter", "hostname", "id"];

/// All of them.
pub fn probes(root: &Path, place: &Place) -> Vec<Probe> {
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).unwrap_or_default();
    let compiler = ["cc", "gcc", "clang"].into_iter().find_map(find_program);
    let lacking = USED_BY_THE_BOOK.into_iter().filter(|name| find_program(name).is_none());
    vec![
        rust(&rustc_version(), &manifest),
        c_compiler(compiler, place),
        demo(kind_here(), &lacking.collect::<Vec<_>>(), place),
        kernel_lab(place),
    ]
}

fn rust(found: &str, manifest: &str) -> Probe {
    let name = "Rust";
    let wanted = manifest.lines().find_map(|line| line.strip_prefix("rust-version"));
    let wanted = wanted.unwrap_or_default().trim_matches([' ', '=', '"']).to_owned();
    let fix = "Install it from https://rustup.rs, or `rustup update`.";
    let probe = match (numbers(found), numbers(&wanted)) {
        (None, _) => {
            let gap = Gap::new("There is no working `rustc`; the course is written in Rust.", fix);
            Probe::missing(name, "not found", gap)
        }
        (Some(found), Some(wanted_numbers)) if found < wanted_numbers => {
            let gap = Gap::new(format!("The course needs Rust {wanted} or later."), fix);
            Probe::missing(name, format!("{}.{}", found.0, found.1), gap)
        }
        _ => Probe::ok(name, found.trim()),
    };
    probe.for_chapters(0..=16).not_in_kernel_lab()
}

/// The first two numbers in a text, `rustc 1.95.0 (…)`.
fn numbers(text: &str) -> Option<(u32, u32)> {
    let begin = text.find(|c: char| c.is_ascii_digit())?;
    let mut numbers = text[begin..].split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn rustc_version() -> String {
    let rustc = std::env::var_os("RUSTC").unwrap_or("rustc".into());
    let output = std::process::Command::new(rustc).arg("--version").output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}

fn c_compiler(found: Option<PathBuf>, place: &Place) -> Probe {
    let name = "C compiler";
    let probe = match found {
        Some(path) => Probe::ok(name, path.display().to_string()),
        None => {
            let fix = place.install(["gcc libc6-dev", "gcc", "gcc", "build-base"]);
            let gap = Gap::new("Rust links its programs with it; without one nothing can be built.", fix);
            Probe::missing(name, "none of cc, gcc, clang", gap)
        }
    };
    probe.for_chapters(0..=16).not_in_kernel_lab()
}

fn demo(kind: Kind, lacking: &[&str], place: &Place) -> Probe {
    let name = "demo programs";
    if kind == Kind::Busybox {
        return Probe::ok(name, "a static busybox").for_chapters(0..=16);
    }
    if lacking.is_empty() {
        return Probe::ok(name, "this machine's own").for_chapters(0..=16);
    }
    let gap = Gap::new(
        format!(
            "This machine has no {}; what the book does with it inside a container shows nothing.",
            lacking.join(", ")
        ),
        place.install(["busybox-static", "busybox", "busybox", "busybox-static"]),
    );
    Probe::partly(name, format!("without {}", lacking.join(", ")), gap).for_chapters(0..=16)
}

/// The kernel of the kernel lab, if one is found.
pub fn kernel_lab(place: &Place) -> Probe {
    let asked = std::env::var_os("GANTRY_LAB_KERNEL").map(PathBuf::from);
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))
        .map(|cache| cache.join("gantry/linux-uml"));
    let places = [asked, cache].into_iter().flatten().filter(|path| path.is_file());
    judge_kernel(places.chain(find_program("linux.uml")).next(), std::env::consts::ARCH, place)
}

fn judge_kernel(found: Option<PathBuf>, processor: &str, place: &Place) -> Probe {
    let name = "kernel lab";
    if let Some(path) = found {
        return Probe::ok(name, path.display().to_string()).not_in_kernel_lab();
    }
    if processor != "x86_64" {
        let gap = Gap::new(format!("A user-mode Linux kernel runs on x86-64 only; this is {processor}."), "");
        return Probe::partly(name, "not for this processor", gap).not_in_kernel_lab();
    }
    let debian = place.family.split_whitespace().any(|word| word == "debian" || word == "ubuntu");
    let package = if debian { "sudo apt install user-mode-linux; or " } else { "" };
    let gap = Gap::new(
        "There is no user-mode Linux kernel, which offers every chapter whatever this machine forbids.",
        format!("{package}build one: tests/vm/README.md tells how (20 minutes, without root)."),
    );
    Probe::partly(name, "no kernel", gap).not_in_kernel_lab()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::probe::Outcome;

    #[test]
    fn rust_is_compared_with_the_manifest() {
        let manifest = "[workspace.package]\nrust-version = \"1.88\"\n";
        assert_eq!(rust("rustc 1.95.0 (f2d3ce0bd 2026-03-21)\n", manifest).outcome, Outcome::Ok);
        let old = rust("rustc 1.75.0 (Debian)\n", manifest);
        assert_eq!(old.outcome, Outcome::Missing);
        assert!(old.means.contains("1.88") && old.fix.contains("rustup"));
        assert_eq!(rust("", manifest).outcome, Outcome::Missing);
    }

    #[test]
    fn what_is_not_installed_has_a_command() {
        let place = Place { family: "fedora ".into(), ..Place::default() };
        assert_eq!(c_compiler(None, &place).fix, "sudo dnf install gcc");
        let demo = demo(Kind::Host, &["ip"], &place);
        assert_eq!((demo.outcome, demo.fix.as_str()), (Outcome::Partly, "sudo dnf install busybox"));
    }

    #[test]
    fn the_kernel_lab_is_offered_where_it_can_run() {
        let debian = Place { family: "debian ".into(), ..Place::default() };
        assert!(judge_kernel(None, "x86_64", &debian).fix.contains("apt install user-mode-linux"));
        assert!(!judge_kernel(None, "x86_64", &Place::default()).fix.contains("apt"));
        assert_eq!(judge_kernel(None, "aarch64", &debian).fix, "");
        assert_eq!(judge_kernel(Some("/x".into()), "x86_64", &debian).outcome, Outcome::Ok);
    }
}
