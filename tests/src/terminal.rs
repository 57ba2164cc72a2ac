//! Speaking to a reader at a terminal, or to a file or pipe in its place.
//!
//! Colour and screen control go to a terminal only, and not when `NO_COLOR` is set (no-color.org). Text is
//! written in one piece, and a reader who closed the pipe (`| head`) is no error.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

/// Writes `text` to standard output. A closed pipe is accepted in silence.
///
/// # Errors
/// The output cannot be written, for instance because the disk is full.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Asks a question that wants a yes; anything else, and the end of input, is a no.
///
/// # Errors
/// The terminal cannot be read or written.
pub fn ask(question: &str) -> io::Result<bool> {
    print(&format!("{question} [y/N] "))?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes" | "Yes"))
}

/// Whether somebody sits there who can answer.
pub fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Empties the screen, if there is one.
///
/// # Errors
/// As [`print()`].
pub fn clear() -> io::Result<()> {
    if io::stdout().is_terminal() { print("\x1b[2J\x1b[H") } else { Ok(()) }
}

/// A look that text can have on a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// For what matters most.
    Bold,
    /// For what matters least.
    Dim,
    /// For what is well.
    Green,
    /// For what is not.
    Red,
}

/// `text` with that look, or plain where standard output is no terminal.
pub fn styled(look: Look, text: impl Display) -> String {
    let code = match look {
        Look::Bold => 1,
        Look::Dim => 2,
        Look::Green => 32,
        Look::Red => 31,
    };
    if colours() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
}

fn colours() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// The book's Markdown, lightly cleaned for a terminal: code indented by four, links as their text, emphasis
/// without its stars; backticks stay, for they tell names from words.
pub fn markdown(text: &str) -> String {
    let mut out = String::new();
    let mut fence: Option<String> = None;
    for line in text.lines() {
        let mark: String = line.trim_start().chars().take_while(|c| *c == '`').collect();
        match &fence {
            Some(open) if mark.len() >= open.len() && line.trim() == mark => {
                fence = None;
                continue;
            }
            None if mark.len() >= 3 => {
                fence = Some(mark);
                continue;
            }
            Some(_) => out.push_str(format!("    {line}").trim_end()),
            None => out.push_str(&without_stars(&without_links(line))),
        }
        out.push('\n');
    }
    out
}

/// `[text](target)` becomes `text`.
fn without_links(line: &str) -> String {
    let link = |text: &str| -> Option<(usize, usize, usize)> {
        let middle = text.find("](")?;
        let start = text[..middle].rfind('[')?;
        Some((start, middle, middle + text[middle..].find(')')?))
    };
    let mut text = line.to_owned();
    while let Some((start, middle, end)) = link(&text) {
        text = format!("{}{}{}", &text[..start], &text[start + 1..middle], &text[end + 1..]);
    }
    text
}

/// `**strong**` and `*stress*` lose their stars; a list's star, and any in code, stays.
fn without_stars(line: &str) -> String {
    let mut code = false;
    let mut before = ' ';
    let mut letters = line.chars().peekable();
    let mut out = String::new();
    while let Some(letter) = letters.next() {
        code ^= letter == '`';
        let alone = before.is_whitespace() && letters.peek().is_none_or(|next| next.is_whitespace());
        if letter != '*' || code || alone {
            out.push(letter);
        }
        before = letter;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::markdown;

    #[test]
    fn code_is_indented_and_fences_go() {
        assert_eq!(
            markdown("See:\n```rust\nlet a = 1;\n\nb();\n```\nend"),
            "See:\n    let a = 1;\n\n    b();\nend\n"
        );
    }

    #[test]
    fn links_and_stars_go_and_backticks_stay() {
        assert_eq!(markdown("**Ask** [the page](x.md#y) for `a * b`."), "Ask the page for `a * b`.\n");
        assert_eq!(markdown("* one *big* thing"), "* one big thing\n");
    }
}
