//! The files of the book: each page stands in SUMMARY.md, each chapter of the course has its page there under
//! the title that course.toml gives it, and each figure is used.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::figure;
use crate::finding::Findings;
use crate::site::Site;

/// The Markdown files below `src/` but SUMMARY.md, relative to it, sorted.
pub fn markdown_files(site: &Site) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    collect(&site.src(), &mut found)?;
    let mut names: Vec<PathBuf> =
        found.iter().filter_map(|path| path.strip_prefix(site.src()).ok().map(Path::to_owned)).collect();
    names.retain(|name| name != Path::new("SUMMARY.md"));
    names.sort();
    Ok(names)
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
    Ok(())
}

/// Checks SUMMARY.md against the files and the course.
pub fn summary(site: &Site, findings: &mut Findings) -> Result<()> {
    let path = site.src().join("SUMMARY.md");
    let shown = site.shown(&path);
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let entries: Vec<(usize, &str, &str)> = text
        .lines()
        .enumerate()
        .filter_map(|(index, line)| entry(line).map(|(t, f)| (index + 1, t, f)))
        .collect();
    for name in markdown_files(site)? {
        if !entries.iter().any(|(_, _, file)| Path::new(file) == name) {
            let page = site.shown(&site.src().join(&name));
            findings.add(&page, 1, "no reader finds this page: it is not in SUMMARY.md");
        }
    }
    for chapter in &site.course.chapters {
        match entries.iter().find(|(_, _, file)| *file == chapter.file) {
            None => {
                findings.add(&shown, 1, format!("chapter {} ({}) is missing", chapter.number, chapter.file))
            }
            Some((line, title, _)) if *title != chapter.title => {
                findings.add(&shown, *line, format!("course.toml calls this chapter `{}`", chapter.title));
            }
            Some(_) => {}
        }
    }
    unused_figures(site, findings)
}

/// Title and file of a line of SUMMARY.md.
fn entry(line: &str) -> Option<(&str, &str)> {
    let (_, rest) = line.split_once('[')?;
    let (title, rest) = rest.split_once("](")?;
    Some((title, rest.split(')').next()?))
}

/// A figure that no page shows is an orphan as well.
fn unused_figures(site: &Site, findings: &mut Findings) -> Result<()> {
    let folder = site.book.join("figures");
    let Ok(entries) = std::fs::read_dir(&folder) else { return Ok(()) };
    let mut pages = String::new();
    for name in markdown_files(site)? {
        pages.push_str(&std::fs::read_to_string(site.src().join(name)).context("read a page")?);
    }
    for entry in entries {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let used = [" |", "}}", "|"].iter().any(|end| pages.contains(&format!("{{{{#figure {name}{end}")));
        if figure::is_figure(&path) && !used {
            findings.add(&site.shown(&path), 1, "no page shows this figure");
        }
    }
    Ok(())
}
