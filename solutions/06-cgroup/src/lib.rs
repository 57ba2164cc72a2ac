//! Chapter 6: limits.
pub mod apply;
pub mod birth;
pub mod bpf;
pub mod cgroup;
pub mod cli;
pub mod cpuset;
pub mod delegation;
pub mod devices;
pub mod folder;
pub mod hierarchy;
pub mod life;
pub mod limits;
pub mod oom;
pub mod place;
pub mod subtree;
pub mod throttle;
pub mod view;
pub mod writes;
pub mod yard;

pub use cgroup::Cgroup;
pub use folder::Folder;
pub use hierarchy::{Controller, Hierarchies, Hierarchy, Version};
pub use limits::{Amount, Limits};
