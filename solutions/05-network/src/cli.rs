//! The flags of this floor, and what they become.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use clap::{ArgMatches, Command, arg, value_parser};
use nix::sched::CloneFlags;
use nix::unistd::{geteuid, gethostname};
use process::cli::{Floor, Isolations};
use process::{Context, Error, Isolation, Program, Result};
use user::caller::{self, Capability};
use user::identity::read_inside;
use uts_ipc::{Join, Of};

use crate::allocation::Wish;
use crate::alone::Alone;
use crate::files::ResolvConf;
use crate::identity::{EtcFiles, Identity, Texts};
use crate::member::{DEFAULT, Member};
use crate::rootless::Tool;
use crate::unprivileged::Unprivileged;
use crate::{Store, port, routes, store};

/// This chapter's floor. It acts after the root was exchanged: its files lie over those of the image.
pub const FLOOR: Floor = Floor { flags, isolations };

fn flags(command: Command) -> Command {
    command.args([
        arg!(--network <MODE> "auto, none, host, container:PID, pasta, slirp4netns, bridge, or a network's NAME")
            .default_value("auto"),
        arg!(-p --publish <"[[IP:]HOST:]PORT[/udp]"> ... "Let a port of the host lead to one of the container"),
        arg!(--name <NAME> "What others on its network call it"),
        arg!(--"network-alias" <NAME> ... "Another name there; several containers may have it"),
        arg!(--ip <ADDRESS> "This IPv4 address of the network").value_parser(value_parser!(Ipv4Addr)),
        arg!(--"add-host" <"NAME:IP"> ... "One more line in /etc/hosts"),
        arg!(--dns <IP> ... "A name server instead of the host's"),
        arg!(--"dns-search" <DOMAIN> ... "A domain to try behind names"),
        arg!(--"dns-option" <OPTION> ... "An option of resolv.conf(5)"),
    ])
}

// ANCHOR: modes
/// Whose network a container gets.
enum Mode {
    Alone,
    Host,
    Of(i32),
    Helped(Tool),
    Member(String),
}

/// What `--network` asks for.
fn mode(given: &ArgMatches) -> Result<Mode> {
    let word = given.get_one::<String>("network").map_or("auto", String::as_str);
    let no_mode = || Error::refused("--network", word, "with a colon there is container:PID only");
    Ok(match (word, word.split_once(':')) {
        ("none", _) => Mode::Alone,
        ("host", _) => Mode::Host,
        ("auto", _) if caller::has(Capability::NetAdmin) => Mode::Member(DEFAULT.to_owned()),
        ("auto", _) => match Tool::find() {
            Ok(tool) => Mode::Helped(tool),
            Err(error) if given.contains_id("publish") => return Err(error),
            Err(error) => {
                eprintln!("the container has no network: {error}");
                Mode::Alone
            }
        },
        ("pasta", _) => Mode::Helped(Tool::Pasta),
        ("slirp4netns", _) => Mode::Helped(Tool::Slirp4netns),
        (_, Some(("container", pid))) => Mode::Of(pid.parse().map_err(|_| no_mode())?),
        (_, Some(_)) => return Err(no_mode()),
        (name, None) => Mode::Member(name.to_owned()),
    })
}

fn isolations(given: &ArgMatches, _program: &mut Program) -> Result<Isolations> {
    let mode = mode(given)?;
    if !matches!(mode, Mode::Helped(_) | Mode::Member(_)) {
        refuse_ports(given)?;
    }
    // Without a root of its own, the container's /etc is the host's.
    let identity = given.contains_id("rootfs").then(|| identity(given)).transpose()?;
    let ports = ports(given)?;
    Ok(match mode {
        Mode::Alone => {
            let texts =
                identity.map(|identity| identity.texts(&[], None, &ResolvConf::default())).transpose()?;
            with_files(Some(Box::new(Alone)), texts)
        }
        Mode::Host => with_files(None, identity.map(|_| texts_of(None)).transpose()?),
        Mode::Of(pid) => {
            let root = PathBuf::from(format!("/proc/{pid}/root"));
            let texts = identity.map(|_| texts_of(Some(&root))).transpose()?;
            with_files(Some(Box::new(Join::new(CloneFlags::CLONE_NEWNET, Of::Process(pid)))), texts)
        }
        Mode::Helped(tool) => {
            let folder = state().join(format!("helper-{}", std::process::id()));
            vec![Box::new(Unprivileged::new(tool, ports, identity, folder))]
        }
        Mode::Member(name) => {
            vec![Box::new(Member::new(store_with(&name)?, name, wish(given), ports, identity))]
        }
    })
}
// ANCHOR_END: modes

fn with_files(isolation: Option<Box<dyn Isolation>>, texts: Option<Texts>) -> Isolations {
    let files = texts.map(|texts| -> Box<dyn Isolation> { Box::new(EtcFiles(texts)) });
    isolation.into_iter().chain(files).collect()
}

/// The three files as they are on the host, or in another container: read inside its root.
fn texts_of(root: Option<&Path>) -> Result<Texts> {
    let read = |name| match read_inside(root, &format!("/etc/{name}")) {
        Err(error) if root.is_some_and(|root| !root.exists()) => {
            Err(error.because("there must be such a process here"))
        }
        text => text.map(|text| (name, text)),
    };
    ["hosts", "hostname", "resolv.conf"].into_iter().map(read).collect()
}

/// A port, an address or an alias means something on a network only; a name does in later chapters, too.
fn refuse_ports(given: &ArgMatches) -> Result<()> {
    let flags = ["publish", "network-alias", "ip"];
    match flags.into_iter().find(|flag| given.contains_id(flag)) {
        None => Ok(()),
        Some(flag) => {
            let cause = "it says something about a network of the container's own, and there is none here";
            Err(Error::refused("use", format!("--{flag}"), cause))
        }
    }
}

fn words(given: &ArgMatches, name: &str) -> Vec<String> {
    given.get_many::<String>(name).into_iter().flatten().cloned().collect()
}

fn ports(given: &ArgMatches) -> Result<Vec<port::Wish>> {
    let wishes = words(given, "publish").iter().map(|text| port::wishes(text)).collect::<Result<Vec<_>>>()?;
    Ok(wishes.into_iter().flatten().collect())
}

fn wish(given: &ArgMatches) -> Wish {
    Wish {
        name: given.get_one("name").cloned(),
        aliases: words(given, "network-alias"),
        ports: Vec::new(),
        address: given.get_one("ip").copied(),
    }
}

fn identity(given: &ArgMatches) -> Result<Identity> {
    // They stand in lines of words: a blank would begin another word, a line end another line.
    for flag in ["hostname", "dns-search", "dns-option"] {
        if let Some(word) = words(given, flag).iter().find(|word| word.contains(char::is_whitespace)) {
            return Err(Error::refused(
                "use",
                format!("--{flag} {word:?}"),
                "it is one word, without blanks",
            ));
        }
    }
    let of_host = || gethostname().map(|name| name.to_string_lossy().into_owned());
    let hostname = given.get_one::<String>("hostname").cloned();
    let refuse = |text: &String| Error::refused("--dns", text, "it is no IP address");
    let server = |text: &String| text.parse().map_err(|_| refuse(text));
    Ok(Identity {
        hostname: hostname.map_or_else(|| of_host().during("gethostname", ""), Ok)?,
        name: given.get_one::<String>("name").cloned(),
        add_host: words(given, "add-host"),
        dns: ResolvConf {
            servers: words(given, "dns").iter().map(server).collect::<Result<_>>()?,
            search: words(given, "dns-search"),
            options: words(given, "dns-option"),
        },
    })
}

/// Where networks are written down: `$GANTRY_STATE`, or a folder that is gone after the next start.
pub fn state() -> PathBuf {
    let of_user = || std::env::var_os("XDG_RUNTIME_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let default = || if geteuid().is_root() { PathBuf::from("/run") } else { of_user() }.join("gantry");
    std::env::var_os("GANTRY_STATE").map_or_else(default, PathBuf::from)
}

/// The store, in which the default network is made by whoever needs it first.
fn store_with(name: &str) -> Result<Store> {
    if !caller::has(Capability::NetAdmin) {
        let cause = "it takes CAP_NET_ADMIN on the host; without --network a helper connects the container";
        return Err(Error::refused("--network", name, cause));
    }
    let store = Store::open(&state())?;
    if name == DEFAULT && store.load(name).is_err() {
        let wish = store::Wish { name: name.to_owned(), ..store::Wish::default() };
        match store.create(&wish, &routes::subnets()) {
            // Somebody else was faster.
            Err(_) if store.load(name).is_ok() => {}
            made => drop(made?),
        }
    }
    Ok(store)
}
