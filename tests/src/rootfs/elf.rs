//! What the headers of an ELF file say about the files it needs to run.
//!
//! Four facts are enough to take a program along: which machine it is for, which loader starts it, which
//! libraries it names, and in which folders of its own it looks for them. All four stand in the program
//! headers and the dynamic segment, so a stripped file has them as well, and nothing is executed to learn
//! them (`ldd` runs the loader on the file).
//!
//! Left out: where the libraries are, see [`super::libraries`]; symbols and versions.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use object::Endianness;
use object::elf::{self, FileHeader32, FileHeader64};
use object::read::elf::{Dyn, FileHeader, ProgramHeader};
use object::read::{FileKind, StringTable};

/// Word size and processor: two ELF files work together only if these agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    class: u8,
    processor: u16,
}

/// The headers' facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elf {
    /// What it runs on.
    pub machine: Machine,
    /// The loader (`PT_INTERP`); none in a static program and in most libraries.
    pub interpreter: Option<PathBuf>,
    /// The libraries it names (`DT_NEEDED`), in order.
    pub needed: Vec<String>,
    /// Folders to search for its own and its libraries' needs (`DT_RPATH`), unexpanded.
    pub rpath: Vec<String>,
    /// Folders to search for its own needs (`DT_RUNPATH`), unexpanded.
    pub runpath: Vec<String>,
}

impl Machine {
    /// The machine that this very program runs on.
    ///
    /// # Errors
    /// The program's own file cannot be read.
    pub fn native() -> Result<Machine> {
        let own = std::env::current_exe().context("find the path of this program")?;
        let found = Machine::of(&own).with_context(|| format!("read {}", own.display()))?;
        found.with_context(|| format!("{} is not an ELF file", own.display()))
    }

    /// The machine of the ELF file at `path`; none if it is something else. Reads 20 bytes.
    ///
    /// # Errors
    /// The file cannot be opened or read.
    pub fn of(path: &Path) -> std::io::Result<Option<Machine>> {
        let mut head = Vec::with_capacity(20);
        std::fs::File::open(path)?.take(20).read_to_end(&mut head)?;
        if head.len() < 20 || !head.starts_with(b"\x7fELF") {
            return Ok(None);
        }
        let pair = [head[18], head[19]];
        let big_endian = head[5] == 2;
        let processor = if big_endian { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) };
        Ok(Some(Machine { class: head[4], processor }))
    }
}

impl Elf {
    /// Reads the file at `path`; none if it is no ELF file.
    ///
    /// # Errors
    /// The file cannot be read, or its headers contradict themselves.
    pub fn read(path: &Path) -> Result<Option<Elf>> {
        let about = || format!("read the ELF headers of {}", path.display());
        let Some(machine) = Machine::of(path).with_context(about)? else { return Ok(None) };
        let bytes = std::fs::read(path).with_context(about)?;
        let data = bytes.as_slice();
        let elf = match FileKind::parse(data) {
            Ok(FileKind::Elf32) => parse::<FileHeader32<Endianness>>(data, machine),
            Ok(FileKind::Elf64) => parse::<FileHeader64<Endianness>>(data, machine),
            _ => return Ok(None),
        };
        elf.with_context(about).map(Some)
    }

    /// Whether it runs with no other file: no loader to start it, no library to load.
    pub fn is_static(&self) -> bool {
        self.interpreter.is_none() && self.needed.is_empty()
    }
}

fn parse<H: FileHeader<Endian = Endianness>>(data: &[u8], machine: Machine) -> Result<Elf> {
    let header = H::parse(data)?;
    let endian = header.endian()?;
    let segments = header.program_headers(endian, data)?;
    let mut elf =
        Elf { machine, interpreter: None, needed: Vec::new(), rpath: Vec::new(), runpath: Vec::new() };
    let mut entries: &[H::Dyn] = &[];
    for segment in segments {
        if let Some(path) = segment.interpreter(endian, data)? {
            elf.interpreter = Some(PathBuf::from(OsStr::from_bytes(path)));
        }
        if let Some(found) = segment.dynamic(endian, data)? {
            entries = found;
        }
    }
    let entries: Vec<(elf::DynamicTag, u64)> = entries
        .iter()
        .map(|entry| (entry.d_tag(endian), entry.d_val(endian).into()))
        .take_while(|(tag, _)| *tag != elf::DT_NULL)
        .collect();
    if let Some(strings) = strings::<H>(endian, data, segments, &entries) {
        elf.take_strings(&entries, &strings)?;
    }
    Ok(elf)
}

/// The dynamic segment's strings. It gives their address in memory; a loaded segment says where that is in
/// the file.
fn strings<'data, H: FileHeader<Endian = Endianness>>(
    endian: Endianness,
    data: &'data [u8],
    segments: &[H::ProgramHeader],
    entries: &[(elf::DynamicTag, u64)],
) -> Option<StringTable<'data>> {
    let value = |tag| entries.iter().find(|(found, _)| *found == tag).map(|(_, value)| *value);
    let (address, size) = (value(elf::DT_STRTAB)?, value(elf::DT_STRSZ)?);
    let bytes = segments
        .iter()
        .filter(|segment| segment.p_type(endian) == elf::PT_LOAD)
        .find_map(|segment| segment.data_range(endian, data, address, size).ok().flatten())?;
    Some(StringTable::new(bytes, 0, bytes.len() as u64))
}

impl Elf {
    fn take_strings(&mut self, entries: &[(elf::DynamicTag, u64)], strings: &StringTable<'_>) -> Result<()> {
        for (tag, value) in entries {
            let target = match *tag {
                elf::DT_NEEDED => &mut self.needed,
                elf::DT_RPATH => &mut self.rpath,
                elf::DT_RUNPATH => &mut self.runpath,
                _ => continue,
            };
            let offset = u32::try_from(*value).ok();
            let bytes =
                offset.and_then(|at| strings.get(at).ok()).context("a name outside the string table")?;
            let text = String::from_utf8_lossy(bytes);
            match *tag {
                elf::DT_NEEDED => target.push(text.into_owned()),
                _ => target.extend(text.split(':').filter(|folder| !folder.is_empty()).map(str::to_owned)),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_program_names_its_loader_and_libc() {
        let own = Elf::read(&std::env::current_exe().unwrap()).unwrap().unwrap();
        assert_eq!(own.machine, Machine::native().unwrap());
        assert!(
            own.interpreter.is_some() && own.needed.iter().any(|name| name.starts_with("libc.")),
            "{own:?}"
        );
        assert!(!own.is_static());
    }

    #[test]
    fn text_is_no_elf_file() {
        assert_eq!(Elf::read(Path::new("/etc/passwd")).unwrap(), None);
        assert_eq!(Elf::read(Path::new("/dev/null")).unwrap(), None);
    }
}
