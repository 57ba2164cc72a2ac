//! Running the commands of one transcript, in one shell, so that each output can be told apart.
//!
//! The shell gets one script: every command by `eval`, a mark of its own behind each. So a `cd` or a variable
//! lives on to the next command, as it does when typed. Standard error goes where standard output goes, and
//! nothing waits for input. All output goes to a file, not a pipe: a process left in the background cannot
//! keep us waiting.
//!
//! Left out: a terminal. A program that asks whether it has one sees that it has none.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use workshop::{generate, workspace};

use crate::console::{Place, Transcript};
use crate::site::Site;

/// The longest that a block may run; the first one may have to build the workshop.
const LIMIT: Duration = Duration::from_secs(300);

/// The sign that encloses a mark: no program prints it by chance.
const SIGN: char = '\u{1e}';

/// What stands in the mark before the first command.
const START: &str = "start";

/// Where and how blocks run.
#[derive(Debug, Clone)]
pub struct Runner {
    /// The folder of the reader's own shell.
    pub shell_folder: PathBuf,
    /// The folder from which the lab is started.
    pub lab_folder: PathBuf,
    /// The command line that runs a script in the lab; the script is its last argument.
    pub lab: Vec<String>,
    /// The same for the kernel lab.
    pub kernel: Vec<String>,
    /// The file that output goes to.
    pub output: PathBuf,
}

impl Runner {
    /// Shell blocks in a pristine workspace, lab blocks in the lab with the reference crates.
    ///
    /// # Errors
    /// The workspace or the folder for the output cannot be made.
    pub fn for_site(site: &Site) -> Result<Runner> {
        let lab = |ground| {
            let line = format!("cargo workshop lab --solution --ground {ground} -- sh -c");
            line.split(' ').map(str::to_owned).collect()
        };
        let folder = site.root.join("target/gantry");
        std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        Ok(Runner {
            shell_folder: pristine(site)?,
            lab_folder: site.root.clone(),
            lab: lab("user"),
            kernel: lab("kernel"),
            output: folder.join(format!("record-{}.out", std::process::id())),
        })
    }

    /// Runs all commands of `transcript` and returns the lines that each printed.
    ///
    /// # Errors
    /// The shell cannot be started, runs too long, or ends before the last command; or an output cannot be
    /// told from a command.
    pub fn run(&self, transcript: &Transcript) -> Result<Vec<Vec<String>>> {
        let script = script(transcript);
        let mut command = match transcript.place {
            Place::Shell => in_folder("sh", &["-c".to_owned()], &self.shell_folder),
            Place::Lab => self.in_lab(&self.lab)?,
            Place::Kernel => self.in_lab(&self.kernel)?,
        };
        command.arg(script);
        let printed = self.wait(&mut command)?;
        let outputs = tell_apart(&printed, transcript.commands.len())?;
        for line in outputs.iter().flatten() {
            if line.starts_with(transcript.place.prompt()) || line.starts_with("```") {
                bail!("cannot tell the output `{line}` from a command: let another command filter it out");
            }
        }
        Ok(outputs)
    }

    fn in_lab(&self, line: &[String]) -> Result<Command> {
        let (program, arguments) = line.split_first().context("no command for the lab")?;
        Ok(in_folder(program, arguments, &self.lab_folder))
    }

    /// Starts `command`, waits for it, and returns all that it printed.
    fn wait(&self, command: &mut Command) -> Result<String> {
        let file = File::create(&self.output).with_context(|| format!("create {}", self.output.display()))?;
        let errors = file.try_clone().context("share the output file")?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .spawn()
            .with_context(|| format!("start {}", command.get_program().display()))?;
        let start = Instant::now();
        while child.try_wait().context("wait for the commands")?.is_none() {
            if start.elapsed() > LIMIT {
                child.kill().context("end the commands")?;
                child.wait().context("wait for the commands")?;
                bail!("still running after {} s", LIMIT.as_secs());
            }
            sleep(Duration::from_millis(10));
        }
        let bytes = std::fs::read(&self.output).with_context(|| format!("read {}", self.output.display()))?;
        std::fs::remove_file(&self.output).with_context(|| format!("remove {}", self.output.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// The workspace as a reader has it after cloning: no exercise touched, no progress kept.
fn pristine(site: &Site) -> Result<PathBuf> {
    let folder = generate::pristine(&site.root).context("make a pristine workspace")?;
    let progress = workspace::state_dir(&folder);
    if progress.exists() {
        std::fs::remove_dir_all(&progress).with_context(|| format!("remove {}", progress.display()))?;
    }
    folder.canonicalize().with_context(|| format!("resolve {}", folder.display()))
}

/// A command with the environment of a reader, not of `cargo run`.
fn in_folder(program: &str, arguments: &[String], folder: &PathBuf) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        // Where cargo's cache is and how much it keeps of a build shows in no transcript.
        let kept =
            ["CARGO_HOME", "CARGO_INCREMENTAL"].contains(&&*text) || text.starts_with("CARGO_PROFILE_");
        let of_cargo = text.starts_with("CARGO_") && !kept;
        if of_cargo || text == "LD_LIBRARY_PATH" || text.starts_with("LC_") {
            command.env_remove(&name);
        }
    }
    for (name, value) in [
        ("LANG", "C.UTF-8"),
        ("TERM", "dumb"),
        ("NO_COLOR", "1"),
        ("CARGO_TERM_COLOR", "never"),
        ("COLUMNS", "100"),
    ] {
        command.env(name, value);
    }
    command
}

/// One script that runs every command and marks its end.
fn script(transcript: &Transcript) -> String {
    // What the lab says while it is being made stands before the first mark.
    let mut script = format!("exec 2>&1 </dev/null\nprintf '\\n\\036{START}\\036\\n'\n");
    for (index, command) in transcript.commands.iter().enumerate() {
        let quoted = command.typed.replace('\'', r"'\''");
        // `command` keeps the shell alive when the typed line is no valid shell.
        script.push_str(&format!("command eval '{quoted}'\nprintf '\\n\\036%s\\036\\n' {index}\n"));
    }
    script
}

/// The lines of each command's output.
fn tell_apart(printed: &str, commands: usize) -> Result<Vec<Vec<String>>> {
    let mut outputs = Vec::new();
    let start = format!("\n{SIGN}{START}{SIGN}\n");
    let Some((_, mut rest)) = printed.split_once(&start) else {
        bail!("the shell did not start; it printed: {}", last_lines(printed));
    };
    for index in 0..commands {
        let mark = format!("\n{SIGN}{index}{SIGN}\n");
        let Some((output, after)) = rest.split_once(&mark) else {
            let last: Vec<&str> = rest.lines().rev().take(5).collect();
            let last: Vec<&str> = last.into_iter().rev().collect();
            bail!(
                "command {} of the block ended the shell; it printed last: {}",
                index + 1,
                last.join(" / ")
            );
        };
        outputs.push(output.lines().map(|line| line.trim_end().to_owned()).collect());
        rest = after;
    }
    Ok(outputs)
}

fn last_lines(printed: &str) -> String {
    let lines: Vec<&str> = printed.lines().filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(5)..].join(" / ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(block: &str) -> Result<Vec<Vec<String>>> {
        let folder = std::env::temp_dir();
        let name = format!("gantry-record-{}-{:?}", std::process::id(), std::thread::current().id());
        let lab = |name: &str| {
            let line = ["env", &format!("IN={name}"), "sh", "-c", "echo making the lab; sh -c \"$0\""];
            line.map(str::to_owned).to_vec()
        };
        let runner = Runner {
            shell_folder: folder.clone(),
            lab_folder: folder.clone(),
            lab: lab("lab"),
            kernel: lab("kernel"),
            output: folder.join(name),
        };
        let lines: Vec<String> = block.lines().map(str::to_owned).collect();
        runner.run(&Transcript::parse(&lines)?)
    }

    #[test]
    fn outputs_are_told_apart_and_the_shell_lives_on() {
        let outputs = run(
            "$ X=5; cd /\n$ echo \"it's $X\"; pwd; echo late >&2\n$ printf 'no newline'\n$ )(\n$ echo on",
        )
        .unwrap();
        assert_eq!(outputs[0], Vec::<String>::new());
        assert_eq!(outputs[1], ["it's 5", "/", "late"]);
        assert_eq!(outputs[2], ["no newline"]);
        assert!(!outputs[3].is_empty(), "a syntax error is told");
        assert_eq!(outputs[4], ["on"]);
    }

    #[test]
    fn lab_blocks_run_in_the_lab() {
        assert_eq!(run("# echo $IN").unwrap(), [["lab"]], "and what the lab itself says does not count");
    }

    #[test]
    fn what_cannot_be_told_apart_is_an_error() {
        assert!(run("$ exit 3\n$ echo on").unwrap_err().to_string().contains("command 1"));
        assert!(run("$ echo '$ echo'").unwrap_err().to_string().contains("from a command"));
    }

    #[test]
    fn a_process_in_the_background_does_not_keep_us_waiting() {
        let start = Instant::now();
        run("$ sleep 4 & echo $! >/dev/null").unwrap();
        assert!(start.elapsed() < Duration::from_secs(3));
    }
}
