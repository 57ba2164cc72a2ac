//! `mount`: runs a command as PID 1 in a root of its own.

use std::process::ExitCode;

use process::cli::{self, Floor};

/// One `clone3` call makes all their namespaces: the `/proc` that chapter 2 mounts shows the new PID namespace.
const FLOORS: [Floor; 2] = [cli::FLOOR, mount::cli::FLOOR];

fn main() -> ExitCode {
    cli::main("mount", "Chapter 2: a root of its own", &FLOORS)
}
