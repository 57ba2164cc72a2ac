//! The command line: what can be typed, and which function answers it.
//!
//! Exit codes: 0 done, 1 not (a red test, a refusal, an error), 2 wrong use; `run` and `lab` end with the
//! code of the program they ran. Everything that a reader can type wrong is answered with what to type
//! instead.

mod adopt;
mod attack;
mod book;
mod check;
mod diff;
mod hint;
mod next;
mod outside;
mod report;
mod reset;
mod solution;
mod status;
mod target;
mod watch;

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use workshop::course::Course;
use workshop::lab::Ground;
use workshop::workspace;

use target::Target;

/// Build a container engine, chapter by chapter.
///
/// Without a command: where you are, and what to do next.
#[derive(Debug, Parser)]
#[command(name = "cargo workshop", bin_name = "cargo workshop", max_term_width = 100)]
#[command(next_display_order = 0)]
#[command(after_help = "N is a chapter (1), N.T one of its exercises (1.2).")]
struct Cli {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Tell what this machine offers to the course, each gap with its fix
    Doctor,
    /// Start a first container and look at it from inside and outside
    Tour,
    /// Build and serve the book
    Book(book::Options),
    /// Test your crate: all of a chapter, or one exercise
    Check {
        /// Chapter or exercise: 1, 1.2
        #[arg(value_name = "N[.T]")]
        target: Target,
        #[command(flatten)]
        place: LearnersPlace,
    },
    /// Check again on every save
    Watch {
        /// Chapter or exercise: 1, 1.2
        #[arg(value_name = "N[.T]")]
        target: Target,
        #[command(flatten)]
        place: LearnersPlace,
    },
    /// Show one more hint for an exercise
    Hint {
        /// Exercise: 1.2
        #[arg(value_name = "N.T")]
        target: Target,
        /// Show the hints that you have seen, and no new one
        #[arg(long)]
        again: bool,
    },
    /// Show one solution of an exercise
    Solution {
        /// Exercise: 1.2
        #[arg(value_name = "N.T")]
        target: Target,
        #[command(flatten)]
        consent: Consent,
    },
    /// Show how your code differs from the reference
    Diff {
        /// Chapter or exercise: 1, 1.2
        #[arg(value_name = "N[.T]")]
        target: Target,
        #[command(flatten)]
        consent: Consent,
    },
    /// Go back to the starter; your files are kept aside
    Reset {
        /// Chapter or exercise: 1, 1.2
        #[arg(value_name = "N[.T]")]
        target: Target,
    },
    /// Build the floors above on your crate, once its tests pass
    Adopt {
        /// Chapter: 1
        #[arg(value_name = "N")]
        target: Target,
        /// For trainers: switch without running the tests
        #[arg(long)]
        force: bool,
    },
    /// Build the floors above on the reference crate again
    Release {
        /// Chapter: 1
        #[arg(value_name = "N")]
        target: Target,
    },
    /// Run your program of a chapter, in the lab
    Run {
        /// Chapter: 1
        #[arg(value_name = "N")]
        target: Target,
        #[command(flatten)]
        place: LearnersPlace,
        /// What to pass to your program
        #[arg(last = true, value_name = "ARGS")]
        args: Vec<OsString>,
    },
    /// Open a shell in the lab, or run one command there
    Lab {
        #[command(flatten)]
        place: Place,
        /// Let my-process and its like be the reference crates
        #[arg(long)]
        solution: bool,
        /// The command; a shell if not given
        #[arg(last = true, value_name = "CMD")]
        command: Vec<OsString>,
    },
    /// List attacks that once led out of a container, or make one: with the defence off, then on
    Attack {
        /// The attack: own-executable
        name: Option<String>,
        #[command(flatten)]
        place: Place,
        /// Attack the reference crate, not yours
        #[arg(long)]
        solution: bool,
    },
    /// Find and remove what a crashed experiment left behind
    Clean,
    /// Show your progress, for a class
    Report {
        /// As JSON, for a program to read
        #[arg(long)]
        json: bool,
    },
    /// Make the demo root file system (done by itself when needed)
    Rootfs,
    /// Maintainers: write chapters/ from solutions/
    Generate {
        /// Only compare; fail if a file differs
        #[arg(long)]
        check: bool,
    },
    /// Maintainers: run the stages' tests against the solutions
    Test {
        /// Chapter: 1; all if not given
        #[arg(value_name = "N")]
        target: Option<Target>,
        #[command(flatten)]
        place: Place,
    },
}

/// Which lab.
#[derive(Debug, Args)]
struct Place {
    /// What the lab stands on
    #[arg(long, visible_alias = "lab", value_name = "GROUND")]
    ground: Option<Ground>,
    /// Short for --ground kernel
    #[arg(long, conflicts_with = "ground")]
    kernel: bool,
}

impl Place {
    fn chosen(&self) -> Option<Ground> {
        if self.kernel { Some(Ground::Kernel) } else { self.ground }
    }
}

/// Which lab, for code that may hold any mistake: never as the machine's root.
#[derive(Debug, Args)]
struct LearnersPlace {
    #[command(flatten)]
    place: Place,
}

impl LearnersPlace {
    fn chosen(&self) -> Result<Option<Ground>> {
        match self.place.chosen() {
            Some(Ground::Root) => Err(wrong(
                "--ground root is for the reference crates: your own code runs as nobody's root. \
                 Try --ground user or --kernel",
            )),
            other => Ok(other),
        }
    }
}

/// Whether the reader agreed beforehand to see a solution.
#[derive(Debug, Args)]
struct Consent {
    /// Do not ask before showing a solution
    #[arg(long)]
    yes: bool,
}

/// Where every verb works: the workspace and its course.
struct Here {
    root: PathBuf,
    course: Course,
}

/// Wrong use: the message says what to type instead.
#[derive(Debug)]
struct Wrong(String);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Wrong {}

fn wrong(message: impl Into<String>) -> anyhow::Error {
    Wrong(message.into()).into()
}

/// Parses the command line, does what it says, and prints the one error if there is one.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match here().and_then(|here| answer(&here, cli.verb)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(if error.is::<Wrong>() { 2 } else { 1 })
        }
    }
}

fn here() -> Result<Here> {
    let root = workspace::root()?;
    let course = Course::load(&root)?;
    Ok(Here { root, course })
}

/// Does what the verb says and returns the exit code.
fn answer(here: &Here, verb: Option<Verb>) -> Result<u8> {
    let Some(verb) = verb else { return status::show(here) };
    match verb {
        Verb::Doctor => outside::doctor(here),
        Verb::Tour => outside::tour(here),
        Verb::Book(options) => book::serve(here, &options),
        Verb::Check { target, place } => check::check(here, &target, place.chosen()?),
        Verb::Watch { target, place } => watch::watch(here, &target, place.chosen()?),
        Verb::Hint { target, again } => hint::show(here, &target, again),
        Verb::Solution { target, consent } => solution::show(here, &target, &consent),
        Verb::Diff { target, consent } => diff::show(here, &target, &consent),
        Verb::Reset { target } => reset::reset(here, &target),
        Verb::Adopt { target, force } => adopt::adopt(here, &target, force),
        Verb::Release { target } => adopt::release(here, &target),
        Verb::Run { target, place, args } => outside::run(here, &target, place.chosen()?, args),
        Verb::Lab { place, solution, command } => outside::lab(here, place.chosen(), solution, command),
        Verb::Attack { name: None, .. } => attack::list(),
        Verb::Attack { name: Some(name), place, solution } => {
            let place = LearnersPlace { place };
            let ground = if solution { place.place.chosen() } else { place.chosen()? };
            attack::one(here, &name, solution, ground)
        }
        Verb::Clean => Ok(code(workshop::clean::run(&here.root)?)),
        Verb::Report { json } => report::show(here, json),
        Verb::Rootfs => outside::rootfs(here),
        Verb::Generate { check } => outside::generate(here, check),
        Verb::Test { target, place } => outside::test(here, target.as_ref(), place.chosen()),
    }
}

/// The exit code of a verb that can go well or not.
fn code(well: bool) -> u8 {
    u8::from(!well)
}
