//! What a build alone does not notice: `book check`.
//!
//! Each rule has its own file and says at its head what it demands. All of them add to one list of findings;
//! none stops at the first. Rules about finished pages (links, weight, resources) run only when the build
//! itself found nothing, for otherwise there are no pages.

mod exercises;
mod pages;
mod parts;
pub(crate) mod site_files;
mod words;
mod woven;

use anyhow::Result;

use crate::build::{self, line_in};
use crate::finding::{Finding, Findings};
use crate::page::Page;
use crate::render;
use crate::site::Site;

/// What a check of the whole book says.
#[derive(Debug)]
pub struct Report {
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// One line a chapter: words, and how much of the code is shown.
    pub summary: Vec<String>,
    /// The lines of the solutions that no page shows, `file:line: code`.
    pub unwoven: Vec<String>,
}

/// Builds and checks the book.
///
/// # Errors
/// Something that is not the book's fault, such as a folder that cannot be read.
pub fn check(site: &Site) -> Result<Report> {
    let mut findings = Findings::default();
    let built = build::build(site)?;
    let complete = built.is_empty();
    for finding in built {
        findings.add(&finding.file, finding.line, finding.what);
    }
    let pages = load_pages(site, &mut findings)?;
    for page in &pages {
        parts::code_blocks(page, site.is_recorded(&page.name), &mut findings);
    }
    site_files::summary(site, &mut findings)?;
    if complete {
        pages::check(site, &pages, &mut findings)?;
    }
    let (summary, unwoven) = chapters(site, &pages, &mut findings)?;
    Ok(Report { findings: findings.into_sorted(), summary, unwoven })
}

/// The rules for the pages of chapters.
fn chapters(site: &Site, pages: &[Page], findings: &mut Findings) -> Result<(Vec<String>, Vec<String>)> {
    let (mut summary, mut unwoven) = (Vec::new(), Vec::new());
    for chapter in &site.course.chapters {
        let Some(page) = pages.iter().find(|page| page.name == std::path::Path::new(&chapter.file)) else {
            continue;
        };
        parts::check(chapter, page, findings);
        exercises::check(site, chapter, page, findings)?;
        let words = words::check(chapter, page, findings);
        let mut line = format!("{}: {words} words", page.shown.display());
        if chapter.has_crate() {
            let shown = render::render(site, page).shown;
            let woven = woven::measure(site, chapter, &shown)?;
            woven.judge(chapter, page, findings);
            line.push_str(&format!(", woven {woven}"));
            unwoven.extend(woven.missing);
        }
        summary.push(line);
    }
    Ok((summary, unwoven))
}

/// Every page that can be taken apart.
fn load_pages(site: &Site, findings: &mut Findings) -> Result<Vec<Page>> {
    let mut pages = Vec::new();
    for name in site_files::markdown_files(site)? {
        match Page::load(site, &name) {
            Ok(page) => pages.push(page),
            Err(error) => {
                let error = error.to_string();
                findings.add(&site.shown(&site.src().join(&name)), line_in(&error), error);
            }
        }
    }
    Ok(pages)
}
