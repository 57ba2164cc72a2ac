//! Chapter 4: root in the container, nobody outside.
//!
//! A user namespace has user and group ids of its own, and a map says which ids outside they mean. Whoever makes
//! one has every capability *in* it: so an ordinary user can make all the other namespaces, and run everything
//! of chapters 1 to 3. The container's root is made here ([`namespace`]) from maps ([`map`]) that this caller may
//! write ([`caller`], [`subid`], [`helper`]); where a switch of the system forbids that, it is named
//! ([`switches`]). The program may run as another user than root, looked up in the image's own files
//! ([`accounts`], [`identity`]), and a volume may show its files under the container's ids ([`idmap`]).
//!
//! Left out, because a later chapter builds it: fewer capabilities for root itself (8).

pub mod accounts;
pub mod caller;
pub mod cli;
pub mod helper;
pub mod identity;
pub mod idmap;
pub mod map;
pub mod namespace;
pub mod subid;
pub mod switches;

pub use identity::Identity;
pub use idmap::IdmappedVolume;
pub use map::{Maps, Range};
pub use namespace::UserNamespace;
