//! Stage 7: what a layer's whiteouts do, in a union and to a plain tree, and that both agree.

use super::overlay::on;
use super::overlay_attacks::target;
use super::overlay_layers::import;
use super::overlay_tar::Tar;
use crate::stage::case::Case;
use crate::stage::verdict::{Trouble, Verdict, same};

pub fn whiteouts_hide_what_lies_below(case: &Case) -> Verdict {
    let low = Tar::default()
        .file("srv/gone", "")
        .file("srv/kept", "")
        .file("srv/folder/old", "")
        .file("srv/anew/old", "");
    let low = import(case, &low.file("srv/late/old", "").file("srv/both/old", ""), "")?;
    let high = Tar::default()
        .file("srv/.wh.gone", "")
        .file("srv/folder/.wh..wh..opq", "")
        .file("srv/folder/new", "")
        // A folder removed and made anew in one layer hides what it was; in whatever order that is said.
        .file("srv/.wh.anew", "")
        .folder("srv/anew")
        .file("srv/anew/new", "")
        .file("srv/both/new", "")
        .file("srv/.wh.both", "")
        // It comes last, and does not concern what the layer has itself.
        .file("srv/late/new", "")
        .file("srv/late/.wh..wh..opq", "")
        .file("srv/.wh.never-was", "");
    let high = import(case, &high, &low)?;
    let list = "cd /srv; for f in *; do test -d $f && echo $f: $(ls -A $f) || echo $f; done";
    let expected = "anew: new\nboth: new\nfolder: new\nkept\nlate: new";
    on(case, &["demo", &high], &[], list)?.code_is(0)?.out_is(expected)?;
    // A third layer brings a file back.
    let third = import(case, &Tar::default().file("srv/gone", "back\n"), &high)?;
    on(case, &["demo", &third], &[], "cat /srv/gone; ls -A /srv/folder")?.code_is(0)?.out_is("back\nnew")?;
    on(case, &["demo", &low], &[], "ls /srv/folder /srv/gone")?.code_is(0)?.out_has("old")?;
    Ok(())
}

pub fn whiteouts_remove_from_a_tree(case: &Case) -> Verdict {
    let tree = target()?;
    let base = Tar::default()
        .file("gone", "")
        .file("kept", "")
        .file("folder/deep/old", "")
        .file("folder/old", "")
        .file("all/x/y", "");
    base.write("/tmp/layer.tar")?;
    case.run(&["apply", "/tmp/layer.tar", "/tmp/target/tree"])?.code_is(0)?;
    let change = Tar::default()
        .file("folder/new", "")
        .file("folder/.wh..wh..opq", "")
        .file(".wh.gone", "")
        .file(".wh.all", "")
        .file("made", "")
        .file(".wh.made", "");
    change.write("/tmp/layer.tar")?;
    case.run(&["apply", "/tmp/layer.tar", "/tmp/target/tree"])?.code_is(0)?;
    let found: Vec<String> = super::mount::tree(tree)?
        .iter()
        .filter_map(|line| line.split(' ').next().map(str::to_owned))
        .collect();
    let expected = ["folder", "folder/new", "kept", "made"].map(|name| format!("/tmp/target/tree/{name}"));
    same("the tree", expected.to_vec(), found)
}

/// The tree that is applied to, as a list of paths.
fn applied() -> Result<Vec<String>, Trouble> {
    let lines = super::mount::tree(std::path::Path::new("/tmp/target/tree"))?;
    let paths = lines.iter().filter_map(|line| line.split(' ').next()?.strip_prefix("/tmp/target/tree/"));
    Ok(paths.map(str::to_owned).collect())
}

pub fn a_union_and_a_tree_agree(case: &Case) -> Verdict {
    let low = Tar::default().file("w/docs/old", "").file("w/docs/sub/old", "").file("w/kept", "");
    let id = import(case, &low, "")?;
    let new = |name: &str| Tar::default().file(&format!("w/docs/{name}"), "");
    let cases = [
        // A whiteout that comes late takes only what was there before, at every depth.
        (new("new").file("w/.wh.docs", ""), "docs/new"),
        (new("sub/new").file("w/.wh.docs", ""), "docs/sub docs/sub/new"),
        (new("sub/new").file("w/docs/.wh..wh..opq", ""), "docs/sub docs/sub/new"),
        (new("sub/new").file("w/docs/.wh.sub", ""), "docs/old docs/sub docs/sub/new"),
        (new("x").file("w/docs/.wh.x", "").file("w/.wh.docs", "").file("w/docs/y", ""), "docs/x docs/y"),
        // One that comes early needs no entry for the folder that is made anew.
        (Tar::default().file("w/.wh.docs", "").file("w/docs/new", ""), "docs/new"),
        (Tar::default().file("w/.wh.docs", "").file("w/docs/sub/new", ""), "docs/sub docs/sub/new"),
        (Tar::default().file("w/.wh.docs", "").folder("w/docs").file("w/docs/new", ""), "docs/new"),
        // A file hides as well, and the folder that takes its place does not show again what it hid.
        (Tar::default().file("w/docs", "").folder("w/docs").file("w/docs/new", ""), "docs/new"),
        (Tar::default().link("w/docs", "kept").folder("w/docs").file("w/docs/new", ""), "docs/new"),
    ];
    for (high, expected) in cases {
        let mut expected: Vec<String> = expected.split(' ').map(|path| format!("w/{path}")).collect();
        expected.extend(["w", "w/docs", "w/kept"].map(str::to_owned));
        expected.sort();
        target()?;
        for tar in [&low, &high] {
            tar.write("/tmp/layer.tar")?;
            case.run(&["apply", "/tmp/layer.tar", "/tmp/target/tree"])?.code_is(0)?;
        }
        same("the tree", expected.clone(), applied()?)?;
        let top = import(case, &high, &id)?;
        let run = on(case, &["demo", &top], &[], "find /w | sort | cut -c 2-")?;
        run.code_is(0)?.out_is(&expected.join("\n"))?;
    }
    Ok(())
}

pub fn no_layer_hides_all_that_lies_below(case: &Case) -> Verdict {
    let low = Tar::default().file("w/docs/old", "").file("w/kept", "");
    // What no union can show is no layer; a tree can be cleared.
    target()?;
    let all = Tar::default().file("only", "").file(".wh..wh..opq", "");
    for tar in [&low, &all] {
        tar.write("/tmp/layer.tar")?;
        case.run(&["apply", "/tmp/layer.tar", "/tmp/target/tree"])?.code_is(0)?;
    }
    same("the tree", vec!["only".to_owned()], applied()?)?;
    case.run(&["layer", "import", "/tmp/layer.tar"])?.code_is(125)?.err_has("union")?.err_is_one_line()?;
    Ok(())
}
