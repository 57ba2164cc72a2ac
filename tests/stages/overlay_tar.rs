//! Tars for the tests of stage 7, header by header: also such as no honest program would write.

use std::fs;
use std::path::Path;

use crate::stage::verdict::Verdict;

/// A tar that grows.
#[derive(Clone, Default)]
pub struct Tar(Vec<u8>);

/// The kinds of entries, as a header calls them.
pub const FILE: u8 = b'0';
pub const HARD_LINK: u8 = b'1';
pub const LINK: u8 = b'2';
pub const CHAR: u8 = b'3';
pub const BLOCK: u8 = b'4';
pub const FOLDER: u8 = b'5';
pub const FIFO: u8 = b'6';
pub const RECORDS: u8 = b'x';

impl Tar {
    /// One entry of any kind.
    pub fn put(mut self, kind: u8, path: &str, link: &str, content: &[u8]) -> Tar {
        let mut header = [0_u8; 512];
        let mut field = |place: usize, text: &[u8]| header[place..place + text.len()].copy_from_slice(text);
        field(0, &path.as_bytes()[..path.len().min(100)]);
        field(100, if kind == FOLDER { b"0000755" } else { b"0000644" });
        field(108, b"0000000");
        field(116, b"0000000");
        field(124, format!("{:011o}", content.len()).as_bytes());
        field(136, b"07346545000");
        field(156, &[kind]);
        field(157, &link.as_bytes()[..link.len().min(100)]);
        field(257, b"ustar\x0000");
        // /dev/null, or a loop device.
        field(329, if kind == BLOCK { b"0000007" } else { b"0000001" });
        field(337, b"0000003");
        self.finish(header, content);
        self
    }

    fn finish(&mut self, mut header: [u8; 512], content: &[u8]) {
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend(header);
        self.0.extend(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
    }

    pub fn file(self, path: &str, text: &str) -> Tar {
        self.put(FILE, path, "", text.as_bytes())
    }

    pub fn folder(self, path: &str) -> Tar {
        self.put(FOLDER, path, "", b"")
    }

    pub fn link(self, path: &str, to: &str) -> Tar {
        self.put(LINK, path, to, b"")
    }

    pub fn hard_link(self, path: &str, to: &str) -> Tar {
        self.put(HARD_LINK, path, to, b"")
    }

    /// PAX records about the next entry.
    pub fn records(self, pairs: &[(&str, &[u8])]) -> Tar {
        let mut records = Vec::new();
        for (key, value) in pairs {
            let rest = 3 + key.len() + value.len();
            // The length counts its own digits.
            let length = (rest..).find(|length| *length == rest + length.to_string().len()).unwrap_or(rest);
            records.extend(format!("{length} {key}=").as_bytes());
            records.extend(*value);
            records.push(b'\n');
        }
        self.put(RECORDS, "records", "", &records)
    }

    /// All of it, with its end.
    pub fn bytes(&self) -> Vec<u8> {
        [&self.0[..], &[0; 1024]].concat()
    }

    pub fn write(&self, path: &str) -> Verdict {
        if let Some(folder) = Path::new(path).parent() {
            fs::create_dir_all(folder)?;
        }
        Ok(fs::write(path, self.bytes())?)
    }
}
