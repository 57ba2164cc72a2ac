//! `process`: runs a command as PID 1 of a PID namespace of its own.

use std::io::Read;
use std::os::fd::AsFd;
use std::process::ExitCode;

use clap::{ArgMatches, Command, arg, value_parser};
use nix::errno::Errno;
use nix::sched::CloneFlags;
use process::clone3::{Fork, clone3};
use process::{Context, Result, cli, exit};

const FLOORS: [cli::Floor; 1] = [cli::FLOOR];

fn main() -> ExitCode {
    let command = Command::new("process").about("Chapter 1: a process of its own").subcommand_required(true);
    let given = cli::parse(command.subcommand(clone_command()).subcommand(cli::run_command(&FLOORS)));
    let result = match given.subcommand() {
        Some(("clone", given)) => clone(given),
        Some((_, given)) => cli::run(&FLOORS, given),
        None => unreachable!("clap asks for a subcommand"),
    };
    cli::finish(result)
}

fn clone_command() -> Command {
    Command::new("clone").about("Make one child, and let both sides say who they are").args([
        arg!(--pid <MODE> "A PID namespace of its own, or ours")
            .value_parser(["private", "host"])
            .default_value("private"),
        arg!(--exit <STATUS> "The child exits with STATUS")
            .value_parser(value_parser!(u8))
            .default_value("0"),
        arg!(--signal <NUMBER> "The child sends itself this signal")
            .value_parser(value_parser!(i32).range(1..=64)),
    ])
}

// ANCHOR: clone
/// A process and its copy, each telling its own story.
fn clone(given: &ArgMatches) -> Result<u8> {
    // Each side reads until the other has said its line and closes its pipe: the parent first, then the child.
    let (mut from_parent, parents_turn) = std::io::pipe().during("pipe", "")?;
    let (mut from_child, childs_turn) = std::io::pipe().during("pipe", "")?;
    let private = given.get_one::<String>("pid").is_some_and(|mode| mode == "private");
    match clone3(if private { CloneFlags::CLONE_NEWPID } else { CloneFlags::empty() }, None)? {
        Fork::Parent { pid, pidfd } => {
            println!("parent: I am PID {}, my child is PID {pid}", std::process::id());
            drop((parents_turn, childs_turn));
            from_child.read_to_end(&mut Vec::new()).during("read", "the child's pipe")?;
            Ok(exit::wait(pidfd.as_fd())?.code())
        }
        Fork::Child => {
            drop(parents_turn);
            from_parent.read_to_end(&mut Vec::new()).during("read", "the parent's pipe")?;
            println!("child: I am PID {}, my parent is PID {}", std::process::id(), nix::unistd::getppid());
            drop(childs_turn);
            end_by(given)
        }
    }
}
// ANCHOR_END: clone

/// Ends the child as the flags say: by a signal to itself, or by its exit status.
fn end_by(given: &ArgMatches) -> Result<u8> {
    if let Some(signal) = given.get_one::<i32>("signal") {
        // SAFETY: plain numbers; what the signal does to us is what the user asked for.
        Errno::result(unsafe { libc::kill(libc::getpid(), *signal) }).during("kill", "ourselves")?;
    }
    Ok(given.get_one::<u8>("exit").copied().unwrap_or(0))
}
