//! The overlay figure's reducer against a real overlay mount: the same operations, and the same trees after each.
//!
//! Tried are all series of two operations, and random longer ones from a seed that a failure names. The mount has
//! `redirect_dir`, `metacopy`, `index` and `xino` off, the kernel's own defaults, whatever the distribution's.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::{Map, Value, json};

use crate::place::{Place, Skip, own_user_namespace};
use crate::script::Script;

/// How many random series, how long, and where their numbers begin.
const RANDOM: (u64, usize, u64) = (300, 12, 7);

/// Compares all series in one place.
///
/// # Errors
/// The figure's trees and the mount's differ after an operation.
pub fn check(place: Place) -> Result<()> {
    let mut script = Script::load("overlay")?;
    let actions = script.value("ACTIONS")?;
    let actions = actions.as_array().context("no list of actions")?;
    let mut all = random(actions);
    // The kernel lab is several times slower; the pairs are the same ones.
    if place == Place::Here {
        all.extend(pairs(actions));
    }
    let question = json!({ "start": script.value("START")?, "series": all });
    let seen = place.ask("overlay", true, &question)?;
    let seen = seen.as_array().context("no list of answers")?;
    ensure!(seen.len() == all.len(), "{} series were tried, {} asked for", seen.len(), all.len());
    for (number, (series, seen)) in all.iter().zip(seen).enumerate() {
        let says = script.call("replay", series)?;
        ensure!(says == *seen, "{}", difference(number, series, &says, seen));
    }
    Ok(())
}

fn pairs(actions: &[Value]) -> Vec<Value> {
    actions.iter().flat_map(|first| actions.iter().map(move |then| json!([first, then]))).collect()
}

/// Series number n comes from the seed n, so one can be tried alone.
fn random(actions: &[Value]) -> Vec<Value> {
    let (count, length, first) = RANDOM;
    let series = |seed: u64| {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut next = || {
            // xorshift64; Marsaglia 2003
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            actions[(state % actions.len() as u64) as usize].clone()
        };
        (0..length).map(|_| next()).collect::<Value>()
    };
    (first..first + count).map(series).collect()
}

/// The first step at which both differ, and the way there.
fn difference(number: usize, series: &Value, says: &Value, seen: &Value) -> String {
    let steps = series.as_array().map_or(0, Vec::len);
    let at = (0..steps).find(|step| says[step] != seen[step]).unwrap_or(0);
    let way: Vec<String> = (0..=at).map(|step| series[step].to_string()).collect();
    let seed = RANDOM.2 + number as u64;
    let which = if (number as u64) < RANDOM.0 { format!("seed {seed}") } else { "a pair".to_owned() };
    format!(
        "{which}, step {at}:\n{}\nthe figure says  {}\nthe mount has    {}",
        way.join("\n"),
        says[at],
        seen[at]
    )
}

/// Tries every series on a fresh mount, and tells what is there after each operation.
///
/// # Errors
/// [`Skip`] where overlay cannot be mounted.
pub fn operate(question: &Value) -> Result<Value> {
    let top = Path::new("/tmp/overlay-figure");
    fs::create_dir(top).context("create a folder in /tmp")?;
    mount(Some("tmpfs"), top, Some("tmpfs"), MsFlags::empty(), None::<&str>).context("mount a tmpfs")?;
    let series = question["series"].as_array().context("no series")?;
    let seen: Result<Vec<Value>> = series
        .iter()
        .enumerate()
        .map(|(number, series)| one(&top.join(number.to_string()), &question["start"], series))
        .collect();
    umount2(top, MntFlags::MNT_DETACH).context("unmount the tmpfs")?;
    Ok(seen?.into())
}

fn one(top: &Path, start: &Value, series: &Value) -> Result<Value> {
    let place = |name: &str| top.join(name);
    for name in ["lower", "upper", "work", "merged"] {
        fs::create_dir_all(place(name)).with_context(|| format!("create {name}"))?;
    }
    build(&place("lower"), &start["lower"])?;
    build(&place("upper"), &start["upper"])?;
    let opaque = mount_overlay(top)?;
    let actions = series.as_array().context("a series is a list")?;
    let step = |action: &Value| -> Result<Value> {
        let error = perform(&place("merged"), action)?.map_or(String::new(), |errno| format!("{errno:?}"));
        Ok(
            json!({ "error": error, "upper": tree(&place("upper"), opaque)?, "merged": tree(&place("merged"), opaque)? }),
        )
    };
    let seen: Result<Vec<Value>> = actions.iter().map(step).collect();
    umount2(&place("merged"), MntFlags::empty()).context("unmount the overlay")?;
    fs::remove_dir_all(top).context("clean up")?;
    Ok(seen?.into())
}

/// Makes the files and folders of one of the figure's trees; parents stand before children.
fn build(top: &Path, nodes: &Value) -> Result<()> {
    let nodes: BTreeMap<_, _> = nodes.as_object().context("a tree is a map")?.iter().collect();
    for (path, node) in nodes {
        let place = top.join(path);
        match node["kind"].as_str() {
            Some("folder") => fs::create_dir(&place),
            _ => fs::write(&place, node["text"].as_str().context("a file has a text")?),
        }
        .with_context(|| format!("make {}", place.display()))?;
    }
    Ok(())
}

/// Mounts, and returns the name of the attribute by which a folder is opaque. `nofollow` is as good as `off`, and the only
/// one that goes with `userxattr`.
fn mount_overlay(top: &Path) -> Result<&'static str> {
    let folder = |name: &str| top.join(name).display().to_string();
    let options = format!(
        "lowerdir={},upperdir={},workdir={},redirect_dir=nofollow,metacopy=off,index=off,xino=off",
        folder("lower"),
        folder("upper"),
        folder("work")
    );
    let merged = top.join("merged");
    // In a user namespace, only attributes of the class `user` may be written; on a tmpfs since Linux 6.6.
    let (opaque, more) = match own_user_namespace() {
        true => ("user.overlay.opaque", ",userxattr"),
        false => ("trusted.overlay.opaque", ""),
    };
    if !takes_attribute(top, opaque) {
        bail!(Skip::Fine(format!("a tmpfs of this kernel takes no attribute {opaque}")));
    }
    let options = options + more;
    match mount(Some("overlay"), &merged, Some("overlay"), MsFlags::empty(), Some(options.as_str())) {
        Ok(()) => Ok(opaque),
        Err(errno) => bail!(Skip::Fine(format!("mount overlay: {errno}"))),
    }
}

/// One operation by the system calls of the figure's words; the error, if it fails.
fn perform(merged: &Path, action: &Value) -> Result<Option<Errno>> {
    let path = |name: &str| -> Result<PathBuf> {
        Ok(merged.join(action[name].as_str().with_context(|| format!("no {name}"))?))
    };
    let place = path("path")?;
    let done = match action["kind"].as_str().context("no kind")? {
        "read" => fs::read(&place).map(drop),
        "write" => fs::write(&place, "new"),
        "append" => OpenOptions::new()
            .append(true)
            .create(true)
            .open(&place)
            .and_then(|mut file| file.write_all(b"+")),
        "remove" => fs::symlink_metadata(&place).and_then(|meta| match meta.is_dir() {
            true => fs::remove_dir_all(&place),
            false => fs::remove_file(&place),
        }),
        "mkdir" => fs::create_dir(&place),
        "rename" => fs::rename(&place, path("to")?),
        other => bail!("no operation is called {other}"),
    };
    match done {
        Ok(()) => Ok(None),
        Err(error) => Ok(Some(Errno::from_raw(error.raw_os_error().context("an error without a number")?))),
    }
}

/// What lies below `top`, in the figure's words.
fn tree(top: &Path, opaque: &str) -> Result<Map<String, Value>> {
    let mut found = Map::new();
    collect(top, top, opaque, &mut found)?;
    Ok(found)
}

fn collect(top: &Path, folder: &Path, opaque: &str, found: &mut Map<String, Value>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let place = entry?.path();
        let meta = fs::symlink_metadata(&place).with_context(|| format!("look at {}", place.display()))?;
        let what = match meta.file_type() {
            kind if kind.is_dir() && attribute(&place, opaque)? == Some(b'y') => "opaque".to_owned(),
            kind if kind.is_dir() => "folder".to_owned(),
            kind if kind.is_char_device() && meta.rdev() == 0 => "whiteout".to_owned(),
            _ => format!(
                "file {}",
                fs::read_to_string(&place).with_context(|| format!("read {}", place.display()))?
            ),
        };
        let path = place.strip_prefix(top).context("below the top")?.display().to_string();
        found.insert(path, what.into());
        if meta.is_dir() {
            collect(top, &place, opaque, found)?;
        }
    }
    Ok(())
}

/// Whether a folder can be marked; setxattr(2).
fn takes_attribute(folder: &Path, name: &str) -> bool {
    let Ok(path) = CString::new(folder.as_os_str().as_bytes()) else { return false };
    let Ok(name) = CString::new(name) else { return false };
    // SAFETY: both strings end with a zero byte, and the value is of one byte.
    unsafe { libc::lsetxattr(path.as_ptr(), name.as_ptr(), c"y".as_ptr().cast(), 1, 0) == 0 }
}

/// The first byte of an extended attribute; lgetxattr(2).
fn attribute(place: &Path, name: &str) -> Result<Option<u8>> {
    let (path, name) = (CString::new(place.as_os_str().as_bytes())?, CString::new(name)?);
    let mut byte = [0u8; 8];
    // SAFETY: both strings end with a zero byte, and the kernel writes at most as many bytes as we name.
    let length =
        unsafe { libc::lgetxattr(path.as_ptr(), name.as_ptr(), byte.as_mut_ptr().cast(), byte.len()) };
    match Errno::result(length) {
        Ok(length) => Ok((length > 0).then_some(byte[0])),
        Err(Errno::ENODATA | Errno::EOPNOTSUPP) => Ok(None),
        Err(errno) => bail!("lgetxattr {}: {errno}", place.display()),
    }
}
