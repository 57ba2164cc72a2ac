//! Chapter 8: what root may not do.
//!
//! Root in a container is root, and the kernel is everybody's. This crate takes away what a program in a container has
//! no business with, in an order that is a subject of its own ([`order`]). As root it covers the kernel's files
//! ([`paths`]), sets the switches that are the container's ([`sysctl`]), places devices ([`device`]), and lowers the
//! ceiling over all capabilities ([`settings`]). As the program's user it drops capabilities ([`capability`],
//! [`credentials`]) and calls ([`privileges`]), takes limits ([`limit`]) and shuts itself in ([`landlock`]).
//!
//! A filter for calls is a program for the kernel ([`bpf`]). A [`profile`] as Docker writes it is [resolved](resolve) for
//! a container and a machine to a [`policy`], [sharpened](sharpen), that is compiled ([`filter`]) and kept ([`seccomp`], [`cache`]); a small
//! [`machine`] runs it for us. The runner itself is [`sealed`]. Left out: notifications, AppArmor and SELinux; the devices cgroup (6).

pub mod bpf;
pub mod cache;
pub mod calls;
pub mod capability;
pub mod cli;
pub mod credentials;
pub mod device;
pub mod filter;
pub mod kernel;
pub mod landlock;
pub mod limit;
pub mod machine;
pub mod options;
pub mod order;
pub mod paths;
pub mod policy;
pub mod privileges;
pub mod profile;
pub mod resolve;
pub mod sealed;
pub mod seccomp;
pub mod settings;
pub mod sharpen;
pub mod sysctl;
pub mod verbs;
