//! The learner's command, from outside: a small course in a scratch folder, and what the verbs do to it.

mod support;

use std::fs;
use std::path::Path;

use support::Fixture;
use workshop::course::Course;
use workshop::generate;
use workshop::progress::Progress;
use workshop::switchboard::{self, Owner};
use workshop::workspace;

const EXIT: &str = "chapters/01-process/src/exit.rs";

#[test]
fn a_starter_is_the_solution_without_the_bodies_of_its_exercises() {
    let fixture = Fixture::new();
    let expected = fixture
        .read("solutions/01-process/src/exit.rs")
        .replace(
            "    // ANCHOR: rule\n    let base = if signalled { base() } else { 0 };\n    // ANCHOR_END: rule\n    base + number\n",
            "    todo!(\"1.1 Turn a death into an exit code\")\n",
        )
        .replace(
            "    let names = BTreeMap::from([(9, \"KILL\"), (15, \"TERM\")]);\n    names.get(&number).copied()\n",
            "    todo!(\"1.2 Name a signal\")\n",
        );
    assert_eq!(fixture.read(EXIT), expected);
    let main = fixture.read("chapters/01-process/src/main.rs");
    assert!(
        main.contains("use my_process::exit_code;") && main.contains("use std::process::ExitCode;"),
        "{main}"
    );
    let manifest = fixture.read("chapters/01-process/Cargo.toml");
    assert!(manifest.contains("name = \"my-process\"") && !manifest.contains("bench"), "{manifest}");
    // A lower floor keeps its name: it comes from the switchboard.
    assert!(fixture.read("chapters/02-mount/src/lib.rs").contains("pub use process::exit_code"));
}

#[test]
fn starters_compile_without_a_warning_and_are_formatted() {
    let fixture = Fixture::new();
    let build = fixture.cargo(&["build", "--quiet", "--offline", "--workspace"]);
    assert_eq!((build.code, build.err.as_str()), (0, ""));
    let format = fixture.cargo(&["fmt", "--all", "--check"]);
    assert_eq!(format.code, 0, "{format:?}");
}

#[test]
fn generate_check_names_every_difference() {
    let fixture = Fixture::new();
    assert_eq!(fixture.run(&["generate", "--check"]).code, 0);
    fixture.edit(EXIT, "todo!(\"1.2 Name a signal\")", "None");
    fixture.write("chapters/01-process/src/mine.rs", "");
    fs::remove_file(fixture.root().join("chapters/02-mount/src/lib.rs")).unwrap();
    let run = fixture.run(&["generate", "--check"]);
    assert_eq!(run.code, 1);
    for line in [
        "chapters/01-process/src/exit.rs differs",
        "chapters/01-process/src/mine.rs is in no reference crate",
        "chapters/02-mount/src/lib.rs is missing",
    ] {
        assert!(run.err.contains(line), "{line} in {}", run.err);
    }
}

#[test]
fn generate_keeps_edits_aside_and_removes_only_what_it_wrote() {
    let fixture = Fixture::new();
    fixture.write("solutions/01-process/src/old.rs", "// Old.\n");
    fixture.run(&["generate"]);
    fs::remove_file(fixture.root().join("solutions/01-process/src/old.rs")).unwrap();
    fixture.edit(EXIT, "todo!(\"1.2 Name a signal\")", "None");
    fixture.write("chapters/01-process/src/mine.rs", "// Mine.\n");
    let run = fixture.run(&["generate"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(fixture.read(EXIT).contains("1.2 Name a signal"));
    assert!(workspace::read(&fixture.kept().join(EXIT)).unwrap().contains("None"));
    assert!(!fixture.root().join("chapters/01-process/src/old.rs").exists());
    assert_eq!(fixture.read("chapters/01-process/src/mine.rs"), "// Mine.\n");
    // A changed solution replaces an unedited starter without keeping anything.
    fixture.edit("solutions/01-process/src/exit.rs", "//! Exit codes.", "//! How it ended.");
    fixture.run(&["generate"]);
    assert!(fixture.read(EXIT).contains("How it ended"));
    fixture.kept();
}

#[test]
fn an_exercise_without_its_anchor_is_refused_and_nothing_is_written() {
    let fixture = Fixture::new();
    fixture.edit("solutions/01-process/src/exit.rs", "// ANCHOR: name", "// ANCHOR: nam");
    fixture.edit("solutions/01-process/src/exit.rs", "//! Exit codes.", "//! New.");
    let run = fixture.run(&["generate"]);
    assert_eq!(run.code, 1);
    assert!(run.err.contains("exercise 1.2") && run.err.contains("`// ANCHOR: name` is missing"), "{run:?}");
    assert!(fixture.read(EXIT).contains("//! Exit codes."));
}

#[test]
fn the_pristine_workspace_shows_neither_edits_nor_adoption() {
    let fixture = Fixture::new();
    let before = fixture.read(EXIT);
    fixture.edit(EXIT, "todo!(\"1.2 Name a signal\")", "None");
    assert_eq!(fixture.run(&["adopt", "1", "--force"]).code, 0);
    let folder = generate::pristine(fixture.root()).unwrap();
    assert_eq!(workspace::read(&folder.join(EXIT)).unwrap(), before);
    assert!(
        workspace::read(&folder.join("Cargo.toml")).unwrap().contains("process = { path = \"solutions/01")
    );
    let binary = workshop::build::binary(&folder, "my-process").unwrap();
    assert!(binary.starts_with(&folder), "{}", binary.display());
    let run = std::process::Command::new(binary).output().unwrap();
    assert!(String::from_utf8_lossy(&run.stderr).contains("1.2 Name a signal"));
    // A second time nothing is written anew, so cargo has nothing to build.
    let written = |name: &str| fs::metadata(folder.join(name)).unwrap().modified().unwrap();
    let times = (written(EXIT), written("Cargo.toml"));
    generate::pristine(fixture.root()).unwrap();
    assert_eq!((written(EXIT), written("Cargo.toml")), times);
}

#[test]
fn the_real_switchboard_goes_there_and_back_byte_for_byte() {
    let root = workspace::root_above(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    let course = Course::load(&root).unwrap();
    let text = workspace::read(&root.join("Cargo.toml")).unwrap();
    let released = switchboard::all_released(&text, &course).unwrap();
    for chapter in course.chapters.iter().filter(|chapter| chapter.has_crate()) {
        let adopted = switchboard::switched(&released, chapter, Owner::Learner).unwrap();
        let (krate, dir, mine) = (&chapter.krate, &chapter.dir, chapter.my_crate());
        let line = format!("\n{krate} = {{ path = \"chapters/{dir}\", package = \"{mine}\" }}\n");
        assert!(adopted.contains(&line), "{line} in {adopted}");
        assert_eq!(adopted.lines().zip(released.lines()).filter(|(a, b)| a != b).count(), 1);
        assert_eq!(switchboard::switched(&adopted, chapter, Owner::Reference).unwrap(), released);
    }
}

#[test]
fn adopting_changes_what_cargo_builds_on_and_releasing_changes_it_back() {
    let fixture = Fixture::new();
    fixture.cargo(&["generate-lockfile", "--offline"]);
    let before = (fixture.read("Cargo.toml"), fixture.read("Cargo.lock"));
    let floor = || fixture.cargo(&["tree", "--offline", "--package", "mount"]).out;
    assert!(floor().contains("─ process "), "{}", floor());
    let run = fixture.run(&["adopt", "1", "--force"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.out.contains("chapter 2 builds on your my-process now"), "{}", run.out);
    assert!(fixture.read("Cargo.toml").contains("\"my-process\" } # chapter 1\n"));
    assert_eq!(fixture.run(&["adopt", "2", "--force"]).code, 0);
    assert!(floor().contains("─ my-process "), "{}", floor());
    for number in ["1", "2"] {
        assert_eq!(fixture.run(&["release", number]).code, 0);
    }
    assert_eq!((fixture.read("Cargo.toml"), fixture.read("Cargo.lock")), before);
    assert!(fixture.run(&["release", "1"]).out.contains("Nothing to do"));
}

#[test]
fn what_did_not_pass_is_not_adopted() {
    let fixture = Fixture::new();
    let before = fixture.read("Cargo.toml");
    let run = fixture.run(&["adopt", "1"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert_eq!(fixture.read("Cargo.toml"), before);
}

#[test]
fn a_switch_that_cargo_refuses_is_taken_back() {
    let fixture = Fixture::new();
    let before = fixture.read("Cargo.toml");
    fixture.edit("chapters/01-process/Cargo.toml", "my-process", "another");
    let run = fixture.run(&["adopt", "1", "--force"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.err.contains("nothing is changed"), "{}", run.err);
    assert_eq!(fixture.read("Cargo.toml"), before);
}

#[test]
fn reset_puts_the_starter_back_and_keeps_the_old_files() {
    let fixture = Fixture::new();
    let starter = fixture.read(EXIT);
    fixture.write(EXIT, "// All mine.\n");
    fixture.write("chapters/01-process/src/mine.rs", "");
    let run = fixture.run(&["reset", "1"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(fixture.read(EXIT), starter);
    assert_eq!(workspace::read(&fixture.kept().join(EXIT)).unwrap(), "// All mine.\n");
    let kept = workspace::shown(fixture.root(), &fixture.kept());
    assert!(run.out.contains(&kept) && run.out.contains("src/mine.rs"), "{}", run.out);
    assert!(fixture.root().join("chapters/01-process/src/mine.rs").exists());
    assert!(fixture.run(&["reset", "1"]).out.contains("Nothing to do"));
}

#[test]
fn reset_of_one_exercise_leaves_the_others() {
    let fixture = Fixture::new();
    fixture.edit(EXIT, "todo!(\"1.1 Turn a death into an exit code\")", "number");
    fixture.edit(EXIT, "todo!(\"1.2 Name a signal\")", "None");
    assert_eq!(fixture.run(&["reset", "1.2"]).code, 0);
    let text = fixture.read(EXIT);
    assert!(text.contains("todo!(\"1.2") && !text.contains("todo!(\"1.1"), "{text}");
    fixture.edit(EXIT, "// ANCHOR: name\n", "");
    let run = fixture.run(&["reset", "1.2"]);
    assert_eq!(run.code, 1);
    assert!(run.err.contains("cargo workshop reset 1`"), "{}", run.err);
}

#[test]
fn hints_come_one_by_one_and_are_remembered() {
    let fixture = Fixture::new();
    let hint = |args: &[&str]| {
        let run = fixture.run(args);
        assert_eq!(run.code, 0, "{run:?}");
        run.out
    };
    assert!(hint(&["hint", "1.1", "--again"]).contains("not asked for a hint yet"));
    let first = hint(&["hint", "1.1"]);
    assert!(
        first.starts_with("Hint 1 of 3 for 1.1") && first.contains("how a shell counts: `128 * 1 + n`"),
        "{first}"
    );
    assert!(hint(&["hint", "process.exit"]).starts_with("Hint 2 of 3"));
    let third = hint(&["hint", "1.1"]);
    assert!(third.contains("    if signalled {") && third.contains("cargo workshop solution 1.1"), "{third}");
    assert!(hint(&["hint", "1.1"]).contains("You have seen all hints"));
    let again = hint(&["hint", "1.1", "--again"]);
    assert!(["1 of 3", "2 of 3", "3 of 3"].iter().all(|part| again.contains(part)), "{again}");
    assert!(hint(&["hint", "1.2"]).starts_with("Hint 1 of 1"));
    let progress = fixture.read(".gantry/progress.toml");
    assert!(progress.contains("[exercise.\"process.exit\"]") && progress.contains("hints = 3"), "{progress}");
}

#[test]
fn a_solution_is_asked_for_before_and_free_after() {
    let fixture = Fixture::new();
    let refused = fixture.run(&["solution", "1.1"]);
    assert_eq!((refused.code, refused.out.as_str()), (2, ""));
    assert!(refused.err.contains("--yes"), "{}", refused.err);
    assert_eq!(fixture.run(&["diff", "1"]).code, 2);
    let shown = fixture.run(&["solution", "1.1", "--yes"]);
    assert!(shown.out.contains("solutions/01-process/src/exit.rs") && shown.out.contains("base + number"));
    assert!(!shown.out.contains("ANCHOR") && !shown.out.contains("signal_name"), "{}", shown.out);
    assert_eq!(fixture.run(&["solution", "1.1"]).code, 0, "seen once, it is no secret");
    let course = fixture.course();
    let (_, exercise) = course.exercise("1.2").unwrap();
    Progress::update(fixture.root(), |progress| progress.pass(exercise)).unwrap();
    assert_eq!(fixture.run(&["solution", "1.2"]).code, 0, "passed, it is free");
    let report = fixture.run(&["report", "--json"]).out;
    assert_eq!(report.matches("\"solution_shown\": \"").count(), 1, "and free of a note: {report}");
}

#[test]
fn diff_shows_what_differs_and_nothing_else() {
    let fixture = Fixture::new();
    fixture.edit(EXIT, "todo!(\"1.2 Name a signal\")", "None");
    let run = fixture.run(&["diff", "1", "--yes"]);
    assert_eq!(run.code, 0, "{run:?}");
    for line in ["\n-     None\n", "\n+     names.get(&number).copied()\n", "\n+     base + number\n"] {
        assert!(run.out.contains(line), "{line} in {}", run.out);
    }
    assert!(!run.out.contains("main.rs") && !run.out.contains("Cargo.toml"), "{}", run.out);
    let one = fixture.run(&["diff", "1.2", "--yes"]);
    let line = 1 + fixture.read(EXIT).lines().position(|line| line == "/// The name of a signal.").unwrap();
    assert!(
        one.out.contains(&format!("exit.rs, line {line}\n")) && one.out.contains("-     None"),
        "{}",
        one.out
    );
    assert!(!one.out.contains("base + number"), "{}", one.out);
    fixture.write(EXIT, &fixture.read("solutions/01-process/src/exit.rs"));
    assert!(fixture.run(&["diff", "1"]).out.contains("No difference"));
}

#[test]
fn progress_survives_many_writers_and_says_when_it_is_damaged() {
    let fixture = Fixture::new();
    let course = fixture.course();
    let (_, exercise) = course.exercise("1.1").unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..5 {
                    let one_more = |progress: &mut Progress| {
                        let count = progress.of(exercise).hints + 1;
                        progress.hinted(exercise, count);
                    };
                    Progress::update(fixture.root(), one_more).unwrap();
                }
            });
        }
    });
    assert_eq!(Progress::load(fixture.root()).unwrap().of(exercise).hints, 40);
    fixture.write(".gantry/progress.toml", "exercise = 3\n");
    let run = fixture.run(&[]);
    assert_eq!(run.code, 1);
    assert!(run.err.contains("progress.toml is damaged"), "{}", run.err);
    assert_eq!(fixture.read(".gantry/progress.toml"), "exercise = 3\n", "a damaged file is not thrown away");
}

#[test]
fn the_status_says_where_one_is_and_what_to_do_next() {
    let fixture = Fixture::new();
    assert!(fixture.run(&[]).out.contains("cargo workshop doctor"));
    let course = fixture.course();
    let pass = |number: &str| {
        let (_, exercise) = course.exercise(number).unwrap();
        Progress::update(fixture.root(), |progress| progress.pass(exercise)).unwrap();
    };
    pass("1.1");
    let out = fixture.run(&[]).out;
    for part in [
        "●○ 1 of 2",
        "Next: 1.2 Name a signal",
        "chapters/01-process/src/exit.rs",
        "cargo workshop check 1.2",
    ] {
        assert!(out.contains(part), "{part} in {out}");
    }
    pass("1.2");
    assert!(fixture.run(&[]).out.contains("cargo workshop adopt 1"));
    fixture.run(&["adopt", "1", "--force"]);
    let out = fixture.run(&[]).out;
    assert!(out.contains("adopted") && !out.contains("cargo workshop adopt"), "{out}");
}

#[test]
fn the_report_can_be_read_by_a_program() {
    let fixture = Fixture::new();
    fixture.run(&["hint", "1.1"]);
    let report: serde_json::Value = serde_json::from_str(&fixture.run(&["report", "--json"]).out).unwrap();
    assert_eq!((&report["passed"], &report["exercises"]), (&0.into(), &2.into()));
    assert_eq!(report["chapters"][1]["exercises"][0]["hints"], 1);
    assert!(fixture.run(&["report"]).out.contains("0 of 2 exercises passed"));
}

#[test]
fn wrong_use_ends_with_2_and_says_what_to_type() {
    let fixture = Fixture::new();
    for (args, part) in [
        (&["check", "7"][..], "the course has 0 to 2"),
        (&["check", "1.9"], "Chapter 1 has 1.1, 1.2"),
        (&["check", "0"], "cargo workshop book"),
        (&["check", "gate"], "neither a chapter (1) nor an exercise (1.2)"),
        (&["hint", "1"], "Chapter 1 has 1.1, 1.2"),
        (&["hint", "2"], "Chapter 2 has none yet"),
        (&["adopt", "1.1"], "a whole chapter is wanted here: 1"),
        (&["check", "1", "--ground", "root"], "--ground user"),
        (&["chekc"], "check"),
    ] {
        let run = fixture.run(args);
        assert_eq!(run.code, 2, "{args:?}: {run:?}");
        assert!(run.err.contains(part), "{args:?}: {part} in {}", run.err);
    }
    fs::remove_dir_all(fixture.root().join("chapters/01-process")).unwrap();
    let run = fixture.run(&["check", "1"]);
    assert!(run.err.contains("cargo workshop reset 1"), "{run:?}");
    assert_eq!(fixture.run(&["reset", "1"]).code, 0);
    assert_eq!(fixture.run(&["generate", "--check"]).code, 0);
}

#[test]
fn a_crate_that_does_not_compile_gets_the_compiler_s_words_and_one_of_ours() {
    let fixture = Fixture::new();
    fixture.edit(EXIT, "todo!(\"1.2 Name a signal\")", "nothing_here");
    let run = fixture.run(&["check", "1"]);
    assert_eq!(run.code, 1);
    assert!(
        run.err.contains("nothing_here") && run.err.contains("my-process does not compile yet"),
        "{}",
        run.err
    );
}
