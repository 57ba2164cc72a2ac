//! A network for who is not root: another program carries the packets.
//!
//! In a network namespace of her own, an ordinary user may make links, but no link leads out: its other end would
//! have to be in the host's network, and that is root's. `pasta` and `slirp4netns` go another way. They open a
//! TAP device inside, read raw packets from it, and do outside, with ordinary sockets, what the packets ask for.
//! So no right is needed, published ports are ordinary sockets too, and containers cannot reach each other.
//!
//! Invariant: the helper ends with [`Helper`], and so with the runner or before it; the host's loopback cannot
//! be reached from inside. The price of the latter with slirp4netns: what the host sends to itself by UDP comes back
//! from nowhere.

use std::fmt;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use process::{Context, Error, Result};

use crate::Published;
use crate::port::Protocol;

/// A program that can do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// pasta(1), of the package `passt`: the container has the host's own addresses.
    Pasta,
    /// slirp4netns(1): a TCP of its own, slower; published on IPv4 addresses only.
    Slirp4netns,
}

/// A running helper; it is killed when this is dropped.
#[derive(Debug)]
pub struct Helper {
    tool: Tool,
    process: Child,
    log: PathBuf,
}

/// Starting takes about 20 ms; a busy machine may need longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The name of the link inside.
const LINK: &str = "eth0";

// ANCHOR: find
impl Tool {
    /// The better one of those that are installed.
    ///
    /// # Errors
    /// None is, and what to install.
    pub fn find() -> Result<Tool> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let installed =
            |tool: &Tool| std::env::split_paths(&path).any(|folder| folder.join(tool.to_string()).is_file());
        [Tool::Pasta, Tool::Slirp4netns].into_iter().find(installed).ok_or_else(|| {
            let cause =
                "without root it takes `pasta` (package `passt`) or `slirp4netns`; or say --network none";
            Error::refused("make a network", "", cause)
        })
    }

    /// Where it answers DNS, for the container's `/etc/resolv.conf`; it asks the host's servers.
    pub fn name_server(self) -> IpAddr {
        match self {
            Tool::Pasta => Ipv4Addr::new(169, 254, 1, 1).into(),
            Tool::Slirp4netns => Ipv4Addr::new(10, 0, 2, 3).into(),
        }
    }
}
// ANCHOR_END: find

// ANCHOR: start
impl Helper {
    /// Gives the network namespace of `container` a way out, and returns when it can be used. Its messages go
    /// to a file in `folder`. The ports must be free: whoever chose them lets them go before.
    ///
    /// # Errors
    /// The helper's own words: a port is taken, there is no `/dev/net/tun`, the host is not connected.
    pub fn start(tool: Tool, container: Pid, ports: &[Published], folder: &Path) -> Result<Helper> {
        let (log, socket) = (folder.join("helper.log"), folder.join("helper.sock"));
        let mut command = Command::new(tool.to_string());
        command.args(match tool {
            Tool::Pasta => pasta(container, ports),
            Tool::Slirp4netns => slirp4netns(container, &socket),
        });
        let output = File::create(&log).during("create", log.display())?;
        let copy = output.try_clone().during("dup", log.display())?;
        command.stdin(Stdio::null()).stdout(copy).stderr(output);
        // SAFETY: prctl(2) only; nothing that a copy of our memory could have left locked.
        unsafe { command.pre_exec(|| Ok(set_pdeathsig(Signal::SIGKILL)?)) };
        let process = command.spawn().during("run", tool)?;
        let mut helper = Helper { tool, process, log };
        helper.wait_for(|| has_default_route(container).then_some(()))?;
        if tool == Tool::Slirp4netns {
            for port in ports {
                forward(helper.connection(&socket)?, port)?;
            }
        }
        Ok(helper)
    }

    /// A connection to its socket, whose file is there a moment before anybody listens: from bind(2) to listen(2).
    fn connection(&mut self, socket: &Path) -> Result<UnixStream> {
        self.wait_for(|| UnixStream::connect(socket).ok())
    }

    fn wait_for<T>(&mut self, ready: impl Fn() -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(ready) = ready() {
                return Ok(ready);
            }
            let ended = self.process.try_wait().during("wait for", self.tool)?.is_some();
            if ended || Instant::now() > deadline {
                return Err(Error::refused("run", self.tool, self.last_words()));
            }
            sleep(Duration::from_millis(5));
        }
    }

    /// The first line of its log that tells of a failure, else the last, or what is known to be wrong.
    fn last_words(&self) -> String {
        let tun = "/dev/net/tun";
        if let Err(error) = File::options().read(true).write(true).open(tun) {
            return format!("{tun}: {error}; `sudo modprobe tun; sudo chmod 666 {tun}` allows it");
        }
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().filter(|line| !line.is_empty()).collect();
        let tells = |line: &&&str| ["cannot", "ailed", "rror"].iter().any(|word| line.contains(word));
        let line = lines.iter().find(tells).or(lines.last());
        line.copied().unwrap_or("it does not get ready").to_owned()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
// ANCHOR_END: start

// ANCHOR: arguments
fn pasta(container: Pid, ports: &[Published]) -> Vec<String> {
    // What is bound inside stays inside, and the gateway's address is not the host's loopback.
    let fixed = "--foreground --quiet --config-net --no-map-gw --tcp-ns none --udp-ns none";
    let mut all: Vec<String> = fixed.split(' ').map(str::to_owned).collect();
    all.extend(["--ns-ifname".into(), LINK.into()]);
    all.extend(["--dns-forward".into(), Tool::Pasta.name_server().to_string()]);
    for (protocol, flag) in [(Protocol::Tcp, "--tcp-ports"), (Protocol::Udp, "--udp-ports")] {
        let mut of_protocol = ports.iter().filter(|port| port.protocol == protocol).peekable();
        if of_protocol.peek().is_none() {
            all.extend([flag.into(), "none".into()]);
        }
        for Published { ip, host, container, .. } in of_protocol {
            let ip = ip.map_or(String::new(), |ip| format!("{ip}/"));
            all.extend([flag.into(), format!("{ip}{host}:{container}")]);
        }
    }
    all.push(container.to_string());
    all
}

fn slirp4netns(container: Pid, socket: &Path) -> Vec<String> {
    let fixed = "--configure --mtu=65520 --disable-host-loopback --enable-sandbox --enable-seccomp";
    let mut all: Vec<String> = fixed.split(' ').map(str::to_owned).collect();
    all.push(format!("--userns-path=/proc/{container}/ns/user"));
    all.push(format!("--api-socket={}", socket.display()));
    all.extend([container.to_string(), LINK.to_owned()]);
    all
}
// ANCHOR_END: arguments

/// Asks a running slirp4netns to publish a port: one JSON object there, one back.
fn forward(mut stream: UnixStream, port: &Published) -> Result<()> {
    let Published { ip, host, container, protocol } = port;
    let ip = ip.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
    let request = format!(
        r#"{{"execute":"add_hostfwd","arguments":{{"proto":"{protocol}","host_addr":"{ip}","host_port":{host},"guest_port":{container}}}}}"#
    );
    stream.write_all(request.as_bytes()).during("write to", "slirp4netns")?;
    stream.shutdown(Shutdown::Write).during("write to", "slirp4netns")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).during("read from", "slirp4netns")?;
    if answer.contains("\"return\"") {
        return Ok(());
    }
    let cause = "slirp4netns refuses it: is it taken, below 1024, or an IPv6 address?";
    Err(Error::refused("publish port", port, cause))
}

/// Whether the network of a process has a way out: `/proc/PID/net` is that of its namespace.
fn has_default_route(process: Pid) -> bool {
    let read = |file| fs::read_to_string(format!("/proc/{process}/net/{file}")).unwrap_or_default();
    let four = read("route").lines().any(|line| line.split('\t').nth(1) == Some("00000000"));
    let ends = |line: &str| line.starts_with(&format!("{} 00 ", "0".repeat(32))) && line.ends_with(LINK);
    four || read("ipv6_route").lines().any(ends)
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Tool::Pasta { "pasta" } else { "slirp4netns" })
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};

    use super::*;

    #[test]
    fn a_socket_that_nobody_listens_to_yet_is_waited_for() {
        let folder = std::env::temp_dir().join(format!("gantry-helper-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (log, path) = (folder.join("helper.log"), folder.join("helper.sock"));
        let early = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        bind(early.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
        assert!(UnixStream::connect(&path).is_err());
        let process = Command::new("sleep").arg("60").spawn().unwrap();
        let mut helper = Helper { tool: Tool::Slirp4netns, process, log };
        let connected = std::thread::scope(|scope| {
            let connecting = scope.spawn(|| helper.connection(&path).is_ok());
            sleep(Duration::from_millis(50));
            listen(&early, Backlog::new(1).unwrap()).unwrap();
            connecting.join().unwrap()
        });
        fs::remove_dir_all(&folder).unwrap();
        assert!(connected);
    }

    #[test]
    fn pasta_is_told_every_port_and_nothing_else() {
        let ports = ["8080:80", "[::1]:53:5353/udp"].map(|text| text.parse().unwrap());
        let line = pasta(Pid::from_raw(4711), &ports).join(" ");
        assert!(line.ends_with("--tcp-ports 8080:80 --udp-ports ::1/53:5353 4711"), "{line}");
        let line = pasta(Pid::from_raw(4711), &[]).join(" ");
        assert!(line.ends_with("--tcp-ports none --udp-ports none 4711"), "{line}");
    }

    #[test]
    fn slirp4netns_ends_with_process_and_link() {
        let line = slirp4netns(Pid::from_raw(4711), Path::new("/run/x.sock")).join(" ");
        assert!(
            line.ends_with("--userns-path=/proc/4711/ns/user --api-socket=/run/x.sock 4711 eth0"),
            "{line}"
        );
    }
}
