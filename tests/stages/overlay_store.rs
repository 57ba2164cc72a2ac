//! Stage 7: the store's layers, and what must not happen to them.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, umask};
use nix::unistd::mkfifo;

use super::overlay::{STATE, kept, names_in, on};
use super::overlay_layers::import;
use super::overlay_tar::Tar;
use crate::lab::Ground;
use crate::stage::case::{Case, eventually};
use crate::stage::verdict::{Verdict, same};

/// The folder of a layer.
fn folder(id: &str) -> PathBuf {
    Path::new(STATE).join("layers").join(&id["sha256:".len()..])
}

pub fn a_layer_that_is_used_stays(case: &Case) -> Verdict {
    let low = import(case, &Tar::default().file("srv/a", "low\n"), "")?;
    let high = import(case, &Tar::default().file("srv/b", "high\n"), &low)?;
    case.run(&["layer", "rm", &low])?.code_is(125)?.err_has("stands on it")?.err_is_one_line()?;
    kept(case, &["demo", &high], "quay", "cat /srv/a")?.code_is(0)?.out_is("low")?;
    case.run(&["layer", "rm", &high])?.code_is(125)?.err_has("quay")?.err_is_one_line()?;
    case.run(&["containers", "rm", "quay"])?.code_is(0)?;
    case.run(&["layer", "rm", &high, &low])?.code_is(0)?;
    same("layers at the end", Vec::<String>::new(), names_in("layers"))?;
    case.run(&["layer", "rm", &low])?.code_is(125)?.err_has("layer ls")?.err_is_one_line()?;
    Ok(())
}

pub fn a_parent_that_goes_meanwhile_is_told(case: &Case) -> Verdict {
    let low = import(case, &Tar::default().file("srv/a", ""), "")?;
    mkfifo("/tmp/pipe", Mode::S_IRWXU)?;
    let mut pipe = File::options().read(true).write(true).open("/tmp/pipe")?;
    let words = ["layer", "import", "/tmp/pipe", "--parent", &low];
    let running = case.start(&words)?;
    let bytes = Tar::default().file("srv/b", "").bytes();
    pipe.write_all(&bytes[..512])?;
    eventually("the layer's draft", || Ok(names_in("layers").len() == 2))?;
    case.run(&["layer", "rm", &low])?.code_is(0)?;
    pipe.write_all(&bytes[512..])?;
    drop(pipe);
    running.wait()?.code_is(125)?.err_has("layer ls")?.err_is_one_line()?;
    same("layers afterwards", Vec::<String>::new(), names_in("layers"))
}

pub fn a_layer_does_not_depend_on_a_umask(case: &Case) -> Verdict {
    Tar::default().file("srv/deep/a", "text\n").write("/tmp/layer.tar")?;
    let strict = |words: &[&str]| {
        let change = |command: &mut std::process::Command| {
            // SAFETY: one system call.
            unsafe {
                command.pre_exec(|| {
                    umask(Mode::S_IRWXG | Mode::S_IRWXO);
                    Ok(())
                })
            };
        };
        case.start_with(words, change)?.wait()
    };
    let imported = strict(&["layer", "import", "/tmp/layer.tar"])?;
    imported.code_is(0)?;
    let id = imported.out.trim();
    for path in ["", "srv", "srv/deep"] {
        let mode = fs::metadata(folder(id).join("tree").join(path))?.mode() & 0o7777;
        same(&format!("the mode of /{path}, as octal"), format!("{:o}", 0o755), format!("{mode:o}"))?;
    }
    let others: &[&[&str]] = match case.ground {
        Ground::User => &[&[]],
        // Neither another user inside nor another one outside is stopped.
        _ => &[&["-u", "1000"], &["--uid-map", "0:100000:65536"]],
    };
    for flags in others {
        let words = ["run", "--layer", "demo", "--layer", id, "--network", "host"];
        let command = ["--", "cat", "/srv/deep/a"];
        strict(&[&words[..], flags, &command].concat())?.code_is(0)?.out_is("text")?;
    }
    Ok(())
}

pub fn a_damaged_record_stops_nobody_else(case: &Case) -> Verdict {
    let good = import(case, &Tar::default().file("srv/a", "good\n"), "")?;
    let (first, second) = (Tar::default().file("srv/b", ""), Tar::default().file("srv/c", ""));
    let (one, two) = (import(case, &first, "")?, import(case, &second, "")?);
    // Nonsense; and two that say that they stand on each other.
    for (one_says, two_says) in [
        ("nonsense".to_owned(), String::new()),
        (format!("diff {one}\nparent {two}\n"), format!("diff {two}\nparent {one}\n")),
    ] {
        fs::write(folder(&one).join("layer"), one_says)?;
        fs::write(folder(&two).join("layer"), two_says)?;
        let list = case.run(&["layer", "ls"])?;
        list.code_is(0)?.out_has(&good)?.out_has(&one)?;
        list.claim(list.out.matches("damaged").count() == 2, "two damaged layers")?;
        on(case, &["demo", &good], &[], "cat /srv/a")?.code_is(0)?.out_is("good")?;
        on(case, &["demo", &one], &[], "true")?.code_is(125)?.err_has("damaged")?.err_is_one_line()?;
        first.write("/tmp/layer.tar")?;
        case.run(&["layer", "import", "/tmp/layer.tar"])?
            .code_is(125)?
            .err_has("damaged")?
            .err_is_one_line()?;
    }
    case.run(&["layer", "rm", &one, &two])?.code_is(0)?;
    same("the id of the layer, made anew", one, import(case, &first, "")?)?;
    same("layers at the end", 2, names_in("layers").len())
}
