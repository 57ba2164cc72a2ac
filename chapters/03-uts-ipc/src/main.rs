//! `uts-ipc`: runs a command in a root of its own, with names and shared memory of its own.

use std::process::ExitCode;

use process::cli::{self, Floor};

/// The root is exchanged before this chapter's floor acts.
const FLOORS: [Floor; 3] = [cli::FLOOR, mount::cli::FLOOR, my_uts_ipc::cli::FLOOR];

fn main() -> ExitCode {
    cli::main("uts-ipc", "Chapter 3: a name of its own, and memory that nobody else sees", &FLOORS)
}
