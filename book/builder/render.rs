//! From our directives to what mdBook understands.
//!
//! [`render`] walks over the pieces of a page and writes Markdown with HTML in it. Nothing is skipped in
//! silence: an unknown directive, a missing file, a hint in the wrong place are findings with their line.
//! It also notes which lines of which files the page shows; [`crate::check`] measures with that how much of
//! the code the book teaches.
//!
//! Invariant: an exercise's section stays open over the hints that follow it, and closes with its solution.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use workshop::course::{Chapter, Exercise};
use workshop::prose::Piece;

use crate::blocks;
use crate::console::Transcript;
use crate::fence::{self, Stretch};
use crate::figure;
use crate::finding::Findings;
use crate::listing::{self, Excerpt};
use crate::page::Page;
use crate::quiz::Quiz;
use crate::site::Site;

/// A rendered page.
#[derive(Debug, Default)]
pub struct Rendered {
    /// Markdown for mdBook.
    pub markdown: String,
    /// Files, relative to the workspace, and their lines that the page shows.
    pub shown: BTreeSet<(PathBuf, usize)>,
    /// What is wrong with the page.
    pub findings: Findings,
}

/// Renders `page` of `site`.
pub fn render(site: &Site, page: &Page) -> Rendered {
    let chapter = site.chapter_of(&page.name);
    let mut renderer = Renderer { site, chapter, open: None, out: Rendered::default() };
    for part in &page.parts {
        if let Err(error) = renderer.piece(&part.piece, part.line) {
            renderer.out.findings.add(&page.shown, part.line, format!("{error:#}"));
        }
    }
    if let Err(error) = renderer.close_exercise() {
        renderer.out.findings.add(&page.shown, page.markdown.lines().count(), format!("{error:#}"));
    }
    renderer.out
}

struct Renderer<'a> {
    site: &'a Site,
    chapter: Option<&'a Chapter>,
    /// The exercise whose hints may follow, and how many did.
    open: Option<(&'a Exercise, usize)>,
    out: Rendered,
}

impl<'a> Renderer<'a> {
    fn piece(&mut self, piece: &Piece, line: usize) -> Result<()> {
        match piece {
            Piece::Text(text) if text.trim().is_empty() => self.out.markdown.push('\n'),
            Piece::Text(text) => {
                self.close_exercise()?;
                self.text(text, line)?;
            }
            Piece::Directive { name, rest, .. } => {
                self.close_exercise()?;
                self.directive(name, rest)?;
            }
            Piece::Block { name, words, body, .. } if name == "hint" => self.hint(words, body, line)?,
            Piece::Block { name, words, body, .. } => {
                self.close_exercise()?;
                self.block(name, words, body, line)?;
            }
        }
        Ok(())
    }

    /// Ordinary Markdown; its transcripts become HTML.
    fn text(&mut self, text: &str, line: usize) -> Result<()> {
        for stretch in fence::split(text, line) {
            match stretch {
                Stretch::Fence(fence) if fence.language() == "console" => {
                    let transcript = Transcript::of(&fence);
                    let transcript = transcript.with_context(|| format!("block of line {}", fence.line))?;
                    self.out.markdown.push_str(&transcript.html());
                }
                Stretch::Fence(fence) => self.out.markdown.push_str(&fence.source),
                Stretch::Prose(prose) => self.prose(&prose)?,
            }
        }
        Ok(())
    }

    /// Prose; inside a block, listings and figures still stand in it.
    fn prose(&mut self, prose: &str) -> Result<()> {
        for line in prose.lines() {
            match line.trim().strip_prefix("{{#").and_then(|rest| rest.strip_suffix("}}")) {
                Some(inside) => {
                    let (name, rest) = inside.split_once(char::is_whitespace).unwrap_or((inside, ""));
                    self.directive(name, rest.trim())?;
                }
                None => {
                    self.out.markdown.push_str(line);
                    self.out.markdown.push('\n');
                }
            }
        }
        Ok(())
    }

    fn directive(&mut self, name: &str, rest: &str) -> Result<()> {
        let html = match name {
            "card" => blocks::card(self.chapter()?),
            "goals" => blocks::goals(self.chapter()?),
            "course" => blocks::course(&self.site.course),
            "resume" => blocks::resume(),
            "figure" => figure::figure(self.site, rest)?,
            "listing" => {
                let (spec, fold) = rest
                    .split_once('|')
                    .map_or((rest, None), |(spec, title)| (spec.trim(), Some(title.trim())));
                let excerpt = listing::excerpt(self.site, spec)?;
                self.show(&excerpt);
                match fold {
                    Some(title) => format!("{}{}\n</details>\n\n", blocks::aside(title), excerpt.markdown()),
                    None => excerpt.markdown(),
                }
            }
            _ => bail!("unknown directive `{name}`: card, goals, listing, figure, course, resume"),
        };
        self.out.markdown.push_str(&html);
        Ok(())
    }

    fn block(&mut self, name: &str, words: &[String], body: &str, line: usize) -> Result<()> {
        let (open, body, close) = match name {
            "exercise" => return self.exercise(words, body, line),
            "quiz" => {
                let id = words.first().context("a quiz has an id: `::: quiz process-orphan`")?;
                self.out.markdown.push_str(&Quiz::parse(body)?.markdown(id));
                return Ok(());
            }
            "predict" => {
                let parts = body.split_once("\n---\n").filter(|(question, _)| !question.trim().is_empty());
                let (question, answer) =
                    parts.context("a predict block is a question, a line `---`, and the answer")?;
                self.out.markdown.push_str(blocks::PREDICT.0);
                self.text(question, line + 1)?;
                self.out.markdown.push_str(blocks::PREDICT.1);
                (String::new(), answer, blocks::PREDICT.2)
            }
            "aside" => {
                let (title, body) =
                    body.trim_start().split_once('\n').context("an aside has a title line and a body")?;
                (blocks::aside(title), body, "\n</details>\n\n")
            }
            "instructor" => (blocks::INSTRUCTOR.to_owned(), body, "\n</details>\n\n"),
            "misconception" => (blocks::MISCONCEPTION.to_owned(), body, "\n</div>\n\n"),
            _ => bail!(
                "unknown block `{name}`: predict, exercise, hint, quiz, instructor, aside, misconception"
            ),
        };
        self.out.markdown.push_str(&open);
        self.text(body, line + 1)?;
        self.out.markdown.push_str(close);
        Ok(())
    }

    fn exercise(&mut self, words: &[String], body: &str, line: usize) -> Result<()> {
        let exercise = self.exercise_named(words)?;
        let chapter = self.chapter()?;
        let solution = self.solution(exercise)?;
        self.out.markdown.push_str(&blocks::exercise_head(chapter, exercise, &solution));
        self.text(body, line + 1)?;
        self.out.markdown.push_str(&blocks::exercise_check(exercise));
        self.open = Some((exercise, 0));
        Ok(())
    }

    fn hint(&mut self, words: &[String], body: &str, line: usize) -> Result<()> {
        let exercise = self.exercise_named(words)?;
        match &mut self.open {
            Some((open, count)) if open.id == exercise.id && *count < 3 => {
                *count += 1;
                let head = blocks::hint_head(*count);
                self.out.markdown.push_str(&head);
            }
            Some((open, 3)) if open.id == exercise.id => bail!("`{}` has three hints already", open.id),
            _ => bail!("the hints of `{}` stand directly below its exercise", exercise.id),
        }
        self.text(body, line + 1)?;
        self.out.markdown.push_str("\n</details>\n\n");
        Ok(())
    }

    /// Ends the open exercise with one solution, folded.
    fn close_exercise(&mut self) -> Result<()> {
        let Some((exercise, _)) = self.open.take() else { return Ok(()) };
        let solution = self.solution(exercise)?;
        self.show(&solution);
        self.out.markdown.push_str(&blocks::solution(&solution));
        Ok(())
    }

    fn solution(&self, exercise: &Exercise) -> Result<Excerpt> {
        let dir = &self.chapter()?.dir;
        listing::excerpt(self.site, &format!("{dir}/{}:{}", exercise.file, exercise.anchor))
            .with_context(|| format!("solution of exercise {}", exercise.id))
    }

    fn exercise_named(&self, words: &[String]) -> Result<&'a Exercise> {
        let id = words.first().context("which exercise? `::: exercise process.clone`")?;
        let chapter = self.chapter.context("exercises stand on a chapter's page")?;
        let found = chapter.exercises.iter().find(|exercise| exercise.id == *id);
        found.with_context(|| format!("course.toml has no exercise `{id}` in chapter {}", chapter.number))
    }

    fn chapter(&self) -> Result<&'a Chapter> {
        self.chapter.context("this page belongs to no chapter of course.toml")
    }

    fn show(&mut self, excerpt: &Excerpt) {
        let lines = excerpt.lines.iter().map(|(line, _)| (excerpt.file.clone(), *line));
        self.out.shown.extend(lines);
    }
}
