//! `security`: runs a command in a container whose root may do less, and shows what that is.

use std::process::ExitCode;

use clap::Command;
use process::cli::{self, Floor};

/// The order in which they act: become root, take the host's devices, exchange the root, furnish it, connect it, make it
/// safe, become the program's user, give up the rest.
const FLOORS: [Floor; 10] = [
    cli::FLOOR,
    user::cli::NAMESPACE,
    my_security::cli::DEVICES,
    mount::cli::FLOOR,
    uts_ipc::cli::FLOOR,
    network::cli::FLOOR,
    cgroup::cli::FLOOR,
    my_security::cli::SETTINGS,
    user::cli::IDENTITY,
    my_security::cli::PRIVILEGES,
];

fn main() -> ExitCode {
    let command = Command::new("security")
        .about("Chapter 8: what root may not do")
        .subcommand_required(true)
        .subcommand(cli::run_command(&FLOORS))
        .subcommand(network::verbs::command())
        .subcommands(my_security::verbs::commands());
    let given = cli::parse(command);
    cli::finish(match given.subcommand() {
        Some(("network", given)) => network::verbs::run(given),
        Some(("capabilities", given)) => my_security::verbs::capabilities(given),
        Some(("seccomp", given)) => my_security::verbs::seccomp(given),
        // Before anything is made: the container must not find our file.
        Some((_, given)) => my_security::sealed::ensure().and_then(|()| cli::run(&FLOORS, given)),
        None => unreachable!("clap asks for a subcommand"),
    })
}
