//! The build: Markdown in, a folder of pages out, all or nothing.
//!
//! mdBook writes into a fresh folder beside the output; only when every page is right does it take the
//! output's place. So a broken edit never costs the last good build, and a reader of the output never sees
//! half of one.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use mdbook::MDBook;
use mdbook::book::{Chapter, SectionNumber};

use crate::finding::{Finding, Findings};
use crate::mend;
use crate::page::Page;
use crate::render;
use crate::site::Site;
use crate::warnings;

/// Builds `site`. What is wrong with the pages comes back as findings; then nothing was written.
///
/// # Errors
/// A file that cannot be read or written, or a `book.toml` that mdBook refuses.
pub fn build(site: &Site) -> Result<Vec<Finding>> {
    let fresh = site.out.with_extension("new");
    let mut book = load(site, &fresh)?;
    let mut findings = Findings::default();
    book.book.for_each_chapter_mut(|chapter| render_chapter(site, chapter, &mut findings));
    if findings.is_empty() {
        let (built, warnings) = warnings::collect(|| book.build());
        built.context("mdBook cannot render the pages")?;
        for warning in warnings {
            findings.add(&page_in(site, &warning), 1, format!("mdBook warns: {warning}"));
        }
    }
    if findings.is_empty() {
        mend::folder(&fresh)?;
        replace(&fresh, &site.out)?;
    }
    Ok(findings.into_sorted())
}

/// The book as mdBook reads it, with our output folder.
fn load(site: &Site, out: &Path) -> Result<MDBook> {
    std::fs::create_dir_all(out).with_context(|| format!("create {}", out.display()))?;
    let out = out.canonicalize().with_context(|| format!("resolve {}", out.display()))?;
    let config_file = site.book.join("book.toml");
    let mut config = mdbook::config::Config::from_disk(&config_file)
        .with_context(|| format!("read {}", config_file.display()))?;
    config.build.build_dir = out;
    MDBook::load_with_config(&site.book, config).context("load the book's summary and pages")
}

/// Puts the rendered Markdown, the course's number and the course's title into one chapter.
fn render_chapter(site: &Site, chapter: &mut Chapter, findings: &mut Findings) {
    let Some(name) = chapter.source_path.clone() else { return };
    match Page::parse(site, &name, &chapter.content) {
        Ok(page) => {
            let rendered = render::render(site, &page);
            chapter.content = rendered.markdown;
            findings.absorb(rendered.findings);
        }
        Err(error) => {
            let shown = site.shown(&site.src().join(&name));
            findings.add(&shown, line_in(&error.to_string()), error.to_string());
        }
    }
    if let Some(of_course) = site.chapter_of(&name) {
        let eyebrow = format!("<p class=\"eyebrow\">Chapter {}</p>\n\n", of_course.number);
        chapter.content.insert_str(0, &eyebrow);
        chapter.name.clone_from(&of_course.title);
        chapter.number = Some(SectionNumber::new([u32::from(of_course.number)]));
    } else if name == Path::new("README.md") {
        chapter.path = Some(PathBuf::from("index.md"));
    }
}

/// The line that an error of [`workshop::prose`] begins with.
pub fn line_in(error: &str) -> usize {
    let number = error.strip_prefix("line ").and_then(|rest| rest.split(':').next());
    number.and_then(|number| number.parse().ok()).unwrap_or(1)
}

/// The page that a warning of mdBook names in backticks, or the book's settings.
fn page_in(site: &Site, warning: &str) -> PathBuf {
    let page = warning.split('`').map(|word| site.src().join(word)).find(|path| path.is_file());
    site.shown(&page.unwrap_or_else(|| site.book.join("book.toml")))
}

/// Puts `fresh` where `out` is.
fn replace(fresh: &Path, out: &Path) -> Result<()> {
    if out.exists() {
        std::fs::remove_dir_all(out).with_context(|| format!("remove {}", out.display()))?;
    }
    std::fs::rename(fresh, out).with_context(|| format!("rename {} to {}", fresh.display(), out.display()))
}
