//! What there is besides running containers: `stats`, `pause`, `unpause`, `kill`, `update`, `events`, `controllers`,
//! `clean`. All take what they show from the trees of cgroups: there is no other state.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write, stdout};
use std::thread::sleep;
use std::time::Duration;

use clap::{ArgMatches, Command, arg, value_parser};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use process::{Context, Error, Result};

use crate::place::Place;
use crate::sampler::Sampler;
use crate::table::table;
use crate::watch::Watch;
use crate::yard::{self, Yard};
use crate::{Cgroup, Controller, Hierarchies, cli};

/// How often `stats` looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// The verbs, for a binary's command line.
pub fn commands() -> [Command; 8] {
    let with_name = |verb: &'static str, about: &'static str| {
        Command::new(verb).about(about).args([arg!(<NAME> "The container"), cli::parent_flag()])
    };
    [
        Command::new("stats").about("Show what containers use, each second").args([
            arg!([NAME] ... "The containers; all if none is given").value_parser(value_parser!(String)),
            arg!(--"no-stream" "Once only"),
            cli::parent_flag(),
        ]),
        with_name("pause", "Stop all processes of a container"),
        with_name("unpause", "Let them go on"),
        with_name("kill", "Kill all processes of a container"),
        cli::limit_flags(with_name("update", "Change the limits of a running container")),
        with_name("events", "Tell of memory, process and pressure events until the container ends")
            .arg(arg!(--pressure "Also when its processes have to wait")),
        Command::new("controllers").about("Show which tree has which controller").arg(cli::parent_flag()),
        Command::new("clean").about("Remove what runners left that are gone").arg(cli::parent_flag()),
    ]
}

// ANCHOR: verbs
/// Does what the verb says; the exit code.
///
/// # Errors
/// There is no such container; or the kernel's own.
pub fn run(verb: &str, given: &ArgMatches) -> Result<u8> {
    let trees = Hierarchies::detect()?;
    let place = cli::place(given, &trees)?;
    match verb {
        "controllers" => say(&controllers(&trees, &place))?,
        "clean" => say(&format!("cgroups removed: {}\n", clean(&place)?))?,
        "stats" => stats(&place, given)?,
        _ => one(verb, &Cgroup::open(&place, named(given))?, given)?,
    }
    Ok(0)
}

/// The verbs about one container.
fn one(verb: &str, cgroup: &Cgroup, given: &ArgMatches) -> Result<()> {
    match verb {
        "pause" => cgroup.pause()?,
        "unpause" => cgroup.resume()?,
        "kill" => cgroup.kill()?,
        "update" => update(cgroup, given)?,
        _ => return events(cgroup, given.get_flag("pressure")),
    }
    say(&format!("{}\n", cgroup.name))
}

fn update(cgroup: &Cgroup, given: &ArgMatches) -> Result<()> {
    let limits = cli::limits(given)?;
    if limits.is_empty() {
        return Err(Error::refused("update", &cgroup.name, "no limit was given; `update --help` lists them"));
    }
    for warning in cgroup.apply(&limits)? {
        eprintln!("a limit is not complete: {warning}");
    }
    Ok(())
}

fn events(cgroup: &Cgroup, pressure: bool) -> Result<()> {
    let mut watch = Watch::new(cgroup, pressure)?;
    while let Some(lines) = watch.wait_for_news()? {
        say(&(lines.join("\n") + "\n"))?;
    }
    Ok(())
}

fn clean(place: &Place) -> Result<usize> {
    if place.tops.is_empty() {
        return Ok(0);
    }
    let swept = Yard::enter(place)?.sweep();
    yard::tidy(place);
    swept
}
// ANCHOR_END: verbs

// ANCHOR: controllers
/// A line for each controller: its name, the version and the folder of its tree.
fn controllers(trees: &Hierarchies, place: &Place) -> String {
    let mut text = String::new();
    for controller in Controller::ALL {
        let _ =
            match (place.tops.iter().find(|top| top.controllers.contains(&controller)), trees.of(controller))
            {
                (Some(top), _) => {
                    writeln!(
                        text,
                        "{:<8} {} {}",
                        controller.name(top.version),
                        top.version,
                        top.folder().display()
                    )
                }
                (None, Some(tree)) => {
                    let (name, point) = (controller.name(tree.version), tree.point.display());
                    writeln!(text, "{name:<8} {} {point} (not handed down to us)", tree.version)
                }
                (None, None) => writeln!(text, "{:<8} -  -", controller.name(crate::Version::V2)),
            };
    }
    let _ = writeln!(text, "trees    {}", trees.kind());
    text
}
// ANCHOR_END: controllers

// ANCHOR: stats
/// A share of processor time needs two readings: the first table comes after one interval.
fn stats(place: &Place, given: &ArgMatches) -> Result<()> {
    let names: Vec<String> = given.get_many::<String>("NAME").into_iter().flatten().cloned().collect();
    let (mut sampler, once) = (Sampler::default(), given.get_flag("no-stream"));
    let anew = if !once && stdout().is_terminal() { "\x1b[H\x1b[J" } else { "" };
    allow_many_files()?;
    sampler.look(place, &names)?;
    loop {
        sleep(INTERVAL);
        let text = table(&sampler.look(place, &names)?);
        say(&format!("{anew}{text}"))?;
        if once {
            return Ok(());
        }
    }
}
// ANCHOR_END: stats

/// Eight files for each container: as many as the administrator lets us have.
fn allow_many_files() -> Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).during("getrlimit", "open files")?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).during("setrlimit", "open files")
}

/// All of it at once; a reader that is gone is an error, not a panic.
fn say(text: &str) -> Result<()> {
    stdout().write_all(text.as_bytes()).and_then(|()| stdout().flush()).during("write", "standard output")
}

fn named(given: &ArgMatches) -> &str {
    given.get_one::<String>("NAME").map_or("", String::as_str)
}
