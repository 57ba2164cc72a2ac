//! Chapter 1: a process of its own.
//!
//! A container is a process plus a list of isolations. This crate makes the process: it asks the kernel for
//! a child in new namespaces ([`clone3`]), holds it at a gate until its parent has set everything up
//! ([`gate`]), turns it into the user's program ([`exec`]) and waits for its end ([`exit`]). The order of
//! these steps is written down once, in [`spawn`]. Every later chapter adds [`Isolation`]s and changes
//! nothing here.
//!
//! Left out, because a later chapter builds it: a file system of its own (2), users (4), limits (6).

pub mod cli;
pub mod clone3;
mod error;
pub mod exec;
pub mod exit;
pub mod gate;
mod init;
mod isolation;
pub mod pid;
mod signals;
mod spawn;

pub use error::{Context, Error, Result};
pub use exec::Program;
pub use isolation::{Birth, Isolation};
pub use signals::Signals;
pub use spawn::{Child, spawn};
