//! `attack`: the escape lab for a reader. Which attacks there are, and one of them made against her own engine.

use anyhow::Result;
use workshop::lab::Ground;
use workshop::stage::check;
use workshop::stage::escapes::{CHAPTER, ESCAPES, Escape};
use workshop::stage::verdict::Outcome;
use workshop::terminal::{self, Look, styled};
use workshop::vm::Kernel;

use super::check::must_exist;
use super::{Here, code, wrong};

/// `attack`: the list.
pub fn list() -> Result<u8> {
    let mut text =
        String::from("Attacks on the engine of chapter 8; cargo workshop attack NAME makes one.\n\n");
    for (index, escape) in ESCAPES.iter().enumerate() {
        let name = styled(Look::Bold, format!("{:18}", shown(escape)));
        text.push_str(&format!("{:2}  {name} {}\n    {}\n", index + 1, escape.known_as, escape.gain));
    }
    text.push_str("\nEach runs first with the defence off, where it must succeed, then with it on.\n");
    terminal::print(&text)?;
    Ok(0)
}

/// `attack NAME`: one attack, both halves.
pub fn one(here: &Here, name: &str, solution: bool, ground: Option<Ground>) -> Result<u8> {
    let wanted = name.replace('-', "_");
    let Some(index) = ESCAPES.iter().position(|escape| escape.test.name == wanted) else {
        return Err(wrong(format!("there is no attack `{name}`; `cargo workshop attack` lists them")));
    };
    let (escape, ground) = (&ESCAPES[index], ground.unwrap_or_else(best_ground));
    if ground == Ground::User && !escape.as_user {
        return Err(wrong("this attack needs a root that is more than one user: try --ground kernel"));
    }
    let chapter = here.course.chapter(CHAPTER)?;
    if !solution {
        must_exist(here, chapter)?;
    }
    let package = if solution { chapter.krate.clone() } else { chapter.my_crate() };
    let subject = check::subject(&here.root, chapter, &package)?;
    terminal::print(&head(index, &package, ground))?;
    let mut told = (Vec::new(), None);
    check::run(&subject, ground, &[wanted], &mut |report| {
        told = (report.notes.clone(), Some(report.outcome.clone()));
    })?;
    let (notes, outcome) = told;
    terminal::print(&format!("{}\n\n{}", notes.join("\n\n"), verdict(outcome.as_ref())))?;
    Ok(code(matches!(outcome, Some(Outcome::Passed | Outcome::Skipped(_)))))
}

/// A kernel of one's own, if there is one: most attacks can only be shown in full there.
fn best_ground() -> Ground {
    if Kernel::find().is_ok() { Ground::Kernel } else { Ground::User }
}

fn head(index: usize, package: &str, ground: Ground) -> String {
    let escape = &ESCAPES[index];
    format!(
        "{} ({}), on `{package}`, in {}\nThe attacker wants: {}.\nThe book: appendix, escape {}.\n\n",
        styled(Look::Bold, shown(escape)),
        escape.known_as,
        ground.describe(),
        escape.gain,
        index + 1
    )
}

fn verdict(outcome: Option<&Outcome>) -> String {
    match outcome {
        Some(Outcome::Passed) => format!("{} the defence holds\n", styled(Look::Green, "✓")),
        Some(Outcome::Skipped(why)) => format!("- not tried: {why}\n"),
        Some(Outcome::Failed(failure)) => {
            format!("{} it does not go as it must\n{}", styled(Look::Red, "✗"), check::details(failure))
        }
        None => "nothing was reported\n".into(),
    }
}

/// Its name as it is typed.
fn shown(escape: &Escape) -> String {
    escape.test.name.replace('_', "-")
}
