//! The book's own Markdown, taken apart: plain text, blocks, and one-line directives.
//!
//! A block opens with `::: name words` on a line of its own and closes with `:::`. A directive is one
//! line, `{{#name words}}`. Blocks do not nest, and inside a code fence nothing is special. The builder of
//! the book renders the pieces; `cargo workshop hint` reads the hints out of the same file, so that nothing
//! is written twice.
//!
//! Left out: what the pieces mean, and all Markdown inside them.

use anyhow::{Context, Result, bail};

/// A stretch of a chapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Ordinary Markdown, line breaks kept.
    Text(String),
    /// `::: name words`, the lines up to `:::`.
    Block {
        /// The first word behind `:::`.
        name: String,
        /// The words behind it.
        words: Vec<String>,
        /// The Markdown inside.
        body: String,
        /// The 1-based line of the opening `:::`.
        line: usize,
    },
    /// `{{#name words}}` alone on a line.
    Directive {
        /// The first word.
        name: String,
        /// All behind it, trimmed.
        rest: String,
        /// Its 1-based line.
        line: usize,
    },
}

/// Takes a chapter's Markdown apart.
///
/// # Errors
/// A block that is never closed, opened inside another, or closed without being open; each with its line.
pub fn parse(markdown: &str) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut open: Option<(String, Vec<String>, usize)> = None;
    let mut fence = Fence::default();
    for (index, line) in markdown.lines().enumerate() {
        let number = index + 1;
        let in_code = fence.step(line);
        match line.strip_prefix(":::").map(str::trim) {
            Some("") if !in_code => {
                let closed = open.take().with_context(|| format!("line {number}: `:::` closes nothing"));
                let (name, words, line) = closed?;
                pieces.push(Piece::Block { name, words, body: std::mem::take(&mut text), line });
            }
            Some(head) if !in_code => {
                if let Some((name, _, line)) = &open {
                    bail!("line {number}: `::: {head}` inside `::: {name}` of line {line}");
                }
                flush(&mut pieces, &mut text);
                let mut words = head.split_whitespace().map(str::to_owned);
                open = Some((words.next().unwrap_or_default(), words.collect(), number));
            }
            _ => match directive(line) {
                Some((name, rest)) if !in_code && open.is_none() => {
                    flush(&mut pieces, &mut text);
                    pieces.push(Piece::Directive { name, rest, line: number });
                }
                _ => {
                    text.push_str(line);
                    text.push('\n');
                }
            },
        }
    }
    if let Some((name, _, line)) = open {
        bail!("line {line}: `::: {name}` is never closed");
    }
    flush(&mut pieces, &mut text);
    Ok(pieces)
}

/// The hints of one exercise in the order of the page: `::: hint mount.pivot`.
///
/// # Errors
/// As [`parse`].
pub fn hints(markdown: &str, exercise: &str) -> Result<Vec<String>> {
    let of_exercise = |piece| match piece {
        Piece::Block { name, words, body, .. }
            if name == "hint" && words.first().is_some_and(|w| w == exercise) =>
        {
            Some(body.trim().to_owned())
        }
        _ => None,
    };
    Ok(parse(markdown)?.into_iter().filter_map(of_exercise).collect())
}

fn flush(pieces: &mut Vec<Piece>, text: &mut String) {
    if !text.is_empty() {
        pieces.push(Piece::Text(std::mem::take(text)));
    }
}

fn directive(line: &str) -> Option<(String, String)> {
    let inside = line.trim().strip_prefix("{{#")?.strip_suffix("}}")?;
    let (name, rest) = inside.split_once(char::is_whitespace).unwrap_or((inside, ""));
    Some((name.to_owned(), rest.trim().to_owned()))
}

/// Whether we are inside a code fence, line by line.
#[derive(Default)]
struct Fence {
    open: Option<String>,
}

impl Fence {
    /// Takes the next line; true if it belongs to a fence (its marks included).
    fn step(&mut self, line: &str) -> bool {
        let line = line.trim_start();
        let mark: String = line.chars().take_while(|c| *c == '`').collect();
        match &self.open {
            Some(open) => {
                if mark.len() >= open.len() && line.trim_end() == mark {
                    self.open = None;
                }
                true
            }
            None if mark.len() >= 3 => {
                self.open = Some(mark);
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_directives_and_text_keep_their_order() {
        let pieces = parse("# A\n{{#card}}\n::: predict\nwhy?\n:::\nend\n").unwrap();
        assert_eq!(pieces.len(), 4);
        assert!(matches!(&pieces[1], Piece::Directive { name, line: 2, .. } if name == "card"));
        assert!(
            matches!(&pieces[2], Piece::Block { name, body, .. } if name == "predict" && body == "why?\n")
        );
    }

    #[test]
    fn a_fence_hides_what_looks_special() {
        let pieces = parse("```text\n::: hint\n{{#card}}\n```\n").unwrap();
        assert_eq!(pieces.len(), 1);
    }

    #[test]
    fn an_open_block_is_an_error_with_its_line() {
        assert!(parse("a\n::: hint x\n").unwrap_err().to_string().contains("line 2"));
        assert!(parse(":::\n").unwrap_err().to_string().contains("line 1"));
    }

    #[test]
    fn hints_come_in_order_and_of_one_exercise_only() {
        let page = "::: hint a.b\none\n:::\n::: hint c.d\nother\n:::\n::: hint a.b\ntwo\n:::\n";
        assert_eq!(hints(page, "a.b").unwrap(), ["one", "two"]);
    }
}
