//! `user`: runs a command as root of a container, and as nobody in particular outside.

use std::process::ExitCode;

use process::cli::{self, Floor};

/// The order in which they act: become root, exchange the root, furnish it, become the program's user.
const FLOORS: [Floor; 5] =
    [cli::FLOOR, user::cli::NAMESPACE, mount::cli::FLOOR, uts_ipc::cli::FLOOR, user::cli::IDENTITY];

fn main() -> ExitCode {
    cli::main("user", "Chapter 4: root in the container, nobody outside", &FLOORS)
}
