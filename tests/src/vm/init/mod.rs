//! Process 1 of the machine.
//!
//! The kernel starts it as `workshop vm-init`, from the host's file tree, which is its read-only root. It takes the
//! order from the starter, builds the world, runs the command, sends the exit code back, and powers the machine off.
//! Each step is a file: [`mod@line`], [`world`], [`modules`], [`job`].
//!
//! Invariant: it runs nowhere but as process 1 of a machine that the starter booted; on a real system these mounts
//! would do harm.
//! Left out: services. The command is the only other process, until it makes more.

pub mod job;
pub mod line;
pub mod modules;
pub mod world;

use std::ffi::OsString;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::reboot::{RebootMode, reboot};

use super::link::{self, Message};
use line::Line;

/// Whether the kernel of the lab has started this process as process 1.
pub fn is_process_1() -> bool {
    std::process::id() == 1 && std::env::var_os(link::MARK).is_some()
}

/// Lives the machine's whole life. Returns only when called by somebody else than the kernel lab's kernel.
pub fn main(_: &[OsString]) -> u8 {
    if !is_process_1() {
        eprintln!(
            "workshop {}: this is process 1 of the kernel lab; only its kernel can start it",
            link::INIT
        );
        return 125;
    }
    if let Err(error) = live() {
        eprintln!("workshop {}: {error:#}", link::INIT);
    }
    nix::unistd::sync();
    let _ = reboot(RebootMode::RB_POWER_OFF);
    // The starter stops a machine that does not power off.
    std::thread::sleep(Duration::from_secs(60));
    1
}

fn live() -> Result<()> {
    world::devices()?;
    let mut line = Line::open()?;
    let message = match serve(&mut line) {
        Ok(code) => Message::Exit(code),
        Err(error) => Message::Error(format!("{error:#}")),
    };
    nix::unistd::sync();
    line.say(&message).context("send the result to the starter")
}

fn serve(line: &mut Line) -> Result<u8> {
    line.say(&Message::Hello)?;
    let order = line.order()?;
    if let Some(folder) = &order.modules {
        modules::load(folder, modules::FOR_THE_ROOT)?;
    }
    world::build(&order)?;
    if let Some(folder) = &order.modules {
        modules::install(folder)?;
        modules::load(folder, modules::FOR_THE_COURSE)?;
    }
    job::run(&order, line)
}
