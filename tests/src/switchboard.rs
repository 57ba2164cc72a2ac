//! The switchboard: the lines in the root `Cargo.toml` that say whose code the floors above build on.
//!
//! `process = { path = "solutions/01-process" }` is the reference crate; adopted, the same line reads
//! `process = { path = "chapters/01-process", package = "my-process" }`. One value of one line changes, by
//! `toml_edit`: comments, order and spaces stay, and a release gives back the bytes of before. Cargo.lock
//! says who depends on whom as well, so cargo is asked to write it anew each time; it gives back the bytes
//! of before, too.
//!
//! Left out: whether the learner's crate is good enough; the command asks the stage's tests.

use std::path::Path;

use anyhow::{Context, Result, bail};
use toml_edit::{DocumentMut, InlineTable, Item, Value};

use crate::course::{Chapter, Course};
use crate::workspace;

/// Whose code a chapter's line names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The reference crate in `solutions/`.
    Reference,
    /// The learner's crate in `chapters/`.
    Learner,
}

/// Whose code the floors above this chapter build on.
///
/// # Errors
/// The root `Cargo.toml` cannot be read or has no line for the chapter.
pub fn owner(root: &Path, chapter: &Chapter) -> Result<Owner> {
    let mut document = parse(&workspace::read(&root.join("Cargo.toml"))?)?;
    let path = line(&mut document, chapter)?.get("path").and_then(Value::as_str).unwrap_or_default();
    Ok(if path.starts_with("chapters/") { Owner::Learner } else { Owner::Reference })
}

/// The text of the root `Cargo.toml` with this chapter's line pointing at `owner`.
///
/// # Errors
/// The text is no manifest, or has no line for the chapter.
pub fn switched(text: &str, chapter: &Chapter, owner: Owner) -> Result<String> {
    let mut document = parse(text)?;
    let line = line(&mut document, chapter)?;
    // What stands before the closing brace belongs to the last value: taken off, and given to the new last.
    let tail = take_tail(line);
    let (folder, package) = match owner {
        Owner::Reference => ("solutions", None),
        Owner::Learner => ("chapters", Some(chapter.my_crate())),
    };
    set_text(line, "path", &format!("{folder}/{}", chapter.dir));
    match package {
        Some(name) => set_text(line, "package", &name),
        None => drop(line.remove("package")),
    }
    give_tail(line, &tail);
    Ok(document.to_string())
}

/// The text with every line pointing at the reference crates.
///
/// # Errors
/// As [`switched`].
pub fn all_released(text: &str, course: &Course) -> Result<String> {
    let with_crate = course.chapters.iter().filter(|chapter| chapter.has_crate());
    with_crate
        .into_iter()
        .try_fold(text.to_owned(), |text, chapter| switched(&text, chapter, Owner::Reference))
}

/// Points the chapter's line at `owner` and has cargo bring Cargo.lock up to date. Returns whether anything
/// changed.
///
/// # Errors
/// The manifest cannot be changed, or cargo refuses the result; then both files are as before.
pub fn switch(root: &Path, chapter: &Chapter, owner: Owner) -> Result<bool> {
    let path = root.join("Cargo.toml");
    let before = workspace::read(&path)?;
    let after = switched(&before, chapter, owner)?;
    if after == before {
        return Ok(false);
    }
    let lock = root.join("Cargo.lock");
    let old_lock = std::fs::read(&lock).ok();
    workspace::write_atomically(&path, after.as_bytes())?;
    if let Err(error) = relock(root) {
        workspace::write_atomically(&path, before.as_bytes())?;
        if let Some(old) = old_lock {
            workspace::write_atomically(&lock, &old)?;
        }
        return Err(error.context("nothing is changed: cargo does not accept the switch"));
    }
    Ok(true)
}

/// Has cargo write Cargo.lock for the manifests as they are; nothing is downloaded or updated for it.
fn relock(root: &Path) -> Result<()> {
    let mut cargo = workspace::cargo(root);
    // Not `metadata`, which wants every crate at hand: those for other systems are not.
    cargo.args(["update", "--workspace", "--offline", "--quiet"]);
    let output = cargo.output().context("run cargo update")?;
    if !output.status.success() {
        bail!("cargo update: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

fn parse(text: &str) -> Result<DocumentMut> {
    text.parse().context("in the workspace's Cargo.toml")
}

fn line<'a>(document: &'a mut DocumentMut, chapter: &Chapter) -> Result<&'a mut InlineTable> {
    let dependencies = document.get_mut("workspace").and_then(|workspace| workspace.get_mut("dependencies"));
    let line =
        dependencies.and_then(|lines| lines.get_mut(&chapter.krate)).and_then(Item::as_inline_table_mut);
    line.with_context(|| {
        let krate = &chapter.krate;
        format!(
            "the workspace's Cargo.toml has no line `{krate} = {{ path = \"solutions/{}\" }}` below \
             [workspace.dependencies]: put it back",
            chapter.dir
        )
    })
}

/// Sets a value and keeps the spaces around it and around its key.
fn set_text(line: &mut InlineTable, key: &str, text: &str) {
    match line.get_mut(key) {
        Some(old) => {
            let decor = old.decor().clone();
            *old = Value::from(text);
            *old.decor_mut() = decor;
        }
        None => drop(line.insert(key, Value::from(text).decorated(" ", ""))),
    }
}

fn take_tail(line: &mut InlineTable) -> String {
    let Some((_, last)) = line.iter_mut().last() else { return String::new() };
    let tail = last.decor().suffix().and_then(|raw| raw.as_str()).unwrap_or(" ").to_owned();
    last.decor_mut().set_suffix("");
    tail
}

fn give_tail(line: &mut InlineTable, tail: &str) {
    if let Some((_, last)) = line.iter_mut().last() {
        last.decor_mut().set_suffix(tail);
    }
}
