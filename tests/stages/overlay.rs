//! Stage 7: what is claimed of `overlay`: containers on layers.
//!
//! What a union does stands here; the ways in which one is made in `overlay_union.rs`, layers in
//! `overlay_layers.rs` and `overlay_whiteouts.rs`, their store in `overlay_store.rs` and `overlay_crash.rs`, hostile ones in
//! `overlay_attacks.rs`.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;

use super::overlay_attacks::{
    a_damaged_tar_is_told, a_tar_makes_what_it_says, a_whiteout_has_no_second_name,
    links_of_a_layer_are_not_followed, nothing_is_made_outside_of_a_layer,
    overlays_own_marks_cannot_be_forged, the_last_entry_of_a_name_counts,
    what_has_no_field_stands_in_records, wrong_whiteouts_are_refused,
};
use super::overlay_crash::{
    a_killed_unpack_leaves_nothing, what_cannot_be_removed_is_told_with_its_place,
    what_killed_runners_left_is_removed,
};
use super::overlay_layers::{
    a_broken_promise_leaves_nothing, a_commit_is_the_same_tree, a_failed_commit_leaves_the_file,
    a_layer_is_called_by_what_lies_below, a_layer_may_be_compressed, a_random_series_ends_in_the_same_tree,
    layers_are_copied_where_they_cannot_be_stacked, many_at_once_make_one_layer,
};
use super::overlay_store::{
    a_damaged_record_stops_nobody_else, a_layer_does_not_depend_on_a_umask, a_layer_that_is_used_stays,
    a_parent_that_goes_meanwhile_is_told,
};
use super::overlay_union::{
    a_chain_is_as_long_as_the_kernel_takes, a_read_only_root_of_layers_cannot_be_changed,
    layers_have_the_containers_ids, users_are_those_of_the_union, users_of_a_kept_container_are_its_own,
    volumes_lie_on_layers, without_rights_it_works_too, wrong_use_of_layers_is_told,
};
use super::overlay_whiteouts::{
    a_union_and_a_tree_agree, no_layer_hides_all_that_lies_below, whiteouts_hide_what_lies_below,
    whiteouts_remove_from_a_tree,
};
use crate::stage::case::{Case, Run, write};
use crate::stage::tests;
use crate::stage::verdict::{Trouble, Verdict, holds, same};

tests![
    a_write_leaves_the_layers_as_they_were,
    a_removed_file_is_hidden_by_a_whiteout,
    a_folder_made_anew_is_opaque,
    a_changed_file_is_another_file,
    a_folder_of_a_layer_is_not_renamed,
    containers_share_layers_and_not_what_they_write,
    a_container_is_thrown_away,
    a_kept_container_goes_on,
    a_chain_is_as_long_as_the_kernel_takes,
    a_read_only_root_of_layers_cannot_be_changed,
    volumes_lie_on_layers,
    users_are_those_of_the_union,
    users_of_a_kept_container_are_its_own,
    without_rights_it_works_too,
    layers_have_the_containers_ids,
    wrong_use_of_layers_is_told,
    what_killed_runners_left_is_removed,
    what_cannot_be_removed_is_told_with_its_place,
    a_diff_tells_what_changed,
    a_diff_looks_through_all_layers,
    a_diff_has_one_line_for_each_change,
    a_tar_makes_what_it_says,
    what_has_no_field_stands_in_records,
    nothing_is_made_outside_of_a_layer,
    links_of_a_layer_are_not_followed,
    the_last_entry_of_a_name_counts,
    overlays_own_marks_cannot_be_forged,
    a_damaged_tar_is_told,
    a_layer_is_called_by_what_lies_below,
    a_layer_may_be_compressed,
    a_broken_promise_leaves_nothing,
    many_at_once_make_one_layer,
    a_layer_that_is_used_stays,
    a_parent_that_goes_meanwhile_is_told,
    a_layer_does_not_depend_on_a_umask,
    a_damaged_record_stops_nobody_else,
    a_killed_unpack_leaves_nothing,
    whiteouts_hide_what_lies_below,
    whiteouts_remove_from_a_tree,
    a_union_and_a_tree_agree,
    no_layer_hides_all_that_lies_below,
    wrong_whiteouts_are_refused,
    a_whiteout_has_no_second_name,
    a_commit_is_the_same_tree,
    a_failed_commit_leaves_the_file,
    a_random_series_ends_in_the_same_tree,
    layers_are_copied_where_they_cannot_be_stacked,
];

/// Where the engine keeps what it must remember.
pub(super) const STATE: &str = "/tmp/gantry";

/// Runs a script on layers, the lowest first, with the host's network: its files are not those of an image.
pub(super) fn on(case: &Case, layers: &[&str], flags: &[&str], script: &str) -> Result<Run, Trouble> {
    let layers: Vec<&str> = layers.iter().flat_map(|layer| ["--layer", *layer]).collect();
    case.sh(&[&layers, &["--network", "host"][..], flags].concat(), script)
}

/// Runs a script in a container that is kept as `name`.
pub(super) fn kept(case: &Case, layers: &[&str], name: &str, script: &str) -> Result<Run, Trouble> {
    on(case, layers, &["--name", name, "--keep"], script)
}

/// A layer with these files; its path.
pub(super) fn layer(name: &str, files: &[(&str, &str)]) -> Result<String, Trouble> {
    let folder = Path::new("/tmp/layers").join(name);
    fs::create_dir_all(&folder)?;
    files.iter().try_for_each(|(path, text)| write(&folder.join(path), text))?;
    Ok(folder.display().to_string())
}

/// A container's own folder.
pub(super) fn folder_of(name: &str) -> PathBuf {
    Path::new(STATE).join("containers").join(name)
}

/// The names in a folder of the state directory.
pub(super) fn names_in(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(Path::new(STATE).join(folder)).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

pub fn a_write_leaves_the_layers_as_they_were(case: &Case) -> Verdict {
    let data = layer("data", &[("srv/list", "one\n"), ("srv/other", "other\n")])?;
    let before = (super::mount::tree(Path::new(&data))?, super::mount::tree(&case.demo())?);
    let script =
        "cat /srv/list; echo two >> /srv/list; echo new > /srv/new; rm /srv/other; cat /srv/list; ls /srv";
    let run = on(case, &["demo", &data], &[], script)?;
    run.code_is(0)?.out_is("one\none\ntwo\nlist\nnew")?;
    same(
        "the layers afterwards",
        before,
        (super::mount::tree(Path::new(&data))?, super::mount::tree(&case.demo())?),
    )?;
    same("the file in the layer", "one\n".to_owned(), fs::read_to_string(format!("{data}/srv/list"))?)
}

pub fn a_removed_file_is_hidden_by_a_whiteout(case: &Case) -> Verdict {
    let data = layer("data", &[("srv/list", "one\n"), ("srv/folder/file", "")])?;
    let run = kept(
        case,
        &["demo", &data],
        "quay",
        "rm /srv/list; rm -r /srv/folder; touch /srv/own; rm /srv/own; ls /srv",
    )?;
    run.code_is(0)?.out_is("")?;
    let upper = folder_of("quay").join("upper/srv");
    for name in ["list", "folder"] {
        let found = fs::symlink_metadata(upper.join(name))?;
        let (device, number) = (found.file_type().is_char_device(), found.rdev());
        same(
            &format!("whether upper/srv/{name} is a character device, and its number"),
            (true, 0),
            (device, number),
        )?;
    }
    holds(!upper.join("own").exists(), "what is in no layer needs no whiteout", "there is upper/srv/own")
}

pub fn a_folder_made_anew_is_opaque(case: &Case) -> Verdict {
    let data = layer("data", &[("srv/folder/old", ""), ("srv/folder/older", "")])?;
    let script = "rm -r /srv/folder; mkdir /srv/folder; touch /srv/folder/new; ls /srv/folder";
    kept(case, &["demo", &data], "quay", script)?.code_is(0)?.out_is("new")?;
    // It hides by one mark, not by a whiteout for each.
    let inside = fs::read_dir(folder_of("quay").join("upper/srv/folder"))?.count();
    same("files in the upper folder", 1, inside)?;
    kept(case, &["demo", &data], "quay", "ls /srv/folder")?.out_is("new")?;
    Ok(())
}

pub fn a_changed_file_is_another_file(case: &Case) -> Verdict {
    let data = layer("data", &[("srv/list", "old\n"), ("srv/big", &"x".repeat(100_000))])?;
    fs::hard_link(format!("{data}/srv/list"), format!("{data}/srv/second"))?;
    // Whoever had it open before reads on in the copy (since Linux 4.19). But its other name is left behind.
    let script =
        "exec 3< /srv/list; echo new > /srv/list; cat <&3; cat /srv/list /srv/second; chmod 600 /srv/big";
    kept(case, &["demo", &data], "quay", script)?.code_is(0)?.out_is("new\nnew\nold")?;
    // Not a byte of it was changed, and yet all of it was copied up.
    let copied = fs::metadata(folder_of("quay").join("upper/srv/big"))?;
    same(
        "size and mode of a file whose mode was changed",
        (100_000, 0o600),
        (copied.len(), copied.mode() & 0o777),
    )
}

pub fn a_folder_of_a_layer_is_not_renamed(case: &Case) -> Verdict {
    let data = layer("data", &[("srv/folder/file", "text\n")])?;
    // mv(1) gets EXDEV, as between file systems, and copies.
    let script =
        "mv /srv/folder /srv/moved && cat /srv/moved/file; ls /srv; mkdir /srv/own; mv /srv/own /srv/renamed";
    kept(case, &["demo", &data], "quay", script)?.code_is(0)?.out_is("text\nmoved")?;
    let upper = folder_of("quay").join("upper/srv");
    let copied = fs::read_to_string(upper.join("moved/file")).unwrap_or_default();
    same("the file in the upper folder: no note says where it came from", "text\n".to_owned(), copied)?;
    let mark = fs::symlink_metadata(upper.join("folder"))?.file_type().is_char_device();
    holds(mark, "a whiteout hides the folder's old name", "there is none")
}

pub fn containers_share_layers_and_not_what_they_write(case: &Case) -> Verdict {
    let data = layer("data", &[("srv/list", "one\n")])?;
    let layers =
        ["run", "--layer", "demo", "--layer", &data, "--network", "host", "-v", "/tmp/signs:/signs", "--"];
    let script = "echo mine > /srv/list; echo ready; while ! test -e /signs/go; do sleep 0.01; done; \
                  cat /srv/list; ls /srv";
    fs::create_dir_all("/tmp/signs")?;
    let first = case.start(&[&layers[..], &["sh", "-c", script]].concat())?.until_ready()?;
    let second = on(case, &["demo", &data], &[], "cat /srv/list; echo other > /srv/list; touch /srv/others")?;
    fs::write("/tmp/signs/go", "")?;
    let first = first.wait()?;
    second.code_is(0)?.out_is("one")?;
    first.code_is(0)?.out_is("ready\nmine\nlist")?;
    Ok(())
}

pub fn a_container_is_thrown_away(case: &Case) -> Verdict {
    let run = on(case, &["demo"], &[], "echo 1 > /new; mkdir -p /deep/er; ls /")?;
    run.code_is(0)?.out_has("new")?;
    same("containers afterwards", Vec::<String>::new(), names_in("containers"))?;
    // Also if it could not start.
    let failed = on(case, &["demo"], &["-w", "/nowhere"], "true")?;
    failed.claim(failed.code != 0, "it cannot start in a folder that there is not")?;
    on(case, &["demo"], &["--user", "nobody-here"], "true")?.code_is(125)?;
    same("containers after a failed start", Vec::<String>::new(), names_in("containers"))?;
    // Folders in folders, deeper than a path may be long.
    let deep = "mkdir /d; cd /d; i=0; \
                while test $i -lt 60; do d=$(printf '%0200d' $i); mkdir $d; cd $d; i=$((i+1)); done; echo $i";
    on(case, &["demo"], &[], deep)?.out_has("60")?;
    same("containers after a deep one", Vec::<String>::new(), names_in("containers"))?;
    // And if its runner is killed, the next one removes it.
    let running = case.start(&[
        "run",
        "--layer",
        "demo",
        "--network",
        "host",
        "--",
        "sh",
        "-c",
        "echo ready; sleep 100",
    ])?;
    let running = running.until_ready()?;
    on(case, &["demo"], &[], "true")?.code_is(0)?;
    same("containers while one runs", 1, names_in("containers").len())?;
    running.signal(Signal::SIGKILL)?;
    running.wait()?.code_is(137)?;
    crate::stage::case::eventually("the next runner removes what a killed one left", || {
        on(case, &["demo"], &[], "true")?.code_is(0)?;
        Ok(names_in("containers").is_empty())
    })
}

pub fn a_kept_container_goes_on(case: &Case) -> Verdict {
    let data = layer("data", &[("srv/list", "one\n")])?;
    kept(case, &["demo", &data], "quay", "echo two >> /srv/list; rm -r /opt")?.code_is(0)?;
    kept(case, &["demo", &data], "quay", "cat /srv/list; ls -d /opt")?.out_is("one\ntwo")?;
    case.run(&["containers", "ls"])?.code_is(0)?.out_has("quay")?.out_has("kept")?;
    // It is not mixed up with others: on other layers its changes mean nothing.
    kept(case, &["demo"], "quay", "true")?.code_is(125)?.err_has("other layers")?.err_is_one_line()?;
    on(case, &["demo", &data], &["--name", "quay"], "true")?
        .code_is(125)?
        .err_has("--keep")?
        .err_is_one_line()?;
    kept(case, &["demo", &data], "quay", "cat /srv/list")?.out_is("one\ntwo")?;
    // One runner at a time.
    let words =
        ["run", "--layer", "demo", "--layer", &data, "--network", "host", "--name", "quay", "--keep", "--"];
    let running =
        case.start(&[&words[..], &["sh", "-c", "echo ready; sleep 100"]].concat())?.until_ready()?;
    let refused = kept(case, &["demo", &data], "quay", "true")?;
    let removed = case.run(&["containers", "rm", "quay"])?;
    case.run(&["containers", "ls"])?.out_has("runs")?;
    running.signal(Signal::SIGTERM)?;
    running.signal(Signal::SIGKILL)?;
    running.wait()?;
    // A killed runner leaves its cgroup, too.
    case.run(&["clean"])?.code_is(0)?;
    refused.code_is(125)?.err_has("runs")?.err_is_one_line()?;
    removed.code_is(125)?.err_has("runs")?.err_is_one_line()?;
    case.run(&["containers", "rm", "quay"])?.code_is(0)?;
    same("containers afterwards", Vec::<String>::new(), names_in("containers"))
}

pub fn a_diff_tells_what_changed(case: &Case) -> Verdict {
    let files =
        [("srv/list", "one\n"), ("srv/gone", ""), ("srv/kept", ""), ("srv/folder/old", ""), ("srv/mode", "")];
    let data = layer("data", &files)?;
    let script = "cd /srv; echo two >> list; rm gone; mkdir -p new/deep; touch new/deep/file made; rm made; \
                  rm -r folder; mkdir folder; touch folder/fresh; chmod 600 mode; ln -s x link";
    kept(case, &["demo", &data], "quay", script)?.code_is(0)?;
    let expected = "C /srv\nC /srv/folder\nA /srv/folder/fresh\nD /srv/folder/old\nD /srv/gone\n\
                    A /srv/link\nC /srv/list\nC /srv/mode\nA /srv/new\nA /srv/new/deep\nA /srv/new/deep/file";
    case.run(&["diff", "quay"])?.code_is(0)?.out_is(expected)?;
    kept(case, &["demo", &data], "idle", "cat /srv/list > /dev/null")?.code_is(0)?;
    case.run(&["diff", "idle"])?.code_is(0)?.out_is("")?;
    case.run(&["diff", "nobody"])?.code_is(125)?.err_has("containers ls")?.err_is_one_line()?;
    Ok(())
}

pub fn a_diff_has_one_line_for_each_change(case: &Case) -> Verdict {
    // Names that would add a line, or write elsewhere on a terminal.
    let script =
        r#"cd /srv; touch "$(printf 'a\nD srv')" "$(printf 'b\033[2J')" "$(printf 'c\377')" 'd\e f'"#;
    kept(case, &["demo"], "quay", script)?.code_is(0)?;
    let expected = "C /srv\nA /srv/a\\nD srv\nA /srv/b\\033[2J\nA /srv/c\\377\nA /srv/d\\\\e f";
    case.run(&["diff", "quay"])?.code_is(0)?.out_is(expected)?;
    // Deeper than a process may have files open at first; and too deep.
    let hundred = ["d"; 100].join("/");
    let deep = |hundreds| {
        format!("cd /srv; for i in $(seq {hundreds}); do mkdir -p {hundred}; cd {hundred}; done; pwd | wc -c")
    };
    kept(case, &["demo"], "deep", &deep(7))?.code_is(0)?.out_is("1405")?;
    let few = |command: &mut Command| {
        // SAFETY: two system calls.
        unsafe {
            command.pre_exec(|| {
                let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
                Ok(setrlimit(Resource::RLIMIT_NOFILE, most.min(512), most)?)
            })
        };
    };
    let diff = case.start_with(&["diff", "deep"], few)?.wait()?;
    diff.code_is(0)?.claim(diff.out.lines().count() == 701, "701 lines")?;
    kept(case, &["demo"], "deeper", &deep(11))?.code_is(0)?.out_is("2205")?;
    case.run(&["diff", "deeper"])?.code_is(125)?.err_has("1000")?.err_is_one_line()?;
    case.run(&["containers", "rm", "deep", "deeper", "quay"])?.code_is(0)?;
    Ok(())
}

pub fn a_diff_looks_through_all_layers(case: &Case) -> Verdict {
    let (low, high) = (layer("low", &[("srv/a", ""), ("srv/b", "")])?, layer("high", &[("srv/c", "")])?);
    // A file that a layer removed, and a folder that a layer hides, were not there before.
    kept(case, &["demo", &low, &high], "one", "rm /srv/a")?.code_is(0)?;
    let middle = folder_of("one").join("upper").display().to_string();
    kept(case, &["demo", &low, &high, &middle], "two", "touch /srv/a /srv/b; rm /srv/c")?.code_is(0)?;
    case.run(&["diff", "two"])?.code_is(0)?.out_is("C /srv\nA /srv/a\nC /srv/b\nD /srv/c")?;
    // A single layer.
    kept(case, &["demo"], "three", "rm -r /opt; mkdir /opt; touch /opt/x")?.code_is(0)?;
    case.run(&["diff", "three"])?.code_is(0)?.out_is("C /opt\nA /opt/x")?;
    Ok(())
}
