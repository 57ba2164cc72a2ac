//! The three files that tell programs who and where they are: `/etc/hosts`, `/etc/hostname`, `/etc/resolv.conf`.
//!
//! The C library reads them, so they must say what is true inside. Their texts are made by pure functions, and laid
//! over what the image has; the image itself is not written. See hosts(5), resolv.conf(5).
//!
//! A name server on the host's loopback, such as systemd-resolved at 127.0.0.53, is of no use inside: there,
//! loopback is the container's own. We never put somebody's public server in its place; who wants one says
//! `--dns`.

use std::fmt;
use std::fs::{self, File};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use libc::{MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID};
use mount::detached::Detached;
use mount::resolve::{self, Links, Place};
use mount::root::Root;
use nix::fcntl::{OFlag, openat};
use nix::mount::{MntFlags, umount2};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{chdir, fchdir};
use process::{Context, Error, Result};

// ANCHOR: hosts
/// The text of `/etc/hosts`: loopback, our own addresses with our names, and what `--add-host` says.
pub fn hosts(addresses: &[IpAddr], names: &[String], more: &[(String, IpAddr)]) -> String {
    let mut text = "127.0.0.1\tlocalhost\n\
                    ::1\tlocalhost ip6-localhost ip6-loopback\n\
                    ff02::1\tip6-allnodes\n\
                    ff02::2\tip6-allrouters\n"
        .to_owned();
    more.iter().for_each(|(name, address)| text += &format!("{address}\t{name}\n"));
    addresses.iter().for_each(|address| text += &format!("{address}\t{}\n", names.join(" ")));
    text
}

/// `--add-host`: `NAME:IP`, where the IP `host-gateway` is that of the host as the container sees it.
///
/// # Errors
/// It is written wrong, or this network has no gateway.
pub fn add_host(text: &str, gateway: Option<IpAddr>) -> Result<(String, IpAddr)> {
    let refuse = |cause| Error::refused("add the host", text, cause);
    let form = "write it as NAME:IP, harbour:192.0.2.7 or harbour:[2001:db8::7], or NAME:host-gateway";
    let (name, ip) = text.split_once([':', '=']).ok_or_else(|| refuse(form))?;
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err(refuse(form));
    }
    let address = match ip {
        "host-gateway" => gateway.ok_or_else(|| refuse("this network has no gateway"))?,
        ip => ip.trim_start_matches('[').trim_end_matches(']').parse().map_err(|_| refuse(form))?,
    };
    Ok((name.to_owned(), address))
}
// ANCHOR_END: hosts

/// Where the embedded resolver listens in every container of a network.
pub const EMBEDDED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);

// ANCHOR: resolv
/// What `/etc/resolv.conf` says, or what `--dns`, `--dns-search` and `--dns-option` ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// Whom to ask.
    pub servers: Vec<IpAddr>,
    /// Domains to try behind a name.
    pub search: Vec<String>,
    /// `ndots:0`, `timeout:2`.
    pub options: Vec<String>,
}

impl ResolvConf {
    /// The host's, as the host's own programs see it: what the embedded resolver asks.
    pub fn of_host() -> ResolvConf {
        ResolvConf::parse(&fs::read_to_string("/etc/resolv.conf").unwrap_or_default())
    }

    /// The host's, as far as a container can use it.
    pub fn of_host_reachable() -> ResolvConf {
        let behind = fs::read_to_string("/run/systemd/resolve/resolv.conf").unwrap_or_default();
        ResolvConf::of_host().reachable(&ResolvConf::parse(&behind))
    }

    /// Reads what can be understood. A server with a zone, `fe80::1%eth0`, is left out: the zone is the host's.
    pub fn parse(text: &str) -> ResolvConf {
        let mut read = ResolvConf::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let key = words.next();
            let rest = words.map(str::to_owned);
            match key {
                Some("nameserver") => {
                    read.servers.extend(rest.take(1).filter_map(|word| word.parse::<IpAddr>().ok()))
                }
                Some("search" | "domain") => read.search = rest.collect(),
                Some("options") => read.options.extend(rest),
                _ => {}
            }
        }
        read
    }

    /// Without servers on the host's loopback; if no other is left, with those that they stand for.
    fn reachable(mut self, behind: &ResolvConf) -> ResolvConf {
        let not_loopback = |servers: &[IpAddr]| -> Vec<IpAddr> {
            servers.iter().copied().filter(|server| !server.to_canonical().is_loopback()).collect()
        };
        self.servers = not_loopback(&self.servers);
        if self.servers.is_empty() {
            self.servers = not_loopback(&behind.servers);
        }
        self
    }

    /// What the user asks for goes before, kind by kind; `--dns-search .` means none.
    pub fn with(self, wish: &ResolvConf) -> ResolvConf {
        fn either<T: Clone>(wish: &[T], host: Vec<T>) -> Vec<T> {
            if wish.is_empty() { host } else { wish.to_vec() }
        }
        let mut search = either(&wish.search, self.search);
        search.retain(|domain| domain != ".");
        ResolvConf {
            servers: either(&wish.servers, self.servers),
            search,
            options: either(&wish.options, self.options),
        }
    }

    /// The same for a container whose questions go to the embedded resolver.
    pub fn embedded(mut self) -> ResolvConf {
        self.servers = vec![EMBEDDED.into()];
        // A neighbour's name has no dot and is complete: it must not be tried with a search domain first.
        if !self.options.iter().any(|option| option.starts_with("ndots:")) {
            self.options.push("ndots:0".to_owned());
        }
        self
    }
}

impl fmt::Display for ResolvConf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.servers.is_empty() {
            // Without any line the C library asks 127.0.0.1: nobody, and that is refused at once.
            writeln!(f, "# The host has no name server that a container can reach; give one with --dns.")?;
        }
        self.servers.iter().try_for_each(|server| writeln!(f, "nameserver {server}"))?;
        for (key, words) in [("search", &self.search), ("options", &self.options)] {
            if !words.is_empty() {
                writeln!(f, "{key} {}", words.join(" "))?;
            }
        }
        Ok(())
    }
}
// ANCHOR_END: resolv

// ANCHOR: lay
/// Lays texts over files in `/etc` of the root that this process has now: pairs of name and text.
///
/// A mount can be a copy of a single file, but only of one that stands in our own tree. So a file system of our
/// own covers `/etc` for a moment, its files are copied, and it goes again; the copies keep it alive.
///
/// # Errors
/// EROFS: the image has no such file, and its root is read-only. Whatever the kernel says to one of these steps.
pub fn lay(texts: &[(&str, String)]) -> Result<()> {
    todo!("5.2 Tell it who it is")
}

// ANCHOR_END: lay

// ANCHOR: cover
fn options() -> [(String, String); 2] {
    [("mode", "755"), ("size", "1m")].map(|(key, value)| (key.to_owned(), value.to_owned()))
}

/// The place of a file in `/etc`, where we are inside already.
fn place(root: &Root, name: &str) -> Result<OwnedFd> {
    let target = Path::new("/etc").join(name);
    // A link to nothing means the place that it names: images of machines with systemd have such a resolv.conf.
    let target = match fs::read_link(&target) {
        Ok(link) if !target.exists() => target.with_file_name("").join(link),
        _ => target,
    };
    let place = resolve::place(root.as_fd(), &target, Place::File, Links::Follow)?;
    resolve::check(root.as_fd(), place.as_fd(), &target, Place::File)?;
    Ok(place)
}

/// Writes a file on the cover; a copy of it as a mount of its own.
fn copy(cover: &Detached, name: &str, text: &str) -> Result<Detached> {
    let new = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    let file = openat(cover, name, new, Mode::empty()).during("create", name)?;
    // Whatever our umask: every user of the container reads them.
    fchmod(&file, Mode::from_bits_truncate(0o644)).during("chmod", name)?;
    File::from(file).write_all(text.as_bytes()).during("write", name)?;
    let file = openat(cover, name, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).during("open", name)?;
    Detached::copy_of(file.as_fd()).during("open_tree", name)
}

/// Takes the cover off: the folder in which we are, whatever it is called.
fn uncover(cover: &Detached) -> Result<()> {
    fchdir(cover).during("chdir", "/etc")?;
    umount2(".", MntFlags::MNT_DETACH).during("umount", "/etc")?;
    chdir("/").during("chdir", "/")
}
// ANCHOR_END: cover

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_say_who_we_are_and_whom_we_know() {
        let addresses = ["10.208.0.2".parse().unwrap(), "fd00::2".parse().unwrap()];
        let names = ["web.example.org".to_owned(), "web".to_owned()];
        let text = hosts(&addresses, &names, &[add_host("db:192.0.2.7", None).unwrap()]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..2], ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"]);
        assert_eq!(
            lines[4..],
            ["192.0.2.7\tdb", "10.208.0.2\tweb.example.org web", "fd00::2\tweb.example.org web"]
        );
    }

    #[test]
    fn hosts_are_added_by_address_or_as_the_gateway() {
        let gateway = Some("10.208.0.1".parse().unwrap());
        let read = |text| add_host(text, gateway).map(|(name, ip)| format!("{name} {ip}"));
        assert_eq!(read("db:192.0.2.7").unwrap(), "db 192.0.2.7");
        assert_eq!(read("db=2001:db8::7").unwrap(), "db 2001:db8::7");
        assert_eq!(read("db:[2001:db8::7]").unwrap(), "db 2001:db8::7");
        assert_eq!(read("host.docker.internal:host-gateway").unwrap(), "host.docker.internal 10.208.0.1");
        assert!(add_host("h:host-gateway", None).unwrap_err().to_string().contains("no gateway"));
        for wrong in ["db", ":1.2.3.4", "db:host", "a b:1.2.3.4", "a\nb:1.2.3.4", ""] {
            assert!(read(wrong).unwrap_err().to_string().contains("NAME:IP"), "{wrong}");
        }
    }

    const HOST: &str = "# by hand\nnameserver 127.0.0.53\nnameserver fe80::1%eth0\nsearch example.org corp\n\
                        options edns0 trust-ad\n";

    #[test]
    fn a_server_on_the_hosts_loopback_is_of_no_use_inside() {
        let behind = ResolvConf::parse("nameserver 192.0.2.53\nnameserver 2001:db8::53\nsearch other\n");
        let text = ResolvConf::parse(HOST).reachable(&behind).to_string();
        assert_eq!(
            text,
            "nameserver 192.0.2.53\nnameserver 2001:db8::53\nsearch example.org corp\noptions edns0 trust-ad\n"
        );
        let mixed = ResolvConf::parse("nameserver ::1\nnameserver ::ffff:127.0.0.1\nnameserver 192.0.2.1\n");
        assert_eq!(mixed.reachable(&behind).to_string(), "nameserver 192.0.2.1\n");
        let none = ResolvConf::parse(HOST).reachable(&ResolvConf::default()).to_string();
        assert!(none.starts_with("# ") && none.contains("--dns") && !none.contains("nameserver "), "{none}");
    }

    #[test]
    fn wishes_go_before_and_the_embedded_resolver_before_all_servers() {
        let host = ResolvConf::parse(HOST);
        assert_eq!(
            host.clone().embedded().to_string(),
            "nameserver 127.0.0.11\nsearch example.org corp\noptions edns0 trust-ad ndots:0\n"
        );
        let wish = ResolvConf {
            servers: vec!["192.0.2.9".parse().unwrap()],
            search: vec![".".to_owned()],
            options: vec!["ndots:2".to_owned()],
        };
        let both = host.with(&wish);
        assert_eq!(both.to_string(), "nameserver 192.0.2.9\noptions ndots:2\n");
        assert_eq!(both.embedded().to_string(), "nameserver 127.0.0.11\noptions ndots:2\n");
    }
}
