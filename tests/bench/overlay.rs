//! How fast a union of many layers is mounted, and a layer unpacked: beside the same by bare means.
//!
//! `cargo bench -p overlay`. It runs in mount namespaces of its own, on a file system in memory.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use overlay::Store;
use overlay::union::{Union, Upper};

/// Layers of the union.
const LAYERS: usize = 64;

/// How often each is measured.
const ROUNDS: usize = 60;

/// The rest before each: work that the kernel puts off must not be hidden.
const REST: Duration = Duration::from_millis(30);

/// Files of the layer that is unpacked.
const FILES: usize = 4000;

fn main() -> ExitCode {
    if !std::env::args().any(|word| word == "--bench") {
        return ExitCode::SUCCESS;
    }
    become_host();
    let place = std::env::temp_dir();
    let mut kept = unions(&place);
    kept &= unpacking(&place);
    ExitCode::from(u8::from(!kept))
}

/// A mount namespace and, for an ordinary user, a user namespace of our own; a fresh temporary folder.
fn become_host() {
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    if !uid.is_root() {
        unshare(CloneFlags::CLONE_NEWUSER).expect("a user namespace");
        fs::write("/proc/self/setgroups", "deny").expect("setgroups");
        fs::write("/proc/self/uid_map", format!("0 {uid} 1")).expect("uid_map");
        fs::write("/proc/self/gid_map", format!("0 {gid} 1")).expect("gid_map");
    }
    unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .expect("private mounts");
    mount(Some("none"), &std::env::temp_dir(), Some("tmpfs"), MsFlags::empty(), None::<&str>)
        .expect("a tmpfs");
}

/// Prints whether a promise is kept.
fn promise(what: &str, measured: f64, most: f64) -> bool {
    let kept = measured <= most;
    println!("{what:<66} {measured:>6.2} (at most {most}){}", if kept { "" } else { "  NOT KEPT" });
    kept
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_unstable_by(f64::total_cmp);
    times[times.len() / 2]
}

fn milliseconds(work: impl FnOnce()) -> f64 {
    thread::sleep(REST);
    let begin = Instant::now();
    work();
    begin.elapsed().as_secs_f64() * 1e3
}

fn folder(path: PathBuf) -> PathBuf {
    fs::create_dir_all(&path).expect("a folder");
    path
}

/// Our union against the same system calls with nothing around them, by turns.
fn unions(place: &Path) -> bool {
    let lowers: Vec<PathBuf> =
        (0..LAYERS).map(|number| folder(place.join(format!("layer-{number}")))).collect();
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let at = |name: &str| folder(place.join(format!("round-{round}")).join(name));
        let upper = Upper { upper: at("upper"), work: at("work"), volatile: true };
        let union =
            Union { lowers: lowers.clone(), upper: Some(upper), notes: overlay::whiteout::Notes::ours() };
        let mut mounted = None;
        ours.push(milliseconds(|| mounted = Some(union.mount().expect("our union"))));
        drop(mounted);
        let (upper, work) = (at("bare-upper"), at("bare-work"));
        let mut mounted = None;
        bare.push(milliseconds(|| mounted = Some(bare_union(&lowers, &upper, &work))));
        drop(mounted);
    }
    let (ours, bare) = (median(&mut ours), median(&mut bare));
    println!("a union of {LAYERS} layers {ours:.2} ms, by bare system calls {bare:.2} ms");
    promise("a union, as a multiple of the bare one", ours / bare, 1.2)
}

/// fsopen, an fsconfig for each option, fsmount; and no error told but by a panic.
fn bare_union(lowers: &[PathBuf], upper: &Path, work: &Path) -> OwnedFd {
    let c_string = |text: &str| std::ffi::CString::new(text).expect("no zero byte");
    let new = |fd: libc::c_long| {
        assert!(fd >= 0, "{}", std::io::Error::last_os_error());
        // SAFETY: the kernel gave us this new descriptor, and nobody else knows it.
        unsafe { OwnedFd::from_raw_fd(fd as i32) }
    };
    // SAFETY: a constant.
    let context = new(unsafe { libc::syscall(libc::SYS_fsopen, c"overlay".as_ptr(), 1) });
    let set = |key: &str, value: Option<&str>| {
        let (key, value) = (c_string(key), value.map(c_string));
        let (command, value) = value.as_ref().map_or((0, std::ptr::null()), |value| (1, value.as_ptr()));
        // SAFETY: both strings live through the call; a flag has no value.
        let done = unsafe {
            libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), command, key.as_ptr(), value, 0)
        };
        assert!(done == 0, "{key:?}: {}", std::io::Error::last_os_error());
    };
    lowers.iter().rev().for_each(|lower| set("lowerdir+", lower.to_str()));
    set("upperdir", upper.to_str());
    set("workdir", work.to_str());
    set("volatile", None);
    [("redirect_dir", "nofollow"), ("metacopy", "off"), ("index", "off")]
        .iter()
        .for_each(|(key, value)| set(key, Some(value)));
    if !nix::unistd::geteuid().is_root() || !overlay::node::is_real_root() {
        set("userxattr", None);
    }
    let null = std::ptr::null::<u8>();
    // SAFETY: this command takes no further argument.
    let made = unsafe { libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), 6, null, null, 0) };
    assert!(made == 0, "{}", std::io::Error::last_os_error());
    // SAFETY: numbers only.
    new(unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), 1, 0) })
}

/// A layer into the store, against `tar` into a folder.
fn unpacking(place: &Path) -> bool {
    let source = folder(place.join("source"));
    for number in 0..FILES {
        let file = folder(source.join(format!("folder-{}", number / 50))).join(format!("file-{number}"));
        File::create(file).and_then(|mut file| file.write_all(&vec![b'x'; number % 9000])).expect("a file");
    }
    let tar = place.join("layer.tar");
    let run = |words: &[&str], at: &Path| {
        let done = Command::new("tar").args(words).arg(&tar).arg("-C").arg(at).args(["."; 1]).status();
        assert!(done.is_ok_and(|status| status.success()), "tar {words:?}");
    };
    if Command::new("tar").arg("--version").output().is_err() {
        println!("unpacking: not measured, its peer needs `tar`");
        return true;
    }
    run(&["-cf"], &source);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..9 {
        let at = folder(place.join(format!("unpacked-{round}")));
        theirs.push(milliseconds(|| run(&["-xf"], &at)));
        fs::remove_dir_all(&at).expect("removed");
        let state = place.join(format!("state-{round}"));
        let store = Store::open(&state).expect("a store");
        let import = || {
            store.import(File::open(&tar).expect("the tar"), None, None).expect("a layer");
        };
        ours.push(milliseconds(import));
        fs::remove_dir_all(&state).expect("removed");
    }
    let (ours, theirs) = (median(&mut ours), median(&mut theirs));
    println!("a layer of {FILES} files unpacked in {ours:.1} ms, by `tar -x` in {theirs:.1} ms");
    promise("unpacking with digest and checks, as a multiple of `tar -x`", ours / theirs, 1.5)
}
