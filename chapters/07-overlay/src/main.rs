//! `overlay`: runs a command in a container whose root is made of layers, and manages them.

use std::process::ExitCode;

use clap::Command;
use process::cli::{self, Floor};

/// The order in which they act: become root, stack the layers, exchange the root, furnish it, connect it, limit it,
/// become the program's user.
const FLOORS: [Floor; 8] = [
    cli::FLOOR,
    user::cli::NAMESPACE,
    my_overlay::cli::FLOOR,
    mount::cli::FLOOR,
    uts_ipc::cli::FLOOR,
    network::cli::FLOOR,
    cgroup::cli::FLOOR,
    my_overlay::cli::IDENTITY,
];

fn main() -> ExitCode {
    let command = Command::new("overlay")
        .about("Chapter 7: a root made of layers")
        .subcommand_required(true)
        .subcommand(cli::run_command(&FLOORS))
        .subcommands(cgroup::verbs::commands())
        .subcommand(network::verbs::command())
        .subcommands(my_overlay::verbs::commands());
    let given = cli::parse(command);
    cli::finish(match given.subcommand() {
        Some(("run", given)) => cli::run(&FLOORS, given),
        Some(("network", given)) => network::verbs::run(given),
        Some((verb, given)) if my_overlay::verbs::is_ours(verb) => my_overlay::verbs::run(verb, given),
        Some((verb, given)) => cgroup::verbs::run(verb, given),
        None => unreachable!("clap asks for a subcommand"),
    })
}
