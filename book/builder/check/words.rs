//! How long a chapter is: 1,500 to 3,000 words, or 1,200 where nothing is built.
//!
//! Counted is what a reader reads on the way through: prose, predictions, exercises, quizzes, asides. Not
//! counted: code and transcripts, hints, solutions, and the instructor's notes.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use workshop::course::Chapter;

use crate::finding::Findings;
use crate::page::Page;

/// The longest that a chapter may be.
const MOST: usize = 3_000;

/// Counts the words of a chapter's page, and judges them.
pub fn check(chapter: &Chapter, page: &Page, findings: &mut Findings) -> usize {
    let counted = page.texts().filter(|(_, _, block)| !matches!(*block, "hint" | "instructor"));
    let words = counted.map(|(_, text, _)| count(text)).sum();
    let least = if chapter.has_crate() { 1_500 } else { 1_200 };
    if !(least..=MOST).contains(&words) {
        findings.add(&page.shown, 1, format!("{words} words: a chapter has {least} to {MOST}"));
    }
    words
}

/// The words of a stretch of Markdown, code blocks left out.
fn count(markdown: &str) -> usize {
    let (mut words, mut in_code) = (0, false);
    for event in Parser::new_ext(markdown, Options::ENABLE_TABLES | Options::ENABLE_TASKLISTS) {
        match event {
            Event::Start(Tag::CodeBlock(_)) => in_code = true,
            Event::End(TagEnd::CodeBlock) => in_code = false,
            Event::Text(text) | Event::Code(text) if !in_code => {
                words += text.split_whitespace().filter(|word| word.contains(char::is_alphanumeric)).count();
            }
            _ => {}
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn code_and_marks_are_no_words() {
        assert_eq!(count("## Two words\n\n- [x] three `fn` — *words*\n\n```text\nnot this\n```\n"), 5);
    }
}
