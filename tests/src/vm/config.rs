//! What the course needs of a kernel, and what a given kernel was built with.
//!
//! A user-mode Linux binary prints its own configuration (`linux --showconfig`), so what it lacks is known
//! before it boots. [`NEEDS`] is the one table: option, what it is for, and whether the lab itself stands on it.
//!
//! Left out: options that only speed up or tidy; `tests/vm/kernel.config` holds those.

use std::collections::HashMap;

/// How one option was built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Built {
    /// `=y`: part of the kernel.
    In,
    /// `=m`: a module, which must lie somewhere on the host.
    Module,
}

/// A kernel's configuration, as `--showconfig` prints it.
#[derive(Debug, Clone, Default)]
pub struct Config(HashMap<String, Built>);

impl Config {
    /// Reads lines such as `CONFIG_PSI=y`; all else (comments, numbers, strings) counts as not built.
    pub fn parse(text: &str) -> Config {
        let options = text.lines().filter_map(|line| {
            let (name, value) = line.strip_prefix("CONFIG_")?.split_once('=')?;
            let built = match value {
                "y" => Built::In,
                "m" => Built::Module,
                _ => return None,
            };
            Some((name.to_owned(), built))
        });
        Config(options.collect())
    }

    /// How `option` (without `CONFIG_`) was built; `None` when it was not.
    pub fn get(&self, option: &str) -> Option<Built> {
        self.0.get(option).copied()
    }

    /// Whether any option was built as a module.
    pub fn has_modules(&self) -> bool {
        self.0.values().any(|built| *built == Built::Module)
    }

    /// The needs that this configuration does not meet. Modules count only when they are at hand.
    pub fn lacks(&self, modules_at_hand: bool) -> Vec<&'static Need> {
        let met = |need: &&Need| match self.get(need.option) {
            Some(Built::In) => true,
            Some(Built::Module) => modules_at_hand,
            None => false,
        };
        NEEDS.iter().filter(|need| !met(need)).collect()
    }
}

/// One option that the course needs.
#[derive(Debug, PartialEq, Eq)]
pub struct Need {
    /// Its name without `CONFIG_`.
    pub option: &'static str,
    /// What the reader misses without it.
    pub purpose: &'static str,
    /// Whether the lab cannot boot without it.
    pub vital: bool,
}

const fn vital(option: &'static str, purpose: &'static str) -> Need {
    Need { option, purpose, vital: true }
}

const fn need(option: &'static str, purpose: &'static str) -> Need {
    Need { option, purpose, vital: false }
}

/// Everything that the course needs, the lab's own needs first.
pub const NEEDS: &[Need] = &[
    vital("HOSTFS", "seeing the host's files"),
    vital("OVERLAY_FS", "a copy-on-write root; overlay (chapter 7)"),
    vital("TMPFS", "the writable half of the root"),
    vital("PROC_FS", "/proc"),
    vital("DEVTMPFS", "/dev"),
    vital("UNIX98_PTYS", "terminals"),
    need("PID_NS", "PID namespaces (chapter 1)"),
    need("SYSFS", "/sys (chapter 2)"),
    need("UTS_NS", "UTS namespaces (chapter 3)"),
    need("IPC_NS", "IPC namespaces (chapter 3)"),
    need("SYSVIPC", "System V IPC (chapter 3)"),
    need("POSIX_MQUEUE", "POSIX message queues (chapter 3)"),
    need("USER_NS", "user namespaces (chapter 4)"),
    need("NET_NS", "network namespaces (chapter 5)"),
    need("VETH", "veth pairs (chapter 5)"),
    need("BRIDGE", "bridges (chapter 5)"),
    need("BRIDGE_NETFILTER", "netfilter for bridged packets (chapter 5)"),
    need("NF_TABLES", "nftables (chapter 5)"),
    need("NF_TABLES_IPV4", "nftables family ip: NAT (chapter 5)"),
    need("NF_TABLES_INET", "nftables family inet: NAT (chapter 5)"),
    need("NFT_NAT", "nftables dnat: published ports (chapter 5)"),
    need("NFT_MASQ", "nftables masquerade (chapter 5)"),
    need("NFT_CT", "nftables connection tracking (chapter 5)"),
    need("NFT_FIB_IPV4", "nftables fib: published ports (chapter 5)"),
    need("CGROUPS", "cgroups (chapter 6)"),
    need("MEMCG", "memory.max (chapter 6)"),
    need("CFS_BANDWIDTH", "cpu.max (chapter 6)"),
    need("FAIR_GROUP_SCHED", "cpu.weight (chapter 6)"),
    need("CGROUP_PIDS", "pids.max (chapter 6)"),
    need("CPUSETS", "cpuset.cpus (chapter 6)"),
    need("BLK_DEV_THROTTLING", "io.max (chapter 6)"),
    need("BLK_CGROUP_IOCOST", "io.weight (chapter 6)"),
    need("PSI", "pressure files (chapter 6)"),
    need("CGROUP_BPF", "device rules in cgroup v2 (chapters 6 and 8)"),
    need("TMPFS_XATTR", "whiteouts by attribute on tmpfs (chapter 7)"),
    need("BLK_DEV_LOOP", "loop devices: a disk in a file (chapters 6 and 7)"),
    need("EXT4_FS", "ext4: overlay storage with all features (chapter 7)"),
    need("FUSE_FS", "FUSE (chapter 7)"),
    need("SECCOMP_FILTER", "seccomp filters (chapter 8)"),
    need("SECURITY_APPARMOR", "AppArmor profiles (chapter 8)"),
    need("SECURITY_LANDLOCK", "Landlock (chapter 8)"),
    need("TUN", "tap devices (chapter 5)"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_count_only_when_they_are_at_hand() {
        let config = Config::parse("CONFIG_PSI=y\nCONFIG_VETH=m\n# CONFIG_TUN is not set\nCONFIG_HZ=100\n");
        assert_eq!(config.get("PSI"), Some(Built::In));
        assert_eq!(config.get("HZ"), None);
        let lacks = |at_hand| config.lacks(at_hand).iter().map(|need| need.option).collect::<Vec<_>>();
        assert!(lacks(false).contains(&"VETH") && lacks(false).contains(&"TUN"));
        assert!(!lacks(true).contains(&"VETH") && !lacks(true).contains(&"PSI"));
    }

    #[test]
    fn the_kernel_that_we_describe_lacks_nothing() {
        let config = Config::parse(include_str!("../../vm/kernel.config"));
        let lacks: Vec<_> = config.lacks(false).iter().map(|need| need.option).collect();
        assert!(lacks.is_empty(), "tests/vm/kernel.config lacks {lacks:?}");
    }
}
