//! A course of two chapters in a scratch folder, and the learner's command run in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use workshop::course::Course;
use workshop::workspace::{self, Scratch};

/// A small workspace that cargo accepts, without any dependency from outside.
pub struct Fixture {
    scratch: Scratch,
}

/// What a run of the command said and how it ended.
#[derive(Debug)]
pub struct Run {
    /// The exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Fixture {
    /// The workspace, its chapters generated.
    pub fn new() -> Fixture {
        let fixture = Fixture { scratch: Scratch::new("fixture").unwrap() };
        for (name, text) in FILES {
            fixture.write(name, text);
        }
        let run = fixture.run(&["generate"]);
        assert_eq!(run.code, 0, "{run:?}");
        fixture
    }

    /// Its root.
    pub fn root(&self) -> &Path {
        self.scratch.path()
    }

    /// Its course.
    pub fn course(&self) -> Course {
        Course::load(self.root()).unwrap()
    }

    /// The text of one of its files.
    pub fn read(&self, name: &str) -> String {
        workspace::read(&self.root().join(name)).unwrap()
    }

    /// Writes one of its files.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.root().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Replaces what must be in a file.
    pub fn edit(&self, name: &str, from: &str, to: &str) {
        let text = self.read(name);
        assert!(text.contains(from), "{name} has no {from}");
        self.write(name, &text.replace(from, to));
    }

    /// Runs the learner's command at the root.
    pub fn run(&self, args: &[&str]) -> Run {
        let mut command = Command::new(env!("CARGO_BIN_EXE_workshop"));
        command.args(args).current_dir(self.root()).stdin(Stdio::null());
        // The fixture has a target folder of its own: nothing here may build into the real one.
        command.env("CARGO_TARGET_DIR", self.root().join("target")).env_remove("CARGO_BUILD_BUILD_DIR");
        finished(command)
    }

    /// Runs cargo at the root.
    pub fn cargo(&self, args: &[&str]) -> Run {
        let mut command = workspace::cargo(self.root());
        command
            .args(args)
            .env("CARGO_TARGET_DIR", self.root().join("target"))
            .env_remove("CARGO_BUILD_BUILD_DIR");
        finished(command)
    }

    /// The only folder of kept-aside files.
    pub fn kept(&self) -> PathBuf {
        let all: Vec<_> = fs::read_dir(self.root().join(".gantry/kept")).unwrap().collect();
        assert_eq!(all.len(), 1);
        all[0].as_ref().unwrap().path()
    }
}

fn finished(mut command: Command) -> Run {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Run { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

const FILES: &[(&str, &str)] = &[
    ("Cargo.toml", include_str!("workspace.toml")),
    ("book/course.toml", include_str!("course.toml")),
    ("book/src/01-process.md", include_str!("01-process.md")),
    ("rustfmt.toml", "max_width = 110\nuse_small_heuristics = \"Max\"\n"),
    ("solutions/01-process/Cargo.toml", include_str!("process.toml")),
    ("solutions/01-process/src/lib.rs", include_str!("process_lib.txt")),
    ("solutions/01-process/src/exit.rs", include_str!("process_exit.txt")),
    ("solutions/01-process/src/main.rs", include_str!("process_main.txt")),
    ("tests/bench/birth.rs", "fn main() {}\n"),
    ("solutions/02-mount/Cargo.toml", include_str!("mount.toml")),
    ("solutions/02-mount/src/lib.rs", "//! Files.\n\npub use process::exit_code;\n"),
    ("solutions/02-mount/src/main.rs", "fn main() {\n    println!(\"{}\", mount::exit_code(9, true));\n}\n"),
];
