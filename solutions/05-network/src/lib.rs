//! Chapter 5: a network of its own.
//!
//! A new network namespace is empty: one link, a loopback that is down. This crate furnishes it, as far as
//! `--network` asks ([`cli`]): [`alone`], as a [`member`] of a network, or [`unprivileged`].
//!
//! A [`Network`] is a folder of the [`store`] and a [`bridge`] on the host; a member's place in it is a [`lease`],
//! and an [`endpoint`]: a pair of links ([`link`]) with addresses ([`address`]) and a way out ([`route`]). What may
//! pass, and what is translated on the way, stands in one table of firewall [`rules`]. [`files`] tell programs who
//! and where they are, a [`resolver`] knows their neighbours by name.
//!
//! The kernel is asked in messages ([`message`]) over a socket ([`netlink`]); rules speak a dialect of their own
//! ([`nft`], [`expression`]). Switches are files ([`sysctl`]). Work in the container's network is done by a thread
//! that goes there ([`namespace`]). Left out: several hosts, traffic shaping (6 limits other things).

pub mod address;
pub mod allocation;
pub mod alone;
pub mod bridge;
pub mod cli;
pub mod conntrack;
pub mod dns;
pub mod endpoint;
pub mod expression;
pub mod files;
pub mod identity;
pub mod lease;
pub mod link;
pub mod member;
pub mod message;
pub mod namespace;
pub mod netlink;
pub mod network;
pub mod nft;
pub mod port;
pub mod random;
pub mod resolver;
pub mod rootless;
pub mod route;
pub mod routes;
pub mod rules;
pub mod runner;
pub mod store;
pub mod subnet;
pub mod sysctl;
pub mod unprivileged;
pub mod upstream;
pub mod verbs;

pub use lease::Lease;
pub use network::Network;
pub use port::Published;
pub use store::Store;
pub use subnet::Subnet;
