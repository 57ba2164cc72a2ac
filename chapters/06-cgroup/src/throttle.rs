//! Bounds for one block device: so many bytes or operations a second, read or written.

use std::fmt;

use nix::sys::stat::{SFlag, major, minor, stat};
use process::{Context, Error, Result};
use uts_ipc::size;

// ANCHOR: throttle
/// What is bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// Bytes read in a second.
    ReadBytes,
    /// Bytes written in a second.
    WriteBytes,
    /// Read operations in a second.
    Reads,
    /// Write operations in a second.
    Writes,
}

/// A bound for one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttle {
    /// The disk.
    pub device: Device,
    /// What is bounded.
    pub rate: Rate,
    /// The most in a second; 0 takes the bound away.
    pub most: u64,
}

/// A device's two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// Its driver.
    pub major: u64,
    /// Which one of that driver's.
    pub minor: u64,
}

impl Throttle {
    /// `PATH:RATE`, as in `--device-read-bps /dev/vda:1m`.
    ///
    /// # Errors
    /// It is written wrong, or the path is no block device.
    pub fn parse(flag: &str, rate: Rate, text: &str) -> Result<Throttle> {
        let refuse = |cause: &str| Error::refused(flag, text, cause);
        let (path, number) = text.rsplit_once(':').ok_or_else(|| refuse("write it as PATH:RATE"))?;
        if path.is_empty() {
            return Err(refuse("the path of a disk comes before the `:`"));
        }
        let most = match rate {
            _ if number == "0" => Ok(0),
            Rate::ReadBytes | Rate::WriteBytes => size::bytes(number).map_err(|error| refuse(&error.cause)),
            Rate::Reads | Rate::Writes => number.parse().map_err(|_| refuse("the rate is a whole number")),
        }?;
        Ok(Throttle { device: Device::at(path)?, rate, most })
    }
}
// ANCHOR_END: throttle

impl Device {
    /// The block device at `path`.
    ///
    /// # Errors
    /// There is none.
    pub fn at(path: &str) -> Result<Device> {
        let found = stat(path).during("stat", path)?;
        if SFlag::from_bits_truncate(found.st_mode & libc::S_IFMT) != SFlag::S_IFBLK {
            return Err(Error::refused("limit the device", path, "it is no block device"));
        }
        Ok(Device { major: major(found.st_rdev), minor: minor(found.st_rdev) })
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}
