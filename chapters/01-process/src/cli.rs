//! The command line of a floor, and how a binary stacks floors.
//!
//! Each crate describes its own flags and turns them into isolations: a [`Floor`]. A binary is a list of
//! floors in the order in which their isolations act, so that no chapter repeats the flags of another.
//!
//! clap is used without its derive macros: they would cost a learner's first build more than all the rest.

use std::env;
use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgMatches, Command, arg, value_parser};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::exec::DEFAULT_PATH;
use crate::pid::{PidFile, PidNamespace};
use crate::{Child, Context, Error, Isolation, Program, Result, Signals, spawn};

/// A list of isolations, in the order in which they act.
pub type Isolations = Vec<Box<dyn Isolation>>;

/// What one crate adds to a runner's command line.
pub struct Floor {
    /// Adds its flags to `run`.
    pub flags: fn(Command) -> Command,
    /// Makes the isolations that the flags ask for; may complete the program, such as its user's HOME.
    pub isolations: fn(&ArgMatches, &mut Program) -> Result<Isolations>,
}

/// This chapter's own floor.
pub const FLOOR: Floor = Floor { flags, isolations };

fn flags(command: Command) -> Command {
    let path = value_parser!(PathBuf);
    command.args([
        arg!(-e --env <"NAME[=VALUE]"> ... "Set a variable, or pass on the caller's"),
        arg!(-w --workdir <DIR> "Start in this folder of the container")
            .value_parser(path.clone())
            .default_value("/"),
        arg!(--pid <MODE> "A PID namespace of its own, or ours")
            .value_parser(["private", "host"])
            .default_value("private"),
        arg!(--"pid-file" <FILE> "Write the PID outside into FILE before the program starts")
            .value_parser(path),
        arg!(--init "Let an init be PID 1: it reaps orphans and forwards signals"),
        arg!(<COMMAND> ... "The program and its arguments")
            .value_parser(value_parser!(OsString))
            .trailing_var_arg(true),
    ])
}

fn isolations(given: &ArgMatches, _program: &mut Program) -> Result<Isolations> {
    let mut list: Isolations = Vec::new();
    if given.get_one::<String>("pid").is_some_and(|mode| mode == "private") {
        list.push(Box::new(PidNamespace));
    }
    if let Some(file) = given.get_one::<PathBuf>("pid-file") {
        list.push(Box::new(PidFile(file.clone())));
    }
    Ok(list)
}

/// All that the `main` of a later floor does: it runs containers, and nothing else.
pub fn main(name: &'static str, about: &'static str, floors: &[Floor]) -> ExitCode {
    let command = Command::new(name).about(about).subcommand_required(true);
    let given = parse(command.subcommand(run_command(floors)));
    match given.subcommand() {
        Some((_, given)) => finish(run(floors, given)),
        None => unreachable!("clap asks for a subcommand"),
    }
}

/// `run` with the flags of all floors.
pub fn run_command(floors: &[Floor]) -> Command {
    let run = Command::new("run").about("Run a command in a container of its own");
    floors.iter().fold(run, |command, floor| (floor.flags)(command))
}

/// Runs what the flags of `run` ask for; the exit code of the container.
///
/// # Errors
/// The container could not be made or its program not be started.
pub fn run(floors: &[Floor], given: &ArgMatches) -> Result<u8> {
    let (mut program, mut all) = (program(given), Isolations::new());
    for floor in floors {
        all.extend((floor.isolations)(given, &mut program)?);
    }
    foreground(&program, &mut all)
}

// ANCHOR: foreground
/// Runs a program in a container, passes signals on to it, and returns its exit code.
///
/// # Errors
/// As [`spawn`].
pub fn foreground(program: &Program, isolations: &mut [Box<dyn Isolation>]) -> Result<u8> {
    let signals = Signals::block()?;
    let child = spawn(program, isolations)?;
    program.notices.iter().for_each(|notice| eprintln!("{notice}"));
    while !ended(&child, &signals)? {
        while let Some(signal) = signals.next()? {
            child.signal(signal)?;
        }
    }
    Ok(child.wait()?.code())
}
// ANCHOR_END: foreground

/// Sleeps until the child has ended (true) or a signal can be read (false).
fn ended(child: &Child, signals: &Signals) -> Result<bool> {
    let watch = |fd| PollFd::new(fd, PollFlags::POLLIN);
    let mut fds = [watch(child.as_fd()), watch(signals.as_fd())];
    match poll(&mut fds, PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => Ok(fds[0].any() == Some(true)),
        Err(errno) => Err(errno).during("poll", ""),
    }
}

/// The program that the flags describe.
fn program(given: &ArgMatches) -> Program {
    Program {
        command: given.get_many::<OsString>("COMMAND").into_iter().flatten().cloned().collect(),
        environment: environment(given.get_many::<String>("env").into_iter().flatten()),
        workdir: given.get_one::<PathBuf>("workdir").cloned().unwrap_or_default(),
        root: None,
        init: given.get_flag("init"),
        dies_with_parent: true,
        notices: Vec::new(),
    }
}

/// A fresh environment: PATH, HOME, the terminal's type, and what was asked for. A later one wins.
fn environment<'a>(wishes: impl Iterator<Item = &'a String>) -> Vec<(OsString, OsString)> {
    let mut all: Vec<(OsString, OsString)> =
        vec![("PATH".into(), DEFAULT_PATH.into()), ("HOME".into(), "/root".into())];
    all.extend(env::var_os("TERM").map(|term| ("TERM".into(), term)));
    for wish in wishes {
        let (name, value) = match wish.split_once('=') {
            Some((name, value)) => (name, Some(value.into())),
            None => (wish.as_str(), env::var_os(wish)),
        };
        all.retain(|(known, _)| known != name);
        all.extend(value.map(|value| (name.into(), value)));
    }
    all
}

/// Whether `--env` says something about a variable.
pub fn asks_for(given: &ArgMatches, variable: &str) -> bool {
    let name = |wish: &String| wish.split('=').next() == Some(variable);
    given.get_many::<String>("env").into_iter().flatten().any(name)
}

/// What a binary's `main` returns: the container's code, or one line on stderr and ours.
pub fn finish(result: Result<u8>) -> ExitCode {
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let myself = env::args_os().next().map(PathBuf::from).unwrap_or_default();
            eprintln!("{}: {error}", myself.file_name().unwrap_or_default().display());
            ExitCode::from(error.code)
        }
    }
}

/// Reads the command line; wrong use ends the program with code 125, as a failing `docker run` does.
///
/// # Errors
/// None: `--help` and wrong use do not return.
pub fn parse(command: Command) -> ArgMatches {
    command.try_get_matches().unwrap_or_else(|error| {
        // Nothing can be told to a user whose terminal is gone.
        let _ = error.print();
        std::process::exit(if error.use_stderr() { i32::from(Error::RUNNER_FAILED) } else { 0 })
    })
}
