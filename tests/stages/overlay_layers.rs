//! Stage 7: layers, from tars and to tars, and the store that keeps each of them once.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use nix::mount::{MsFlags, mount};

use super::mount::unmount;
use super::overlay::{STATE, folder_of, kept, layer, names_in, on};
use super::overlay_tar::Tar;
use crate::lab::PROBE;
use crate::stage::case::{Case, Run};
use crate::stage::verdict::{Trouble, Verdict, fail, holds, same};

/// Imports a tar, on top of `parent` if that is not empty; its id.
pub(super) fn import(case: &Case, tar: &Tar, parent: &str) -> Result<String, Trouble> {
    tar.write("/tmp/layer.tar")?;
    let mut words = vec!["layer", "import", "/tmp/layer.tar"];
    if !parent.is_empty() {
        words.extend(["--parent", parent]);
    }
    let run = case.run(&words)?;
    run.code_is(0)?;
    Ok(run.out.trim().to_owned())
}

/// The SHA-256 that the machine's own program finds.
fn sha256(bytes: &[u8]) -> Result<String, Trouble> {
    fs::write("/tmp/digested", bytes)?;
    let output = Command::new("sha256sum").arg("/tmp/digested").output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(format!("sha256:{}", text.split(' ').next().unwrap_or_default()))
}

/// Whether this machine's tools can do what a test needs.
fn tool(name: &str) -> bool {
    Command::new("sh")
        .args(["-c", &format!("command -v {name}")])
        .output()
        .is_ok_and(|out| out.status.success())
}

pub fn a_layer_is_called_by_what_lies_below(case: &Case) -> Verdict {
    let (low, high) =
        (Tar::default().file("srv/a", "low\n"), Tar::default().file("srv/a", "high\n").file("srv/b", "b\n"));
    let (low_diff, high_diff) = (sha256(&low.bytes())?, sha256(&high.bytes())?);
    let first = import(case, &low, "")?;
    same("the id of a lowest layer", &low_diff, &first)?;
    let second = import(case, &high, &first)?;
    same("the id of a layer on it", sha256(format!("{low_diff} {high_diff}").as_bytes())?, second.clone())?;
    let alone = import(case, &high, "")?;
    same("layers", 3, names_in("layers").len())?;
    // An id means a layer with all that lies below, and its beginning is enough.
    on(case, &["demo", &second], &[], "cat /srv/a /srv/b")?.code_is(0)?.out_is("high\nb")?;
    on(case, &["demo", &second["sha256:".len()..][..12]], &[], "cat /srv/a")?.code_is(0)?.out_is("high")?;
    on(case, &["demo", &alone, &first], &[], "cat /srv/a /srv/b")?.code_is(0)?.out_is("low\nb")?;
    // The second time there is nothing to do; the tree stays the very same.
    let tree = Path::new(STATE).join("layers").join(&first["sha256:".len()..]).join("tree");
    let before = fs::metadata(&tree)?.ino();
    same("the id the second time", &first, &import(case, &low, "")?)?;
    same("the tree the second time", before, fs::metadata(&tree)?.ino())?;
    case.run(&["layer", "ls"])?.code_is(0)?.out_has(&second)?.out_has(&first)?;
    let unknown = format!("sha256:{}", "0".repeat(64));
    let run = case.run(&["layer", "import", "/tmp/layer.tar", "--parent", &unknown])?;
    run.code_is(125)?.err_has("layer ls")?.err_is_one_line()?;
    Ok(())
}

pub fn a_layer_may_be_compressed(case: &Case) -> Verdict {
    let tar = Tar::default().file("srv/a", &"text\n".repeat(10_000)).file("srv/b", "b\n");
    let plain = import(case, &tar, "")?;
    case.run(&["layer", "rm", &plain])?.code_is(0)?;
    if !tool("gzip") {
        return Ok(());
    }
    // In two parts: a gzip file is as many as are written one behind the other.
    let bytes = tar.bytes();
    fs::write("/tmp/one", &bytes[..20_000])?;
    fs::write("/tmp/two", &bytes[20_000..])?;
    Command::new("sh").args(["-c", "(gzip -c /tmp/one; gzip -c /tmp/two) > /tmp/layer.tgz"]).status()?;
    let run = case.run(&["layer", "import", "/tmp/layer.tgz", "--diff-id", &plain])?;
    run.code_is(0)?.out_is(&plain)?;
    on(case, &["demo", &plain], &[], "wc -l < /srv/a; cat /srv/b")?
        .code_is(0)?
        .out_has("10000")?
        .out_has("b")?;
    // A file that ends too early.
    let half = fs::read("/tmp/layer.tgz")?;
    fs::write("/tmp/half.tgz", &half[..half.len() - 10])?;
    case.run(&["layer", "rm", &plain])?.code_is(0)?;
    case.run(&["layer", "import", "/tmp/half.tgz"])?.code_is(125)?.err_is_one_line()?;
    same("layers afterwards", Vec::<String>::new(), names_in("layers"))
}

pub fn a_broken_promise_leaves_nothing(case: &Case) -> Verdict {
    let tar = Tar::default().file("srv/a", "a\n");
    tar.write("/tmp/layer.tar")?;
    let other = format!("sha256:{}", "1".repeat(64));
    let run = case.run(&["layer", "import", "/tmp/layer.tar", "--diff-id", &other])?;
    run.code_is(125)?.err_has("promises")?.err_is_one_line()?;
    same("layers afterwards", Vec::<String>::new(), names_in("layers"))?;
    // So does one whose last entry is refused.
    tar.file("../b", "").write("/tmp/layer.tar")?;
    case.run(&["layer", "import", "/tmp/layer.tar"])?.code_is(125)?.err_has("..")?.err_is_one_line()?;
    same("layers after a refused one", Vec::<String>::new(), names_in("layers"))?;
    let right = import(case, &Tar::default().file("srv/a", "a\n"), "")?;
    case.run(&["layer", "import", "/tmp/layer.tar", "--diff-id", &right])?.code_is(0)?;
    same("layers at the end", 1, names_in("layers").len())
}

pub fn many_at_once_make_one_layer(case: &Case) -> Verdict {
    let tar = (0..200).fold(Tar::default(), |tar, number| tar.file(&format!("srv/{number}"), "text\n"));
    tar.write("/tmp/layer.tar")?;
    let start = |_| case.start(&["layer", "import", "/tmp/layer.tar"]);
    let running = (0..6).map(start).collect::<Result<Vec<_>, _>>()?;
    let runs = running.into_iter().map(|running| running.wait()).collect::<Result<Vec<Run>, _>>()?;
    for run in &runs {
        run.code_is(0)?.out_is(&runs[0].out)?;
    }
    same("layers", 1, names_in("layers").len())?;
    on(case, &["demo", runs[0].out.trim()], &[], "ls /srv | wc -l")?.code_is(0)?.out_has("200")?;
    Ok(())
}

/// The tree in `/data` of a container, every attribute of it.
fn data(case: &Case, layers: &[&str], flags: &[&str], words: &[&str]) -> Result<String, Trouble> {
    let layers: Vec<&str> = layers.iter().flat_map(|layer| ["--layer", *layer]).collect();
    let flags = [&["run"], &layers[..], flags, &["--network", "host", "-w", "/data", "--", PROBE]].concat();
    let run = case.run(&[&flags[..], words].concat())?;
    run.code_is(0)?;
    Ok(run.out)
}

/// What `probe` says in a folder outside.
fn outside(folder: &str, words: &[&str]) -> Result<String, Trouble> {
    fs::create_dir_all(folder)?;
    let output = Command::new(PROBE).args(words).current_dir(folder).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

pub fn a_commit_is_the_same_tree(case: &Case) -> Verdict {
    let base = layer("base", &[("data/list", "one\n"), ("data/gone", ""), ("data/folder/old", "")])?;
    let script = "cd /data; echo two >> list; rm gone; rm -r folder; mkdir folder; touch folder/new; ln list second; \
                  ln -s /etc/passwd link; chmod 4755 list; mkfifo queue; touch -d 2001-02-03 list";
    kept(case, &["demo", &base], "quay", script)?.code_is(0)?;
    let keep = ["--name", "quay", "--keep"];
    let before = data(case, &["demo", &base], &keep, &["tree", "exact"])?;
    let committed = case.run(&["commit", "quay"])?;
    committed.code_is(0)?;
    let id = committed.out.trim().to_owned();
    same("the committed layer's tree", before, data(case, &["demo", &base, &id], &[], &["tree", "exact"])?)?;
    // The same tree is the same tar.
    for file in ["/tmp/one.tar", "/tmp/two.tar"] {
        case.run(&["commit", "quay", "-o", file])?.code_is(0)?.out_is(&id)?;
    }
    same("two tars of one tree", sha256(&fs::read("/tmp/one.tar")?)?, sha256(&fs::read("/tmp/two.tar")?)?)?;
    // It stands on what the container stood on.
    let top = import(case, &Tar::default().file("data/first", ""), "")?;
    kept(case, &[&top], "bare", "true").map(drop).or(Ok::<(), Trouble>(()))?;
    let demo = pack_demo(case)?;
    kept(case, &[&demo], "pier", "echo more > /more")?.code_is(0)?;
    let child = case.run(&["commit", "pier"])?;
    child.code_is(0)?;
    on(case, &[child.out.trim()], &[], "cat /more")?.code_is(0)?.out_is("more")?;
    same("the container is still there", true, folder_of("pier").exists())
}

pub fn a_failed_commit_leaves_the_file(case: &Case) -> Verdict {
    fs::create_dir_all("/tmp/out")?;
    fs::write("/tmp/out/quay.tar", "the tar of yesterday")?;
    kept(case, &["demo"], "quay", "touch /srv/list /srv/.wh.list")?.code_is(0)?;
    let run = case.run(&["commit", "quay", "-o", "/tmp/out/quay.tar"])?;
    run.code_is(125)?.err_has(".wh.")?.err_is_one_line()?;
    same("the file afterwards", "the tar of yesterday".to_owned(), fs::read_to_string("/tmp/out/quay.tar")?)?;
    kept(case, &["demo"], "quay", "rm /srv/.wh.list")?.code_is(0)?;
    // An attribute whose name a record cannot hold is left out, and told.
    let file = folder_of("quay").join("upper/srv/list").into_os_string().into_encoded_bytes();
    let file = std::ffi::CString::new(file).unwrap_or_default();
    // SAFETY: names and value are constants, and the path lives through the call.
    let set = unsafe { libc::lsetxattr(file.as_ptr(), c"user.a=b".as_ptr(), c"value".as_ptr().cast(), 5, 0) };
    let run = case.run(&["commit", "quay", "-o", "/tmp/out/quay.tar"])?;
    run.code_is(0)?;
    // A tmpfs has such attributes since Linux 6.6.
    if set == 0 {
        run.err_has("names a tar cannot say")?.err_is_one_line()?;
    }
    let digest = sha256(&fs::read("/tmp/out/quay.tar")?)?;
    same("the digest of the file", run.out.trim().to_owned(), digest)?;
    same("files beside it", 1, fs::read_dir("/tmp/out")?.count())
}

/// `demo` as a layer of the store; its id.
fn pack_demo(case: &Case) -> Result<String, Trouble> {
    fs::create_dir_all("/tmp/nothing")?;
    kept(case, &["demo"], "packer", "true")?.code_is(0)?;
    // The upper folder of a container is what is packed; here, all of demo.
    let upper = folder_of("packer").join("upper");
    let done =
        Command::new("cp").arg("-a").arg(format!("{}/.", case.demo().display())).arg(&upper).status()?;
    holds(done.success(), "demo is copied", "cp failed")?;
    let run = case.run(&["commit", "packer", "-o", "/tmp/demo.tar"])?;
    run.code_is(0)?;
    let import = case.run(&["layer", "import", "/tmp/demo.tar"])?;
    import.code_is(0)?;
    Ok(import.out.trim().to_owned())
}

/// How many series, and of how many operations.
const SERIES: u64 = 3;
const OPERATIONS: &str = "120";

pub fn a_random_series_ends_in_the_same_tree(case: &Case) -> Verdict {
    let seed =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.as_secs());
    // A seed of one's own, to see a failure again.
    let seed =
        std::env::var("GANTRY_SEED").ok().and_then(|word| word.parse().ok()).unwrap_or(seed % 1_000_000);
    for start in [14, seed] {
        series(case, start).map_err(|trouble| with_seed(trouble, start))?;
    }
    Ok(())
}

fn with_seed(trouble: Trouble, seed: u64) -> Trouble {
    match trouble {
        Trouble::Failed(mut failure) => {
            failure.expected = format!("(GANTRY_SEED={seed}) {}", failure.expected);
            Trouble::Failed(failure)
        }
        other => other,
    }
}

/// Series after series on one chain that grows: the container, a plain tree, and a tree onto which each layer is
/// applied must stay the same.
fn series(case: &Case, seed: u64) -> Verdict {
    let folders = ["/tmp/base", "/tmp/plain", "/tmp/applied"];
    for folder in folders {
        fs::remove_dir_all(folder).ok();
        outside(&format!("{folder}/data"), &["files", &seed.to_string(), "80", "settle"])?;
    }
    let mut chain = vec!["demo".to_owned(), "/tmp/base".to_owned()];
    for number in 1..=SERIES {
        let layers: Vec<&str> = chain.iter().map(String::as_str).collect();
        let keep = ["--name", "sailor", "--keep"];
        let operations = ["files", &(seed * 100 + number).to_string(), OPERATIONS];
        let inside = data(case, &layers, &keep, &operations)?;
        same("each operation and its outcome", outside("/tmp/plain/data", &operations)?, inside)?;
        same("the tree", outside("/tmp/plain/data", &["tree"])?, data(case, &layers, &keep, &["tree"])?)?;
        let exact = data(case, &layers, &keep, &["tree", "exact"])?;
        if exact.lines().count() < 5 {
            return Err(fail("a tree worth comparing", exact));
        }
        case.run(&["commit", "sailor", "-o", "/tmp/sailor.tar"])?.code_is(0)?;
        case.run(&["apply", "/tmp/sailor.tar", "/tmp/applied"])?.code_is(0)?;
        same(
            "the layer applied to the base",
            exact.trim().to_owned(),
            outside("/tmp/applied/data", &["tree", "exact"])?.trim().to_owned(),
        )?;
        case.run(&["containers", "rm", "sailor"])?.code_is(0)?;
        let imported = case.run(&["layer", "import", "/tmp/sailor.tar"])?;
        imported.code_is(0)?;
        chain.push(imported.out.trim().to_owned());
        let layers: Vec<&str> = chain.iter().map(String::as_str).collect();
        same("the layer on the chain", exact, data(case, &layers, &[], &["tree", "exact"])?)?;
    }
    Ok(())
}

pub fn layers_are_copied_where_they_cannot_be_stacked(case: &Case) -> Verdict {
    // The store itself on an overlay, which cannot be an upper file system again.
    for name in ["l", "u", "w", "m"] {
        fs::create_dir_all(Path::new("/tmp/on").join(name))?;
    }
    let words = "lowerdir=/tmp/on/l,upperdir=/tmp/on/u,workdir=/tmp/on/w";
    let words =
        if case.ground == crate::lab::Ground::User { format!("{words},userxattr") } else { words.to_owned() };
    mount(Some("overlay"), "/tmp/on/m", Some("overlay"), MsFlags::empty(), Some(&*words))?;
    let done = copied(case);
    unmount(Path::new("/tmp/on/m"))?;
    done
}

/// Makes a folder with a whiteout in it, as a mounted layer has them.
fn mark_removed(folder: &str, name: &str) -> Verdict {
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    fs::create_dir_all(folder)?;
    Ok(mknod(&Path::new(folder).join(name), SFlag::S_IFCHR, Mode::empty(), makedev(0, 0))?)
}

fn copied(case: &Case) -> Verdict {
    let on_overlay = |words: &[&str]| {
        let change = |command: &mut Command| {
            command.env("GANTRY_STATE", "/tmp/on/m/state");
        };
        case.start_with(words, change)?.wait()
    };
    // An overlay makes no whiteouts of another one.
    Tar::default().file("srv/.wh.gone", "").write("/tmp/layer.tar")?;
    on_overlay(&["layer", "import", "/tmp/layer.tar"])?
        .code_is(125)?
        .err_has("GANTRY_STATE")?
        .err_is_one_line()?;
    let data = layer("data", &[("srv/list", "one\n"), ("srv/gone", "")])?;
    mark_removed(&format!("{data}-2/srv"), "gone")?;
    Tar::default().file("srv/new", "new\n").write("/tmp/layer.tar")?;
    let id = on_overlay(&["layer", "import", "/tmp/layer.tar"])?;
    id.code_is(0)?;
    let second = format!("{data}-2");
    let layers = ["demo", &data, &second, id.out.trim()].map(|layer| ["--layer", layer]).concat();
    let layers = [&["run"], &layers[..], &["--network", "host", "--cgroups", "disabled"]].concat();
    let script = "cat /srv/list /srv/new; echo two >> /srv/list; ls /srv";
    let run = on_overlay(&[&layers[..], &["--", "sh", "-c", script]].concat())?;
    run.code_is(0)?.out_is("one\nnew\nlist\nnew")?.err_has("copied, not stacked")?.err_is_one_line()?;
    same("the layer", "one\n".to_owned(), fs::read_to_string(format!("{data}/srv/list"))?)?;
    same("containers afterwards", 0, fs::read_dir("/tmp/on/m/state/containers")?.count())?;
    // One that is kept is copied once, and what it changed cannot be told.
    let keep = [&layers[..], &["--name", "quay", "--keep", "--", "sh", "-c", script]].concat();
    on_overlay(&keep)?.code_is(0)?;
    on_overlay(&keep)?.code_is(0)?.out_is("one\ntwo\nnew\nlist\nnew")?;
    on_overlay(&["diff", "quay"])?.code_is(125)?.err_has("copied")?.err_is_one_line()?;
    on_overlay(&["commit", "quay"])?.code_is(125)?.err_has("copied")?.err_is_one_line()?;
    on_overlay(&["containers", "rm", "quay"])?.code_is(0)?;
    Ok(())
}
