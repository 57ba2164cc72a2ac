//! `cgroup`: runs a command in a container with limits.

use std::process::ExitCode;

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
    cli::main("cgroup", "Chapter 6: limits", &FLOORS)
}
