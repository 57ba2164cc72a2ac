//! The builder on a whole book: what a page becomes, what is refused, and how long it takes.

mod common;

use std::path::Path;
use std::time::Duration;

use book::record::{record_page, run::Runner};
use book::site::Site;
use book::{bench, build, check};

fn built(site: &Site, page: &str) -> String {
    std::fs::read_to_string(site.out.join(page)).expect("the page was built")
}

/// Replaces text of a page of the demo.
fn edit(site: &Site, page: &str, from: &str, to: &str) {
    let path = site.src().join(page);
    let text = std::fs::read_to_string(&path).expect("read the page");
    assert!(text.contains(from), "{from}");
    std::fs::write(&path, text.replacen(from, to, 1)).expect("write the page");
}

#[test]
fn every_directive_becomes_what_it_should() {
    let site = common::demo("directives");
    assert_eq!(build::build(&site).expect("build"), []);
    let page = built(&site, "01-harbour.html");
    for part in [
        "<dd>45 min</dd>",
        "A command runs as one of the machine",
        "<figcaption>solutions/01-harbour/src/lib.rs</figcaption>",
        "data-exercise=\"harbour.clone\"",
        "<code>chapters/01-harbour/src/lib.rs</code>",
        "<code>a_clone_tells_both_sides_apart</code>",
        "Hint 3: nearly the code",
        "One solution",
        "data-quiz=\"orphan\"",
        "role=\"img\"",
        "class=\"figure stepper\"",
        "<span class=\"typed\">uname --kernel-name</span>",
        "class=\"misconception\"",
        "class=\"instructor\"",
    ] {
        assert!(page.contains(part), "{part}");
    }
    for never in ["ANCHOR", ":::", "{{#", "cdnjs", "playground"] {
        let main = &page[page.find("<main>").expect("main")..page.find("</main>").expect("end of main")];
        assert!(!main.contains(never), "{never}");
    }
    assert!(built(&site, "toc.html").contains("<strong aria-hidden=\"true\">0.</strong> Outside"));
}

#[test]
fn what_is_missing_is_named_with_file_and_line_and_the_last_build_stays() {
    let site = common::demo("missing");
    assert_eq!(build::build(&site).expect("build"), []);
    edit(&site, "01-harbour.md", "lib.rs:status", "lib.rs:statue");
    edit(&site, "01-harbour.md", "{{#figure layers", "{{#figure lairs");
    edit(&site, "01-harbour.md", "::: quiz orphan", "::: quizz orphan");
    let findings = build::build(&site).expect("build");
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert_eq!(lines.len(), 3, "{lines:#?}");
    assert!(lines[0].starts_with("book/src/01-harbour.md:") && lines[0].contains("lairs"), "{}", lines[0]);
    assert!(lines[1].contains("no anchor `statue`; it has head, clone3, exit_code, status"), "{}", lines[1]);
    assert!(lines[2].contains("quizz"), "{}", lines[2]);
    assert!(built(&site, "01-harbour.html").contains("One solution"), "the last good build is gone");
}

#[test]
fn a_page_that_mdbook_only_warns_about_is_refused() {
    let site = common::demo("warnings");
    edit(&site, "00-outside.md", "## The gap", "<div>\n\n## The gap");
    let findings = build::build(&site).expect("build");
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(
        findings[0].to_string().contains("00-outside.md:1: mdBook warns: unclosed HTML tag `<div>`"),
        "{}",
        findings[0]
    );
}

#[test]
fn listings_also_stand_inside_blocks() {
    let site = common::demo("inside");
    edit(
        &site,
        "01-harbour.md",
        "::: hint harbour.exit\nOne `match`",
        "::: hint harbour.exit\n{{#listing 01-harbour/src/lib.rs:status}}\nOne `match`",
    );
    assert_eq!(build::build(&site).expect("build"), []);
    assert_eq!(built(&site, "01-harbour.html").matches("/// How a process ended.").count(), 2);
}

#[test]
fn the_check_of_the_demo_finds_only_what_a_demo_lacks() {
    let site = common::demo("check");
    let report = check::check(&site).expect("check");
    let other: Vec<String> = report
        .findings
        .iter()
        .map(ToString::to_string)
        .filter(|line| !line.contains("00-outside.md:1:") && !line.contains(" words: a chapter has"))
        .collect();
    assert_eq!(other, Vec::<String>::new());
    assert!(report.unwoven.is_empty(), "{:?}", report.unwoven);
    assert!(report.summary[1].contains("woven 100 %"), "{}", report.summary[1]);
}

#[test]
fn the_check_finds_each_kind_of_mistake() {
    let site = common::demo("mistakes");
    edit(&site, "01-harbour.md", "## Break it", "## Braek it");
    edit(&site, "01-harbour.md", "{{#listing 01-harbour/src/lib.rs:status}}\n", "```rust\nfn f() {}\n```\n");
    edit(&site, "01-harbour.md", "::: hint harbour.exit\nThe second arm adds.\n:::\n", "");
    edit(&site, "00-outside.md", "#build-it", "#built-it");
    std::fs::write(site.src().join("lost.md"), "# Lost\n").expect("write a page");
    let stage = site.root.join("tests/stages/harbour.rs");
    let tests = std::fs::read_to_string(&stage).expect("read the stage");
    let tests = tests.replace("the_help_names_every_flag", "nobody_named_this");
    std::fs::write(&stage, tests).expect("write the stage");

    let report = check::check(&site).expect("check");
    let lines: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    for part in [
        "01-harbour.md:1: the part `## Break it` is missing",
        "`## Braek it` is no part of this chapter",
        "nobody compiles this",
        "`harbour.exit` has 2 hints, not three",
        "00-outside.md:9: `01-harbour.md#built-it`: book/src/01-harbour.md has no `#built-it`",
        "book/src/lost.md:1: no reader finds this page",
        "woven 83 %",
        "has no test `the_help_names_every_flag`",
        "test `nobody_named_this` belongs to no exercise",
    ] {
        assert!(lines.iter().any(|line| line.contains(part)), "{part}\n{lines:#?}");
    }
    assert!(report.unwoven.iter().any(|line| line.contains("pub enum Status {")), "{:?}", report.unwoven);
}

#[test]
fn transcripts_are_compared_and_written_anew() {
    let site = common::demo("record");
    let runner = Runner {
        shell_folder: site.root.clone(),
        lab_folder: site.root.clone(),
        lab: ["sh", "-c"].map(str::to_owned).to_vec(),
        kernel: vec!["false".to_owned()],
        output: site.root.join("record.out"),
    };
    let name = Path::new("01-harbour.md");
    edit(
        &site,
        "01-harbour.md",
        "# unshare --pid --fork --mount-proc sh -c 'echo $$; ls /proc | head -3'\n1\n1\nacpi\n",
        "# seq 3\n1\n",
    );
    edit(&site, "01-harbour.md", "\nLinux\n", "\nMinix\n");
    let before = std::fs::read_to_string(site.src().join(name)).expect("read");
    assert_eq!(record_page(&site, &runner, name, true).expect("compare"), 2);
    assert_eq!(std::fs::read_to_string(site.src().join(name)).expect("read"), before);
    assert_eq!(record_page(&site, &runner, name, false).expect("record"), 2);
    let after = std::fs::read_to_string(site.src().join(name)).expect("read");
    assert!(after.contains("\nLinux\n") && after.contains("the shell is PID 48213"), "{after}");
    assert!(after.contains("# seq 3\n1\n…\n"), "what agrees stays as it was written");
    assert_eq!(record_page(&site, &runner, name, true).expect("compare"), 0);
}

#[test]
fn fifteen_chapters_build_in_two_seconds() {
    let demo = common::demo("bench");
    // A chapter has up to 3,000 words: fill the demo up with prose of that length.
    let filler =
        "A namespace is a kernel object that gives a set of processes a view of their own. ".repeat(150);
    edit(&demo, "01-harbour.md", "## Recap", &format!("## Recap\n\n{}", filler.replace("own. ", "own.\n\n")));
    let mut site = demo.clone();
    site.course.chapters.remove(0);
    let large = bench::multiply(&site, 15, &demo.root.join("large")).expect("multiply");
    let best = (0..3).map(|_| bench::measure(&large).expect("build")).min().expect("three runs");
    println!("15 chapters, {} kB of HTML: {:.2} s", best.bytes / 1000, best.cpu.as_secs_f64());
    // Not the clock: other tests run at the same time.
    assert!(best.cpu < Duration::from_secs(2), "{:.2} s", best.cpu.as_secs_f64());
}
