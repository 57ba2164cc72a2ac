//! Code fences of a stretch of Markdown, with their lines.
//!
//! The renderer replaces `console` fences, the checks refuse `rust` ones, and the recorder rewrites what
//! stands in them. All three must agree on where a fence begins and ends, so it is decided here, by
//! CommonMark's rule for backticks: a fence closes with at least as many as it was opened with.
//!
//! Left out: fences of tildes and indented code. The book does not use them.

/// A stretch of Markdown: prose, or one fence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stretch {
    /// Anything outside a fence, line breaks kept.
    Prose(String),
    /// One fence with its content.
    Fence(Fence),
}

/// One code fence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// What stands behind the opening backticks, `console` or `rust,ignore`.
    pub info: String,
    /// The lines between the marks.
    pub body: Vec<String>,
    /// The line of the opening mark, counted like the `line` given to [`split`].
    pub line: usize,
    /// Blanks in front of the opening mark; not 0 inside a list.
    pub indent: usize,
    /// The fence as it was written, marks included.
    pub source: String,
}

impl Fence {
    /// The language, the first word of the info string.
    pub fn language(&self) -> &str {
        self.info.split([' ', ',', '\t']).next().unwrap_or_default()
    }
}

/// Splits `markdown`, whose first line is line `line` of its file.
pub fn split(markdown: &str, line: usize) -> Vec<Stretch> {
    let mut stretches = Vec::new();
    let mut prose = String::new();
    let mut open: Option<(usize, Fence)> = None;
    for (offset, text) in markdown.lines().enumerate() {
        let trimmed = text.trim_start();
        let ticks = trimmed.bytes().take_while(|b| *b == b'`').count();
        match &mut open {
            Some((width, fence)) => {
                fence.source.push_str(text);
                fence.source.push('\n');
                if ticks >= *width && trimmed.trim_end().len() == ticks {
                    let (_, fence) = open.take().expect("a fence is open");
                    stretches.push(Stretch::Fence(fence));
                } else {
                    fence.body.push(text.to_owned());
                }
            }
            None if ticks >= 3 => {
                stretches.extend((!prose.is_empty()).then(|| Stretch::Prose(std::mem::take(&mut prose))));
                let info = trimmed[ticks..].trim().to_owned();
                let indent = text.len() - trimmed.len();
                let source = format!("{text}\n");
                open = Some((ticks, Fence { info, body: Vec::new(), line: line + offset, indent, source }));
            }
            None => {
                prose.push_str(text);
                prose.push('\n');
            }
        }
    }
    if let Some((_, fence)) = open {
        stretches.push(Stretch::Fence(fence));
    }
    if !prose.is_empty() {
        stretches.push(Stretch::Prose(prose));
    }
    stretches
}

/// The fences of `markdown`, whose first line is line `line` of its file.
pub fn fences(markdown: &str, line: usize) -> Vec<Fence> {
    let only_fence = |stretch| match stretch {
        Stretch::Fence(fence) => Some(fence),
        Stretch::Prose(_) => None,
    };
    split(markdown, line).into_iter().filter_map(only_fence).collect()
}

/// Backticks that can enclose `text`: three, or one more than its longest run.
pub fn ticks_for(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    "`".repeat(longest.max(2) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_keeps_its_line_and_its_shorter_fences() {
        let markdown = "a\n````text\n```rust\n````\nb\n```console\n$ ls\n```\n";
        let found = fences(markdown, 10);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].line, found[0].body.as_slice()), (11, &["```rust".to_owned()][..]));
        assert_eq!((found[1].line, found[1].language()), (15, "console"));
    }

    #[test]
    fn split_loses_nothing() {
        let markdown = "a\n```text\nx\n```\nb\n";
        let joined: String = split(markdown, 1)
            .into_iter()
            .map(|stretch| match stretch {
                Stretch::Prose(text) => text,
                Stretch::Fence(fence) => fence.source,
            })
            .collect();
        assert_eq!(joined, markdown);
    }

    #[test]
    fn ticks_are_longer_than_any_run_inside() {
        assert_eq!(ticks_for("plain"), "```");
        assert_eq!(ticks_for("a ```` b"), "`````");
    }
}
