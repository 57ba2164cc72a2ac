//! `cargo workshop`: the learner's command.
//!
//! What a reader types stands in [`cli`], one file a verb where it has substance; what the verbs do stands in
//! the library. Before anything else, the process may be a helper of our own: see [`workshop::hidden`].

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    workshop::hidden::dispatch();
    cli::main()
}
