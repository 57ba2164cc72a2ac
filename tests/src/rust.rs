//! Just enough of Rust's surface to find the body of a function.
//!
//! The generator replaces bodies; for that it must know where strings and comments are, and which brace
//! closes which. [`mask`] blanks out all that is not code, byte for byte, so that positions stay the same;
//! the rest is counting braces.
//!
//! Left out: everything else about the language. rustc itself checks the result, for every starter is
//! compiled.

use std::ops::Range;

use anyhow::{Result, bail};

/// `source` with comments and the insides of strings and characters replaced by spaces, line breaks kept:
/// same length, same lines, only code left.
pub fn mask(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = not_code(source, at);
        for byte in &mut out[at..end.max(at)] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end.max(at + 1);
    }
    String::from_utf8(out).expect("whole characters are replaced by spaces")
}

/// If a comment, string or character starts at `at`, where it ends; else `at`.
fn not_code(source: &str, at: usize) -> usize {
    let bytes = source.as_bytes();
    let rest = &bytes[at..];
    if rest.starts_with(b"//") {
        return at + rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
    }
    if rest.starts_with(b"/*") {
        return block_comment(bytes, at);
    }
    match rest[0] {
        b'"' => string(bytes, at + 1),
        b'\'' => character(source, at),
        // A raw string: r"..", r#".."#, also behind b and c. `r` must not end a longer name.
        b'r' if !at.checked_sub(1).is_some_and(|i| is_name(bytes[i]) && !raw_prefix(bytes, i)) => {
            raw_string(source, at)
        }
        _ => at,
    }
}

/// Whether the byte at `i` is a lone `b` or `c`, as in `br"..."`.
fn raw_prefix(bytes: &[u8], i: usize) -> bool {
    matches!(bytes[i], b'b' | b'c') && !i.checked_sub(1).is_some_and(|j| is_name(bytes[j]))
}

fn block_comment(bytes: &[u8], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0);
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    at
}

fn string(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

/// A character literal, or `at` again if the quote begins a lifetime or label.
fn character(source: &str, at: usize) -> usize {
    let mut letters = source[at + 1..].char_indices();
    match letters.next() {
        Some((_, '\\')) => {
            let escaped = letters.next().map_or(0, |(i, c)| i + c.len_utf8());
            let from = at + 1 + escaped;
            source[from..].find('\'').map_or(source.len(), |i| from + i + 1)
        }
        Some(_) => match letters.next() {
            Some((i, '\'')) => at + 1 + i + 1,
            _ => at,
        },
        None => at,
    }
}

fn raw_string(source: &str, at: usize) -> usize {
    let hashes = source[at + 1..].bytes().take_while(|b| *b == b'#').count();
    let inside = at + 1 + hashes;
    if !source[inside..].starts_with('"') {
        return at;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    source[inside + 1..].find(&close).map_or(source.len(), |i| inside + 1 + i + close.len())
}

/// Whether a byte can be part of a name (all of UTF-8's higher bytes count).
pub fn is_name(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric() || byte >= 0x80
}

/// A function: its signature from `fn` up to the body, and the body with both of its braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// From the keyword `fn` to just before the body.
    pub signature: Range<usize>,
    /// From `{` to `}`, both included.
    pub body: Range<usize>,
}

/// The outermost functions with a body that begin within `range` of masked code, in order.
///
/// # Errors
/// The range cuts a function or block in two.
pub fn functions(masked: &str, range: Range<usize>) -> Result<Vec<Function>> {
    if !balanced(&masked[range.clone()]) {
        bail!("it cuts through a block: an anchor goes around whole functions");
    }
    let mut found = Vec::new();
    let mut at = range.start;
    while let Some(start) = next_fn(&masked[..range.end], at) {
        at = match body_start(&masked[..range.end], start) {
            Some(open) => {
                let body = open..closing(masked, open)?;
                let end = body.end;
                found.push(Function { signature: start..open, body });
                end
            }
            None => start + 2,
        };
    }
    Ok(found)
}

/// The next keyword `fn` that names a function; not the type `fn(..)`.
fn next_fn(masked: &str, from: usize) -> Option<usize> {
    let bytes = masked.as_bytes();
    (from..bytes.len()).find(|&i| {
        let Some(behind) = bytes[i..].strip_prefix(b"fn") else { return false };
        let starts = !i.checked_sub(1).is_some_and(|j| is_name(bytes[j]));
        let named = behind.trim_ascii_start().first().is_some_and(|b| is_name(*b));
        starts && named && behind[0].is_ascii_whitespace()
    })
}

/// Where the function's body opens; `None` for a declaration, which ends with `;`.
fn body_start(masked: &str, start: usize) -> Option<usize> {
    let mut depth = 0;
    for (i, byte) in masked.bytes().enumerate().skip(start) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b'{' if depth == 0 => return Some(i),
            b';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// Just behind the brace that closes the one at `open`.
fn closing(masked: &str, open: usize) -> Result<usize> {
    let mut depth = 0;
    for (i, byte) in masked.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => continue,
        }
        if depth == 0 {
            return Ok(i + 1);
        }
    }
    bail!("a block is never closed")
}

fn balanced(masked: &str) -> bool {
    let mut depth = 0;
    for byte in masked.bytes() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth < 0 {
            return false;
        }
    }
    depth == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies(source: &str) -> Vec<&str> {
        let masked = mask(source);
        let found = functions(&masked, 0..source.len()).unwrap();
        found.into_iter().map(|function| &source[function.body]).collect()
    }

    #[test]
    fn braces_in_strings_comments_and_characters_do_not_count() {
        let source =
            "fn a() {\n    \"}\\\"}\"; '}'; '\\''; b'{'; /* } /* } */ } */ r#\"}\"}\"#; br\"{\"; // }\n}\n";
        assert_eq!(bodies(source), [&source[7..source.len() - 1]]);
    }

    #[test]
    fn lifetimes_are_not_characters() {
        assert_eq!(bodies("fn a<'a>(x: &'a str) -> &'a str { x }"), ["{ x }"]);
        assert_eq!(bodies("fn a() { 'outer: loop { break 'outer } }").len(), 1);
        assert_eq!(bodies("fn a() { let c = 'é'; }").len(), 1);
    }

    #[test]
    fn semicolons_in_types_do_not_end_a_signature() {
        assert_eq!(bodies("fn a(x: [u8; 4]) -> [u8; 2] { y }"), ["{ y }"]);
    }

    #[test]
    fn declarations_and_function_types_have_no_body() {
        assert!(bodies("trait T { fn a(&self); }\ntype F = fn(u8) -> u8;").is_empty());
    }

    #[test]
    fn methods_are_found_one_by_one_and_inner_functions_not() {
        assert_eq!(bodies("impl A { fn a() { fn b() {} } fn c() { 1 } }"), ["{ fn b() {} }", "{ 1 }"]);
    }

    #[test]
    fn names_that_end_in_r_or_fn_are_names() {
        assert_eq!(mask("letter\"x\" r"), "letter    r");
        assert!(bodies("let hidden_fn = 1; { }").is_empty());
    }

    #[test]
    fn half_a_block_is_an_error() {
        let source = "impl A {\n fn a() {}\n";
        assert!(functions(&mask(source), 0..source.len()).is_err());
    }
}
