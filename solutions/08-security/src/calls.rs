//! System calls by name and number, on each architecture that we know.
//!
//! A filter sees numbers only, and a number means nothing without its architecture: 21 is `access` on x86-64 and
//! `mount` on i386. A kernel for x86-64 serves programs of both kinds, and any program may call by either list: so a
//! filter needs both. The numbers stand in `data/calls.txt`.

use std::collections::BTreeMap;

/// Whose list of calls a number belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arch {
    /// 64-bit programs of PCs.
    X86_64,
    /// 32-bit programs of PCs, and whoever says `int 0x80`.
    I386,
    /// 64-bit programs of ARM machines.
    Aarch64,
}

// ANCHOR: arch
impl Arch {
    /// Each of them; its place here is its column in the table.
    pub const ALL: [Arch; 3] = [Arch::X86_64, Arch::I386, Arch::Aarch64];

    /// The one of the programs that this engine runs.
    pub fn native() -> Arch {
        if cfg!(target_arch = "aarch64") { Arch::Aarch64 } else { Arch::X86_64 }
    }

    /// How the kernel tells it to a filter: `AUDIT_ARCH_*` of `<linux/audit.h>`, an ELF machine and two flags.
    pub fn audit(self) -> u32 {
        const WIDE: u32 = 0x8000_0000;
        const LITTLE_ENDIAN: u32 = 0x4000_0000;
        match self {
            Arch::X86_64 => 62 | WIDE | LITTLE_ENDIAN,
            Arch::I386 => 3 | LITTLE_ENDIAN,
            Arch::Aarch64 => 183 | WIDE | LITTLE_ENDIAN,
        }
    }

    /// What profiles call it: in `archMap`, and in `includes`.
    pub fn names(self) -> (&'static str, &'static str) {
        match self {
            Arch::X86_64 => ("SCMP_ARCH_X86_64", "amd64"),
            Arch::I386 => ("SCMP_ARCH_X86", "x86"),
            Arch::Aarch64 => ("SCMP_ARCH_AARCH64", "arm64"),
        }
    }
}
// ANCHOR_END: arch

/// Names and numbers, as in the file.
const TABLE: &str = include_str!("../data/calls.txt");

// ANCHOR: numbers
/// The numbers of an architecture by name.
pub fn numbers(arch: Arch) -> BTreeMap<&'static str, u32> {
    let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    let number = |line: &'static str| {
        let mut words = line.split_whitespace();
        Some((words.next()?, words.nth(arch as usize)?.parse().ok()?))
    };
    lines.filter_map(number).collect()
}

/// The names of an architecture by number.
pub fn names(arch: Arch) -> BTreeMap<u32, &'static str> {
    numbers(arch).into_iter().map(|(name, number)| (number, name)).collect()
}

/// Whether any architecture that we know has a call of this name.
pub fn is_known(name: &str) -> bool {
    Arch::ALL.into_iter().any(|arch| numbers(arch).contains_key(name))
}
// ANCHOR_END: numbers

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_agrees_with_the_c_library() {
        let table = numbers(Arch::native());
        for (name, number) in [
            ("read", libc::SYS_read),
            ("execve", libc::SYS_execve),
            ("clone", libc::SYS_clone),
            ("mount", libc::SYS_mount),
            ("personality", libc::SYS_personality),
            ("keyctl", libc::SYS_keyctl),
            ("unshare", libc::SYS_unshare),
            ("renameat2", libc::SYS_renameat2),
            ("seccomp", libc::SYS_seccomp),
            ("bpf", libc::SYS_bpf),
            ("statx", libc::SYS_statx),
            ("pidfd_send_signal", libc::SYS_pidfd_send_signal),
            ("clone3", libc::SYS_clone3),
            ("close_range", libc::SYS_close_range),
            ("landlock_restrict_self", libc::SYS_landlock_restrict_self),
            ("mseal", libc::SYS_mseal),
        ] {
            assert_eq!(table.get(name).copied().map(i64::from), Some(number), "{name}");
        }
    }

    #[test]
    fn a_number_means_something_else_elsewhere() {
        let name = |arch, number| names(arch).get(&number).copied();
        assert_eq!(name(Arch::X86_64, 21), Some("access"));
        assert_eq!(name(Arch::I386, 21), Some("mount"));
        assert_eq!(name(Arch::Aarch64, 40), Some("mount"));
        for arch in Arch::ALL {
            assert_eq!(numbers(arch).len(), names(arch).len(), "{arch:?}: no number twice");
            assert_eq!(numbers(arch)["openat2"], 437, "{arch:?}");
        }
        assert!(is_known("socketcall") && !is_known("fly"));
    }
}
