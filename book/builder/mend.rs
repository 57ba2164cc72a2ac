//! Small corrections to the pages that mdBook wrote.
//!
//! mdBook's page is good, but three things of it are not for us: themes whose contrast is too low, a
//! sidebar toggle that a keyboard cannot reach, and landmarks that are missing. A copy of its template would
//! go stale without a word. So each correction names the text that it replaces and demands exactly one match
//! a page: when mdBook changes, the build says what to look at.

use std::path::Path;

use anyhow::{Context, Result, bail};

/// Pages that mdBook makes from other templates.
const OTHER_TEMPLATES: [&str; 1] = ["toc.html"];

/// What is replaced on every page: why, from, to.
const MENDS: &[(&str, &str, &str)] = &[
    (
        "a label cannot be reached by keyboard: the sidebar's toggle is a button; without scripts, a label",
        r#"<label id="mdbook-sidebar-toggle" class="icon-button" for="mdbook-sidebar-toggle-anchor" title="Toggle Table of Contents" aria-label="Toggle Table of Contents" aria-controls="mdbook-sidebar">"#,
        r#"<noscript><label class="icon-button" for="mdbook-sidebar-toggle-anchor">Contents</label></noscript>
                        <button id="mdbook-sidebar-toggle" class="icon-button" type="button" title="Table of contents" aria-label="Table of contents" aria-controls="mdbook-sidebar">"#,
    ),
    (
        "the end of that button",
        r#"</label>
                        <button id="mdbook-theme-toggle""#,
        r#"</button>
                        <button id="mdbook-theme-toggle""#,
    ),
    (
        "the theme Rust has too little contrast",
        r#"<li role="none"><button role="menuitem" class="theme" id="mdbook-theme-rust">Rust</button></li>"#,
        "",
    ),
    (
        "the theme Coal has too little contrast",
        r#"<li role="none"><button role="menuitem" class="theme" id="mdbook-theme-coal">Coal</button></li>"#,
        "",
    ),
    (
        "the theme Ayu has too little contrast",
        r#"<li role="none"><button role="menuitem" class="theme" id="mdbook-theme-ayu">Ayu</button></li>"#,
        "",
    ),
    (
        "content outside landmarks: the bar at the top is the page's banner",
        r#"<div id="mdbook-menu-bar" class="menu-bar sticky">"#,
        r#"<div id="mdbook-menu-bar" class="menu-bar sticky" role="banner">"#,
    ),
    (
        "content outside landmarks: the search is a search",
        r#"<div id="mdbook-search-wrapper" class="hidden">"#,
        r#"<div id="mdbook-search-wrapper" class="hidden" role="search">"#,
    ),
    (
        "a page has one title, and the book's is not it",
        r#"<h1 class="menu-title">"#,
        r#"<div class="menu-title">"#,
    ),
    (
        "the end of that title",
        r#"</h1>

                    <div class="right-buttons">"#,
        r#"</div>

                    <div class="right-buttons">"#,
    ),
    (
        "a field needs a name, and its description exists under another id",
        r#"aria-describedby="searchresults-header""#,
        r#"aria-label="Search this book" aria-describedby="mdbook-searchresults-header""#,
    ),
];

/// Corrects every page below `folder`.
///
/// # Errors
/// A page that cannot be read or written, or where a correction does not match exactly once.
pub fn folder(folder: &Path) -> Result<()> {
    for path in pages(folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if OTHER_TEMPLATES.contains(&name.as_str()) {
            continue;
        }
        let html = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let html = page(&html).with_context(|| format!("in {}", path.display()))?;
        std::fs::write(&path, html).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

/// The page with all corrections.
fn page(html: &str) -> Result<String> {
    let mut html = html.to_owned();
    for (why, from, to) in MENDS {
        match html.matches(from).count() {
            1 => html = html.replacen(from, to, 1),
            count => bail!("mdBook's page has changed: expected one match, found {count}, for: {why}"),
        }
    }
    Ok(html)
}

/// The HTML files below `folder`, sorted.
///
/// # Errors
/// A folder that cannot be read.
pub fn pages(folder: &Path) -> Result<Vec<std::path::PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(pages(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "html") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
