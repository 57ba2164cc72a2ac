//! Talking to the shell in the container: one question at a time, as a person would type them.
//!
//! Nothing of ours is inside: the questions are a shell's own words, `ls`, `cat` and `readlink`, so that a
//! reader can ask them too. A mark behind each answer tells where it ends.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};

use super::view::{self, Folder, View};

/// The line behind each answer; no program prints it by chance.
const MARK: &str = "\u{1e}";

/// A shell in a container, and the runner that started it.
pub struct Shell {
    runner: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Shell {
    /// Starts a runner that starts a shell.
    ///
    /// # Errors
    /// The runner cannot be started.
    pub fn start(words: &[String]) -> Result<Shell> {
        let (program, arguments) = words.split_first().context("no command was given")?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut runner = command.spawn().with_context(|| format!("start {program}"))?;
        let questions = runner.stdin.take().context("the shell's stdin")?;
        let answers = BufReader::new(runner.stdout.take().context("the shell's stdout")?);
        Ok(Shell { runner, questions, answers })
    }

    /// The process number of the runner.
    pub fn runner(&self) -> i32 {
        self.runner.id() as i32
    }

    /// The lines that `question` prints.
    ///
    /// # Errors
    /// The container has ended; its runner has said why on standard error.
    pub fn ask(&mut self, question: &str) -> Result<Vec<String>> {
        let ended = || format!("`{question}` was not answered: the container has ended");
        writeln!(self.questions, "{question}\necho '{MARK}'").with_context(ended)?;
        let mut lines = Vec::new();
        for line in self.answers.by_ref().lines() {
            match line.with_context(ended)? {
                line if line == MARK => return Ok(lines),
                line => lines.push(line),
            }
        }
        bail!(ended())
    }

    /// What the shell sees, by asking it.
    ///
    /// # Errors
    /// It cannot be asked, or an answer is strange.
    pub fn view(&mut self) -> Result<View> {
        let status = self.ask("cat /proc/$$/status")?.join("\n");
        let mounts = view::mounts(&self.ask("cat /proc/$$/mountinfo")?.join("\n"))?;
        let root = mounts.iter().find(|mount| mount.point == "/").context("its / is no mount")?;
        let device = root.device.clone();
        let mut names = self.ask("ls /")?;
        names.sort_unstable();
        Ok(View {
            pid: self.line("echo $$")?.parse().context("the answer to `echo $$`")?,
            numbers: view::numbers(&status)?,
            processes: self.line("echo /proc/[0-9]*")?.split(' ').count(),
            kernel: self.line("cat /proc/sys/kernel/osrelease")?,
            root: Folder { device, inode: self.inode()? },
            names,
            mounts,
            namespaces: self.namespaces()?,
        })
    }

    /// Ends the shell by the end of its input; the exit code of its runner.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn end(self) -> Result<i32> {
        let Shell { mut runner, questions, answers } = self;
        drop((questions, answers));
        let status = runner.wait().context("wait for the container")?;
        status.code().with_context(|| format!("the container's runner ended by {status}"))
    }

    fn line(&mut self, question: &str) -> Result<String> {
        self.ask(question)?.pop().with_context(|| format!("`{question}` printed nothing"))
    }

    fn inode(&mut self) -> Result<u64> {
        let line = self.line("ls -di /")?;
        line.split_whitespace().next().and_then(|word| word.parse().ok()).context("the answer to `ls -di /`")
    }

    fn namespaces(&mut self) -> Result<BTreeMap<String, u64>> {
        let question = "for link in /proc/$$/ns/*; do echo \"$link $(readlink $link)\"; done";
        let lines = self.ask(question)?;
        let known = lines.iter().filter_map(|line| {
            let (path, link) = line.split_once(' ')?;
            Some((path.rsplit('/').next()?.to_owned(), view::object(link)?))
        });
        Ok(known.collect())
    }
}
