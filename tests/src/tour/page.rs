//! The tour on one page of 80 columns: both sides side by side, and what it means.
//!
//! No sentence claims what was not compared: where two values decide, both sentences stand here.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::seen::{NAMESPACES, Seen, Tour};
use super::view::{Mount, View};
use crate::course::{Chapter, Course};
use crate::terminal::{Look, styled};

/// Width of the page.
const WIDTH: usize = 78;

/// Where the columns begin: what is compared, inside, outside.
const COLUMNS: [usize; 3] = [2, 15, 45];

/// The most lines that a list may fill, more or less.
const LINES: usize = 4;

/// The most characters that are shown of one name; every column has room for them.
const LONGEST: usize = 26;

/// One thing from both sides.
struct Row {
    name: &'static str,
    inside: String,
    outside: String,
    means: String,
}

/// The whole page.
pub fn page(course: &Course, newest: &Chapter, tour: &Tour) -> String {
    let mut text = head(newest, &tour.seen);
    for row in rows(tour) {
        text.push_str(&row.text());
    }
    text.push_str(&namespaces(&tour.seen));
    text.push_str(&end(tour));
    text.push_str(&start(course));
    text
}

fn head(newest: &Chapter, seen: &Seen) -> String {
    let mut text = format!("{}\n\n", styled(Look::Bold, "A container, from inside and outside"));
    // Longer than a terminal is wide.
    let typed = seen.command.join(" ").replace(" --network", " \\\n          --network");
    let _ = write!(text, "    # {typed}\n\n");
    let milliseconds = (seen.birth as f64 / 1000.0).max(0.1);
    let said = format!(
        "We typed this in a lab, which plays the host. The finished program of chapter {} started a container, \
         and the shell in it gave its first answer after {milliseconds:.1} ms. While it lives, we ask that shell \
         what it sees, and look at the same process from outside.",
        newest.number
    );
    text.push_str(&paragraph(0, &said));
    let heads = [("", COLUMNS[0]), ("inside", COLUMNS[1]), ("outside", COLUMNS[2])];
    let line = heads.iter().fold(String::new(), |line, (word, at)| format!("{line:at$}{word}"));
    let _ = write!(text, "\n{}\n", styled(Look::Bold, line));
    text
}

fn rows(tour: &Tour) -> Vec<Row> {
    let Seen { inside, outside, host, .. } = &tour.seen;
    vec![
        kernel(inside, host),
        number(tour),
        processes(inside, host),
        root(&tour.seen),
        Row {
            name: "in its /",
            inside: shortened(&inside.names),
            outside: shortened(&host.names),
            means: "What `ls /` lists on each side.".into(),
        },
        mounts(inside, outside, host),
    ]
}

fn kernel(inside: &View, host: &View) -> Row {
    let means = match inside.kernel == host.kernel {
        true => "The same. A container has no kernel of its own: it is no virtual machine.",
        false => "Two kernels: this is no container.",
    };
    let (inside, outside) = (inside.kernel.clone(), host.kernel.clone());
    Row { name: "kernel", inside, outside, means: means.into() }
}

fn number(tour: &Tour) -> Row {
    let Seen { inside, outside, .. } = &tour.seen;
    let mut means = match inside.namespaces == outside.namespaces {
        true => format!(
            "One process, a number in each PID namespace around it (`NSpid: {}`).",
            outside.numbers.iter().map(i32::to_string).collect::<Vec<_>>().join(" ")
        ),
        false => "These are two processes.".to_owned(),
    };
    if let Some([first, ..]) = tour.here.as_deref() {
        let _ = write!(means, " On your machine itself, around the lab, it is {first}.");
    }
    let (inside, outside) = (inside.pid.to_string(), outside.pid.to_string());
    Row { name: "its PID", inside, outside, means }
}

fn processes(inside: &View, host: &View) -> Row {
    let means = match inside.processes < host.processes {
        true => "What `/proc` lists. The host sees all; the container only its own.",
        false => "What `/proc` lists: the same on both sides.",
    };
    let (inside, outside) = (inside.processes.to_string(), host.processes.to_string());
    Row { name: "processes", inside, outside, means: means.into() }
}

fn root(seen: &Seen) -> Row {
    let folder = &seen.folder;
    let means = match seen.inside.root == *folder && seen.outside.root == *folder {
        true => {
            format!("The same folder under two names: inode {} of device {}.", folder.inode, folder.device)
        }
        false => "Two different folders.".to_owned(),
    };
    Row { name: "its root", inside: "/".into(), outside: seen.path.clone(), means }
}

fn mounts(inside: &View, outside: &View, host: &View) -> Row {
    let numbers = |view: &View| view.mounts.iter().map(|mount| mount.id).collect::<BTreeSet<_>>();
    let shared = numbers(inside).intersection(&numbers(host)).count();
    let mut means = match shared {
        0 => "No mount of one table is in the other.".to_owned(),
        count => format!("{count} mounts are in both tables."),
    };
    if numbers(inside) == numbers(outside) {
        let _ = write!(means, " `/proc/{}/mountinfo`, outside, lists the left ones.", outside.pid);
    }
    let list = |mounts: &[Mount]| {
        let points: Vec<String> = mounts.iter().map(|mount| mount.point.clone()).collect();
        format!("{}: {}", points.len(), shortened(&points))
    };
    Row { name: "mounts", inside: list(&inside.mounts), outside: list(&host.mounts), means }
}

/// A line for each kind of namespace; what is said of it follows from its two numbers alone.
fn namespaces(seen: &Seen) -> String {
    let head = format!("  {:<10}{:<11}{:<11}{}", "namespace", "inside", "outside", "a view of");
    let mut text = format!("{}\n", styled(Look::Bold, head));
    for kind in NAMESPACES {
        let numbers = (seen.inside.namespaces.get(kind.link), seen.host.namespaces.get(kind.link));
        let (Some(inside), Some(outside)) = numbers else { continue };
        let own = inside != outside;
        let verdict = if own { "its own" } else { "still the host's" };
        let place = kind.chapter.map_or("no chapter".into(), |number| format!("chapter {number}"));
        let line = format!("  {:<10}{inside:<11}{outside:<11}{:<16}", kind.link, kind.of);
        let verdict = format!("{verdict} ({place})");
        let _ = writeln!(text, "{line}{}", if own { styled(Look::Green, verdict) } else { verdict });
    }
    let said = "Each number names an object in the kernel: a namespace. Equal numbers are one and the same \
                object, so the container still shares that view with its host. The chapter in brackets \
                gives it one of its own. To see such a number: `readlink /proc/self/ns/pid`.";
    text.push_str(&paragraph(COLUMNS[0], said));
    text
}

fn end(tour: &Tour) -> String {
    let left = match tour.left.as_slice() {
        [] => "nothing: mounts and processes of the host are as before".to_owned(),
        left => left.join(", "),
    };
    let said = format!(
        "Then the shell's input ended, and so did the shell, with exit code {}. No box is left when its process \
         is gone: the container was the process. It left {left}.",
        tour.code
    );
    format!("\n{}", paragraph(0, &said))
}

/// What to type next, and what will be red.
fn start(course: &Course) -> String {
    let mut text = format!("\n{}\n\n", styled(Look::Bold, "Start the course"));
    text.push_str("    cargo workshop book       read, in your browser\n");
    let Some(chapter) = course.chapters.iter().find(|chapter| !chapter.exercises.is_empty()) else {
        return text;
    };
    let (number, exercises) = (chapter.number, chapter.exercises.len());
    let tests: usize = chapter.exercises.iter().map(|exercise| exercise.tests.len()).sum();
    let _ = writeln!(text, "    cargo workshop check {number}    try your code of chapter {number}");
    text.push_str("    cargo workshop            see where you are and what comes next\n\n");
    let said = format!(
        "Before you have written anything, all {tests} tests of chapter {number} are red. That is the plan, not a \
         fault: its {exercises} exercises turn them green, a few lines each."
    );
    text.push_str(&paragraph(0, &said));
    text
}

impl Row {
    fn text(&self) -> String {
        let [_, left, right] = COLUMNS;
        let inside = wrap(&self.inside, right - left - 2);
        let outside = wrap(&self.outside, WIDTH - right);
        let mut text = String::new();
        for at in 0..inside.len().max(outside.len()) {
            let word = |lines: &[String]| lines.get(at).cloned().unwrap_or_default();
            let name = format!("  {:<12} ", if at == 0 { self.name } else { "" });
            let name = if at == 0 { styled(Look::Bold, name) } else { name };
            let line = format!("{name}{:<30}{}", word(&inside), word(&outside));
            let _ = writeln!(text, "{}", line.trim_end());
        }
        text.push_str(&paragraph(left, &self.means));
        text.push('\n');
        text
    }
}

/// The first names of a list, and how many more there are; of a long name, its beginning.
fn shortened(names: &[String]) -> String {
    let room = LONGEST * LINES - "and 100 more".len();
    let mut length = 0;
    let fits = |name: &String| {
        length += name.chars().count() + 1;
        length <= room
    };
    let shown: Vec<String> = names.iter().map(|name| cut(name)).take_while(fits).collect();
    match names.len() - shown.len() {
        0 => shown.join(" "),
        more => format!("{} and {more} more", shown.join(" ")),
    }
}

/// A name as it is, or its beginning if it is longer than a column.
fn cut(name: &str) -> String {
    match name.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

/// Text in lines of the page's width, indented.
fn paragraph(indent: usize, text: &str) -> String {
    let lines = wrap(text, WIDTH - indent);
    lines.iter().map(|line| format!("{:indent$}{line}\n", "")).collect()
}

/// Text in lines of at most `width` characters, where its words allow.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is always a line");
        let length = line.chars().count();
        if length > 0 && length + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            *line = if length == 0 { word.to_owned() } else { format!("{line} {word}") };
        }
    }
    lines
}
