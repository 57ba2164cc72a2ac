//! Small helpers for the HTML that we write and for the HTML that mdBook wrote.
//!
//! Writing: escaping, and Markdown inside one element (a summary, a caption), where mdBook would make a
//! paragraph. Reading: the attributes of finished pages, which mdBook serialises in one regular form
//! (`name="value"`), so that no parser is needed.

use pulldown_cmark::{Options, Parser};

/// `text` with the four characters replaced that HTML gives a meaning.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Undoes [`escape`] and the numeric form of the apostrophe.
pub fn unescape(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#39;", "'")
        .replace("&#x27;", "'")
        .replace("&amp;", "&")
}

/// One paragraph of Markdown as HTML without the paragraph: for captions and summaries.
pub fn inline(markdown: &str) -> String {
    let options = Options::ENABLE_SMART_PUNCTUATION | Options::ENABLE_STRIKETHROUGH;
    let mut out = String::new();
    pulldown_cmark::html::push_html(&mut out, Parser::new_ext(markdown.trim(), options));
    let out = out.trim();
    let out = out.strip_prefix("<p>").and_then(|out| out.strip_suffix("</p>")).unwrap_or(out);
    // A blank line would end the HTML block in which this stands.
    out.replace("\n\n", "\n")
}

/// The values of attribute `name` in `html`, unescaped, in order.
pub fn attributes<'a>(html: &'a str, name: &str) -> Vec<&'a str> {
    let key = format!(" {name}=\"");
    let mut values = Vec::new();
    let mut rest = html;
    while let Some(at) = rest.find(&key) {
        rest = &rest[at + key.len()..];
        let Some(end) = rest.find('"') else { break };
        values.push(&rest[..end]);
        rest = &rest[end..];
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inline_is_one_line_of_html() {
        assert_eq!(inline("*a* `b<c` & d\n"), "<em>a</em> <code>b&lt;c</code> &amp; d");
    }

    #[test]
    fn attributes_are_found_in_order() {
        let html = r##"<a href="x.html#y"><img src="p.svg"><a class="q" href="#z">"##;
        assert_eq!(attributes(html, "href"), ["x.html#y", "#z"]);
    }
}
