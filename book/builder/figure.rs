//! Figures: a file of `book/figures/` put into the page as inline SVG, so that it follows the theme.
//!
//! What a figure must have, and is refused without: a `viewBox`; a `<title>` (its name) and a `<desc>` (what
//! it shows, for those who do not see it); no colour of its own (classes of `theme/figures.css`,
//! `currentColor` or `var(--..)` instead); no script and no address of another machine. Its ids get the
//! figure's name in front, so that two figures on one page never share one.
//!
//! Groups with `data-step="1"`, `"2"`, .. make it a stepper: their captions (`data-caption`, or a
//! `<desc>` inside the group) also stand as a list below the figure. `theme/stepper.js` turns the list into buttons; without it, and on paper, all
//! steps and all captions show.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::html;
use crate::site::Site;

/// A figure as HTML. `words` is `name` or `name | caption in Markdown`.
///
/// # Errors
/// There is no such file, or it lacks something; see the module.
pub fn figure(site: &Site, words: &str) -> Result<String> {
    let (name, caption) = words.split_once('|').unwrap_or((words, ""));
    let name = name.trim();
    let path = site.book.join("figures").join(format!("{name}.svg"));
    let shown = site.shown(&path);
    let source = std::fs::read_to_string(&path)
        .with_context(|| format!("there is no figure `{name}` ({})", shown.display()))?;
    let svg = prepare(name, &source).with_context(|| format!("in {}", shown.display()))?;
    let steps = steps(&svg).with_context(|| format!("in {}", shown.display()))?;
    let class = if steps.is_empty() { "figure" } else { "figure stepper" };
    let mut list = String::new();
    if !steps.is_empty() {
        let items: String = steps.iter().map(|step| format!("<li>{step}</li>\n")).collect();
        list = format!("<ol class=\"steps\">\n{items}</ol>\n");
    }
    let caption = match caption.trim() {
        "" => String::new(),
        caption => format!("<figcaption>{}</figcaption>\n", html::inline(caption)),
    };
    let id = html::escape(name);
    Ok(format!(
        "\n<figure class=\"{class}\" id=\"figure-{id}\">\n<div class=\"figure-scroll\">\n{svg}\n</div>\n{list}{caption}</figure>\n\n"
    ))
}

/// Whether `path` is a figure's file.
pub fn is_figure(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "svg")
}

/// The SVG element ready for a page, or what it lacks.
fn prepare(name: &str, source: &str) -> Result<String> {
    let start = source.find("<svg").context("there is no <svg> element")?;
    let svg = source[start..].trim_end();
    require(svg)?;
    refuse_colours(svg)?;
    let svg = own_ids(name, svg);
    let (title, desc) = (format!("figure-{name}-title"), format!("figure-{name}-desc"));
    let svg = svg
        .replacen("<title>", &format!("<title id=\"{title}\">"), 1)
        .replacen("<desc>", &format!("<desc id=\"{desc}\">"), 1)
        .replacen(" xmlns=\"http://www.w3.org/2000/svg\"", "", 1)
        .replacen(
            "<svg",
            &format!("<svg role=\"img\" aria-labelledby=\"{title}\" aria-describedby=\"{desc}\""),
            1,
        );
    // A blank line would end the HTML block, and Markdown would read the rest.
    Ok(svg.lines().filter(|line| !line.trim().is_empty()).collect::<Vec<_>>().join("\n"))
}

/// What every figure must have, and must not.
fn require(svg: &str) -> Result<()> {
    for (what, why) in [
        (" viewBox=\"", "without it the figure does not scale"),
        ("<title>", "it names the figure for those who do not see it"),
        ("<desc>", "it tells what the figure shows to those who do not see it"),
        ("</svg>", "the figure ends with it"),
    ] {
        if !svg.contains(what) {
            bail!("`{}` is missing: {why}", what.trim());
        }
    }
    let inside = svg.replacen("http://www.w3.org/2000/svg", "", 1);
    for (what, why) in [
        ("<script", "a figure means the same without JavaScript"),
        ("<style", "the classes of theme/figures.css are for all figures"),
        ("<foreignObject", "text is <text>"),
        ("http://", "nothing is loaded from elsewhere"),
        ("https://", "nothing is loaded from elsewhere"),
        (" style=\"", "use the classes of theme/figures.css"),
    ] {
        if inside.contains(what) {
            bail!("`{}` is not allowed: {why}", what.trim());
        }
    }
    Ok(())
}

/// A figure that names a colour is unreadable in one of the two themes.
fn refuse_colours(svg: &str) -> Result<()> {
    for attribute in ["fill", "stroke", "color", "stop-color"] {
        for value in html::attributes(svg, attribute) {
            let follows = ["none", "currentColor", "inherit", "context-stroke", "context-fill"];
            if !follows.contains(&value) && !value.starts_with("var(--") && !value.starts_with("url(#") {
                bail!("{attribute}=\"{value}\" does not follow the theme: use a class of theme/figures.css");
            }
        }
    }
    Ok(())
}

/// Every id, and every reference to one, with the figure's name in front.
fn own_ids(name: &str, svg: &str) -> String {
    let mut out = svg.to_owned();
    for id in html::attributes(svg, "id") {
        let own = format!("figure-{name}-{id}");
        for (from, to) in [
            (format!(" id=\"{id}\""), format!(" id=\"{own}\"")),
            (format!("url(#{id})"), format!("url(#{own})")),
            (format!("href=\"#{id}\""), format!("href=\"#{own}\"")),
        ] {
            out = out.replace(&from, &to);
        }
    }
    out
}

/// The captions of a stepper's steps in order, none for a plain figure.
fn steps(svg: &str) -> Result<Vec<String>> {
    let mut captions: Vec<Option<String>> = Vec::new();
    let starts: Vec<usize> = svg.match_indices(" data-step=\"").map(|(at, _)| at).collect();
    for (index, &start) in starts.iter().enumerate() {
        let group = &svg[start..starts.get(index + 1).copied().unwrap_or(svg.len())];
        let step: usize = html::attributes(group, "data-step")[0]
            .parse()
            .ok()
            .filter(|step| (1..=20).contains(step))
            .context("data-step is a number from 1 to 20")?;
        if captions.len() < step {
            captions.resize(step, None);
        }
        if let Some(caption) = caption(group) {
            captions[step - 1] = Some(html::inline(&html::unescape(caption)));
        }
    }
    let numbered = captions.into_iter().enumerate();
    numbered
        .map(|(i, caption)| {
            caption.with_context(|| format!("step {} has neither a data-caption nor a <desc>", i + 1))
        })
        .collect()
}

/// The caption of a group: its attribute, or the `<desc>` inside it.
fn caption(group: &str) -> Option<&str> {
    let tag = group.split('>').next().unwrap_or_default();
    let of_desc = || group.split("</g>").next()?.split_once("<desc>")?.1.split("</desc>").next();
    html::attributes(tag, "data-caption").first().copied().or_else(of_desc)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SVG: &str = r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9">
<title>T</title><desc>D</desc>

<marker id="tip"/><path class="fig-line" marker-end="url(#tip)"/>
<g data-step="1" data-caption="First `clone3`"></g>
<g data-step="2" data-caption="Then"></g>
</svg>"##;

    #[test]
    fn a_figure_is_named_described_and_keeps_its_ids_apart() {
        let svg = prepare("birth", SVG).unwrap();
        assert!(svg.contains(r#"aria-labelledby="figure-birth-title""#), "{svg}");
        assert!(svg.contains(r#"<marker id="figure-birth-tip"/>"#), "{svg}");
        assert!(svg.contains("url(#figure-birth-tip)"), "{svg}");
        assert!(!svg.contains("\n\n") && !svg.contains("http://"), "{svg}");
    }

    #[test]
    fn what_a_figure_lacks_is_an_error() {
        for (from, to, says) in [
            ("<desc>D</desc>", "", "<desc>"),
            (" viewBox=\"0 0 9 9\"", "", "viewBox"),
            ("class=\"fig-line\"", "fill=\"#123456\"", "does not follow the theme"),
            ("<marker", "<script/><marker", "<script"),
        ] {
            let error = prepare("birth", &SVG.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_stepper_has_a_caption_for_each_step() {
        assert_eq!(steps(SVG).unwrap(), ["First <code>clone3</code>", "Then"]);
        let without = SVG.replace(" data-caption=\"Then\"", "");
        assert!(steps(&without).unwrap_err().to_string().contains("step 2"));
        let desc = without.replace("data-step=\"2\">", "data-step=\"2\"><desc>Then *this*</desc>");
        assert_eq!(steps(&desc).unwrap()[1], "Then <em>this</em>");
        assert!(steps("<svg><g/></svg>").unwrap().is_empty());
    }
}
