//! The book in a real browser: pages load from the disk, quietly, and do what they promise.
//!
//! One headless Chromium serves all tests, one after the other. Three books are looked at: the real one, a demo
//! that uses every directive, and a gallery of all figures. Without Chromium the tests are skipped and say so; `GANTRY_MUST_RUN=1`
//! makes that a failure. axe-core is named by `GANTRY_AXE`, or fetched once from the npm registry.

mod axe;
mod chromium;
#[path = "../common/mod.rs"]
mod common;
mod figures;
mod tests;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use book::build;
use book::site::Site;
use libtest_mimic::{Arguments, Failed, Trial};

use chromium::{Chromium, Result};

/// What every test gets: the browser, and the built books.
pub struct World {
    /// The browser, started by the first test that needs it.
    browser: Option<Chromium>,
    program: PathBuf,
    /// The demo book.
    pub demo: Site,
    /// The real book.
    pub real: Site,
    /// A demo with a page that shows every figure of the real book.
    pub gallery: Site,
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

    /// The pages as addresses, of the gallery only the one with the figures; mdBook's own table of contents is no page.
    pub fn pages(&self) -> Vec<String> {
        let of = |site: &Site| book::mend::pages(&site.out).unwrap_or_default();
        let all = of(&self.demo).into_iter().chain(of(&self.real));
        all.filter(|page| !page.ends_with("toc.html"))
            .map(|page| format!("file://{}", page.display()))
            .chain([self.figures()])
            .collect()
    }

    /// The page with every figure of the real book.
    pub fn figures(&self) -> String {
        format!("file://{}/{GALLERY}.html", self.gallery.out.display())
    }

    /// The demo page with every directive.
    pub fn chapter(&self) -> String {
        format!("file://{}/01-harbour.html", self.demo.out.display())
    }
}

/// The name of the page with every figure.
const GALLERY: &str = "gallery";

fn main() {
    let arguments = Arguments::from_args();
    let must_run = std::env::var_os("GANTRY_MUST_RUN").is_some_and(|value| value == "1");
    let Some(program) = book::pdf::chromium() else {
        eprintln!("browser tests need Chromium: `apt install chromium`, or name one in GANTRY_CHROMIUM");
        let missing = |(name, _): &(&'static str, tests::Test)| {
            let fail = || Err(Failed::from("there is no Chromium, and GANTRY_MUST_RUN=1"));
            Trial::test(*name, fail).with_kind("no Chromium").with_ignored_flag(!must_run)
        };
        libtest_mimic::run(&arguments, all().map(missing).collect()).exit();
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
    let conclusion = libtest_mimic::run(&arguments, all().map(trial).collect());
    let mut world = world.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(browser) = &mut world.browser {
        browser.stop();
    }
    conclusion.exit();
}

fn all() -> impl Iterator<Item = &'static (&'static str, tests::Test)> {
    tests::ALL.iter().chain(figures::ALL)
}

/// Builds all books.
fn world(program: PathBuf) -> World {
    let demo = common::demo("browser");
    let real =
        Site { out: demo.out.with_file_name("real"), ..Site::at(&common::root()).expect("read course.toml") };
    let gallery = gallery();
    for site in [&demo, &real, &gallery] {
        let findings = build::build(site).expect("build the book");
        assert!(findings.is_empty(), "the book does not build: {}", findings[0]);
    }
    World { browser: None, program, demo, real, gallery }
}

/// A demo book with one more page: every figure of the real book, whether a page of that shows it or not.
fn gallery() -> Site {
    let site = common::demo("gallery");
    let figures = common::root().join("book/figures");
    book::bench::copy_tree(&figures, &site.book.join("figures")).expect("copy the figures");
    let mut names: Vec<String> = std::fs::read_dir(&figures)
        .expect("list the figures")
        .flatten()
        .filter(|entry| book::figure::is_figure(&entry.path()))
        .filter_map(|entry| Some(entry.path().file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    let figures: String = names.iter().map(|name| format!("{{{{#figure {name} | {name}}}}}\n\n")).collect();
    std::fs::write(site.src().join(format!("{GALLERY}.md")), format!("# All figures\n\n{figures}"))
        .expect("write a page");
    let summary = site.src().join("SUMMARY.md");
    let known = std::fs::read_to_string(&summary).expect("read SUMMARY.md");
    std::fs::write(&summary, format!("{known}- [All figures]({GALLERY}.md)\n")).expect("write SUMMARY.md");
    site
}
