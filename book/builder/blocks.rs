//! The HTML of our blocks: card, goals, exercise, hint, predict, aside, and the start page's table.
//!
//! Pure functions from the course's data to text. Opening and closing parts stand apart where Markdown goes
//! in between: a blank line after an HTML line is what makes mdBook read Markdown again.
//!
//! Left out: what needs files (figures, listings) and what has a grammar of its own (quizzes, transcripts).

use workshop::course::{Chapter, Course, Exercise, Need};

use crate::html::{escape, inline};
use crate::listing::Excerpt;

/// Around the question and the answer of a `predict` block.
pub const PREDICT: (&str, &str, &str) = (
    "\n<div class=\"predict\">\n<p class=\"tag\">Before you look</p>\n\n",
    "\n<details>\n<summary>Then look</summary>\n\n",
    "\n</details>\n</div>\n\n",
);

/// In front of a trainer's notes.
pub const INSTRUCTOR: &str = "\n<details class=\"instructor\">\n<summary>For the instructor</summary>\n\n";

/// In front of a misconception.
pub const MISCONCEPTION: &str =
    "\n<div class=\"misconception\" role=\"note\">\n<p class=\"tag\">A common misconception</p>\n\n";

/// In front of an aside: its title is its first line.
pub fn aside(title: &str) -> String {
    format!("\n<details class=\"aside\">\n<summary>{}</summary>\n\n", inline(title))
}

/// The card of a chapter: how long, what it needs, and what changes.
pub fn card(chapter: &Chapter) -> String {
    let minutes = chapter.minutes;
    let times = [("Read", minutes.read), ("Build", minutes.build), ("Break", minutes.break_it)];
    let times: String = times
        .iter()
        .filter(|(_, minutes)| *minutes > 0)
        .map(|(what, minutes)| format!("<div><dt>{what}</dt><dd>{minutes} min</dd></div>\n"))
        .collect();
    let needs: Vec<&str> = chapter.needs.iter().map(|need| need_in_words(*need)).collect();
    let needs = if needs.is_empty() { "Linux and Rust".to_owned() } else { needs.join(", ") };
    format!(
        "\n<div class=\"card\">\n<dl>\n{times}\
         <div><dt>Needs</dt><dd>{needs}</dd></div>\n</dl>\n<div class=\"change\">\n\
         <div class=\"before\"><p class=\"tag\">Before</p>\n<p>{}</p></div>\n\
         <div class=\"after\"><p class=\"tag\">After</p>\n<p>{}</p></div>\n</div>\n</div>\n\n",
        inline(&chapter.before),
        inline(&chapter.after)
    )
}

fn need_in_words(need: Need) -> &'static str {
    match need {
        Need::Root => "root",
        Need::UserNamespaces => "user namespaces",
        Need::Network => "network namespaces",
        Need::CgroupDelegation => "a delegated cgroup",
    }
}

/// The goals of a chapter.
pub fn goals(chapter: &Chapter) -> String {
    let goals: String = chapter.goals.iter().map(|goal| format!("<li>{}</li>\n", inline(goal))).collect();
    format!(
        "\n<div class=\"goals\">\n<p class=\"tag\">Afterwards you can</p>\n<ul>\n{goals}</ul>\n</div>\n\n"
    )
}

/// What stands above an exercise's text.
pub fn exercise_head(chapter: &Chapter, exercise: &Exercise, solution: &Excerpt) -> String {
    let Exercise { id, number, title, goal, .. } = exercise;
    let file = format!("chapters/{}/{}", chapter.dir, exercise.file);
    let functions = code_list(&solution.functions());
    let tests: Vec<&str> = exercise.tests.iter().map(String::as_str).collect();
    let tests = code_list(&tests);
    let anchor = id.replace('.', "-");
    format!(
        "\n<section class=\"exercise\" data-exercise=\"{id}\" aria-labelledby=\"exercise-{anchor}\">\n\n\
         ### {number} {title} {{#exercise-{anchor}}}\n\n\
         <p class=\"goal\">{goal}</p>\n<dl>\n<div><dt>File</dt><dd><code>{file}</code></dd></div>\n\
         <div><dt>Write</dt><dd>{functions}</dd></div>\n<div><dt>Tests</dt><dd>{tests}</dd></div>\n</dl>\n\n",
        goal = inline(goal),
    )
}

/// What stands below an exercise's text: how to check it, and the tick box.
pub fn exercise_check(exercise: &Exercise) -> String {
    let Exercise { id, number, .. } = exercise;
    format!(
        "\n<p class=\"check\"><code>cargo workshop check {number}</code>\n\
         <label><input type=\"checkbox\" data-tick=\"{id}\"> Done</label></p>\n\n"
    )
}

/// What stands above hint `count` (1 to 3).
pub fn hint_head(count: usize) -> String {
    let title = ["a nudge", "what to call", "nearly the code"][count.clamp(1, 3) - 1];
    format!("\n<details class=\"hint\">\n<summary>Hint {count}: {title}</summary>\n\n")
}

/// One solution, folded; it closes the exercise's section.
pub fn solution(excerpt: &Excerpt) -> String {
    format!(
        "\n<details class=\"solution\">\n<summary>One solution</summary>\n{}\n</details>\n</section>\n\n",
        excerpt.markdown()
    )
}

/// The start page's table of chapters; the exercises' ticks are filled in by the browser.
pub fn course(course: &Course) -> String {
    let rows: String = course.chapters.iter().map(course_row).collect();
    format!("\n<ol class=\"course\" start=\"0\">\n{rows}</ol>\n\n")
}

fn course_row(chapter: &Chapter) -> String {
    let ids: Vec<&str> = chapter.exercises.iter().map(|exercise| exercise.id.as_str()).collect();
    let minutes = chapter.minutes.read + chapter.minutes.build + chapter.minutes.break_it;
    let done = match ids.len() {
        0 => String::new(),
        _ => format!(" <span class=\"done\" data-exercises=\"{}\"></span>", ids.join(" ")),
    };
    format!(
        "<li><a href=\"{}\">{}</a> <span class=\"minutes\">{}</span>{done}\n<p>{}</p></li>\n",
        escape(&chapter.file),
        escape(&chapter.title),
        hours(minutes),
        inline(&chapter.after)
    )
}

/// Minutes as a reader plans them.
fn hours(minutes: u16) -> String {
    match (minutes / 60, minutes % 60) {
        (0, minutes) => format!("{minutes} min"),
        (hours, 0) => format!("{hours} h"),
        (hours, minutes) => format!("{hours} h {minutes:02}"),
    }
}

/// The place where the browser puts the way back.
pub fn resume() -> String {
    "\n<p class=\"resume\" id=\"resume\" hidden></p>\n\n".to_owned()
}

fn code_list(names: &[&str]) -> String {
    names.iter().map(|name| format!("<code>{}</code>", escape(name))).collect::<Vec<_>>().join("<br>")
}
