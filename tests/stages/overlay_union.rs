//! Stage 7: how a union is made: of many layers, for a user without rights, with other ids, under everything else.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use super::overlay::{STATE, folder_of, kept, layer, names_in, on};
use super::user::{become_ordinary, ordinary_id, own_demo};
use crate::lab::Ground;
use crate::stage::case::{Case, Run};
use crate::stage::verdict::{Trouble, Verdict, same};

pub fn a_chain_is_as_long_as_the_kernel_takes(case: &Case) -> Verdict {
    let names: Vec<String> = (1..=500).map(|number| format!("{number}")).collect();
    let mut all = vec!["demo".to_owned()];
    for name in &names {
        all.push(layer(name, &[("same", name), (&format!("file-{name}"), name)])?);
    }
    for count in [128, 300, 500] {
        let chain: Vec<&str> = all[..count].iter().map(String::as_str).collect();
        let run =
            on(case, &chain, &[], &format!("cat /same /file-1 /file-{}; ls / | grep -c ^file-", count - 1))?;
        run.code_is(0)?.out_is(&format!("{0}1{0}{0}", count - 1))?;
    }
    let chain: Vec<&str> = all.iter().map(String::as_str).collect();
    on(case, &chain, &[], "true")?.code_is(125)?.err_has("500")?.err_is_one_line()?;
    // Paths that are too long for one option: by short names. The folder where we are stays the same.
    let long = layer(&["x".repeat(200), "y".repeat(200)].join("/"), &[("long", "long\n")])?;
    let chain: Vec<&str> = all[..400].iter().map(String::as_str).chain([long.as_str()]).collect();
    let run = on(case, &chain, &["-v", "./demo/etc:/here"], "cat /long /same; ls /here/passwd")?;
    run.code_is(0)?.out_is("long\n399/here/passwd")?;
    Ok(())
}

pub fn a_read_only_root_of_layers_cannot_be_changed(case: &Case) -> Verdict {
    // An image without the files that the network lays over it: their places are made, in no layer.
    for name in ["hosts", "hostname", "resolv.conf"] {
        fs::remove_file(case.demo().join("etc").join(name))?;
    }
    on(case, &["demo"], &[], "test -s /etc/hosts && echo hosts")?.code_is(0)?.out_is("hosts")?;
    for name in ["hosts", "hostname", "resolv.conf"] {
        same("in the layer afterwards", false, case.demo().join("etc").join(name).exists())?;
        fs::write(case.demo().join("etc").join(name), "")?;
    }
    let script = "touch /new || echo cannot; rm /etc/passwd || echo cannot; touch /tmp/new && echo can; \
                  test -s /etc/hosts && echo hosts";
    let run = on(case, &["demo"], &["--read-only", "--tmpfs", "/tmp"], script)?;
    run.out_is("cannot\ncannot\ncan\nhosts")?;
    same("containers afterwards", Vec::<String>::new(), names_in("containers"))
}

pub fn volumes_lie_on_layers(case: &Case) -> Verdict {
    let data = layer("data", &[("srv/list", "one\n")])?;
    symlink("/srv", Path::new(&data).join("data"))?;
    fs::create_dir_all("/tmp/source")?;
    fs::write("/tmp/source/file", "outside\n")?;
    let flags =
        ["-v", "/tmp/source:/data/deep/er", "-v", "/tmp/source/file:/srv/list:ro", "--tmpfs", "/srv/scratch"];
    let run = on(
        case,
        &["demo", &data],
        &flags,
        "cat /srv/deep/er/file /srv/list; touch /srv/scratch/x; ls /proc/1/exe /dev/null",
    )?;
    run.code_is(0)?.out_is("outside\noutside\n/dev/null\n/proc/1/exe")?;
    same(
        "what was made in the layer",
        vec!["list"],
        names(&Path::new(&data).join("srv"))?.iter().map(String::as_str).collect(),
    )?;
    // Nothing of the host is left in sight.
    let table = on(case, &["demo", &data], &[], "cat /proc/self/mountinfo; probe chroot-escape")?;
    table.code_is(0)?.out_lacks("containers/x")?.out_has("data")?;
    table.claim(
        table.out.lines().filter(|line| line.contains("- overlay")).count() == 1,
        "one overlay in the mount table",
    )?;
    Ok(())
}

fn names(folder: &Path) -> Result<Vec<String>, Trouble> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

pub fn users_are_those_of_the_union(case: &Case) -> Verdict {
    let passwd = "root:x:0:0:root:/root:/bin/sh\npilot:x:0:0:pilot:/home/pilot:/bin/sh\n";
    let low = layer("low", &[("usr/share/accounts", passwd), ("usr/share/groups", "root:x:0:\n")])?;
    let high = layer("high", &[("srv/x", "")])?;
    fs::create_dir_all(format!("{high}/etc"))?;
    // A link in one layer to a file in another.
    symlink("../usr/share/accounts", format!("{high}/etc/passwd"))?;
    symlink("/usr/share/groups", format!("{high}/etc/group"))?;
    on(case, &["demo", &low, &high], &["-u", "pilot"], "echo $HOME")?.code_is(0)?.out_is("/home/pilot")?;
    on(case, &["demo", &low], &["-u", "pilot"], "echo $HOME")?
        .code_is(125)?
        .err_has("pilot")?
        .err_is_one_line()?;
    // Also one that the container itself has made.
    kept(case, &["demo"], "quay", "echo captain:x:0:0::/home/captain:/bin/sh >> /etc/passwd")?.code_is(0)?;
    on(case, &["demo"], &["--name", "quay", "--keep", "-u", "captain"], "echo $HOME")?
        .code_is(0)?
        .out_is("/home/captain")?;
    Ok(())
}

/// Runs the binary as an ordinary user, with a state directory of her own.
fn ordinary(case: &Case, words: &[&str]) -> Result<Run, Trouble> {
    fs::create_dir_all("/tmp/hers")?;
    std::os::unix::fs::chown("/tmp/hers", Some(ordinary_id(case)), None)?;
    let change = |command: &mut std::process::Command| {
        command.env("GANTRY_STATE", "/tmp/hers");
        become_ordinary(case, command, &[]);
    };
    case.start_with(words, change)?.wait()
}

pub fn without_rights_it_works_too(case: &Case) -> Verdict {
    own_demo(case, ordinary_id(case))?;
    let data = layer("data", &[("srv/list", "one\n"), ("srv/folder/old", "")])?;
    // User and group: what has an id that she has not cannot be copied up.
    let ids = format!("{0}:{0}", ordinary_id(case));
    std::process::Command::new("chown").args(["-R", &ids, &data]).status()?;
    let words = ["run", "--layer", "demo", "--layer", &data, "--network", "none"];
    let script = "id -u; echo two >> /srv/list; rm -r /srv/folder /opt; mkdir /srv/folder; \
                  ls /srv/folder; cat /srv/list";
    let thrown = ordinary(case, &[&words[..], &["-u", "root", "--", "sh", "-c", script]].concat())?;
    thrown.code_is(0)?.out_is("0\none\ntwo")?;
    same("containers afterwards", 0, fs::read_dir("/tmp/hers/containers")?.count())?;
    let keep = ["--name", "quay", "--keep", "--", "sh", "-c", script];
    ordinary(case, &[&words[..], &keep].concat())?.code_is(0)?.out_is("0\none\ntwo")?;
    ordinary(case, &["diff", "quay"])?
        .code_is(0)?
        .out_is("D /opt\nC /srv\nC /srv/folder\nD /srv/folder/old\nC /srv/list")?;
    ordinary(case, &["containers", "rm", "quay"])?.code_is(0)?;
    same("containers at the end", 0, fs::read_dir("/tmp/hers/containers")?.count())
}

pub fn layers_have_the_containers_ids(case: &Case) -> Verdict {
    let data = layer("data", &[("srv/list", "one\n"), ("srv/folder/old", "")])?;
    if case.ground == Ground::User {
        // One id: it is the same inside.
        let run = on(
            case,
            &["demo", &data],
            &["--uid-map", "0:0:1"],
            "id -u; stat -c %u /srv/list; echo two >> /srv/list",
        )?;
        run.code_is(0)?.out_is("0\n0")?;
        return Ok(());
    }
    std::os::unix::fs::chown(format!("{data}/srv/list"), Some(1000), Some(1000))?;
    let flags = ["--uid-map", "0:100000:65536", "--name", "quay", "--keep"];
    let script = "stat -c '%u:%g' /etc/passwd /srv/list; echo two >> /srv/list; rm -r /srv/folder; mkdir /srv/folder; \
                  touch /made; chown 5:6 /made; stat -c '%u:%g' /made";
    let run = on(case, &["demo", &data], &flags, script)?;
    run.code_is(0)?.out_is("0:0\n1000:1000\n5:6")?;
    // The disk has the ids of the image.
    let owner = |path: &str| -> Result<(u32, u32), Trouble> {
        let found = fs::metadata(folder_of("quay").join("upper").join(path))?;
        Ok((found.uid(), found.gid()))
    };
    same("the owner on the disk of what 5:6 owns inside", (5, 6), owner("made")?)?;
    same("the owner on the disk of a changed file", (1000, 1000), owner("srv/list")?)?;
    same("the owner on the disk of a folder that root made", (0, 0), owner("srv/folder")?)?;
    let diff = case.run(&["diff", "quay"])?;
    diff.code_is(0)?.out_is("A /made\nC /srv\nC /srv/folder\nD /srv/folder/old\nC /srv/list")?;
    // Nobody else comes near.
    let others = fs::metadata(folder_of("quay"))?.mode() & 0o7;
    same("what others may do in the container's folder", 0, others)?;
    on(case, &["demo", &data], &flags[2..], "true")?.code_is(125)?.err_has("--uid-map")?.err_is_one_line()?;
    Ok(())
}

pub fn users_of_a_kept_container_are_its_own(case: &Case) -> Verdict {
    let users = "root:x:0:0::/root:/bin/sh\nmate:x:0:0::/home/mate:/bin/sh\n";
    let crew = layer("crew", &[("crew/passwd", users)])?;
    fs::create_dir_all(format!("{crew}/etc"))?;
    symlink("/crew/passwd", format!("{crew}/etc/passwd"))?;
    let layers = ["demo", &crew];
    let flags = ["--name", "quay", "--keep", "--uid-map", "0:100000:65536"];
    let flags = if case.ground == Ground::User { &flags[..3] } else { &flags[..] };
    let named = |user| on(case, &layers, &[flags, &["-u", user]].concat(), "echo $HOME; ls /crew");
    named("mate")?.code_is(0)?.out_is("/home/mate\npasswd")?;
    // What it made opaque hides for those who look up its users, too: whichever notes its mount has written.
    let script =
        "rm -r /crew; mkdir /crew; ls /crew; echo captain:x:0:0::/home/captain:/bin/sh > /crew/captain";
    on(case, &layers, flags, script)?.code_is(0)?.out_is("")?;
    named("mate")?.code_is(125)?.err_has("mate")?.err_is_one_line()?;
    on(case, &layers, flags, "mv /crew/captain /crew/passwd")?.code_is(0)?;
    named("captain")?.code_is(0)?.out_is("/home/captain\npasswd")?;
    named("mate")?.code_is(125)?.err_has("mate")?.err_is_one_line()?;
    Ok(())
}

pub fn wrong_use_of_layers_is_told(case: &Case) -> Verdict {
    for (flags, word) in [
        (&["--layer", "/no/such/folder"][..], "/no/such/folder"),
        (&["--layer", "/etc/passwd"], "folder"),
        (&["--layer", "demo", "--rootfs", "demo"], "--rootfs"),
        (&["--layer", "0123456789abcdef"], "layer"),
        (&["--layer", "demo", "--keep"], "--name"),
        (&["--rootfs", "demo", "--keep", "--name", "x"], "layers"),
        (&["--layer", "demo", "--name", "../x", "--keep"], "name"),
        (&["--layer", "demo", "--layer", "demo"], "twice"),
        (&["--layer", "demo", "--layer", "/proc"], "layer"),
    ] {
        let run = case.sh(&[flags, &["--network", "host"]].concat(), "true")?;
        run.code_is(125)?
            .err_has(word)?
            .err_is_one_line()?
            .claim(!run.err.contains("copied"), "no copy is tried")?;
    }
    let left = fs::read_dir(Path::new(STATE).join("containers"))?.count();
    same("containers afterwards", 0, left)?;
    on(case, &["demo"], &[], "true")?.code_is(0)?;
    Ok(())
}
