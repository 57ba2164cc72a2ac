//! Digests: what a layer is called.
//!
//! A layer's *diff id* is the SHA-256 of its tar, uncompressed: the same however it is packed. But the same tar on
//! other layers is another file system. So what is unpacked is called by its *chain id*, which says "this, on
//! that": the digest of two digests. See the OCI image specification, config.md, "Layer ChainID".

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use process::{Error, Result};
use sha2::{Digest as _, Sha256};

/// A SHA-256, written `sha256:` and 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }

    /// The 64 digits alone: the name of a folder.
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

// ANCHOR: chain
/// The chain id of a layer with this diff id on top of `parent`.
pub fn chain(parent: Option<Digest>, diff: Digest) -> Digest {
    match parent {
        None => diff,
        Some(parent) => Digest::of(format!("{parent} {diff}").as_bytes()),
    }
}
// ANCHOR_END: chain

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl FromStr for Digest {
    type Err = Error;

    /// Reads it with or without `sha256:`.
    fn from_str(text: &str) -> Result<Digest> {
        let refuse = || Error::refused("read the digest", text, "it is `sha256:` and 64 hexadecimal digits");
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        if hex.len() != 64 || !hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(refuse());
        }
        let mut bytes = [0; 32];
        for (byte, place) in bytes.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&hex[place..place + 2], 16).map_err(|_| refuse())?;
        }
        Ok(Digest(bytes))
    }
}

/// A reader or writer that digests what passes through.
pub struct Digesting<T> {
    inner: T,
    state: Sha256,
}

impl<T> Digesting<T> {
    /// Around another one.
    pub fn new(inner: T) -> Digesting<T> {
        Digesting { inner, state: Sha256::new() }
    }

    /// The digest of all that passed.
    pub fn digest(self) -> Digest {
        Digest(self.state.finalize().into())
    }
}

impl<T: Read> Read for Digesting<T> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(bytes)?;
        self.state.update(&bytes[..length]);
        Ok(length)
    }
}

impl<T: Write> Write for Digesting<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.inner.write(bytes)?;
        self.state.update(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_read_and_written() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").to_string(), empty);
        assert_eq!(empty.parse::<Digest>().unwrap(), Digest::of(b""));
        assert_eq!(empty[7..].parse::<Digest>().unwrap(), Digest::of(b""));
        for wrong in ["", "sha256:", "sha512:00", &empty[..70], &empty.to_uppercase(), &"é".repeat(32)] {
            assert!(wrong.parse::<Digest>().unwrap_err().to_string().contains("64 hex"), "{wrong}");
        }
    }

    #[test]
    fn a_chain_id_says_this_on_that() {
        let [one, two, three] = [b"one", b"two", b"tre"].map(|text| Digest::of(text));
        assert_eq!(chain(None, one), one);
        let both = chain(Some(one), two);
        assert_eq!(both, Digest::of(format!("{one} {two}").as_bytes()));
        assert_ne!(chain(Some(both), three), chain(Some(two), three));
    }

    #[test]
    fn what_passes_is_digested() {
        let mut reader = Digesting::new(&b"harbour"[..]);
        io::copy(&mut reader, &mut io::sink()).unwrap();
        let mut writer = Digesting::new(Vec::new());
        writer.write_all(b"har").and_then(|()| writer.write_all(b"bour")).unwrap();
        assert_eq!([reader.digest(), writer.digest()], [Digest::of(b"harbour"); 2]);
    }
}
