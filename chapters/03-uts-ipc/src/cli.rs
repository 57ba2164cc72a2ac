//! The flags of this floor.

use clap::{ArgMatches, Command, arg};
use nix::sched::CloneFlags;
use process::cli::{Floor, Isolations};
use process::{Error, Isolation, Program, Result};

use crate::ipc::Files;
use crate::{IpcNamespace, Join, Of, SharedIpc, UtsNamespace, size};

/// This chapter's floor. It acts after the root was exchanged: `/dev/shm` is mounted in the container's `/dev`.
pub const FLOOR: Floor = Floor { flags, isolations };

fn flags(command: Command) -> Command {
    command.args([
        arg!(--uts <MODE> "Names: private, host, container:PID or ns:FILE").default_value("private"),
        arg!(--hostname <NAME> "The container's host name"),
        arg!(--domainname <NAME> "The container's NIS domain name"),
        arg!(--ipc <MODE> "Queues and shared memory: private, shareable, host or container:PID")
            .default_value("private"),
        arg!(--"shm-size" <SIZE> "The most that /dev/shm holds; 64m if not given"),
    ])
}

fn isolations(given: &ArgMatches, program: &mut Program) -> Result<Isolations> {
    Ok(uts(given)?.into_iter().chain(ipc(given, program)?).collect())
}

/// The UTS namespace that was asked for; none for the host's.
fn uts(given: &ArgMatches) -> Result<Option<Box<dyn Isolation>>> {
    let word = |name| given.get_one::<String>(name).cloned();
    let (mode, hostname, domainname) = (mode(given, "uts"), word("hostname"), word("domainname"));
    if mode != "private" && (hostname.is_some() || domainname.is_some()) {
        let cause = "--hostname and --domainname would rename the other as well";
        return Err(Error::refused("--uts", mode, cause));
    }
    Ok(match mode {
        "private" => Some(Box::new(UtsNamespace { hostname, domainname })),
        "host" => None,
        other => {
            let words = "there are private, host, container:PID and ns:FILE";
            let of = whose(other).ok_or_else(|| Error::refused("--uts", other, words))?;
            Some(Box::new(Join::new(CloneFlags::CLONE_NEWUTS, of)))
        }
    })
}

// ANCHOR: modes
/// The IPC namespace that was asked for; none for the host's where there is no `/dev` to show it in.
fn ipc(given: &ArgMatches, program: &Program) -> Result<Option<Box<dyn Isolation>>> {
    let (mode, files) = (mode(given, "ipc"), mount::cli::has_dev(given, program));
    let size = given.get_one::<String>("shm-size");
    if size.is_some() && !(files && ["private", "shareable"].contains(&mode)) {
        return Err(Error::refused("--shm-size", "", "only a /dev/shm of its own has a size of its own"));
    }
    match mode {
        "private" | "shareable" => {
            let shm_size = size::bytes(size.map_or("64m", String::as_str))?;
            let files = files.then_some(Files { shm_size, shareable: mode == "shareable" });
            Ok(Some(Box::new(IpcNamespace { files })))
        }
        "host" if files => Ok(Some(Box::new(SharedIpc::new(None, files)))),
        "host" => Ok(None),
        other => match whose(other) {
            Some(of @ Of::Process(_)) => {
                Ok(Some(Box::new(SharedIpc::new(Some(Join::new(CloneFlags::CLONE_NEWIPC, of)), files))))
            }
            _ => Err(Error::refused("--ipc", other, "there are private, shareable, host and container:PID")),
        },
    }
}
// ANCHOR_END: modes

fn mode<'a>(given: &'a ArgMatches, name: &str) -> &'a str {
    given.get_one::<String>(name).map_or("private", String::as_str)
}

/// `container:4711` or `ns:/proc/4711/ns/uts`.
fn whose(text: &str) -> Option<Of> {
    match text.split_once(':')? {
        ("container", pid) => pid.parse().ok().filter(|pid| *pid > 0).map(Of::Process),
        ("ns", file) if !file.is_empty() => Some(Of::File(file.into())),
        _ => None,
    }
}
