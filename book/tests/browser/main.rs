//! The book in a real browser: pages load from the disk, quietly, and do what they promise.
//!
//! One headless Chromium serves all tests, one after the other. Two books are looked at: the real one, and a
//! demo that uses every directive. Without Chromium the tests are skipped and say so; `GANTRY_MUST_RUN=1`
//! makes that a failure. axe-core is named by `GANTRY_AXE`, or fetched once from the npm registry.

mod axe;
mod chromium;
#[path = "../common/mod.rs"]
mod common;
mod tests;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use book::build;
use book::site::Site;
use libtest_mimic::{Arguments, Failed, Trial};

use chromium::{Chromium, Result};

/// What every test gets: the browser, and the two built books.
pub struct World {
    /// The browser, started by the first test that needs it.
    browser: Option<Chromium>,
    program: PathBuf,
    /// The demo book.
    pub demo: Site,
    /// The real book.
    pub real: Site,
}

impl World {
    /// The browser in its usual state: a wide window, the light theme, nothing remembered.
    pub fn browser(&mut self) -> Result<&mut Chromium> {
        if self.browser.is_none() {
            let folder = self.demo.out.with_file_name("profiles");
            self.browser = Some(Chromium::start(&self.program, &folder)?);
        }
        let browser = self.browser.as_mut().ok_or("no browser")?;
        browser.size(1280, 900)?;
        browser.media("light", "screen")?;
        browser.open(&format!("file://{}/index.html", self.demo.out.display()))?;
        browser.evaluate("localStorage.clear()")?;
        Ok(browser)
    }

    /// The pages of both books as addresses; mdBook's own table of contents is no page.
    pub fn pages(&self) -> Vec<String> {
        let of = |site: &Site| book::mend::pages(&site.out).unwrap_or_default();
        let all = of(&self.demo).into_iter().chain(of(&self.real));
        all.filter(|page| !page.ends_with("toc.html"))
            .map(|page| format!("file://{}", page.display()))
            .collect()
    }

    /// The demo page with every directive.
    pub fn chapter(&self) -> String {
        format!("file://{}/01-harbour.html", self.demo.out.display())
    }
}

fn main() {
    let arguments = Arguments::from_args();
    let must_run = std::env::var_os("GANTRY_MUST_RUN").is_some_and(|value| value == "1");
    let Some(program) = book::pdf::chromium() else {
        eprintln!("browser tests need Chromium: `apt install chromium`, or name one in GANTRY_CHROMIUM");
        let missing = |(name, _): &(&'static str, tests::Test)| {
            let fail = || Err(Failed::from("there is no Chromium, and GANTRY_MUST_RUN=1"));
            Trial::test(*name, fail).with_kind("no Chromium").with_ignored_flag(!must_run)
        };
        libtest_mimic::run(&arguments, tests::ALL.iter().map(missing).collect()).exit();
    };
    let world = Arc::new(Mutex::new(world(program)));
    let axe = axe::find(&common::root());
    let trial = |(name, test): &(&'static str, tests::Test)| {
        let (test, world) = (*test, world.clone());
        let skipped = name.starts_with("axe") && axe.is_none() && !must_run;
        let run = move || {
            let mut world = world.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            test(&mut world).map_err(Failed::from)
        };
        Trial::test(*name, run).with_kind(if skipped { "no axe-core" } else { "" }).with_ignored_flag(skipped)
    };
    let conclusion = libtest_mimic::run(&arguments, tests::ALL.iter().map(trial).collect());
    let mut world = world.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(browser) = &mut world.browser {
        browser.stop();
    }
    conclusion.exit();
}

/// Builds both books.
fn world(program: PathBuf) -> World {
    let demo = common::demo("browser");
    let real =
        Site { out: demo.out.with_file_name("real"), ..Site::at(&common::root()).expect("read course.toml") };
    for site in [&demo, &real] {
        let findings = build::build(site).expect("build the book");
        assert!(findings.is_empty(), "the book does not build: {}", findings[0]);
    }
    World { browser: None, program, demo, real }
}
