//! The builder of the book: Markdown with a few directives of our own, rendered by mdBook's library.
//!
//! A page goes through four hands. [`page`] takes its Markdown apart and keeps the line of every piece.
//! [`render`] turns our directives and blocks into Markdown and HTML that mdBook understands, strictly:
//! whatever is missing is a [`finding::Finding`] with file and line, and no finding is allowed in a build.
//! mdBook writes the site. [`mend`] then corrects the few things of its pages that we need otherwise.
//!
//! Beside it stand [`check`] (what a build alone does not notice), [`record`] (the transcripts), [`serve`]
//! and [`pdf`].
//!
//! Left out: what the course contains. That is `book/course.toml`, read through [`workshop::course`].

pub mod bench;
pub mod blocks;
pub mod build;
pub mod check;
pub mod console;
pub mod fence;
pub mod figure;
pub mod finding;
pub mod html;
pub mod listing;
pub mod mend;
pub mod page;
pub mod pdf;
pub mod quiz;
pub mod record;
pub mod render;
pub mod serve;
pub mod site;
pub mod warnings;
