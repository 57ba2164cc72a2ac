//! From a reference crate's sources to what a learner begins with: text in, text out.
//!
//! Three changes and no others. The body of every function inside an exercise's anchor becomes
//! `todo!("1.1 Ask the kernel for a child")`. A file that names its own crate (its binary, benches, examples,
//! tests) says `my_process::` for `process::`. The manifest gets the learner's name and gentler lints.
//! Anchors and all else stay, so that the book's listings and a learner's file can be held side by side.
//!
//! Invariant: what is well-formatted and free of warnings stays so.
//!
//! Left out: reading and writing files, see [`crate::generate`].

use anyhow::{Context, Result, bail};
use toml_edit::{DocumentMut, Item, Table, value};

use crate::course::{Chapter, Exercise};
use crate::{anchor, rust};

/// The longest line that rustfmt.toml allows.
const WIDTH: usize = 110;

/// `source` with the bodies of these exercises' functions replaced by `todo!`.
///
/// # Errors
/// An anchor is missing, broken, holds no function that a reader could write, or holds another exercise.
pub fn blank(source: &str, exercises: &[&Exercise]) -> Result<String> {
    let masked = rust::mask(source);
    let mut edits = Vec::new();
    for exercise in exercises {
        let in_exercise =
            || format!("exercise {} (`{}` in {})", exercise.number, exercise.anchor, exercise.file);
        let inside = anchor::range(source, &exercise.anchor).with_context(in_exercise)?;
        not_nested(&source[inside.clone()], exercises).with_context(in_exercise)?;
        let functions = rust::functions(&masked, inside).with_context(in_exercise)?;
        let writable: Vec<_> = functions.into_iter().filter(|f| source[f.body.clone()].len() > 2).collect();
        if writable.is_empty() {
            return Err(anyhow::anyhow!("its anchor holds no function with a body"))
                .with_context(in_exercise);
        }
        for function in writable {
            fit_for_todo(&masked, &function).with_context(in_exercise)?;
            edits.push((function.body.clone(), todo_body(source, &function, exercise)));
        }
    }
    edits.sort_by_key(|(range, _)| range.start);
    let mut out = source.to_owned();
    for (range, body) in edits.into_iter().rev() {
        out.replace_range(range, &body);
    }
    anchor::check(&out).context("after the bodies are gone: an anchor begins in one and ends outside")?;
    Ok(out)
}

/// An exercise inside another would be replaced together with it.
fn not_nested(inside: &str, exercises: &[&Exercise]) -> Result<()> {
    let opened = anchor::opened(inside);
    match exercises.iter().find(|other| opened.contains(&other.anchor.as_str())) {
        Some(other) => {
            bail!("it holds exercise {} (`{}`): exercises do not nest", other.number, other.anchor)
        }
        None => Ok(()),
    }
}

/// `todo!()` has no value: it cannot stand for a constant, nor for an unnamed type.
fn fit_for_todo(masked: &str, function: &rust::Function) -> Result<()> {
    let line_start = masked[..function.signature.start].rfind('\n').map_or(0, |i| i + 1);
    let signature = &masked[line_start..function.signature.end];
    if signature.split_whitespace().take_while(|word| *word != "fn").any(|word| word == "const") {
        bail!("a `const fn` cannot be an exercise: `todo!` in it fails at compile time");
    }
    if signature.contains("-> impl ") {
        bail!("a function that returns `impl ...` cannot be an exercise: `todo!` has no such type");
    }
    Ok(())
}

fn todo_body(source: &str, function: &rust::Function, exercise: &Exercise) -> String {
    let line_start = source[..function.body.end - 1].rfind('\n').map_or(0, |i| i + 1);
    let line = &source[line_start..function.body.end - 1];
    let indent = &line[..line.len() - line.trim_start().len()];
    let message = format!("{} {}", exercise.number, exercise.title).replace('{', "{{").replace('}', "}}");
    format!("{{\n{indent}    todo!({message:?})\n{indent}}}")
}

/// `source` with paths that begin with the chapter's crate beginning with the learner's instead.
///
/// # Errors
/// A line gets longer than rustfmt would leave it.
pub fn rename(source: &str, chapter: &Chapter) -> Result<String> {
    let old = chapter.krate.replace('-', "_");
    let new = format!("my_{old}");
    let masked = rust::mask(source);
    let mut out = source.to_owned();
    for (at, _) in masked.rmatch_indices(&format!("{old}::")) {
        if begins_path(&masked, at) {
            out.replace_range(at..at + old.len(), &new);
        }
    }
    let out = resort(&out, &new);
    if let Some((index, line)) =
        out.lines().enumerate().find(|(_, l)| l.chars().count() > WIDTH && l.contains(&new))
    {
        bail!("line {}: `{}` is longer than {WIDTH} letters as `{new}`: shorten it", index + 1, line.trim());
    }
    Ok(out)
}

/// Whether the name at `at` is the first of its path: not `std::process`, not in `use std::{process}`, not
/// the end of a longer name.
fn begins_path(masked: &str, at: usize) -> bool {
    let before = &masked.as_bytes()[..at];
    if before.last().is_some_and(|b| rust::is_name(*b)) || before.trim_ascii_end().ends_with(b"::") {
        return false;
    }
    let mut depth = 0;
    for (i, byte) in before.iter().enumerate().rev() {
        match byte {
            b'}' => depth += 1,
            b'{' if depth > 0 => depth -= 1,
            b'{' => return !before[..i].trim_ascii_end().ends_with(b"::"),
            b';' if depth == 0 => return true,
            _ => {}
        }
    }
    true
}

/// Moves `use my_process::..` to where rustfmt wants it among its neighbours, which are sorted already.
fn resort(source: &str, new: &str) -> String {
    let mut out: Vec<&str> = Vec::new();
    let mut block: Vec<&str> = Vec::new();
    for item in items(source) {
        if item.trim_start().starts_with("use ") {
            block.push(item);
            continue;
        }
        place(&mut block, new);
        out.append(&mut block);
        out.push(item);
    }
    place(&mut block, new);
    out.append(&mut block);
    out.concat()
}

/// The lines of `source`, a `use` of several lines taken as one.
fn items(source: &str) -> Vec<&str> {
    let mut items = Vec::new();
    let mut rest = source;
    while !rest.is_empty() {
        let stop = if rest.trim_start_matches([' ', '\t']).starts_with("use ") { ';' } else { '\n' };
        let end = rest.find(stop).unwrap_or(rest.len() - 1);
        let end = end + rest[end..].find('\n').map_or(rest.len() - end, |i| i + 1);
        items.push(&rest[..end]);
        rest = &rest[end..];
    }
    items
}

fn place(block: &mut Vec<&str>, new: &str) {
    let first = |item: &str| -> String {
        let path = item.trim_start().strip_prefix("use ").unwrap_or(item);
        path.bytes().take_while(|b| rust::is_name(*b)).map(char::from).collect()
    };
    let near = |name: &str| matches!(name, "crate" | "self" | "super");
    let (mine, mut others): (Vec<&str>, Vec<&str>) = block.iter().partition(|item| first(item) == new);
    let at = others.iter().position(|item| {
        let name = first(item);
        !near(&name) && name.as_str() > new
    });
    let at = at.unwrap_or(others.len());
    others.splice(at..at, mine);
    *block = others;
}

/// The learner's manifest, from the reference crate's: name, lints, nothing that points out of the crate.
///
/// # Errors
/// It is not a manifest.
pub fn manifest(text: &str, chapter: &Chapter) -> Result<String> {
    let mut manifest: DocumentMut = text.parse().context("in the reference crate's Cargo.toml")?;
    let package = manifest.get_mut("package").and_then(Item::as_table_mut).context("no [package]")?;
    set_keeping_decor(package, "name", &chapter.my_crate());
    if package.get("default-run").is_some_and(|run| run.as_str() == Some(&chapter.krate)) {
        set_keeping_decor(package, "default-run", &chapter.my_crate());
    }
    if let Some(library) = manifest.get_mut("lib").and_then(Item::as_table_mut)
        && library.contains_key("name")
    {
        set_keeping_decor(library, "name", &format!("my_{}", chapter.krate.replace('-', "_")));
    }
    for kind in ["bin", "bench", "example", "test"] {
        targets(&mut manifest, kind, chapter);
    }
    gentle_lints(&mut manifest);
    Ok(manifest.to_string())
}

fn set_keeping_decor(table: &mut Table, key: &str, text: &str) {
    let decor = table.get(key).and_then(Item::as_value).map(|old| old.decor().clone());
    table[key] = value(text);
    if let (Some(decor), Some(new)) = (decor, table[key].as_value_mut()) {
        *new.decor_mut() = decor;
    }
}

/// Renames the crate's own target, and drops those whose source lies outside the crate.
fn targets(manifest: &mut DocumentMut, kind: &str, chapter: &Chapter) {
    let Some(targets) = manifest.get_mut(kind).and_then(Item::as_array_of_tables_mut) else { return };
    let text = |target: &Table, key: &str| target.get(key).and_then(Item::as_str).map(str::to_owned);
    targets.retain(|target| !text(target, "path").is_some_and(|path| path.starts_with("..")));
    for target in targets.iter_mut() {
        if text(target, "name").is_some_and(|name| name == chapter.krate) {
            set_keeping_decor(target, "name", &chapter.my_crate());
        }
    }
    if targets.is_empty() {
        manifest.remove(kind);
    }
}

/// Half-written code is full of things not used yet; that is no news to the one who writes it.
fn gentle_lints(manifest: &mut DocumentMut) {
    let mut unused = toml_edit::InlineTable::new();
    unused.insert("level", "allow".into());
    unused.insert("priority", toml_edit::Value::from(-1));
    let mut rust = Table::new();
    rust["unused"] = value(unused);
    // A forgotten `?` is no half-written code: it is a mistake.
    rust["unused_must_use"] = value("warn");
    let position = manifest.get("lints").and_then(Item::as_table).and_then(Table::position);
    rust.set_position(position);
    let comment = "\n# Half-written code has things that are not used yet: no warnings for these.\n";
    rust.decor_mut().set_prefix(comment);
    let mut lints = Table::new();
    lints.set_implicit(true);
    lints.insert("rust", Item::Table(rust));
    // A list that nothing is pushed to yet might as well be a slice: not when it is done.
    let mut clippy = Table::new();
    clippy["ptr_arg"] = value("allow");
    clippy.set_position(position);
    lints.insert("clippy", Item::Table(clippy));
    manifest.remove("lints");
    manifest.insert("lints", Item::Table(lints));
}

#[cfg(test)]
#[path = "starter_tests.rs"]
mod tests;
