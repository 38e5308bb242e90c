//! What all pages share: the frame around them, the error page, and how numbers and times read.

use askama::Template;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use base::Timestamp;
use jiff::tz::TimeZone;

use crate::refusal::Refusal;

const STYLE: &str = include_str!("../assets/style.css");
const INBOX_SCRIPT: &str = include_str!("../assets/inbox.js");
const ICON: &str = include_str!("../assets/icon.svg");

/// In the addresses of our files, so that a new release is seen at once.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    code: u16,
    title: &'a str,
    text: &'a str,
}

/// A page that says what went wrong and what to do.
pub(crate) fn error(status: StatusCode, title: &str, text: &str) -> Response {
    let page = ErrorPage { code: status.as_u16(), title, text };
    (status, render(&page)).into_response()
}

pub(crate) fn refused(refusal: &Refusal) -> Response {
    refusal.log();
    let title = match refusal {
        Refusal::NotFound(_) => "Not here",
        Refusal::Invalid(_) | Refusal::Conflict(_) | Refusal::TooLarge(_) => "That did not work",
        Refusal::Unavailable(_) => "Not just now",
        Refusal::Internal(_) => "Something went wrong",
    };
    error(refusal.status(), title, refusal.public_text())
}

pub(crate) async fn not_found() -> Response {
    error(StatusCode::NOT_FOUND, "Not here", "There is no page at this address.")
}

pub(crate) fn render(template: &impl Template) -> Response {
    match template.render() {
        Ok(text) => Html(text).into_response(),
        Err(error) => {
            // Only a value's own formatting can fail, and none of ours does.
            tracing::error!(%error, "a page could not be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// A file that is part of the program. It may be kept by the browser and is asked for by version.
fn asset(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static("max-age=600")),
    ];
    (headers, text).into_response()
}

pub(crate) async fn style() -> Response {
    asset("text/css; charset=utf-8", STYLE)
}

pub(crate) async fn inbox_script() -> Response {
    asset("text/javascript; charset=utf-8", INBOX_SCRIPT)
}

pub(crate) async fn icon() -> Response {
    asset("image/svg+xml", ICON)
}

/// A moment as pages show it: how long ago, and exactly.
pub(crate) struct Moment {
    /// `3 min ago`.
    pub ago: String,
    /// `2026-11-22 04:19:46 UTC`, for the pointer that rests on it.
    pub exact: String,
    /// RFC 3339, for programs.
    pub machine: String,
}

impl Moment {
    pub fn new(at: Timestamp, now: Timestamp) -> Moment {
        let zoned = jiff_time(at).to_zoned(TimeZone::UTC);
        Moment { ago: ago(at, now), exact: zoned.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(), machine: rfc3339(at) }
    }
}

/// RFC 3339 in UTC, as precise as the time is known.
pub fn rfc3339(at: Timestamp) -> String {
    jiff_time(at).to_string()
}

/// A time beyond the year 9999 is no time of ours; it is shown as the last one that has a date.
fn jiff_time(at: Timestamp) -> jiff::Timestamp {
    i64::try_from(at.as_micros())
        .ok()
        .and_then(|micros| jiff::Timestamp::from_microsecond(micros).ok())
        .unwrap_or(jiff::Timestamp::MAX)
}

fn ago(at: Timestamp, now: Timestamp) -> String {
    let seconds = now.since(at).as_secs();
    match seconds {
        0..10 => "just now".to_owned(),
        10..60 => format!("{seconds} s ago"),
        60..3_600 => format!("{} min ago", seconds / 60),
        3_600..86_400 => format!("{} h ago", seconds / 3_600),
        86_400..172_800 => "yesterday".to_owned(),
        172_800..2_592_000 => format!("{} days ago", seconds / 86_400),
        _ => jiff_time(at).to_zoned(TimeZone::UTC).strftime("%-d %b %Y").to_string(),
    }
}

/// `812 B`, `4.1 KB`, `20 MB`: two figures are enough to choose by.
pub(crate) fn size(octets: u64) -> String {
    let mut amount = octets as f64;
    for unit in ["B", "KB", "MB", "GB"] {
        if amount < 1000.0 || unit == "GB" {
            return if unit == "B" || amount >= 10.0 {
                format!("{amount:.0} {unit}")
            } else {
                format!("{amount:.1} {unit}")
            };
        }
        amount /= 1000.0;
    }
    format!("{octets} B")
}

/// `0.4 ms`, `38 ms`, `2.10 s`.
pub(crate) fn duration(micros: u64) -> String {
    match micros {
        0..10_000 => format!("{:.1} ms", micros as f64 / 1e3),
        10_000..1_000_000 => format!("{} ms", micros / 1_000),
        _ => format!("{:.2} s", micros as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_people_say_them() {
        let now = Timestamp::from_secs(1_763_785_000);
        let before = |seconds: u64| Moment::new(Timestamp(now.0 - seconds * 1_000_000), now).ago;
        assert_eq!(before(3), "just now");
        assert_eq!(before(42), "42 s ago");
        assert_eq!(before(90), "1 min ago");
        assert_eq!(before(7_300), "2 h ago");
        assert_eq!(before(90_000), "yesterday");
        assert_eq!(before(400_000), "4 days ago");
        assert_eq!(before(40 * 86_400), "13 Oct 2025");
        assert_eq!(Moment::new(now.after(std::time::Duration::from_secs(9)), now).ago, "just now");
        assert_eq!(Moment::new(now, now).exact, "2025-11-22 04:16:40 UTC");
        assert_eq!(Moment::new(now, now).machine, "2025-11-22T04:16:40Z");
        assert!(rfc3339(Timestamp(u64::MAX)).starts_with("9999-"));
    }

    #[test]
    fn sizes_have_two_figures() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(999), "999 B");
        assert_eq!(size(4_096), "4.1 KB");
        assert_eq!(size(20_971_520), "21 MB");
        assert_eq!(size(5_000_000_000_000), "5000 GB");
        assert_eq!(duration(420), "0.4 ms");
        assert_eq!(duration(38_000), "38 ms");
        assert_eq!(duration(2_100_000), "2.10 s");
    }
}
