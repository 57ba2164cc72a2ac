//! Chapter 6: limits.
//!
//! A namespace changes what a process sees; a cgroup changes what it gets. It is a folder in a tree of the kernel's:
//! processes are in it, their children are born in it, and its files say what all of them together may use and have
//! used.
//!
//! First it is found out which trees there are ([`hierarchy`]) and where in them we may make something ([`place`]).
//! There a container has its [`Cgroup`]: a [`folder`] in each tree, made and locked in the [`yard`] that all share, with
//! the controllers that its parents hand down ([`subtree`], [`cpuset`]). [`limits`] are data, and become lines for its
//! files ([`writes`], [`mod@apply`]); which [`devices`] may be used is a list or a program ([`bpf`]). The container is
//! born in it ([`birth`]), sees it as the root of what there is ([`view`]), and may get a part for itself
//! ([`delegation`]). All its processes are stopped, killed and cleared away at once ([`life`]), whatever cgroups they
//! have made below ([`walk`]); what they use is counted ([`stats`]), what happens to them is told ([`watch`], [`oom`]).
//!
//! Version 1 and version 2 stand side by side, resource by resource. Left out: huge pages, RDMA, network classes, and
//! real-time scheduling.

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
pub mod sampler;
pub mod stats;
pub mod subtree;
pub mod table;
pub mod throttle;
pub mod verbs;
pub mod view;
pub mod walk;
pub mod watch;
pub mod writes;
pub mod yard;

pub use cgroup::Cgroup;
pub use folder::Folder;
pub use hierarchy::{Controller, Hierarchies, Hierarchy, Version};
pub use limits::{Amount, Limits};
pub use stats::Stats;
