//! `network create, ls, inspect, rm, clean`: what there is besides running containers.

use std::fmt::Write;

use clap::{ArgMatches, Command, arg, value_parser};
use process::Result;

use crate::member::{sweep, sweep_all};
use crate::{Network, Store, Subnet, bridge, cli, routes, store};

/// The command `network` and its verbs.
pub fn command() -> Command {
    let name = || arg!(<NAME> "The network");
    Command::new("network").about("Make, list and remove networks").subcommand_required(true).subcommands([
        Command::new("create").about("Make a network").args([
            name(),
            arg!(--subnet <SUBNET> "Its IPv4 addresses; a free /24 if not given"),
            arg!(--subnet6 <SUBNET> "Its IPv6 addresses; a random /64 if not given"),
            arg!(--internal "No way out of it, and none in"),
        ]),
        Command::new("ls").about("List networks"),
        Command::new("inspect").about("Show a network and who is on it").arg(name()),
        Command::new("rm")
            .about("Remove networks that nobody is on")
            .arg(arg!(<NAME> ... "The networks").value_parser(value_parser!(String))),
        Command::new("clean").about("Remove what runners left that are gone"),
    ])
}

// ANCHOR: verbs
/// Does what the verb says; the exit code.
///
/// # Errors
/// Those of the store and of the kernel.
pub fn run(given: &ArgMatches) -> Result<u8> {
    let store = Store::open(&cli::state())?;
    match given.subcommand() {
        Some(("create", given)) => println!("{}", create(&store, given)?.name),
        Some(("ls", _)) => print!("{}", list(&store)?),
        Some(("inspect", given)) => print!("{}", inspect(&store, named(given))?),
        Some(("rm", given)) => {
            given
                .get_many::<String>("NAME")
                .into_iter()
                .flatten()
                .try_for_each(|name| remove(&store, name))?;
        }
        _ => println!("leases removed: {}", sweep_all(&store)?),
    }
    Ok(0)
}

/// Written down only: its bridge is made when the first container needs it, also after a restart of the machine.
fn create(store: &Store, given: &ArgMatches) -> Result<Network> {
    let subnet = |name| -> Result<Option<Subnet>> {
        given.get_one::<String>(name).map(|text| text.parse()).transpose()
    };
    let wish = store::Wish {
        name: named(given).to_owned(),
        subnet4: subnet("subnet")?,
        subnet6: subnet("subnet6")?,
        internal: given.get_flag("internal"),
    };
    store.create(&wish, &routes::subnets())
}

fn remove(store: &Store, name: &str) -> Result<()> {
    let held = store.lock(name)?;
    sweep(&held)?;
    held.refuse_if_used()?;
    bridge::remove(&held.network)?;
    held.remove()
}

// ANCHOR_END: verbs

fn list(store: &Store) -> Result<String> {
    let mut text = format!("{:<16} {:<18} {:<26} {:<8} BRIDGE\n", "NAME", "IPV4", "IPV6", "INTERNAL");
    for network in store.list()? {
        let Network { name, bridge, subnet4, subnet6, internal } = network;
        let (four, six) = (subnet4.to_string(), subnet6.map_or("-".into(), |subnet| subnet.to_string()));
        let internal = if internal { "yes" } else { "no" };
        let _ = writeln!(text, "{name:<16} {four:<18} {six:<26} {internal:<8} {bridge}");
    }
    Ok(text)
}

/// The network's file, and those of its leases.
fn inspect(store: &Store, name: &str) -> Result<String> {
    let network = store.load(name)?;
    let mut text = network.to_string();
    for lease in crate::lease::read_all(&store.folder(name))? {
        let state = if lease.is_stale() { " (its runner is gone)" } else { "" };
        let _ = write!(text, "\naddress {}{state}\n{lease}", lease.address);
    }
    Ok(text)
}

fn named(given: &ArgMatches) -> &str {
    given.get_one::<String>("NAME").map_or("", String::as_str)
}
