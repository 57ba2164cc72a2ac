//! What `process::spawn` promises to a program that calls it, and no binary can show from outside.
//!
//! A test of package `process`, without the harness of libtest: that has threads, and spawn refuses to be
//! called by a process that has some. Each promise is tried in turn, in this one process.

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::process::{ExitCode, exit, id};
use std::time::Duration;

use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::sys::wait::{WaitPidFlag, waitpid};
use process::clone3::{Fork, clone3};
use process::exit::Exit;
use process::{Child, Error, Isolation, Program, Result, spawn};

fn main() -> ExitCode {
    a_failure_outside_leaves_no_process();
    a_panic_inside_does_not_run_the_callers_code_twice();
    a_process_with_threads_is_refused();
    println!("spawn keeps its promises");
    ExitCode::SUCCESS
}

/// Fails outside, or panics inside.
struct Faulty {
    outside: bool,
}

impl Isolation for Faulty {
    fn name(&self) -> &'static str {
        "faulty"
    }

    fn outside(&mut self, _: &Child) -> Result<()> {
        if self.outside { Err(Error::refused("set up", "", "this always fails")) } else { Ok(()) }
    }

    fn inside(&mut self) -> Result<()> {
        panic!("this panic is a part of the test")
    }
}

fn sleep() -> Program {
    Program { command: vec!["sleep".into(), "1000".into()], workdir: "/".into(), ..Program::default() }
}

fn a_failure_outside_leaves_no_process() {
    let error = spawn(&sleep(), &mut [Box::new(Faulty { outside: true })]).err().expect("it fails");
    assert_eq!((error.isolation.as_str(), error.operation.as_str()), ("faulty", "set up"));
    assert_eq!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Err(Errno::ECHILD), "a child is left");
}

fn a_panic_inside_does_not_run_the_callers_code_twice() {
    let me = id();
    // The panic is the plan: not a word about it.
    let words = take_hook();
    set_hook(Box::new(|_| {}));
    let child =
        catch_unwind(AssertUnwindSafe(|| spawn(&sleep(), &mut [Box::new(Faulty { outside: false })])));
    if id() != me {
        // We are the child, in code that is its parent's.
        exit(55);
    }
    set_hook(words);
    let child = child.expect("the parent does not panic").expect("the child was born");
    assert_eq!(child.wait(), Ok(Exit::Status(101)));
}

fn a_process_with_threads_is_refused() {
    std::thread::spawn(|| std::thread::sleep(Duration::from_secs(100)));
    match clone3(CloneFlags::empty(), None) {
        Err(error) => assert_eq!(error.errno, Errno::EDEADLK),
        Ok(Fork::Child) => exit(0),
        Ok(Fork::Parent { .. }) => panic!("a process with two threads was copied"),
    }
}
