//! A quiz: one question, a list of answers, and the reason why each is right or wrong.
//!
//! Each answer is a `<details>`: choosing it opens its reason. So it works without JavaScript, by keyboard
//! and on paper; `theme/gantry.js` adds marks and memory. An answer without a reason, and a question without
//! a right answer, are errors.

use anyhow::{Result, bail};

use crate::html;

/// A quiz as it stands in the Markdown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quiz {
    /// The question, Markdown.
    pub question: String,
    /// The answers in order.
    pub answers: Vec<Answer>,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Whether it is right.
    pub right: bool,
    /// The answer, Markdown of one paragraph.
    pub text: String,
    /// Why it is right or wrong, Markdown.
    pub why: String,
}

impl Quiz {
    /// Reads the body of a `::: quiz` block.
    ///
    /// # Errors
    /// No question, fewer than two answers, none right, or one without its reason.
    pub fn parse(body: &str) -> Result<Quiz> {
        let mut question = String::new();
        let mut answers: Vec<Answer> = Vec::new();
        for line in body.lines() {
            let head = [("- [ ] ", false), ("- [x] ", true), ("- [X] ", true)];
            let new = head.iter().find_map(|(mark, right)| Some((*right, line.strip_prefix(mark)?)));
            match (new, answers.last_mut()) {
                (Some((right, text)), _) => {
                    answers.push(Answer { right, text: text.to_owned(), why: String::new() });
                }
                (None, None) => question.push_str(&format!("{line}\n")),
                (None, Some(answer)) => answer.go_on(line),
            }
        }
        let quiz = Quiz { question: question.trim().to_owned(), answers };
        quiz.check().map(|()| quiz)
    }

    fn check(&self) -> Result<()> {
        if self.question.is_empty() {
            bail!("the quiz asks nothing");
        }
        if self.answers.len() < 2 || !self.answers.iter().any(|answer| answer.right) {
            bail!("a quiz has two answers or more, `- [ ] wrong` and `- [x] right`, one of them right");
        }
        match self.answers.iter().find(|answer| answer.why.trim().is_empty()) {
            Some(answer) => bail!("answer `{}` has no reason: add `  > why` below it", answer.text),
            None => Ok(()),
        }
    }

    /// The quiz called `id` as Markdown with HTML around it.
    pub fn markdown(&self, id: &str) -> String {
        let id = html::escape(id);
        let mut out = format!(
            "\n<div class=\"quiz\" role=\"group\" id=\"quiz-{id}\" data-quiz=\"{id}\" aria-label=\"Question\">\n\n{}\n\n",
            self.question
        );
        for Answer { right, text, why } in &self.answers {
            let (right, verdict) = if *right { ("yes", "Right.") } else { ("no", "Not this.") };
            out.push_str(&format!(
                "<details class=\"answer\" data-right=\"{right}\">\n<summary>{}</summary>\n\n\
                 <strong class=\"verdict\">{verdict}</strong> {why}\n\n</details>\n\n",
                html::inline(text)
            ));
        }
        out.push_str("</div>\n\n");
        out
    }
}

impl Answer {
    /// Takes a line below the answer: part of the reason if quoted, else of the answer.
    fn go_on(&mut self, line: &str) {
        let (text, line) = match line.trim().strip_prefix('>') {
            Some(why) => (&mut self.why, why.trim()),
            None => (&mut self.text, line.trim()),
        };
        if !text.is_empty() && !line.is_empty() {
            text.push('\n');
        }
        text.push_str(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "\
Who reaps an orphan?

- [ ] Its parent
  > It is gone,
  > so it cannot.
- [x] PID 1
  of its namespace
  > The kernel makes it the parent.
";

    #[test]
    fn answers_carry_their_reasons() {
        let quiz = Quiz::parse(BODY).unwrap();
        assert_eq!(quiz.question, "Who reaps an orphan?");
        assert_eq!(quiz.answers[0].why, "It is gone,\nso it cannot.");
        assert_eq!((quiz.answers[1].right, quiz.answers[1].text.as_str()), (true, "PID 1\nof its namespace"));
    }

    #[test]
    fn a_quiz_that_teaches_nothing_is_refused() {
        let no_reason = BODY.replace("  > The kernel makes it the parent.\n", "");
        assert!(Quiz::parse(&no_reason).unwrap_err().to_string().contains("PID 1"));
        assert!(Quiz::parse(&BODY.replace("[x]", "[ ]")).is_err());
        assert!(Quiz::parse("- [x] a\n  > b\n- [ ] c\n  > d\n").is_err());
    }
}
