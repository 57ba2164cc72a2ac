//! Stage 7, the attacks: what a hostile layer tries against who unpacks it.
//!
//! Each attack is a tar, unpacked onto a plain tree; the store unpacks by the same code. The place that it aims at is
//! looked at afterwards. Honest entries stand beside it, so that who unpacks nothing does not pass.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::Path;

use super::mount::what_is_at;
use super::overlay::names_in;
use super::overlay_tar::{BLOCK, CHAR, FIFO, FILE, FOLDER, LINK, Tar};
use crate::lab::{Ground, PROBE};
use crate::stage::case::{Case, Run};
use crate::stage::verdict::{Trouble, Verdict, holds, same};

/// The tree onto which tars are unpacked; fresh.
pub(super) fn target() -> Result<&'static Path, Trouble> {
    let folder = Path::new("/tmp/target/tree");
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    Ok(folder)
}

/// Unpacks a tar onto a fresh tree.
fn apply(case: &Case, tar: &Tar) -> Result<Run, Trouble> {
    target()?;
    tar.write("/tmp/layer.tar")?;
    case.run(&["apply", "/tmp/layer.tar", "/tmp/target/tree"])
}

fn text(path: &str) -> String {
    fs::read_to_string(Path::new("/tmp/target/tree").join(path)).unwrap_or_else(|error| error.to_string())
}

pub fn a_tar_makes_what_it_says(case: &Case) -> Verdict {
    let tar = Tar::default()
        .folder("./")
        .folder("etc/")
        .file("etc/motd", "hello\n")
        .file("/absolute/file", "inside\n")
        .link("etc/link", "../../../etc/passwd")
        .hard_link("etc/second", "./etc/motd")
        .put(FIFO, "etc/queue", "", b"")
        .put(FILE, "zeroes", "", &vec![0; 1 << 20])
        .put(CHAR, "etc/null", "", b"")
        .put(BLOCK, "etc/disk", "", b"");
    let run = apply(case, &tar)?;
    run.code_is(0)?;
    let tree = target_path();
    same("etc/motd", "hello\n".to_owned(), text("etc/motd"))?;
    same("an absolute path's file", "inside\n".to_owned(), text("absolute/file"))?;
    same(
        "a link's target",
        Path::new("../../../etc/passwd").to_owned(),
        fs::read_link(tree.join("etc/link"))?,
    )?;
    let inode = |path: &str| fs::symlink_metadata(tree.join(path)).map(|found| found.ino());
    same("the file behind a hard link", inode("etc/motd")?, inode("etc/second")?)?;
    holds(fs::symlink_metadata(tree.join("etc/queue"))?.file_type().is_fifo(), "a queue", "something else")?;
    same("the time of a folder", 1_000_000_000, fs::metadata(tree.join("etc"))?.mtime())?;
    same("mode of a file", 0o644, fs::metadata(tree.join("etc/motd"))?.mode() & 0o7777)?;
    let zeroes = fs::metadata(tree.join("zeroes"))?;
    let found = (zeroes.len(), zeroes.blocks());
    same("a file of zeroes: its size, and how much of it is on the disk", (1 << 20, 0), found)?;
    if case.ground == Ground::User {
        run.err_has("2 device files")?;
        return same("a device that may not be made", "nothing", what_is_at(&tree.join("etc/null")));
    }
    let device = fs::symlink_metadata(tree.join("etc/null"))?;
    let found = (device.file_type().is_char_device(), device.rdev());
    same("number of a device", (true, nix::sys::stat::makedev(1, 3)), found)
}

pub fn what_has_no_field_stands_in_records(case: &Case) -> Verdict {
    let long = format!("{}/{}", "d".repeat(90), "f".repeat(200));
    let records: [(&str, &[u8]); 4] = [
        ("path", long.as_bytes()),
        ("mtime", b"1000000000.123456789"),
        // A value is as long as its record says: this one looks like another record.
        ("SCHILY.xattr.user.harbour", b"two\n19 path=../escaped\n"),
        ("uid", b"0"),
    ];
    apply(case, &Tar::default().records(&records).file("short", "long name\n"))?.code_is(0)?;
    same("the file with a long name", "long name\n".to_owned(), text(&long))?;
    let file = target_path().join(&long);
    let found = fs::metadata(&file)?;
    same("its time", (1_000_000_000, 123_456_789), (found.mtime(), found.mtime_nsec()))?;
    let list = std::process::Command::new(PROBE).arg("tree").current_dir(target_path()).output()?;
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    // Bytes, as the probe writes them: `two`, a line's end, `19`.
    holds(list.contains("user.harbour\": [116, 119, 111, 10, 49, 57"), "the attribute's value", list)
}

fn target_path() -> &'static Path {
    Path::new("/tmp/target/tree")
}

/// Everything below a folder, for before and after.
fn outside() -> Result<Vec<String>, Trouble> {
    let mut found: Vec<String> = super::mount::tree(Path::new("/tmp/target"))?.into_iter().collect();
    found.retain(|line| !line.starts_with("/tmp/target/tree"));
    Ok(found)
}

pub fn nothing_is_made_outside_of_a_layer(case: &Case) -> Verdict {
    target()?;
    fs::write("/tmp/target/secret", "secret\n")?;
    let before = outside()?;
    for path in ["../escaped", "a/../../escaped", "/../escaped", "a/b/../../../escaped", "..", "a/.."] {
        for kind in [FILE, FOLDER, LINK, FIFO] {
            let tar = Tar::default().file("first", "").folder("a").folder("a/b").put(kind, path, "/etc", b"");
            let run = apply(case, &tar)?;
            same(&format!("outside, after {path}"), &before, &outside()?)?;
            run.code_is(125)?.err_has("..")?.err_is_one_line()?;
            same("what stands before it in the tar", "a file", what_is_at(&target_path().join("first")))?;
        }
    }
    for to in ["../secret", "/../secret", "a/../../secret"] {
        let run = apply(case, &Tar::default().folder("a").hard_link("stolen", to))?;
        run.code_is(125)?.err_has("..")?.err_is_one_line()?;
        same("a hard link to outside", "nothing", what_is_at(&target_path().join("stolen")))?;
    }
    // An absolute path is one inside, wherever it seems to lead.
    let run = apply(case, &Tar::default().file("/tmp/target/secret", "overwritten\n"))?;
    run.code_is(0)?;
    same("the file outside", "secret\n".to_owned(), fs::read_to_string("/tmp/target/secret")?)?;
    same("the file inside", "overwritten\n".to_owned(), text("tmp/target/secret"))
}

pub fn links_of_a_layer_are_not_followed(case: &Case) -> Verdict {
    fs::create_dir_all("/tmp/target/outside")?;
    fs::write("/tmp/target/outside/file", "before\n")?;
    let mode = fs::metadata("/tmp/target/outside")?.mode();
    let before = outside()?;
    for to in ["/tmp/target/outside", "../outside", "../../../../../../tmp/target/outside", "."] {
        let through = [
            Tar::default().link("link", to).file("link/made", "x"),
            Tar::default().link("link", to).folder("link/made"),
            Tar::default().link("link", to).file("link/made/deeper", "x"),
            Tar::default().link("link", to).link("other", "link").file("other/made", "x"),
            Tar::default().link("link", to).hard_link("stolen", "link/file"),
            Tar::default().link("link", to).file("link/.wh.file", ""),
            // A second name for a file of the layer itself, but by a way on which a link stands.
            Tar::default().folder("a").file("a/file", "").link("way", "a").hard_link("stolen", "way/file"),
        ];
        for tar in through {
            let run = apply(case, &tar)?;
            same(&format!("outside, after a link to {to}"), &before, &outside()?)?;
            same("a second name", "nothing", what_is_at(&target_path().join("stolen")))?;
            run.code_is(125)?.err_has("symbolic link")?.err_is_one_line()?;
        }
        // What replaces a link replaces it, and not what it leads to; so with owners, modes and times.
        let tar = Tar::default().link("link", to).file("link", "a file now\n").link("two", to).folder("two");
        apply(case, &tar)?.code_is(0)?;
        same("a file in the place of a link", "a file now\n".to_owned(), text("link"))?;
        same("a folder in the place of a link", "a folder", what_is_at(&target_path().join("two")))?;
        same("outside", &before, &outside()?)?;
    }
    same("the folder outside: its mode", mode, fs::metadata("/tmp/target/outside")?.mode())?;
    // Links that stand in the tree already.
    target()?;
    symlink("/tmp/target/outside", target_path().join("old"))?;
    Tar::default().file("old/file", "after\n").write("/tmp/layer.tar")?;
    case.run(&["apply", "/tmp/layer.tar", "/tmp/target/tree"])?.code_is(125)?.err_has("symbolic link")?;
    same("the file outside", "before\n".to_owned(), fs::read_to_string("/tmp/target/outside/file")?)
}

pub fn the_last_entry_of_a_name_counts(case: &Case) -> Verdict {
    let tar = Tar::default()
        .file("a", "first\n")
        .file("./a", "second\n")
        .folder("b")
        .file("b/inside", "")
        .file("b", "a file now\n")
        .file("c", "")
        .folder("c")
        .file("c/inside", "kept\n")
        .folder("c")
        .file("d", "one\n")
        .hard_link("e", "d")
        .file("d", "other\n");
    apply(case, &tar)?.code_is(0)?;
    let found = ["a", "b", "c/inside", "d", "e"].map(text);
    same("the files", ["second\n", "a file now\n", "kept\n", "other\n", "one\n"].map(str::to_owned), found)?;
    // A hard link comes after its file, and is one of the same layer.
    let run = apply(case, &Tar::default().hard_link("early", "late").file("late", ""))?;
    run.code_is(125)?.err_has("same layer")?.err_is_one_line()?;
    apply(case, &Tar::default().folder("f").hard_link("g", "f"))?.code_is(125)?.err_is_one_line()?;
    let run = apply(case, &Tar::default().file("./", "the root is a file"))?;
    run.code_is(125)?.err_has("folder")?.err_is_one_line()?;
    Ok(())
}

pub fn overlays_own_marks_cannot_be_forged(case: &Case) -> Verdict {
    // A device 0/0 would remove a file of a lower layer; a redirect would show another folder of it.
    let mut bytes = Tar::default().put(CHAR, "mark", "", b"").bytes();
    bytes[329..344].copy_from_slice(b"0000000\x000000000");
    bytes[148..156].fill(b' ');
    let sum: u32 = bytes[..512].iter().map(|byte| u32::from(*byte)).sum();
    bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    fs::write("/tmp/mark.tar", bytes)?;
    target()?;
    let run = case.run(&["apply", "/tmp/mark.tar", "/tmp/target/tree"])?;
    run.code_is(125)?.err_has("0/0")?.err_is_one_line()?;
    let names = [
        "trusted.overlay.opaque",
        "user.overlay.opaque",
        "trusted.overlay.redirect",
        "user.overlay.redirect",
    ];
    let records: Vec<(String, &[u8])> =
        names.iter().map(|name| (format!("SCHILY.xattr.{name}"), &b"/etc"[..])).collect();
    let pairs: Vec<(&str, &[u8])> = records.iter().map(|(key, value)| (&**key, *value)).collect();
    let run = apply(case, &Tar::default().records(&pairs).folder("folder").file("folder/x", "kept\n"))?;
    run.code_is(0)?;
    same("the file in it", "kept\n".to_owned(), text("folder/x"))?;
    for name in [c"trusted.overlay.opaque", c"user.overlay.opaque", c"user.overlay.redirect"] {
        let path = c"/tmp/target/tree/folder".as_ptr();
        // SAFETY: two constants; without a buffer only the length is asked for.
        let length = unsafe { libc::lgetxattr(path, name.as_ptr(), std::ptr::null_mut(), 0) };
        holds(length < 0, "the folder has no mark of overlay's", format!("it has {name:?}"))?;
    }
    Ok(())
}

pub fn a_damaged_tar_is_told(case: &Case) -> Verdict {
    apply(case, &Tar::default().file("a", "x"))?.code_is(0)?;
    let whole = Tar::default().file("a", &"x".repeat(5000)).file("b", "y").bytes();
    let mut flipped = whole.clone();
    flipped[20] = 1;
    let mut lengthy = Tar::default().put(b'x', "records", "", b"99 path=a\n").file("a", "").bytes();
    lengthy.truncate(2048);
    let sized = |size: &str| Tar::default().records(&[("size", size.as_bytes())]).file("a", "").bytes();
    let (huge, larger) = (sized("18446744073709551615"), sized("9223372036854775807"));
    let half: [(&str, &[u8]); 1] = [("comment", &[b'x'; 600_000])];
    let notes = Tar::default().records(&half).records(&half).file("a", "").bytes();
    for (bytes, word) in [
        (&whole[..3000], "middle"),
        // A header that is cut short is not the end.
        (&b"no tar"[..], "middle"),
        (&whole[..whole.len() - 1100], "middle"),
        (&flipped[..], "checksum"),
        (&b"this is no tar, but it is longer than one header".repeat(20)[..], "tar"),
        (&lengthy[..], "PAX"),
        (&huge[..], "size"),
        (&larger[..], "middle"),
        (&notes[..], "1 MiB"),
        (&b"\x28\xb5\x2f\xfd and so on"[..], "zstd"),
        (&b"\x1f\x8b\x08 and so on, which is no gzip"[..], "read"),
    ] {
        fs::write("/tmp/damaged.tar", bytes)?;
        target()?;
        let run = case.run(&["apply", "/tmp/damaged.tar", "/tmp/target/tree"])?;
        run.code_is(125)?.err_has(word)?.err_is_one_line()?;
    }
    Ok(())
}

pub fn wrong_whiteouts_are_refused(case: &Case) -> Verdict {
    fs::create_dir_all("/tmp/target/outside")?;
    for path in [
        ".wh.",
        ".wh..",
        ".wh...",
        "a/.wh...",
        "a/.wh../b",
        "../.wh.outside",
        ".wh../outside",
        // A whiteout is no folder.
        ".wh.a/x",
        "a/.wh..wh..opq/x",
    ] {
        let tar = Tar::default().folder("a").file("a/kept", "kept\n").file(path, "");
        let run = apply(case, &tar)?;
        run.claim(run.code == 125, format!("{path} is refused"))?;
        same("outside", "a folder", what_is_at(Path::new("/tmp/target/outside")))?;
        same("what lies beside it", "kept\n".to_owned(), text("a/kept"))?;
        let before = names_in("layers");
        tar.write("/tmp/layer.tar")?;
        let import = case.run(&["layer", "import", "/tmp/layer.tar"])?;
        import.claim(import.code == 125, format!("{path} is no layer"))?;
        same("layers afterwards", before, names_in("layers"))?;
    }
    // Notes of another file system mean nothing, and do nothing.
    let notes = Tar::default().file(".wh..wh.aufs", "").folder(".wh..wh.plnk");
    apply(case, &notes.file(".wh..wh.plnk/93.5", "").file("a", "a\n"))?.code_is(0)?;
    same("what is there", "nothing", what_is_at(&target_path().join(".wh..wh.plnk")))?;
    same("what is there", "nothing", what_is_at(&target_path().join(".wh..wh.aufs")))?;
    same("the file beside it", "a\n".to_owned(), text("a"))?;
    // What a whiteout names is never found by a link.
    target()?;
    symlink("/tmp/target/outside", target_path().join("link"))?;
    fs::write("/tmp/target/outside/file", "")?;
    Tar::default().file(".wh.link", "").write("/tmp/layer.tar")?;
    case.run(&["apply", "/tmp/layer.tar", "/tmp/target/tree"])?.code_is(0)?;
    same("the link", "nothing", what_is_at(&target_path().join("link")))?;
    same("what it led to", "a file", what_is_at(Path::new("/tmp/target/outside/file")))
}

pub fn a_whiteout_has_no_second_name(case: &Case) -> Verdict {
    // A whiteout by another name would hide what the tar's list of files does not show.
    let before = names_in("layers");
    for name in ["etc/passwd", "usr"] {
        Tar::default().file(".wh.nothing", "").hard_link(name, "nothing").write("/tmp/layer.tar")?;
        let run = case.run(&["layer", "import", "/tmp/layer.tar"])?;
        run.code_is(125)?.err_has("whiteout")?.err_is_one_line()?;
    }
    same("layers afterwards", before, names_in("layers"))?;
    // A second name for an honest file of the same layer is fine.
    Tar::default().file(".wh.nothing", "").file("a", "").hard_link("b", "a").write("/tmp/layer.tar")?;
    case.run(&["layer", "import", "/tmp/layer.tar"])?.code_is(0)?;
    Ok(())
}
