//! What the starter orders the machine to do, and its form on the wire.
//!
//! An order is a list of `key=value` records, each ended by a NUL byte. Arguments, variables and paths may
//! hold any byte but NUL, so nothing needs quoting. The length goes before it, see [`super::link`].
//!
//! Left out: versions. Both sides are the same build of the same program.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

/// One command for the machine, and the world that it wants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Order {
    /// The program and its arguments.
    pub command: Vec<OsString>,
    /// Its whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// Its working directory.
    pub cwd: PathBuf,
    /// The host's folders that stay the host's own, read-write, at the same path.
    pub shares: Vec<PathBuf>,
    /// The user and group id that it runs as.
    pub uid: u32,
    /// The kernel's modules, as a folder of the host.
    pub modules: Option<PathBuf>,
    /// Rows and columns, when it gets a terminal.
    pub terminal: Option<(u16, u16)>,
}

impl Order {
    /// The records.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut put = |key: &str, value: &[u8]| {
            out.extend_from_slice(key.as_bytes());
            out.push(b'=');
            out.extend_from_slice(value);
            out.push(0);
        };
        self.command.iter().for_each(|arg| put("arg", arg.as_bytes()));
        for (name, value) in &self.env {
            put("env", &[name.as_bytes(), b"=", value.as_bytes()].concat());
        }
        put("cwd", self.cwd.as_os_str().as_bytes());
        self.shares.iter().for_each(|dir| put("share", dir.as_os_str().as_bytes()));
        put("uid", self.uid.to_string().as_bytes());
        self.modules.iter().for_each(|dir| put("modules", dir.as_os_str().as_bytes()));
        self.terminal
            .iter()
            .for_each(|(rows, columns)| put("terminal", format!("{rows} {columns}").as_bytes()));
        out
    }

    /// The order again.
    ///
    /// # Errors
    /// When a record is none of [`Order::encode`]'s.
    pub fn decode(bytes: &[u8]) -> Result<Order> {
        let mut order = Order::default();
        for record in bytes.split(|byte| *byte == 0).filter(|record| !record.is_empty()) {
            let (key, value) = split(record).context("order: a record without a `=`")?;
            let path = || PathBuf::from(OsStr::from_bytes(value));
            match key {
                b"arg" => order.command.push(OsStr::from_bytes(value).into()),
                b"env" => order.env.push(variable(value)?),
                b"cwd" => order.cwd = path(),
                b"share" => order.shares.push(path()),
                b"uid" => order.uid = std::str::from_utf8(value)?.parse().context("order: uid")?,
                b"modules" => order.modules = Some(path()),
                b"terminal" => order.terminal = Some(size(std::str::from_utf8(value)?)?),
                _ => bail!("order: unknown record {}", String::from_utf8_lossy(key)),
            }
        }
        Ok(order)
    }
}

/// Rows and columns, from `24 80`.
pub fn size(text: &str) -> Result<(u16, u16)> {
    let (rows, columns) = text.split_once(' ').context("terminal size: two numbers are needed")?;
    Ok((rows.parse()?, columns.parse()?))
}

fn variable(value: &[u8]) -> Result<(OsString, OsString)> {
    let (name, value) = split(value).context("order: a variable without a `=`")?;
    Ok((OsString::from_vec(name.to_vec()), OsString::from_vec(value.to_vec())))
}

fn split(record: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = record.iter().position(|byte| *byte == b'=')?;
    Some((&record[..at], &record[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_survives_the_wire() {
        let order = Order {
            command: vec!["sh".into(), "-c".into(), OsString::from_vec(vec![0xff, b'\n', b'=']), "".into()],
            env: vec![
                ("PATH".into(), "/bin".into()),
                ("EMPTY".into(), "".into()),
                ("EQ".into(), "a=b".into()),
            ],
            cwd: "/srv/my folder".into(),
            shares: vec!["/srv".into(), "/home/me".into()],
            uid: 1000,
            modules: Some("/lib/modules/6".into()),
            terminal: Some((24, 80)),
        };
        assert_eq!(Order::decode(&order.encode()).unwrap(), order);
        assert!(Order::decode(b"harbour=1\0").is_err());
    }
}
