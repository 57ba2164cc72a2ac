//! Whether two outputs say the same, though they come from two runs.
//!
//! What differs from run to run is not compared: a whole number of three digits or more matches any whole
//! number (PIDs, inodes, sizes), hexadecimal strings of eight or more match each other (ids, digests), and so
//! do times such as `0.12s`. Blanks between columns may be more or fewer. In the book, `…` inside a line
//! stands for anything in that line, and a line that is only `…` for any lines, none included.

/// Whether the lines of the book cover the lines of a run.
pub fn same(book: &[String], run: &[String]) -> bool {
    match book.split_first() {
        None => run.is_empty(),
        Some((line, rest)) if line.trim() == "…" => {
            (0..=run.len()).any(|skipped| same(rest, &run[skipped..]))
        }
        Some((line, rest)) => match run.split_first() {
            Some((of_run, rest_of_run)) => same_line(line, of_run) && same(rest, rest_of_run),
            None => false,
        },
    }
}

/// A piece of a line that is compared as one.
#[derive(Debug, PartialEq)]
enum Token<'a> {
    Word(&'a str),
    Sign(char),
    Blank,
    Anything,
}

fn same_line(book: &str, run: &str) -> bool {
    covers(&tokens(book), &tokens(run))
}

fn covers(book: &[Token], run: &[Token]) -> bool {
    match book.split_first() {
        None => run.is_empty(),
        Some((Token::Anything, rest)) => (0..=run.len()).any(|skipped| covers(rest, &run[skipped..])),
        Some((token, rest)) => match run.split_first() {
            Some((of_run, rest_of_run)) => same_token(token, of_run) && covers(rest, rest_of_run),
            None => false,
        },
    }
}

fn same_token(book: &Token, run: &Token) -> bool {
    match (book, run) {
        (Token::Word(book), Token::Word(run)) => {
            book == run
                || (is_number(book) && is_number(run) && book.len().max(run.len()) >= 3)
                || (is_hex(book) && is_hex(run))
                || (is_time(book) && is_time(run))
        }
        _ => book == run,
    }
}

/// Words (letters, digits, and a dot between digits), single signs, and runs of blanks as one.
fn tokens(line: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = line.trim();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '…' => {
                tokens.push(Token::Anything);
                first.len_utf8()
            }
            _ if first.is_whitespace() => {
                tokens.push(Token::Blank);
                rest.len() - rest.trim_start().len()
            }
            _ if first.is_alphanumeric() => {
                let length = word_length(rest);
                tokens.push(Token::Word(&rest[..length]));
                length
            }
            _ => {
                tokens.push(Token::Sign(first));
                first.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    tokens
}

fn word_length(text: &str) -> usize {
    let mut before = ' ';
    let mut chars = text.char_indices().peekable();
    while let Some((at, char)) = chars.next() {
        let next = chars.peek().map_or(' ', |(_, next)| *next);
        let decimal_point = char == '.' && before.is_ascii_digit() && next.is_ascii_digit();
        if !char.is_alphanumeric() && !decimal_point {
            return at;
        }
        before = char;
    }
    text.len()
}

fn is_number(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_hex(word: &str) -> bool {
    let digits = word.strip_prefix("0x").unwrap_or(word);
    digits.len() >= 8 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// `0.12s`, `3ms`, `41µs`.
fn is_time(word: &str) -> bool {
    let digits = word.trim_end_matches(['s', 'm', 'µ', 'u', 'n']);
    let unit = &word[digits.len()..];
    ["s", "ms", "µs", "us", "ns"].contains(&unit) && digits.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(book: &str, run: &str) -> bool {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        same(&lines(book), &lines(run))
    }

    #[test]
    fn what_differs_from_run_to_run_matches() {
        assert!(check("the shell is PID 48213", "the shell is PID 77"));
        assert!(check("pid:[4026531836]", "pid:[4026532999]"));
        assert!(check("sha256:0123abcd4567", "sha256:ffff0000eeee"));
        assert!(check("done in 0.12s", "done in 13.4s"));
        assert!(check("  PID TTY\n    1 ?", "    PID TTY\n      1 ?"));
    }

    #[test]
    fn what_matters_does_not_match() {
        assert!(!check("PID 1", "PID 2"));
        assert!(!check("exit code 137", "exit code x"));
        assert!(!check("a\nb", "a"));
        assert!(!check("a", "a\nb"));
        assert!(!check("version 1.88", "version 1.89"));
        assert!(!check("feedface is short", "feedfac is short"));
    }

    #[test]
    fn an_ellipsis_stands_for_anything() {
        assert!(check("tmpfs on …/dev type tmpfs (…)", "tmpfs on /run/x/dev type tmpfs (rw,nosuid)"));
        assert!(!check("tmpfs on … type tmpfs", "proc on /proc type proc"));
        assert!(check("1\n…\n9", "1\n2\n3\n9"));
        assert!(check("1\n…", "1"));
        assert!(!check("1\n…\n9", "1\n2"));
    }
}
