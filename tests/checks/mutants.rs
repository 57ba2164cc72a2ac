//! Every defence is needed: taken out of the solution, it turns the tests red that claim it.
//!
//! The table is `tests/mutants.toml`. Each change is made in a copy of the workspace, built, and tried by the
//! tests that it names, in the lab. A change that some of them do not notice fails here, and so does one that no
//! longer fits the code.

#[path = "support/copy.rs"]
mod copy;
#[path = "support/ground.rs"]
mod ground;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use copy::{Copy, outcomes, told};
use ground::{Skip, ended, on_with};
use libtest_mimic::{Arguments, Trial};
use serde::Deserialize;
use workshop::course::{Chapter, Course, Need};
use workshop::lab::Ground;
use workshop::stage::escapes::{CHAPTER, ESCAPES};
use workshop::stage::{self, verdict::Outcome};
use workshop::workspace;

/// `tests/mutants.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    mutant: Vec<Mutant>,
}

/// One defence, and the code without it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mutant {
    claim: String,
    chapter: u8,
    /// The chapter whose binary and tests show it, where that is a later one.
    seen_by: Option<u8>,
    file: String,
    from: String,
    to: String,
    /// What else must be replaced in the same file, so that it compiles.
    #[serde(default)]
    more: Vec<(String, String)>,
    /// The tests of the stage, or the attacks of the escape lab, that must fail.
    #[serde(default)]
    red: Vec<String>,
    /// A test target of the crate that must fail.
    cargo_test: Option<String>,
    #[serde(default = "user")]
    ground: Ground,
}

impl Mutant {
    /// The chapter whose tests must go red.
    fn stage(&self) -> u8 {
        self.seen_by.unwrap_or(self.chapter)
    }
}

fn user() -> Ground {
    Ground::User
}

fn main() -> ExitCode {
    workshop::hidden::dispatch();
    let mut arguments = Arguments::from_args();
    // One copy, one change at a time.
    arguments.test_threads = Some(1);
    let table = table();
    let shared: Arc<Mutex<Option<Copy>>> = Arc::default();
    let trial = |mutant: Mutant| {
        let shared = Arc::clone(&shared);
        let name = format!("{}::{}", mutant.chapter, mutant.claim.replace(' ', "_"));
        Trial::ignorable_test(name, move || {
            on_with(&needs(mutant.stage()), mutant.ground, || {
                let mut copy = shared.lock().unwrap_or_else(PoisonError::into_inner);
                tried(&mut copy, &mutant)
            })
        })
    };
    let mut trials = vec![Trial::ignorable_test("each_defence_is_in_the_code", || ended(in_the_code()))];
    if std::env::var_os("GANTRY_MUTANTS").is_some() {
        trials.extend(table.mutant.into_iter().map(trial));
    } else {
        let why = format!("{} of them, some minutes: GANTRY_MUTANTS=1 runs them", table.mutant.len());
        trials.push(Trial::ignorable_test("each_is_missed_when_it_is_gone", || Skip::Fine(why).ended()));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// What the tests of a chapter need.
fn needs(chapter: u8) -> Vec<Need> {
    let course = Course::load(&copy::root());
    course.and_then(|course| Ok(course.chapter(chapter)?.needs.clone())).unwrap_or_default()
}

/// The table fits the code: each text stands where it is replaced, each test is one of the stage's, or an attack.
fn in_the_code() -> Result<()> {
    let root = copy::root();
    let course = Course::load(&root)?;
    for mutant in table().mutant {
        let claim = &mutant.claim;
        let text = workspace::read(&course.chapter(mutant.chapter)?.solution_dir(&root).join(&mutant.file))?;
        let first = (mutant.from.clone(), mutant.to.clone());
        for (from, _) in [first].iter().chain(&mutant.more) {
            let count = text.matches(from.as_str()).count();
            ensure!(count == 1, "{claim}: {} holds this {count} times, not once:\n{from}", mutant.file);
        }
        for name in &mutant.red {
            let attack = mutant.stage() == CHAPTER && ESCAPES.iter().any(|escape| escape.test.name == name);
            let known = attack || stage::of_chapter(mutant.stage()).iter().any(|test| test.name == name);
            ensure!(known, "{claim}: chapter {} has no test {name}", mutant.stage());
        }
        ensure!(!mutant.red.is_empty() || mutant.cargo_test.is_some(), "{claim}: no test is named");
    }
    Ok(())
}

fn table() -> Table {
    toml_edit::de::from_str(include_str!("../mutants.toml")).expect("tests/mutants.toml")
}

fn tried(copy: &mut Option<Copy>, mutant: &Mutant) -> Result<()> {
    if copy.is_none() {
        *copy = Some(Copy::new()?);
    }
    let copy = copy.as_ref().context("the copy was made")?;
    let chapter = copy.course.chapter(mutant.chapter)?;
    let file = format!("solutions/{}/{}", chapter.dir, mutant.file);
    let whole = copy.edit(&file, &mutant.from, &mutant.to)?;
    let more = mutant.more.iter().try_for_each(|(from, to)| copy.edit(&file, from, to).map(drop));
    let survived = more.and_then(|()| survived(copy, chapter, mutant));
    copy.write(&file, &whole)?;
    let survived = survived?;
    ensure!(survived.is_empty(), "without the defence must fail, and does not:\n{}", survived.join("\n"));
    Ok(())
}

/// Builds the changed crate; the tests that should have failed and did not.
fn survived(copy: &Copy, chapter: &Chapter, mutant: &Mutant) -> Result<Vec<String>> {
    let mut survived = Vec::new();
    if let Some(target) = &mutant.cargo_test {
        let package = ["test", "--quiet", "--package", &chapter.krate, "--test", target];
        let run = |more: &[&str]| workspace::cargo(&copy.folder).args(package).args(more).output();
        let build = run(&["--no-run"])?;
        ensure!(build.status.success(), "{}", String::from_utf8_lossy(&build.stderr));
        if run(&[])?.status.success() {
            survived.push(format!("cargo test --test {target} passed"));
        }
    }
    if !mutant.red.is_empty() {
        let stage = copy.course.chapter(mutant.stage())?;
        let subject = copy.subject(stage, &stage.krate).context("the changed crate must still compile")?;
        let seen = outcomes(&subject, mutant.ground, &mutant.red)?;
        let green = |name: &&String| !matches!(seen.get(*name), Some(Outcome::Failed(_)));
        survived.extend(mutant.red.iter().filter(green).map(|name| told(name, seen.get(name))));
    }
    Ok(survived)
}
