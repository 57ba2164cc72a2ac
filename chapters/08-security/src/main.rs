//! `security`: runs a command in a container whose root may do less, and shows what that is.

use std::process::ExitCode;

use clap::Command;
use process::Result;
use process::cli::{self, Floor};

/// The order in which they act: become root, stack the layers, take the host's devices, exchange the root, furnish it,
/// connect it, limit it, make it safe, become the program's user, give up the rest.
const FLOORS: [Floor; 11] = [
    cli::FLOOR,
    user::cli::NAMESPACE,
    overlay::cli::FLOOR,
    my_security::cli::DEVICES,
    mount::cli::FLOOR,
    uts_ipc::cli::FLOOR,
    network::cli::FLOOR,
    my_security::cli::CGROUP,
    my_security::cli::SETTINGS,
    overlay::cli::IDENTITY,
    my_security::cli::PRIVILEGES,
];

fn main() -> ExitCode {
    cli::finish(be_sealed().and_then(|()| act()))
}

/// Before anything is made: a container must not find our file. And before the words are read, which the process that we
/// become does again.
fn be_sealed() -> Result<()> {
    let runs = std::env::args_os().nth(1).is_some_and(|verb| verb == "run");
    if runs { my_security::sealed::ensure() } else { Ok(()) }
}

fn act() -> Result<u8> {
    let command = Command::new("security")
        .about("Chapter 8: what root may not do")
        .subcommand_required(true)
        .subcommand(cli::run_command(&FLOORS))
        .subcommands(cgroup::verbs::commands())
        .subcommand(network::verbs::command())
        .subcommands(overlay::verbs::commands())
        .subcommands(my_security::verbs::commands());
    let given = cli::parse(command);
    match given.subcommand() {
        Some(("run", given)) => cli::run(&FLOORS, given),
        Some(("network", given)) => network::verbs::run(given),
        Some(("capabilities", given)) => my_security::verbs::capabilities(given),
        Some(("seccomp", given)) => my_security::verbs::seccomp(given),
        Some((verb, given)) if overlay::verbs::is_ours(verb) => overlay::verbs::run(verb, given),
        Some((verb, given)) => cgroup::verbs::run(verb, given),
        None => unreachable!("clap asks for a subcommand"),
    }
}
