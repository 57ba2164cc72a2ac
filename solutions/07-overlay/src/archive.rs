//! A layer's tar as a series of entries.
//!
//! The format: a header of 512 bytes with fixed fields (the crate `tar` knows where they stand), the content filled up
//! to 512, and so on; two headers of zeroes end it. What does not fit into a field stands in an entry before it: as
//! `key=value` records (PAX, kind `x`), or as one long name (GNU, `L` and `K`). See pax(1), tar(5).
//!
//! Records are read by the length that they say, since a value may hold any byte, also a line's end. Nothing in a tar
//! is trusted: lengths have limits, paths are only bytes here. Left out: sparse formats, on which the image
//! specification says "SHOULD NOT"; holes survive all the same, see [`crate::unpack`].

use std::io::{self, Read};

use nix::sys::time::TimeSpec;
use process::{Context, Error, Result};
use tar::{EntryType, Header};

use crate::node::Attributes;
use crate::xattr::Attribute;

/// The unit of the format, in bytes.
pub const BLOCK: u64 = 512;

/// The most that all records and names before one entry may have, in bytes.
const LONGEST_NOTE: u64 = 1 << 20;

/// What PAX calls an extended attribute, before its name.
pub const EXTENDED: &str = "SCHILY.xattr.";

/// One entry; its content is read from the [`Archive`].
#[derive(Debug)]
pub struct Entry {
    /// Where, as it is written there.
    pub path: Vec<u8>,
    /// What a link leads to.
    pub link: Vec<u8>,
    /// Which kind of file.
    pub kind: EntryType,
    /// Major and minor number of a device.
    pub device: (u64, u64),
    /// Bytes of content.
    pub size: u64,
    /// Owner, mode, time, extended attributes.
    pub attributes: Attributes,
}

/// A tar that is being read.
pub struct Archive<R> {
    reader: R,
    /// What is left of the content of the entry at hand, and of the filling behind it.
    content: u64,
    filling: u64,
}

/// What the entries before an entry said about it.
#[derive(Default)]
struct Notes {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
    modified: Option<TimeSpec>,
    extended: Vec<Attribute>,
}

impl<R: Read> Archive<R> {
    /// Reads an uncompressed tar.
    pub fn new(reader: R) -> Archive<R> {
        Archive { reader, content: 0, filling: 0 }
    }

    /// The next entry; none at the end, and then the reader has been read to its end: what stands there counts for the
    /// digest too.
    ///
    /// # Errors
    /// This is no tar, it ends too early, or uses what we do not read.
    pub fn next_entry(&mut self) -> Result<Option<Entry>> {
        let (mut notes, mut left) = (Notes::default(), LONGEST_NOTE);
        while let Some(header) = self.header()? {
            let size = notes.size.map_or_else(|| header.entry_size().map_err(broken), Ok)?;
            let whole = size.checked_next_multiple_of(BLOCK).ok_or_else(|| broken("an impossible size"))?;
            (self.content, self.filling) = (size, whole - size);
            match header.entry_type() {
                EntryType::XHeader => notes.read(&self.note(size, &mut left)?)?,
                EntryType::GNULongName => notes.path = Some(until_zero(self.note(size, &mut left)?)),
                EntryType::GNULongLink => notes.link = Some(until_zero(self.note(size, &mut left)?)),
                // For the whole archive: nothing that concerns a file's content, or its place.
                EntryType::XGlobalHeader => {}
                _ => return notes.entry(&header, size).map(Some),
            }
        }
        io::copy(&mut self.reader, &mut io::sink()).during("read", "the tar")?;
        Ok(None)
    }

    /// The next header, behind what was not read of the entry before; none at the end.
    fn header(&mut self) -> Result<Option<Header>> {
        let rest = self.content + self.filling;
        let skipped = io::copy(&mut (&mut self.reader).take(rest), &mut io::sink());
        if skipped.during("read", "the tar")? < rest {
            return Err(ends_early());
        }
        let mut block = Vec::with_capacity(BLOCK as usize);
        (&mut self.reader).take(BLOCK).read_to_end(&mut block).during("read", "the tar")?;
        let header = match block.len() {
            // Some writers leave the two blocks of zeroes out.
            0 => return Ok(None),
            _ => Header::from_byte_slice(block.get(..BLOCK as usize).ok_or_else(ends_early)?).clone(),
        };
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let bytes = header.as_bytes();
        let sum: u32 = bytes[..148].iter().chain(&bytes[156..]).map(|byte| u32::from(*byte)).sum();
        if header.cksum().map_err(broken)? != sum + 8 * u32::from(b' ') {
            return Err(Error::refused(
                "read",
                "the tar",
                "a header's checksum is wrong: this is no tar, or damaged",
            ));
        }
        Ok(Some(header))
    }

    /// The content of an entry that says something about the next one; `left` bytes may still come.
    fn note(&mut self, size: u64, left: &mut u64) -> Result<Vec<u8>> {
        let longer = || Error::refused("read", "the tar", "records of more than 1 MiB before one entry");
        *left = left.checked_sub(size).ok_or_else(longer)?;
        let mut bytes = vec![0; size as usize];
        self.read_exact(&mut bytes).map_err(|_| ends_early())?;
        Ok(bytes)
    }
}

/// The content of the entry at hand.
impl<R: Read> Read for Archive<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let length = (&mut self.reader).take(self.content).read(bytes)?;
        self.content -= length as u64;
        Ok(length)
    }
}

impl Notes {
    /// Reads PAX records: `LENGTH KEY=VALUE\n`, where LENGTH counts the whole record.
    fn read(&mut self, mut records: &[u8]) -> Result<()> {
        while !records.is_empty() {
            let (key, value, rest) = record(records).ok_or_else(|| broken("a PAX record is malformed"))?;
            self.take(key, value)?;
            records = rest;
        }
        Ok(())
    }

    fn take(&mut self, key: &str, value: &[u8]) -> Result<()> {
        let number = || str::from_utf8(value).ok().and_then(|text| text.parse::<u64>().ok());
        let wrong = || broken(format!("a PAX record says {key}={}", String::from_utf8_lossy(value)));
        let id = || number().and_then(|id| u32::try_from(id).ok()).ok_or_else(wrong);
        match key {
            "path" => self.path = Some(value.to_vec()),
            "linkpath" => self.link = Some(value.to_vec()),
            "size" => self.size = Some(number().ok_or_else(wrong)?),
            "uid" => self.uid = Some(id()?),
            "gid" => self.gid = Some(id()?),
            "mtime" => self.modified = Some(str::from_utf8(value).ok().and_then(time).ok_or_else(wrong)?),
            _ if key.starts_with("GNU.sparse.") => return Err(sparse()),
            _ => {
                let name = key.strip_prefix(EXTENDED).map(|name| (name.to_owned(), value.to_vec()));
                self.extended.extend(name);
            }
        }
        Ok(())
    }

    /// The entry that a header and these notes describe.
    fn entry(self, header: &Header, size: u64) -> Result<Entry> {
        let id = |id: io::Result<u64>| u32::try_from(id.map_err(broken)?).map_err(broken);
        let number = |number: io::Result<Option<u32>>| Ok(u64::from(number.map_err(broken)?.unwrap_or(0)));
        let kind = header.entry_type();
        let device = match kind {
            EntryType::GNUSparse => return Err(sparse()),
            EntryType::Char | EntryType::Block => {
                (number(header.device_major())?, number(header.device_minor())?)
            }
            _ => (0, 0),
        };
        let modified =
            || -> Result<TimeSpec> { Ok(TimeSpec::new(header.mtime().map_err(broken)?.cast_signed(), 0)) };
        Ok(Entry {
            path: self.path.unwrap_or_else(|| header.path_bytes().into_owned()),
            link: self.link.unwrap_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned()),
            kind,
            device,
            size,
            attributes: Attributes {
                mode: header.mode().map_err(broken)? & 0o7777,
                uid: self.uid.map_or_else(|| id(header.uid()), Ok)?,
                gid: self.gid.map_or_else(|| id(header.gid()), Ok)?,
                modified: self.modified.map_or_else(modified, Ok)?,
                extended: self.extended,
            },
        })
    }
}

/// Key and value of the first record, and the records behind it.
fn record(records: &[u8]) -> Option<(&str, &[u8], &[u8])> {
    let blank = records.iter().position(|byte| *byte == b' ')?;
    let length: usize = str::from_utf8(&records[..blank]).ok()?.parse().ok()?;
    let (record, rest) = records.split_at_checked(length)?;
    let record = record.get(blank + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some((str::from_utf8(&record[..equals]).ok()?, &record[equals + 1..], rest))
}

/// Seconds and their parts, `1700000000.25`; also before 1970.
fn time(text: &str) -> Option<TimeSpec> {
    let (whole, parts) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = parts.chars().chain("000000000".chars()).take(9).collect();
    let (seconds, nanoseconds) = (whole.parse::<i64>().ok()?, digits.parse::<i64>().ok()?);
    Some(match (whole.starts_with('-'), nanoseconds) {
        (false, _) | (_, 0) => TimeSpec::new(seconds, nanoseconds),
        (true, _) => TimeSpec::new(seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds),
    })
}

fn until_zero(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
    bytes
}

fn broken(cause: impl ToString) -> Error {
    Error::refused("read", "the tar", cause.to_string())
}

fn ends_early() -> Error {
    Error::refused("read", "the tar", "it ends in the middle of an entry")
}

fn sparse() -> Error {
    Error::refused("read", "the tar", "it has a sparse file in a form of its own; make it without `--sparse`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_as_long_as_it_says() {
        let (key, value, rest) = record(b"14 user.x=a\nb\n6 y=z\n").unwrap();
        assert_eq!((key, value), ("user.x", &b"a\nb"[..]));
        assert_eq!(record(rest), Some(("y", &b"z"[..], &b""[..])));
        for wrong in
            ["", "5", "x y=z\n", "7 y=z\n", "5 y=z\n", "4 y\n", "1 y=z\n", "99999999999999999999 y=z\n"]
        {
            assert_eq!(record(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn times_have_parts_and_may_be_before_1970() {
        let read = |text| time(text).map(|time| (time.tv_sec(), time.tv_nsec()));
        assert_eq!(read("1700000000"), Some((1_700_000_000, 0)));
        assert_eq!(read("1.25"), Some((1, 250_000_000)));
        assert_eq!(read("1.0000000019"), Some((1, 1)));
        assert_eq!(read("-1.25"), Some((-2, 750_000_000)));
        assert_eq!(read("-0.5"), Some((-1, 500_000_000)));
        assert_eq!(read("now"), None);
    }

    #[test]
    fn what_is_no_tar_is_told() {
        let said = |bytes: &[u8]| Archive::new(bytes).next_entry().unwrap_err().to_string();
        assert!(said(&[b'x'; 512]).contains("tar"));
        let mut header = Header::new_gnu();
        header.set_size(1000);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_entry_type(EntryType::Regular);
        header.set_cksum();
        let mut archive = Archive::new(&header.as_bytes()[..]);
        assert_eq!(archive.next_entry().unwrap().unwrap().size, 1000);
        assert!(archive.next_entry().unwrap_err().to_string().contains("middle"));
        header.set_entry_type(EntryType::GNUSparse);
        header.set_cksum();
        assert!(said(header.as_bytes()).contains("sparse"));
        assert!(Archive::new(&[0; 1024][..]).next_entry().unwrap().is_none());
    }
}
