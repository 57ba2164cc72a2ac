//! The workshop: the learner's command, the two labs, and the tests of every stage.
//!
//! This crate stands on `nix` alone and on no crate of the course: it checks them, so it must work when
//! they do not.

pub mod anchor;
pub mod build;
pub mod clean;
pub mod clock;
pub mod course;
pub mod doctor;
pub mod generate;
pub mod hidden;
pub mod kept;
pub mod lab;
pub mod progress;
pub mod prose;
pub mod reset;
pub mod rootfs;
pub mod rust;
pub mod stage;
pub mod starter;
pub mod switchboard;
pub mod sys;
pub mod terminal;
pub mod tour;
pub mod vm;
pub mod workspace;
