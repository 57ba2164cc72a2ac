//! The doctor's findings on one screen: a line a chapter, then each gap with its fix.

use std::fmt::Write;

use super::place::Place;
use super::probe::{Outcome, Probe};
use crate::course::{Chapter, Course};

/// How a chapter can be done here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ready {
    /// On this machine itself.
    Here,
    /// In the kernel lab, because this machine lacks these.
    InKernelLab(Vec<&'static str>),
    /// Not at all, because of these.
    No(Vec<&'static str>),
}

/// Width of the running text.
const WIDTH: usize = 96;

/// How `chapter` can be done, by these findings.
pub fn ready(chapter: &Chapter, probes: &[Probe]) -> Ready {
    let blocking: Vec<&Probe> = probes.iter().filter(|probe| probe.blocks(chapter)).collect();
    let names = blocking.iter().map(|probe| probe.name).collect();
    if blocking.is_empty() {
        return Ready::Here;
    }
    let lab = probes.iter().any(|probe| probe.name == "kernel lab" && probe.outcome == Outcome::Ok);
    if lab && blocking.iter().all(|probe| probe.in_kernel_lab) {
        Ready::InKernelLab(names)
    } else {
        Ready::No(names)
    }
}

/// The whole screen.
pub fn screen(course: &Course, place: &Place, probes: &[Probe]) -> String {
    let mut text = format!("{}\n{}\n\n", kernel_line(probes), place.line());
    let width = course.chapters.iter().map(|chapter| chapter.title.chars().count()).max().unwrap_or(0);
    for chapter in &course.chapters {
        let state = match ready(chapter, probes) {
            Ready::Here => "ready".to_owned(),
            Ready::InKernelLab(names) => format!("ready in the kernel lab (not here: {})", names.join(", ")),
            Ready::No(names) => format!("not ready: {}", names.join(", ")),
        };
        let _ = writeln!(text, "{:>3}  {:width$}  {state}", chapter.number, chapter.title);
    }
    let gaps: Vec<&Probe> = probes.iter().filter(|probe| probe.outcome != Outcome::Ok).collect();
    let count = match gaps.len() {
        0 => "no gap".to_owned(),
        1 => "one gap".to_owned(),
        count => format!("{count} gaps"),
    };
    let _ = write!(text, "\nLooked at {} things and found {count}.", probes.len());
    let all_ready = course.chapters.iter().all(|chapter| ready(chapter, probes) == Ready::Here);
    text.push_str(match (gaps.len(), all_ready) {
        (1, true) => " It is in the way of no chapter that is here.\n",
        (2.., true) => " They are in the way of no chapter that is here.\n",
        _ => "\n",
    });
    for gap in gaps {
        describe(&mut text, course, gap);
    }
    text
}

fn kernel_line(probes: &[Probe]) -> String {
    let kernel =
        probes.iter().find(|probe| probe.name == "kernel").map_or("Linux", |probe| probe.seen.as_str());
    format!("{kernel} on {}", std::env::consts::ARCH)
}

fn describe(text: &mut String, course: &Course, gap: &Probe) {
    let state = if gap.outcome == Outcome::Missing { "missing" } else { "in part" };
    let _ = write!(text, "\n{} ({state}): {}\n", gap.name, gap.seen);
    paragraph(text, "", &format!("{} {}", gap.means, who_needs(course, gap)));
    if !gap.fix.is_empty() {
        paragraph(text, "fix: ", &gap.fix);
    }
    if gap.in_kernel_lab && gap.outcome == Outcome::Missing {
        paragraph(text, "or:  ", "the kernel lab has it (cargo workshop lab --kernel)");
    }
}

/// `Needed by chapters 1 to 16.`: of the whole course, not of what is there today.
fn who_needs(course: &Course, gap: &Probe) -> String {
    let by_table =
        course.chapters.iter().filter(|chapter| gap.is_needed_by(chapter)).map(|chapter| chapter.number);
    let mut numbers: Vec<u8> = gap.chapters.iter().copied().chain(by_table).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let needs = if gap.outcome == Outcome::Missing { "need" } else { "use" };
    match numbers.as_slice() {
        [] => String::new(),
        [0, .., 16] => format!("The whole course {needs}s it."),
        [only] => format!("Chapter {only} {needs}s it."),
        [first, .., 16] => format!("Chapter {first} and all later ones {needs} it."),
        many => {
            let words: Vec<String> = many.iter().map(u8::to_string).collect();
            format!("Chapters {} {needs} it.", words.join(", "))
        }
    }
}

/// Text in lines of at most [`WIDTH`], indented; a word is never cut.
fn paragraph(text: &mut String, head: &str, words: &str) {
    let indent = " ".repeat(2 + head.len());
    let mut line = format!("  {head}");
    let mut empty = true;
    for word in words.split_whitespace() {
        if !empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(text, "{line}");
            line.clone_from(&indent);
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    let _ = writeln!(text, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::probe::Gap;

    fn course() -> Course {
        let chapter = |number: u8, needs: &str| {
            format!(
                "[[chapter]]\nnumber = {number}\ntitle = \"Floor {number}\"\nfile = \"x.md\"\n\
                 minutes = {{ read = 1, build = 1, break = 1 }}\nneeds = [{needs}]\ngoals = []\n\
                 before = \"\"\nafter = \"\"\n"
            )
        };
        let all = [chapter(0, ""), chapter(1, "\"user-namespaces\""), chapter(2, "\"network\"")].concat();
        Course::parse(&format!("title = \"T\"\n{all}")).unwrap()
    }

    fn gap(name: &'static str) -> Probe {
        Probe::missing(name, "seen", Gap::new("It means this.", "do that"))
    }

    #[test]
    fn a_gap_sends_its_chapters_to_the_kernel_lab_if_there_is_one() {
        let course = course();
        let missing = gap("proc").for_chapters(2..=16);
        let lab = Probe::ok("kernel lab", "/x").not_in_kernel_lab();
        let without = [missing.clone()];
        assert_eq!(ready(&course.chapters[1], &without), Ready::Here);
        assert_eq!(ready(&course.chapters[2], &without), Ready::No(vec!["proc"]));
        let with = [missing, lab.clone()];
        assert_eq!(ready(&course.chapters[2], &with), Ready::InKernelLab(vec!["proc"]));
        let compiler = [gap("C compiler").for_chapters(0..=16).not_in_kernel_lab(), lab];
        assert_eq!(ready(&course.chapters[0], &compiler), Ready::No(vec!["C compiler"]));
    }

    #[test]
    fn the_table_of_the_course_says_who_needs_what() {
        let course = course();
        let nets = [gap("veth").for_need(crate::course::Need::Network)];
        assert_eq!(ready(&course.chapters[1], &nets), Ready::Here);
        assert_eq!(ready(&course.chapters[2], &nets), Ready::No(vec!["veth"]));
    }

    #[test]
    fn the_screen_has_a_line_a_chapter_and_every_gap_with_its_fix() {
        let probes = [gap("proc").for_chapters(2..=16), Probe::ok("kernel", "Linux 6.1.0")];
        let text = screen(&course(), &Place::default(), &probes);
        assert!(text.starts_with("Linux 6.1.0 on "), "{text}");
        for part in [
            "  1  Floor 1  ready\n",
            "  2  Floor 2  not ready: proc\n",
            "Looked at 2 things and found one gap.",
            "proc (missing): seen\n  It means this. Chapter 2 and all later ones need it.\n  fix: do that\n",
            "the kernel lab has it",
        ] {
            assert!(text.contains(part), "no `{part}` in\n{text}");
        }
        let fine = screen(&course(), &Place::default(), &[Probe::ok("kernel", "Linux 6.1.0")]);
        assert!(fine.ends_with("found no gap.\n"), "{fine}");
        let later = [gap("cgroups").for_chapters(6..=6), Probe::ok("kernel", "Linux 6.1.0")];
        assert!(screen(&course(), &Place::default(), &later).contains("in the way of no chapter"));
    }

    #[test]
    fn no_line_is_too_long() {
        let mut text = String::new();
        paragraph(&mut text, "fix: ", &"word ".repeat(100));
        assert!(text.lines().all(|line| line.len() <= WIDTH && line.starts_with("  ")), "{text}");
        assert_eq!(text.split_whitespace().count(), 101);
    }
}
