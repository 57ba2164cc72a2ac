//! `book`: builds and serves the book, by the crate `book`.
//!
//! The builder stands on mdBook, which takes minutes to compile; so it is a program of its own, and the
//! learner's command does without.

use std::os::unix::process::CommandExt;

use anyhow::{Context, Result};
use clap::Args;
use workshop::workspace;

use super::Here;

/// What to pass on to the builder.
#[derive(Debug, Args)]
pub struct Options {
    /// Serve on this port
    #[arg(long)]
    port: Option<u16>,
    /// Open a browser
    #[arg(long)]
    open: bool,
}

/// Becomes the builder; returns only if that fails.
pub fn serve(here: &Here, options: &Options) -> Result<u8> {
    let mut cargo = workspace::cargo(&here.root);
    cargo.arg("run");
    let beside_us = std::env::current_exe().ok().and_then(|path| Some(path.parent()?.join("book")));
    if beside_us.is_some_and(|builder| builder.exists()) {
        cargo.arg("--quiet");
    } else {
        eprintln!("The book's builder is compiled first. That takes a minute or two, once.");
    }
    cargo.args(["--package", "book", "--", "serve"]);
    if let Some(port) = options.port {
        cargo.arg("--port").arg(port.to_string());
    }
    if options.open {
        cargo.arg("--open");
    }
    Err(cargo.exec()).context("run cargo")
}
