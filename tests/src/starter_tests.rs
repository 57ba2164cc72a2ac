//! What the generator's text changes do, and what they refuse.

use super::*;
use crate::course::Course;

/// A course whose first chapter has these exercises, as (number, anchor, title).
fn chapter(exercises: &[(&str, &str, &str)]) -> Chapter {
    let mut text = String::from(
        r#"
        title = "T"
        [[chapter]]
        number = 0
        title = "Before"
        file = "a.md"
        minutes = { read = 1, build = 1, break = 1 }
        goals = []
        before = ""
        after = ""
        [[chapter]]
        number = 1
        dir = "01-process"
        crate = "process"
        title = "A"
        file = "b.md"
        minutes = { read = 1, build = 1, break = 1 }
        goals = []
        before = ""
        after = ""
        "#,
    );
    for (number, anchor, title) in exercises {
        text.push_str(&format!(
            "[[chapter.exercise]]\nid = \"process.{anchor}\"\nnumber = \"{number}\"\ntitle = {title:?}\n\
             file = \"src/lib.rs\"\nanchor = \"{anchor}\"\ngoal = \"g\"\ntests = [\"t\"]\n"
        ));
    }
    Course::parse(&text).unwrap().chapters.remove(1)
}

fn blanked(source: &str, exercises: &[(&str, &str, &str)]) -> Result<String> {
    let chapter = chapter(exercises);
    blank(source, &chapter.exercises.iter().collect::<Vec<_>>())
}

fn refusal(source: &str, exercises: &[(&str, &str, &str)]) -> String {
    format!("{:#}", blanked(source, exercises).unwrap_err())
}

/// A file with an exercise in it ...
const WRITTEN: &str = "\
/// Kept.
fn outside() {
    work();
}

// ANCHOR: gate
/// Waits.
fn wait(
    gate: &Gate,
) -> Result<()> {
    let text = \"}\";
    Ok(())
}

impl Gate {
    /// Opens.
    fn open(&self) {
        self.go()
    }

    fn nothing(&self) {}
}
// ANCHOR_END: gate
";

/// ... and as a learner gets it.
const BLANKED: &str = "\
/// Kept.
fn outside() {
    work();
}

// ANCHOR: gate
/// Waits.
fn wait(
    gate: &Gate,
) -> Result<()> {
    todo!(\"1.3 Hold \\\"it\\\" {{here}}\")
}

impl Gate {
    /// Opens.
    fn open(&self) {
        todo!(\"1.3 Hold \\\"it\\\" {{here}}\")
    }

    fn nothing(&self) {}
}
// ANCHOR_END: gate
";

#[test]
fn only_bodies_inside_the_anchor_change() {
    assert_eq!(blanked(WRITTEN, &[("1.3", "gate", "Hold \"it\" {here}")]).unwrap(), BLANKED);
}

#[test]
fn a_finer_anchor_inside_a_body_goes_with_it() {
    let source = "// ANCHOR: a\nfn f() {\n    // ANCHOR: fine\n    x();\n    // ANCHOR_END: fine\n}\n// ANCHOR_END: a\n";
    assert!(!blanked(source, &[("1.1", "a", "A")]).unwrap().contains("fine"));
}

#[test]
fn what_cannot_be_an_exercise_is_refused_by_name() {
    let one = [("1.1", "a", "A")];
    assert!(
        refusal("fn f() {}\n", &one).contains("exercise 1.1 (`a` in src/lib.rs): there is no anchor `a`")
    );
    assert!(refusal("// ANCHOR: a\nconst X: u8 = 1;\n// ANCHOR_END: a\n", &one).contains("no function"));
    assert!(refusal("// ANCHOR: a\nfn f() {\n// ANCHOR_END: a\n}\n", &one).contains("cuts through"));
    let const_fn = "// ANCHOR: a\npub const fn f() -> u8 {\n    1\n}\n// ANCHOR_END: a\n";
    assert!(refusal(const_fn, &one).contains("const fn"));
    let unnamed = "// ANCHOR: a\nfn f() -> impl Iterator<Item = u8> {\n    x\n}\n// ANCHOR_END: a\n";
    assert!(refusal(unnamed, &one).contains("impl"));
    let cut = "// ANCHOR: a\nfn f() {\n    // ANCHOR: b\n    x();\n}\n// ANCHOR_END: a\nfn g() {}\n// ANCHOR_END: b\n";
    assert!(refusal(cut, &one).contains("`// ANCHOR: b` is missing"));
}

#[test]
fn exercises_do_not_nest() {
    let source = "// ANCHOR: a\nfn f() {\n    1\n}\n// ANCHOR: b\nfn g() {\n    1\n}\n// ANCHOR_END: b\n// ANCHOR_END: a\n";
    assert!(refusal(source, &[("1.1", "a", "A"), ("1.2", "b", "B")]).contains("holds exercise 1.2"));
}

#[test]
fn only_the_crate_s_own_paths_are_renamed() {
    let source = "\
use std::process::Command;
use std::{fs, process::exit};
use process::spawn;

/// Like process::run.
fn main() {
    process::run(\"process::run\");
    std::process::exit(subprocess::code());
    if true {
        process::Child::new();
    }
}
";
    let renamed = rename(source, &chapter(&[])).unwrap();
    assert_eq!(renamed.matches("my_process").count(), 3, "{renamed}");
    for expected in ["use my_process::spawn;", "    my_process::run(\"process::run\");", "my_process::Child"]
    {
        assert!(renamed.contains(expected), "{expected} in:\n{renamed}");
    }
}

#[test]
fn a_renamed_import_moves_to_its_sorted_place() {
    let source = "use anyhow::Result;\nuse nix::unistd;\nuse process::{\n    A,\n    B,\n};\nuse std::fs;\n\nuse crate::x;\n";
    let renamed = rename(source, &chapter(&[])).unwrap();
    assert!(
        renamed.starts_with(
            "use anyhow::Result;\nuse my_process::{\n    A,\n    B,\n};\nuse nix::unistd;\nuse std"
        ),
        "{renamed}"
    );
}

/// A solution's manifest ...
const MANIFEST: &str = "\
# About this crate.
[package]
name = \"process\" # the floor
version.workspace = true

[[bin]]
name = \"process\"
path = \"src/main.rs\"

# Measured.
[[bench]]
name = \"birth\"
path = \"../../tests/bench/birth.rs\"

[dependencies]
# Why nix.
nix.workspace = true

[lints]
workspace = true
";

/// ... and the starter's.
const RENAMED: &str = "\
# About this crate.
[package]
name = \"my-process\" # the floor
version.workspace = true

[[bin]]
name = \"my-process\"
path = \"src/main.rs\"

[dependencies]
# Why nix.
nix.workspace = true

# Half-written code has things that are not used yet: no warnings for these.
[lints.rust]
unused = { level = \"allow\", priority = -1 }
unused_must_use = \"warn\"

[lints.clippy]
ptr_arg = \"allow\"
";

#[test]
fn the_manifest_keeps_its_comments_and_gets_name_and_lints() {
    assert_eq!(manifest(MANIFEST, &chapter(&[])).unwrap(), RENAMED);
}
