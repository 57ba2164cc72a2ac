//! What a reader means by `1`, `1.2`, `process.exit` or `process`.

use std::convert::Infallible;
use std::str::FromStr;

use anyhow::Result;
use workshop::course::{Chapter, Course, Exercise};

use super::wrong;

/// A chapter or an exercise, as typed.
#[derive(Debug, Clone)]
pub struct Target(String);

impl FromStr for Target {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Target, Infallible> {
        Ok(Target(text.to_owned()))
    }
}

impl Target {
    /// The chapter it names, which has a crate, and the exercise if it names one.
    ///
    /// # Errors
    /// Wrong use, if it names neither.
    pub fn find<'a>(&self, course: &'a Course) -> Result<(&'a Chapter, Option<&'a Exercise>)> {
        if let Ok((chapter, exercise)) = course.exercise(&self.0) {
            return Ok((chapter, Some(exercise)));
        }
        if self.0.contains('.') {
            return Err(no_such_exercise(&self.0, course));
        }
        Ok((find_chapter(&self.0, course)?, None))
    }

    /// The chapter that it names.
    ///
    /// # Errors
    /// Wrong use, if it names an exercise or nothing.
    pub fn chapter<'a>(&self, course: &'a Course) -> Result<&'a Chapter> {
        match self.find(course)? {
            (chapter, None) => Ok(chapter),
            (chapter, Some(_)) => Err(wrong(format!("a whole chapter is wanted here: {}", chapter.number))),
        }
    }

    /// The exercise that it names, and its chapter.
    ///
    /// # Errors
    /// Wrong use, if it names a chapter or nothing.
    pub fn exercise<'a>(&self, course: &'a Course) -> Result<(&'a Chapter, &'a Exercise)> {
        match self.find(course)? {
            (chapter, Some(exercise)) => Ok((chapter, exercise)),
            (chapter, None) => Err(wrong(format!("an exercise is wanted here. {}", its_exercises(chapter)))),
        }
    }
}

fn find_chapter<'a>(text: &str, course: &'a Course) -> Result<&'a Chapter> {
    let by_name =
        |chapter: &&Chapter| chapter.has_crate() && (chapter.krate == text || chapter.my_crate() == text);
    let chapter = match text.parse() {
        Ok(number) => course.chapter(number).map_err(|error| wrong(error.to_string()))?,
        Err(_) => course.chapters.iter().find(by_name).ok_or_else(|| {
            wrong(format!(
                "`{text}` is neither a chapter (1) nor an exercise (1.2); `cargo workshop` lists them"
            ))
        })?,
    };
    if !chapter.has_crate() {
        return Err(wrong(format!(
            "in chapter {} there is nothing to build: read it in the book (`cargo workshop book`), and try \
             `cargo workshop tour`",
            chapter.number
        )));
    }
    Ok(chapter)
}

fn no_such_exercise(text: &str, course: &Course) -> anyhow::Error {
    let head = text.split('.').next().unwrap_or_default();
    match find_chapter(head, course) {
        Ok(chapter) => wrong(format!("there is no exercise {text}. {}", its_exercises(chapter))),
        Err(error) => error,
    }
}

fn its_exercises(chapter: &Chapter) -> String {
    let numbers: Vec<&str> = chapter.exercises.iter().map(|exercise| exercise.number.as_str()).collect();
    match numbers.as_slice() {
        [] => format!("Chapter {} has none yet", chapter.number),
        numbers => format!("Chapter {} has {}", chapter.number, numbers.join(", ")),
    }
}
