//! Chapter 7: a root made of layers.
//!
//! An image is a list of changes, each on top of those before: layers. The kernel stacks them ([`union`]) with a folder
//! on top in which a container's own changes go ([`container`], [`layered`]); so a hundred containers share one image,
//! and none changes it. Removed is what is marked as removed ([`whiteout`]).
//!
//! Layers travel as tars ([`archive`]): [`unpack`] makes folders of them, whoever made them, and a [`store`] keeps
//! each once, under a name that says what it is ([`digest`]). The way back: [`diff`] tells what a container changed,
//! [`pack`] makes a layer of it. What a file is besides its content is in [`node`] and [`xattr`]; what only root of a
//! user namespace may do is done there ([`task`]).
//!
//! Left out: images, which say which layers belong together (9).

pub mod archive;
pub mod cli;
pub mod container;
pub mod content;
pub mod copy;
pub mod diff;
pub mod digest;
pub mod layered;
pub mod node;
pub mod pack;
pub mod store;
pub mod task;
#[cfg(test)]
mod testing;
pub mod tree;
pub mod union;
pub mod unpack;
pub mod verbs;
pub mod whiteout;
pub mod xattr;

pub use container::Container;
pub use digest::Digest;
pub use layered::Layered;
pub use store::{Layer, Store};
pub use union::Union;
