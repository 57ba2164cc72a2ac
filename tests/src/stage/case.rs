//! The hands of a test: runs the binary under test like a user would, with limits, and looks at it.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::verdict::{Failure, Trouble, Verdict, fail};
use crate::lab::{Ground, HOME, WORK};

/// How long a command may take that should take milliseconds.
const PATIENCE: Duration = Duration::from_secs(8);

/// One test's view of the binary under test; it runs inside a fresh lab.
pub struct Case {
    /// The binary's name, `my-process`.
    pub binary: String,
    /// Where the lab stands.
    pub ground: Ground,
}

/// A command that has ended.
#[derive(Debug)]
pub struct Run {
    /// As one would type it.
    pub line: String,
    /// Its exit code, or 128 plus the signal that killed it.
    pub code: i32,
    /// What it wrote to stdout.
    pub out: String,
    /// What it wrote to stderr.
    pub err: String,
}

/// A command that runs.
pub struct Running {
    line: String,
    child: Child,
    out: File,
    err: File,
}

impl Case {
    /// The file of the binary under test.
    pub fn program(&self) -> PathBuf {
        Path::new(HOME).join("bin").join(&self.binary)
    }

    /// The private copy of the demo root file system.
    pub fn demo(&self) -> PathBuf {
        Path::new(WORK).join("demo")
    }

    /// Runs the binary to its end.
    ///
    /// # Errors
    /// It does not end in time, or cannot be started.
    pub fn run<S: AsRef<str>>(&self, arguments: &[S]) -> Result<Run, Trouble> {
        self.start(arguments)?.wait()
    }

    /// Runs `sh -c script` by the binary's `run`, with `flags` before it.
    ///
    /// # Errors
    /// As [`Case::run`].
    pub fn sh(&self, flags: &[&str], script: &str) -> Result<Run, Trouble> {
        self.run(&[&["run"], flags, &["--", "sh", "-c", script]].concat())
    }

    /// Starts the binary with an empty stdin.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start<S: AsRef<str>>(&self, arguments: &[S]) -> Result<Running, Trouble> {
        self.start_with(arguments, |_| {})
    }

    /// Starts the binary as `change` wants it.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_with<S: AsRef<str>>(
        &self,
        arguments: &[S],
        change: impl FnOnce(&mut Command),
    ) -> Result<Running, Trouble> {
        let words: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
        let mut command = Command::new(self.program());
        let (out, err) = (scratch_file()?, scratch_file()?);
        command.args(&words).stdin(Stdio::null()).stdout(out.try_clone()?).stderr(err.try_clone()?);
        change(&mut command);
        let line =
            format!("{} {}", self.binary, words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" "));
        let line = without_its_middle(line);
        Ok(Running { line, child: command.spawn()?, out, err })
    }
}

/// stdout or stderr of a command: a file without a name, so that nobody has to read while it runs.
fn scratch_file() -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    File::options().read(true).write(true).custom_flags(libc::O_TMPFILE).open("/tmp")
}

/// A word as a shell needs it.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    match word {
        word if !word.is_empty() && word.chars().all(plain) => word.to_owned(),
        word if word.chars().count() > 300 => format!("'{}…'", word.chars().take(60).collect::<String>()),
        word => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// A command line as it is shown: of one with hundreds of layers, both ends tell enough.
fn without_its_middle(line: String) -> String {
    const ENDS: usize = 180;
    let letters: Vec<char> = line.chars().collect();
    if letters.len() <= 2 * ENDS + 40 {
        return line;
    }
    let [start, end] =
        [&letters[..ENDS], &letters[letters.len() - ENDS..]].map(|part| part.iter().collect::<String>());
    format!("{start} … {end}")
}

impl Running {
    /// Its PID in the lab.
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It has ended.
    pub fn signal(&self, signal: Signal) -> Verdict {
        Ok(kill(Pid::from_raw(self.pid()), signal)?)
    }

    /// Whether it has ended; its code stays to be asked for.
    ///
    /// # Errors
    /// None in practice.
    pub fn has_ended(&mut self) -> Result<bool, Trouble> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// What it has written to stdout so far.
    ///
    /// # Errors
    /// None in practice.
    pub fn out_so_far(&self) -> Result<String, Trouble> {
        Ok(content(&self.out)?)
    }

    /// Waits until `condition` holds, and no longer than it runs.
    ///
    /// # Errors
    /// It ends first: what it said. Or the condition does not hold within a few seconds.
    pub fn until(
        mut self,
        expected: &str,
        mut condition: impl FnMut(&Running) -> Result<bool, Trouble>,
    ) -> Result<Running, Trouble> {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            let ended = self.has_ended()?;
            if condition(&self)? {
                return Ok(self);
            }
            if ended {
                return Err(self
                    .wait()?
                    .claim(false, expected)
                    .err()
                    .unwrap_or_else(|| fail(expected, "it ended")));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Err(Trouble::Failed(Failure {
            ran: self.line,
            expected: expected.into(),
            seen: "not within some seconds".into(),
        }))
    }

    /// Waits until it has said `ready` on stdout.
    ///
    /// # Errors
    /// As [`Running::until`].
    pub fn until_ready(self) -> Result<Running, Trouble> {
        self.until("the program says that it is ready", |running| Ok(running.out_so_far()?.contains("ready")))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// As [`Running::ends`].
    pub fn wait(self) -> Result<Run, Trouble> {
        self.ends("the command ends")
    }

    /// Waits for its end; `expected` says why it must come.
    ///
    /// # Errors
    /// It still runs after a few seconds: it is killed then.
    pub fn ends(mut self, expected: &str) -> Result<Run, Trouble> {
        if !self.has_ended()? && !crate::sys::wait_for_exit(self.pid(), PATIENCE)? {
            let family = family(self.pid());
            self.child.kill()?;
            self.child.wait()?;
            let seen = format!("still running after {} s: {family}", PATIENCE.as_secs());
            return Err(Trouble::Failed(Failure {
                ran: self.line,
                expected: expected.into(),
                seen: seen + &part("stderr", &content(&self.err)?),
            }));
        }
        let status = self.child.wait()?;
        let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(-1);
        let (out, err) = (content(&self.out)?, content(&self.err)?);
        Ok(Run { line: self.line, code, out, err })
    }
}

fn content(file: &File) -> std::io::Result<String> {
    // By its name in /proc: reading through `file` would move the offset at which the command writes.
    let bytes = fs::read(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

impl Run {
    /// It must have ended with this code.
    ///
    /// # Errors
    /// It has not.
    pub fn code_is(&self, code: i32) -> Result<&Run, Trouble> {
        self.claim(self.code == code, format!("exit code {code}"))
    }

    /// It must have written exactly this to stdout, apart from white space at both ends.
    ///
    /// # Errors
    /// It has not.
    pub fn out_is(&self, text: &str) -> Result<&Run, Trouble> {
        self.claim(self.out.trim() == text.trim(), format!("on stdout exactly: {text}"))
    }

    /// It must have written this to stdout, among other things.
    ///
    /// # Errors
    /// It has not.
    pub fn out_has(&self, text: &str) -> Result<&Run, Trouble> {
        self.claim(self.out.contains(text), format!("on stdout: {text}"))
    }

    /// It must not have written this to stdout.
    ///
    /// # Errors
    /// It has.
    pub fn out_lacks(&self, text: &str) -> Result<&Run, Trouble> {
        self.claim(!self.out.contains(text), format!("not on stdout: {text}"))
    }

    /// It must have written this to stderr, among other things.
    ///
    /// # Errors
    /// It has not.
    pub fn err_has(&self, text: &str) -> Result<&Run, Trouble> {
        self.claim(self.err.contains(text), format!("on stderr: {text}"))
    }

    /// It must have written one line to stderr, not more and not less.
    ///
    /// # Errors
    /// It has not.
    pub fn err_is_one_line(&self) -> Result<&Run, Trouble> {
        let one = self.err.trim_end().lines().count() == 1 && self.err.len() < 500;
        self.claim(one, "on stderr one line, shorter than 500 characters")
    }

    /// The claim must hold; a failure shows the whole run.
    ///
    /// # Errors
    /// It does not.
    pub fn claim(&self, holds: bool, expected: impl ToString) -> Result<&Run, Trouble> {
        if holds {
            return Ok(self);
        }
        let seen =
            format!("exit code {}{}{}", self.code, part("stdout", &self.out), part("stderr", &self.err));
        Err(Trouble::Failed(Failure { ran: self.line.clone(), expected: expected.to_string(), seen }))
    }
}

/// A stream of a run as a line of its own, or nothing if nothing came.
fn part(name: &str, text: &str) -> String {
    match text.trim_end() {
        "" => String::new(),
        text => format!("\n{name}: {}", shorten(text)),
    }
}

/// At most some lines of output: the first ones tell most.
fn shorten(text: &str) -> String {
    const LINES: usize = 12;
    let cut = |line: &str| line.chars().take(300).collect::<String>();
    let mut lines: Vec<String> = text.lines().take(LINES).map(cut).collect();
    if text.lines().count() > LINES {
        lines.push("…".into());
    }
    lines.join("\n        ")
}

/// Waits until `condition` holds.
///
/// # Errors
/// It does not within a few seconds.
pub fn eventually(expected: &str, mut condition: impl FnMut() -> Result<bool, Trouble>) -> Verdict {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if condition()? {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Err(fail(expected, format!("not within {} s", PATIENCE.as_secs())))
}

/// The children of a process, by its PID.
pub fn children_of(pid: i32) -> Vec<i32> {
    let parent = |child: &i32| stat_field(*child, 1)?.parse::<i32>().ok();
    processes().into_iter().filter(|child| parent(child) == Some(pid)).collect()
}

/// A process and all below it, in words.
fn family(pid: i32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let doing = match state_of(pid) {
        Some('R') => "is busy",
        Some('S') => "sleeps",
        Some('T' | 't') => "is stopped",
        Some('Z') => "is dead and not reaped",
        _ => "is there",
    };
    let below: Vec<String> = children_of(pid).into_iter().map(family).collect();
    let below =
        if below.is_empty() { String::new() } else { format!(", with below it [{}]", below.join("; ")) };
    format!("`{}` {doing}{below}", name.trim())
}

/// The state of a process, `S` asleep, `Z` dead and not reaped; none if it is gone.
pub fn state_of(pid: i32) -> Option<char> {
    stat_field(pid, 0)?.chars().next()
}

/// A field of `/proc/PID/stat`, counted from behind the name (which may hold anything): state, parent, ...
pub fn stat_field(pid: i32, index: usize) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(index).map(str::to_owned)
}

/// All PIDs of this PID namespace.
pub fn processes() -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Writes a file of the test's own.
///
/// # Errors
/// The file system refuses.
pub fn write(path: &Path, text: &str) -> Verdict {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    Ok(File::create(path)?.write_all(text.as_bytes())?)
}
