//! Chapter 2: a root of its own.
//!
//! A mount namespace gives a process its own table of mounts. This crate fills that table: it cuts the tie
//! to the host's ([`propagation`]), makes a folder the new root ([`root`]), and puts volumes, `/proc`,
//! `/sys` and `/dev` into it. Every mount is made in the same three steps: make it detached, restrict it,
//! attach it at a place that was resolved inside the root ([`detached`], [`resolve`]). Which mounts there
//! are is plain data ([`plan`]).
//!
//! Left out, because a later chapter builds it: `/dev/shm` and `/dev/mqueue` (3), changed owners (4),
//! `/sys/fs/cgroup` (6), layers (7), masked paths (8).

mod api;
pub mod cli;
pub mod detached;
pub mod dev;
mod namespace;
pub mod plan;
pub mod propagation;
pub mod resolve;
pub mod root;
mod sys;

pub use namespace::MountNamespace;
pub use plan::{Mount, Source};
