//! A message's HTML, made harmless.
//!
//! Three walls, each enough by itself: ammonia keeps only elements and attributes that are known to
//! do nothing; the answer's own Content-Security-Policy forbids scripts, forms and every connection;
//! the frame is sandboxed, so that even a script would run as nobody, apart from our pages. What is
//! allowed: inline styles, styles of the message's own, images inside the message (`data:`), and
//! links, which open in a new tab and tell nobody where they were clicked.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ammonia::Builder;
use askama::Template;
use axum::http::HeaderValue;

pub(super) const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'self'; sandbox allow-popups allow-popups-to-escape-sandbox",
);

/// Attributes of HTML mail that change how it looks and nothing else.
const LOOKS: [&str; 19] = [
    "align",
    "bgcolor",
    "border",
    "cellpadding",
    "cellspacing",
    "class",
    "color",
    "colspan",
    "dir",
    "face",
    "height",
    "id",
    "lang",
    "rowspan",
    "size",
    "style",
    "title",
    "valign",
    "width",
];
/// Elements that mail still uses and ammonia's own list lacks.
const OLD_ELEMENTS: [&str; 2] = ["font", "center"];

#[derive(Template)]
#[template(path = "frame.html")]
pub(super) struct Frame {
    body: String,
    style: String,
    /// Images from elsewhere that were taken out.
    #[template(ignore)]
    pub blocked: usize,
}

pub(super) fn sanitise(html: &str) -> Frame {
    // ammonia wants its filter to outlive the call, so the count is shared with it.
    let blocked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&blocked);
    let body = Builder::default()
        .add_tags(OLD_ELEMENTS)
        .generic_attributes(HashSet::from(LOOKS))
        .url_schemes(HashSet::from(["http", "https", "mailto", "tel", "data", "cid"]))
        .url_relative(ammonia::UrlRelative::Deny)
        .link_rel(Some("noopener noreferrer nofollow"))
        .set_tag_attribute_value("a", "target", "_blank")
        .attribute_filter(move |_, attribute, value| match attribute {
            "src" if is_own_image(value) => Some(Cow::Borrowed(value)),
            "src" => {
                counted.fetch_add(1, Ordering::Relaxed);
                None
            }
            "href" if is_link(value) => Some(Cow::Borrowed(value)),
            "href" | "cite" => None,
            _ => Some(Cow::Borrowed(value)),
        })
        .clean(html)
        .to_string();
    Frame { body, style: own_styles(html), blocked: blocked.load(Ordering::Relaxed) }
}

fn is_own_image(value: &str) -> bool {
    value.trim_start().get(..11).is_some_and(|start| start.eq_ignore_ascii_case("data:image/"))
}

fn is_link(value: &str) -> bool {
    let scheme = value.trim_start().split(':').next().unwrap_or_default().to_ascii_lowercase();
    matches!(scheme.as_str(), "http" | "https" | "mailto" | "tel")
}

/// What stands in the message's `<style>` elements, which ammonia takes out whole. A sheet with a `<`
/// in it is left out: without one, nothing in it can end the element that we put around it.
fn own_styles(html: &str) -> String {
    let lower = html.to_ascii_lowercase();
    let mut sheets = String::new();
    let mut at = 0;
    while let Some(open) = lower.get(at..).and_then(|rest| rest.find("<style")).map(|found| at + found) {
        let Some(begin) = lower[open..].find('>').map(|found| open + found + 1) else { break };
        let Some(end) = lower[begin..].find("</style").map(|found| begin + found) else { break };
        // Old mail hides its styles from older browsers in a comment.
        let sheet = html[begin..end].replace("<!--", "").replace("-->", "");
        if !sheet.contains('<') {
            sheets.push_str(&sheet);
            sheets.push('\n');
        }
        at = end;
    }
    sheets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(html: &str) -> String {
        sanitise(html).render().expect("a frame can be written")
    }

    #[test]
    fn nothing_that_runs_survives() {
        for attack in [
            "<script>canary()</script>",
            "<img src=x onerror=canary()>",
            "<a href='javascript:canary()'>x</a>",
            "<a href=' JaVaScRiPt:canary()'>x</a>",
            "<a href='data:text/html,<script>canary()</script>'>x</a>",
            "<svg onload=canary()><script>canary()</script></svg>",
            "<iframe src='https://canary.example'></iframe>",
            "<form action='https://canary.example'><input name=canary><button>canary</button></form>",
            "<object data='canary'></object><embed src='canary'>",
            "<meta http-equiv=refresh content='0;url=https://canary.example'>",
            "<base href='https://canary.example/'>",
            "<link rel=stylesheet href='https://canary.example/x.css'>",
            "<style></style><script>canary()</script>",
            "<style>a{}<script>canary()</script></style>",
            "<style>a{}<!</style><img src=x onerror=canary()>",
            "<math><mtext><table><mglyph><style><img src=x onerror=canary()></style></mglyph></table></mtext></math>",
            "<style><style/><script>canary()</script>",
            "</body></html><script>canary()</script>",
        ] {
            let shown = shown(attack).to_ascii_lowercase();
            for banned in [
                "<script",
                "onerror",
                "onload",
                "javascript:",
                "<iframe",
                "<form",
                "<object",
                "<meta http",
                "<base",
                "<link",
                "canary.example",
            ] {
                assert!(!shown.contains(banned), "{attack} left {banned}: {shown}");
            }
        }
    }

    #[test]
    fn images_from_elsewhere_are_taken_out_and_counted() {
        let html = "<img src='https://tracker.example/1.gif' alt='logo'><img src='//tracker.example/2'>\
                    <img src='data:image/png;base64,AAAA'><img src='cid:logo@x'>";
        let frame = sanitise(html);
        assert_eq!(frame.blocked, 2, "a relative source is refused before it is counted");
        assert!(!frame.body.contains("tracker.example"));
        assert!(frame.body.contains("data:image/png;base64,AAAA"));
        assert!(frame.body.contains("alt=\"logo\""));
    }

    #[test]
    fn mail_keeps_its_looks() {
        let html = "<html><head><style type='text/css'><!-- .a { color: red } --></style></head><body>\
                    <table width=600 bgcolor='#eee' cellpadding=0><tr><td align=center style='padding:8px' class=a>\
                    <font color=red>Hello</font> <a href='https://example.org/reset?t=1'>reset</a></td></tr></table>";
        let shown = shown(html);
        for kept in [
            "color: red",
            "bgcolor=\"#eee\"",
            "align=\"center\"",
            "padding:8px",
            "<font color=\"red\">",
            "target=\"_blank\"",
            "noreferrer",
        ] {
            assert!(shown.contains(kept), "{kept} is gone: {shown}");
        }
    }

    #[test]
    fn a_style_that_could_end_itself_is_left_out() {
        assert_eq!(own_styles("<style>a{}</style><p><STYLE media=x>b{}</STYLE >"), "a{}\nb{}\n");
        assert_eq!(own_styles("<style>a{content:'<'}</style>"), "");
        assert_eq!(own_styles("<style>never closed"), "");
        assert_eq!(own_styles("<style"), "");
        assert_eq!(own_styles("İ<style>ü{}</style>"), "ü{}\n");
    }
}
