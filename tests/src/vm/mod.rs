//! The kernel lab: a Linux kernel of one's own, booted as an ordinary program.
//!
//! User-mode Linux is a kernel compiled to run as a process. It needs no root, no KVM and no disk image, and
//! it gives what a host may refuse: root, pure cgroup v2, user namespaces, nftables. [`Kernel::find`] finds
//! one, [`Machine`] boots it around one command and returns the command's exit code; [`crate::lab::kernel`] and
//! [`crate::stage::kernel`] say what runs in it.
//!
//! Two sides of one program work together. The *starter* ([`machine`], [`boot`], [`attend`]) runs on the host.
//! The [`keeper`] stands between it and the kernel. [`init`] is process 1 inside the machine: the same binary, reached
//! through the host's file tree. Both are hidden subcommands, see [`crate::hidden`].
//! [`order`] and [`link`] say what passes between them.
//!
//! Invariant: nothing outlives the starter, however it ends; there is no file to leave behind.
//! Left out: a security boundary. Root inside the machine can reach what the starter's user can reach.

pub mod attend;
pub mod boot;
pub mod config;
pub mod cpu;
pub mod failure;
pub mod init;
pub mod keeper;
pub mod kernel;
pub mod link;
pub mod machine;
pub mod order;
pub mod terminal;

pub use failure::Failure;
pub use kernel::{Kernel, Source};
pub use machine::{Machine, Outcome, Sink};
