//! `mount`: runs a command as PID 1 in a root of its own.

use std::process::ExitCode;

use clap::Command;
use process::cli::{self, Floor};

/// One `clone3` call makes all their namespaces: the `/proc` that chapter 2 mounts shows the new PID namespace.
const FLOORS: [Floor; 2] = [cli::FLOOR, mount::cli::FLOOR];

fn main() -> ExitCode {
    let command = Command::new("mount").about("Chapter 2: a root of its own").subcommand_required(true);
    let given = cli::parse(command.subcommand(cli::run_command(&FLOORS)));
    let result = match given.subcommand() {
        Some((_, given)) => cli::run(&FLOORS, given),
        None => unreachable!("clap asks for a subcommand"),
    };
    cli::finish(result)
}
