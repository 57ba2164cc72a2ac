//! `cgroup`: runs a command in a container with limits, and looks after what runs.

use std::process::ExitCode;

use clap::Command;
use process::cli::{self, Floor};

/// The order in which they act: become root, exchange the root, furnish it, connect it, limit it, become the user.
const FLOORS: [Floor; 7] = [
    cli::FLOOR,
    user::cli::NAMESPACE,
    mount::cli::FLOOR,
    uts_ipc::cli::FLOOR,
    network::cli::FLOOR,
    cgroup::cli::FLOOR,
    user::cli::IDENTITY,
];

fn main() -> ExitCode {
    let command = Command::new("cgroup")
        .about("Chapter 6: limits")
        .subcommand_required(true)
        .subcommand(cli::run_command(&FLOORS))
        .subcommands(cgroup::verbs::commands())
        .subcommand(network::verbs::command());
    let given = cli::parse(command);
    cli::finish(match given.subcommand() {
        Some(("run", given)) => cli::run(&FLOORS, given),
        Some(("network", given)) => network::verbs::run(given),
        Some((verb, given)) => cgroup::verbs::run(verb, given),
        None => unreachable!("clap asks for a subcommand"),
    })
}
