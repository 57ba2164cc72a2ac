//! Transcripts: the `console` blocks of the book.
//!
//! A block belongs to one place. Commands that begin with `$ ` are typed in the reader's own shell at the
//! workspace's root; commands that begin with `# ` in the lab, as root there, or in the kernel lab where the
//! fence says `console kernel`. What follows a command up to the next is its output. A command that ends in a backslash goes on in the next line. One block never
//! mixes both places: the first line decides, and the other sign is then output like any other.

use anyhow::{Result, bail};

use crate::fence::Fence;
use crate::html;

/// Where the commands of a block are typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The reader's own shell.
    Shell,
    /// The lab.
    Lab,
    /// The lab in a kernel of its own, which is the same on every machine.
    Kernel,
}

impl Place {
    /// What stands in front of a command.
    pub fn prompt(self) -> &'static str {
        match self {
            Place::Shell => "$ ",
            Place::Lab | Place::Kernel => "# ",
        }
    }

    /// The caption of a block.
    fn caption(self) -> &'static str {
        match self {
            Place::Shell => "Your shell",
            Place::Lab => "In the lab",
            Place::Kernel => "In the kernel lab",
        }
    }
}

/// A command and its output, as written in the book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// What is typed, without the prompt; several lines if it ends in backslashes.
    pub typed: String,
    /// The lines of output.
    pub output: Vec<String>,
}

/// One block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transcript {
    /// Where it is typed.
    pub place: Place,
    /// What is typed, in order.
    pub commands: Vec<Command>,
}

impl Transcript {
    /// Reads a fence.
    ///
    /// # Errors
    /// It is empty, its first line is no command, or what stands behind `console` is not `kernel`.
    pub fn of(fence: &Fence) -> Result<Transcript> {
        let read = Transcript::parse(&fence.body)?;
        match (fence.info.as_str(), read.place) {
            ("console", _) => Ok(read),
            ("console kernel", Place::Lab) => Ok(Transcript { place: Place::Kernel, ..read }),
            (info, _) => {
                bail!("`{info}`: a block is `console`, or `console kernel` with commands after `# `")
            }
        }
    }

    /// Reads the lines of a block.
    ///
    /// # Errors
    /// It is empty, or its first line is no command.
    pub fn parse(lines: &[String]) -> Result<Transcript> {
        let place = match lines.first().map(String::as_str) {
            Some(line) if line.starts_with("$ ") => Place::Shell,
            Some(line) if line.starts_with("# ") => Place::Lab,
            _ => bail!("a console block begins with a command: `$ ` in a shell, `# ` in the lab"),
        };
        let mut commands: Vec<Command> = Vec::new();
        let mut goes_on = false;
        for line in lines {
            match (line.strip_prefix(place.prompt()), commands.last_mut()) {
                (_, Some(last)) if goes_on => {
                    last.typed.push('\n');
                    last.typed.push_str(line);
                }
                (Some(typed), _) => commands.push(Command { typed: typed.to_owned(), output: Vec::new() }),
                (None, Some(last)) => last.output.push(line.clone()),
                (None, None) => bail!("output without a command"),
            }
            let typing = goes_on || line.starts_with(place.prompt());
            goes_on = typing && line.ends_with('\\');
        }
        Ok(Transcript { place, commands })
    }

    /// The block's lines, as [`Transcript::parse`] reads them.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for command in &self.commands {
            lines.extend(format!("{}{}", self.place.prompt(), command.typed).lines().map(str::to_owned));
            lines.extend(command.output.iter().cloned());
        }
        lines
    }

    /// The block as HTML, prompt, command and output told apart.
    pub fn html(&self) -> String {
        let mut text = String::new();
        for Command { typed, output } in &self.commands {
            let sign = self.place.prompt().trim();
            text.push_str(&format!("<span class=\"prompt\">{sign}</span> "));
            text.push_str(&format!("<span class=\"typed\">{}</span>\n", html::escape(typed)));
            for line in output {
                let class = if line.trim() == "…" { "output gap" } else { "output" };
                text.push_str(&format!("<span class=\"{class}\">{}</span>\n", html::escape(line)));
            }
        }
        let place = self.place.caption();
        format!(
            "\n<figure class=\"console\">\n<figcaption>{place}</figcaption>\n\n\
             <pre><code class=\"nohighlight\">{text}</code></pre>\n\n</figure>\n\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fence::fences;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn commands_and_outputs_are_told_apart_and_put_together_again() {
        let block = lines("# unshare --pid \\\n    sh\n1\n$ 2\n# exit");
        let transcript = Transcript::parse(&block).unwrap();
        assert_eq!(transcript.place, Place::Lab);
        assert_eq!(transcript.commands[0].typed, "unshare --pid \\\n    sh");
        assert_eq!(transcript.commands[0].output, ["1", "$ 2"]);
        assert_eq!(transcript.commands[1].output.len(), 0);
        assert_eq!(transcript.lines(), block);
    }

    #[test]
    fn a_block_begins_with_a_command() {
        assert!(Transcript::parse(&lines("hello")).is_err());
        assert!(Transcript::parse(&[]).is_err());
    }

    #[test]
    fn a_fence_may_name_the_kernel_lab() {
        let place = |markdown| Transcript::of(&fences(markdown, 1)[0]).map(|transcript| transcript.place);
        assert_eq!(place("```console\n# ls\n```\n").unwrap(), Place::Lab);
        assert_eq!(place("```console kernel\n# ls\n```\n").unwrap(), Place::Kernel);
        assert!(place("```console kernel\n$ ls\n```\n").is_err());
        assert!(place("```console root\n# ls\n```\n").is_err());
    }

    #[test]
    fn html_escapes_what_it_shows() {
        let html = Transcript::parse(&lines("$ echo '<b>'\n<b>\n…")).unwrap().html();
        assert!(html.contains("echo '&lt;b&gt;'") && html.contains("output gap"), "{html}");
    }
}
