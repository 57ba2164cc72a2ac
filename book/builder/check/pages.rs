//! The finished pages: every link leads somewhere, nothing comes from another machine, none is too heavy.
//!
//! A link is looked up among the files and the ids of what was built, so that also those of figures, blocks
//! and raw HTML are seen. A finding names the Markdown file and the first line where the target stands.
//! The page for print repeats all others: neither its weight nor its links are looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::finding::Findings;
use crate::html;
use crate::mend;
use crate::page::Page;
use crate::site::Site;

/// The most bytes of HTML of a page.
const HEAVIEST: usize = 600_000;

/// Pages that are not an author's: mdBook makes them.
const MADE: [&str; 2] = ["print.html", "toc.html"];

/// A finished page.
struct Built {
    /// The Markdown that it was made of, or itself.
    source: PathBuf,
    html: String,
    ids: BTreeSet<String>,
}

/// Checks the finished pages of `site`.
pub fn check(site: &Site, pages: &[Page], findings: &mut Findings) -> Result<()> {
    let built = load(site, pages)?;
    for (path, page) in &built {
        let markdown = pages.iter().find(|markdown| markdown.shown == page.source);
        let mut wrong = |dest: &str, what: String| {
            let source = dest.replace(".html", ".md");
            findings.add(&page.source, markdown.map_or(1, |markdown| markdown.line_of(&source)), what);
        };
        for tag in tags(&page.html) {
            check_tag(site, &built, path, tag, &mut wrong);
        }
        if page.html.len() > HEAVIEST && !is_made(path) {
            wrong(
                "",
                format!(
                    "the page has {} kB of HTML: {} are the most",
                    page.html.len() / 1000,
                    HEAVIEST / 1000
                ),
            );
        }
    }
    styles(site, findings)
}

fn is_made(path: &Path) -> bool {
    MADE.iter().any(|name| path == Path::new(name))
}

/// Reads all pages; the key is the path below the output folder.
fn load(site: &Site, pages: &[Page]) -> Result<BTreeMap<PathBuf, Built>> {
    let mut built = BTreeMap::new();
    for file in mend::pages(&site.out)? {
        let html = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        let path = file.strip_prefix(&site.out).unwrap_or(&file).to_owned();
        let name =
            if path == Path::new("index.html") { "README.md".into() } else { path.with_extension("md") };
        let of_page = pages.iter().find(|page| page.name == name);
        let source = of_page.map_or_else(|| site.shown(&file), |page| page.shown.clone());
        let ids = html::attributes(&html, "id").into_iter().map(html::unescape).collect();
        built.insert(path, Built { source, html, ids });
    }
    Ok(built)
}

/// The start tags of a page, without what stands in scripts.
fn tags(html: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        let tag = &rest[..rest.find('>').unwrap_or(rest.len())];
        found.push(tag);
        if tag.starts_with("script") {
            rest = rest.find("</script").map_or("", |end| &rest[end + 1..]);
        }
    }
    found
}

/// One tag: what it loads is here, and where it leads exists.
fn check_tag(
    site: &Site,
    built: &BTreeMap<PathBuf, Built>,
    path: &Path,
    tag: &str,
    wrong: &mut impl FnMut(&str, String),
) {
    let name = tag.split_whitespace().next().unwrap_or_default();
    let loads =
        matches!(name, "script" | "link" | "img" | "iframe" | "source" | "image" | "use" | "video" | "audio");
    for attribute in ["href", "src", "xlink:href", "srcset", "poster"] {
        for dest in html::attributes(tag, attribute) {
            let dest = html::unescape(dest);
            let outside =
                dest.starts_with("http://") || dest.starts_with("https://") || dest.starts_with("//");
            if outside && loads {
                wrong(&dest, format!("`{dest}` is loaded from another machine"));
            }
            // Addresses with a scheme are not ours to try, and the page for print repeats the others' links.
            let ours = !outside && !dest.contains(':') && !is_made(path);
            if let Some(what) = ours.then(|| broken(site, built, path, &dest)).flatten() {
                wrong(&dest, what);
            }
        }
    }
}

/// Why `dest` on page `path` leads nowhere, if so.
fn broken(site: &Site, built: &BTreeMap<PathBuf, Built>, path: &Path, dest: &str) -> Option<String> {
    let (file, fragment) = dest.split_once('#').unwrap_or((dest, ""));
    let target = match file {
        "" => path.to_owned(),
        file => normal(&path.parent().unwrap_or(Path::new("")).join(file)),
    };
    let source = dest.replace(".html", ".md");
    if !site.out.join(&target).is_file() {
        return Some(format!("`{source}` leads to no page or file"));
    }
    let page = built.get(&target)?;
    let there = fragment.is_empty() || page.ids.contains(fragment);
    (!there).then(|| format!("`{source}`: {} has no `#{fragment}`", page.source.display()))
}

/// The path with `..` resolved.
fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => drop(out.pop()),
            std::path::Component::CurDir => {}
            part => out.push(part),
        }
    }
    out
}

/// Style sheets must not load anything from elsewhere either.
fn styles(site: &Site, findings: &mut Findings) -> Result<()> {
    let folder = site.book.join("theme");
    for entry in std::fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "css") {
            continue;
        }
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        for (index, line) in text.lines().enumerate() {
            if line.contains("http://") || line.contains("https://") || line.contains("@import") {
                findings.add(&site.shown(&path), index + 1, "a style sheet loads nothing from elsewhere");
            }
        }
    }
    Ok(())
}
