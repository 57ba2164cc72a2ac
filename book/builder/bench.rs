//! How long a large book takes: the real chapters over and over, built like the real book.
//!
//! The promise is that fifteen chapters build in two seconds, in a debug build of this crate, so that an
//! author who saves sees the page at once. `book build --bench 15` measures it; a test holds the promise.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use workshop::course::Chapter;

use crate::build;
use crate::site::Site;

/// What a build cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cost {
    /// Time of this thread on a processor: what counts where others work as well.
    pub cpu: Duration,
    /// Time on the clock.
    pub wall: Duration,
    /// HTML that came out, in bytes.
    pub bytes: u64,
}

/// Builds a book of `chapters` chapters made of those of `site`, and prints what it cost.
///
/// # Errors
/// The book cannot be built.
pub fn run(site: &Site, chapters: usize) -> Result<()> {
    let folder = site.root.join("target/gantry/bench-book");
    let large = multiply(site, chapters, &folder)?;
    let Cost { cpu, wall, bytes } = measure(&large)?;
    let (cpu, wall) = (cpu.as_secs_f64(), wall.as_secs_f64());
    println!(
        "{chapters} chapters, {} kB of HTML: {wall:.2} s, {cpu:.2} s of it on a processor",
        bytes / 1000
    );
    Ok(())
}

/// Builds `site` and tells what that cost.
///
/// # Errors
/// The book cannot be built.
pub fn measure(site: &Site) -> Result<Cost> {
    let (start, start_cpu) = (Instant::now(), on_processor()?);
    let findings = build::build(site)?;
    let (wall, cpu) = (start.elapsed(), on_processor()?.saturating_sub(start_cpu));
    if let Some(finding) = findings.first() {
        bail!("the book does not build: {finding}");
    }
    let sizes = crate::mend::pages(&site.out)?.into_iter().map(|page| Ok(std::fs::metadata(page)?.len()));
    Ok(Cost { cpu, wall, bytes: sizes.sum::<Result<u64>>()? })
}

/// How long this thread has been on a processor; a build uses no other.
fn on_processor() -> Result<Duration> {
    let path = "/proc/thread-self/schedstat";
    let text = std::fs::read_to_string(path).with_context(|| format!("read {path}"))?;
    let nanoseconds = text.split(' ').next().and_then(|number| number.parse().ok());
    nanoseconds.map(Duration::from_nanos).with_context(|| format!("{path} holds no number: {text}"))
}

/// A book of `count` chapters in `folder`, which repeats those of `site`.
///
/// # Errors
/// A file that cannot be read or written.
pub fn multiply(site: &Site, count: usize, folder: &Path) -> Result<Site> {
    let book = folder.join("book");
    for part in ["figures", "theme"] {
        copy_tree(&site.book.join(part), &book.join(part))?;
    }
    std::fs::create_dir_all(book.join("src")).with_context(|| format!("create {}", book.display()))?;
    std::fs::copy(site.book.join("book.toml"), book.join("book.toml")).context("copy book.toml")?;
    let mut summary = "# Summary\n\n".to_owned();
    let mut large = Site { book, out: folder.join("out"), ..site.clone() };
    large.course.chapters.clear();
    for (index, chapter) in site.course.chapters.iter().cycle().take(count).enumerate() {
        let text = std::fs::read_to_string(site.src().join(&chapter.file))
            .with_context(|| format!("read {}", chapter.file))?;
        let file = format!("{index:02}.md");
        std::fs::write(large.src().join(&file), text).with_context(|| format!("write {file}"))?;
        summary.push_str(&format!("- [{}]({file})\n", chapter.title));
        let number = u8::try_from(index).context("at most 255 chapters")?;
        large.course.chapters.push(Chapter { number, file, ..chapter.clone() });
    }
    std::fs::write(large.src().join("SUMMARY.md"), summary).context("write SUMMARY.md")?;
    Ok(large)
}

/// Copies a folder with all that is in it.
///
/// # Errors
/// A file that cannot be read or written.
pub fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to).with_context(|| format!("create {}", to.display()))?;
    for entry in std::fs::read_dir(from).with_context(|| format!("list {}", from.display()))? {
        let path: PathBuf = entry?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        match path.is_dir() {
            true => copy_tree(&path, &target)?,
            false => drop(std::fs::copy(&path, &target).with_context(|| format!("copy {}", path.display()))?),
        }
    }
    Ok(())
}
