//! `network`: runs a command in a container with a network of its own, and manages these networks.

use std::process::ExitCode;

use clap::Command;
use process::cli::{self, Floor};

/// The order in which they act: become root, exchange the root, furnish it, connect it, become the program's user.
const FLOORS: [Floor; 6] = [
    cli::FLOOR,
    user::cli::NAMESPACE,
    mount::cli::FLOOR,
    uts_ipc::cli::FLOOR,
    my_network::cli::FLOOR,
    user::cli::IDENTITY,
];

fn main() -> ExitCode {
    let command = Command::new("network")
        .about("Chapter 5: a network of its own")
        .subcommand_required(true)
        .subcommand(cli::run_command(&FLOORS))
        .subcommand(my_network::verbs::command())
        .subcommand(
            Command::new("message").about("Show the bytes of the netlink message that makes a bridge"),
        );
    let given = cli::parse(command);
    cli::finish(match given.subcommand() {
        Some(("network", given)) => my_network::verbs::run(given),
        Some(("message", _)) => Ok(message()),
        Some((_, given)) => cli::run(&FLOORS, given),
        None => unreachable!("clap asks for a subcommand"),
    })
}

/// Four bytes a group, eight groups a line; nothing is sent.
fn message() -> u8 {
    let bytes = my_network::link::bridge("harbour", [0x02, 0x42, 10, 77, 0, 1]).encode(1);
    let groups: Vec<String> =
        bytes.chunks(4).map(|group| group.iter().map(|byte| format!("{byte:02x}")).collect()).collect();
    groups.chunks(8).for_each(|line| println!("{}", line.join(" ")));
    0
}
