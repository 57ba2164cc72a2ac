//! `cargo workshop book`, or `cargo run -p book --`: builds, serves, checks and prints the book.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use book::finding::Finding;
use book::site::Site;
use book::{bench, build, check, pdf, record, serve};
use clap::{Parser, Subcommand};

/// The book of the workshop.
#[derive(Parser)]
#[command(name = "book")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Write the pages to target/gantry/book
    Build {
        /// Build a book of N chapters made of the real ones instead, and tell how long it took
        #[arg(long, value_name = "N")]
        bench: Option<usize>,
    },
    /// Build, show in a browser, and build again at every change
    Serve {
        /// The port on 127.0.0.1
        #[arg(long, short, default_value_t = 3000)]
        port: u16,
        /// Open the start page in the browser
        #[arg(long)]
        open: bool,
    },
    /// Build, and report everything that is wrong with the book
    Check {
        /// List the lines of the solutions that no page shows
        #[arg(long)]
        woven: bool,
    },
    /// Run the transcripts and write what they print into the pages
    Record {
        /// Compare only, and fail where a transcript is out of date
        #[arg(long)]
        check: bool,
        /// One chapter only (5), or the pages whose names begin so (escapes/07)
        pages: Option<String>,
    },
    /// Print the whole book to target/gantry/gantry.pdf with Chromium
    Pdf,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("book: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<ExitCode> {
    let site = Site::find()?;
    match &cli.verb {
        Verb::Build { bench: Some(chapters) } => bench::run(&site, *chapters).map(|()| ExitCode::SUCCESS),
        Verb::Build { bench: None } => build_once(&site),
        Verb::Serve { port, open } => serve::serve(&site, *port, *open).map(|()| ExitCode::SUCCESS),
        Verb::Check { woven } => check_all(&site, *woven),
        Verb::Record { check, pages } => {
            record::run(&site, *check, pages.as_deref()).map(|()| ExitCode::SUCCESS)
        }
        Verb::Pdf => match print_findings(&build::build(&site)?) {
            true => pdf::print(&site).map(|()| ExitCode::SUCCESS),
            false => Ok(ExitCode::FAILURE),
        },
    }
}

fn build_once(site: &Site) -> Result<ExitCode> {
    let start = Instant::now();
    if !print_findings(&build::build(site)?) {
        return Ok(ExitCode::FAILURE);
    }
    println!(
        "{} in {:.1} s",
        site.shown(&site.out).join("index.html").display(),
        start.elapsed().as_secs_f32()
    );
    Ok(ExitCode::SUCCESS)
}

fn check_all(site: &Site, list_woven: bool) -> Result<ExitCode> {
    let report = check::check(site)?;
    if list_woven {
        for line in &report.unwoven {
            println!("{line}");
        }
    }
    for line in &report.summary {
        println!("{line}");
    }
    Ok(if print_findings(&report.findings) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints what is wrong; true if nothing is.
fn print_findings(findings: &[Finding]) -> bool {
    for finding in findings {
        eprintln!("{finding}");
    }
    match findings.len() {
        0 => true,
        1 => {
            eprintln!("book: 1 thing to mend");
            false
        }
        count => {
            eprintln!("book: {count} things to mend");
            false
        }
    }
}
