//! The command's own helpers: what it starts as a process of its own, and no reader types.
//!
//! A lab needs programs of ours in odd places: PID 1 of a namespace, `init` of a kernel, a test that runs
//! alone in a fresh process. They are this same binary, called with a name of the table below as its first
//! argument; so there is nothing to install and nothing to find. The names stand in no help text.

use std::ffi::OsString;

use crate::{lab, stage, tour, vm};

/// A helper: takes the arguments behind its name and returns its exit code.
pub type Helper = fn(&[OsString]) -> u8;

/// Every helper by its name.
const TABLE: &[(&str, Helper)] = &[
    (lab::ENTER, lab::enter::main),
    (stage::RUN, stage::runner::main),
    (tour::LOOK, tour::look::main),
    (vm::link::INIT, vm::init::main),
    (vm::link::KEEP, vm::keeper::main),
];

/// Runs the helper that the first argument names and ends the process with its code; returns if the
/// argument names none. To be called before anything else in `main`.
pub fn dispatch() {
    // A kernel may put words of its own before ours, so its process 1 is known by number and mark.
    if vm::init::is_process_1() {
        std::process::exit(i32::from(vm::init::main(&[])));
    }
    let mut arguments = std::env::args_os().skip(1);
    let Some(name) = arguments.next() else { return };
    if let Some((_, helper)) = TABLE.iter().find(|(known, _)| name == *known) {
        let rest: Vec<OsString> = arguments.collect();
        std::process::exit(i32::from(helper(&rest)));
    }
}
