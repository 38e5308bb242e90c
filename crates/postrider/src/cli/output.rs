//! What a command prints: one value, shown to people as text or to programs as JSON.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use base::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::{Value as Json, json};

/// The answer of a command, in both shapes.
#[derive(Debug)]
pub struct Printed {
    pub json: Json,
    pub text: String,
}

impl Printed {
    pub fn new(value: &impl Serialize, text: impl Into<String>) -> Printed {
        // Our own types, with text for keys: they can always be written.
        Printed { json: serde_json::to_value(value).unwrap_or(Json::Null), text: text.into() }
    }

    pub fn text_only(text: impl Into<String>) -> Printed {
        let text = text.into();
        Printed { json: json!(text), text }
    }

    /// # Errors
    /// When standard output does not take it; a closed pipe is no error (`postrider … | head`).
    pub fn print(&self, as_json: bool) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let written = if as_json {
            serde_json::to_writer_pretty(&mut out, &self.json).map_err(io::Error::from).and_then(|()| writeln!(out))
        } else {
            write!(out, "{}", self.text)
        };
        match written.and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    }
}

/// Whether, and with what, text is set off.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    colour: bool,
}

/// How a piece of text is set off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Strong,
    Quiet,
    Good,
    Wait,
    Bad,
}

impl Style {
    /// Colours only for a person: on a terminal, and where `NO_COLOR` is not set (no-color.org).
    pub fn of_terminal() -> Style {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Style { colour: io::stdout().is_terminal() && !unwanted }
    }

    #[cfg(test)]
    pub const PLAIN: Style = Style { colour: false };
    #[cfg(test)]
    pub const COLOURED: Style = Style { colour: true };

    pub fn paint(self, tone: Tone, text: &str) -> String {
        let text = printable(text);
        let code = match tone {
            Tone::Plain => return text,
            Tone::Strong => "1",
            Tone::Quiet => "2",
            Tone::Good => "32",
            Tone::Wait => "33",
            Tone::Bad => "31",
        };
        if self.colour && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text }
    }
}

/// Text from outside, fit for a terminal: what could move its cursor or change its colours is replaced.
pub fn printable(text: &str) -> String {
    let bidirectional = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if c.is_control() || bidirectional(c) { '\u{FFFD}' } else { c }).collect()
}

/// The tone of a state's word.
pub fn tone_of(state: &str) -> Tone {
    match state {
        "delivered" | "ready" | "ok" => Tone::Good,
        "bounced" | "expired" | "failed" | "quarantined" | "down" | "fail" => Tone::Bad,
        "deferred" | "held" | "throttled" | "warn" => Tone::Wait,
        _ => Tone::Plain,
    }
}

/// Which end of a column its cells keep to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

/// Columns of text, as narrow as their cells.
#[derive(Debug)]
pub struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<(Tone, String)>>,
}

impl Table {
    pub fn new(columns: &[(&'static str, Align)]) -> Table {
        Table { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Cells in the order of the columns; one too many is not shown.
    pub fn row(&mut self, cells: impl IntoIterator<Item = (Tone, String)>) {
        self.rows.push(cells.into_iter().map(|(tone, text)| (tone, printable(&text))).collect());
    }

    /// A line each, the heading first. Widths are counted in characters.
    pub fn render(&self, style: Style) -> String {
        let heading: Vec<(Tone, String)> =
            self.columns.iter().map(|(name, _)| (Tone::Quiet, (*name).to_owned())).collect();
        let lines: Vec<&Vec<(Tone, String)>> = std::iter::once(&heading).chain(&self.rows).collect();
        let width = |column: usize| {
            lines.iter().filter_map(|line| line.get(column)).map(|(_, text)| text.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let mut out = String::new();
        for line in lines {
            let mut written = String::new();
            for (((_, align), width), (tone, text)) in self.columns.iter().zip(&widths).zip(line) {
                let space = " ".repeat(width.saturating_sub(text.chars().count()));
                let painted = style.paint(*tone, text);
                match align {
                    Align::Left => written.push_str(&format!("{painted}{space}  ")),
                    Align::Right => written.push_str(&format!("{space}{painted}  ")),
                }
            }
            out.push_str(written.trim_end());
            out.push('\n');
        }
        out
    }
}

/// `2026-11-22 04:16:40 UTC`.
pub fn moment(at: Timestamp) -> String {
    zoned(at, "%Y-%m-%d %H:%M:%S UTC")
}

/// The same, with milliseconds: for dialogues.
pub fn moment_exact(at: Timestamp) -> String {
    zoned(at, "%Y-%m-%d %H:%M:%S%.3f UTC")
}

fn zoned(at: Timestamp, format: &str) -> String {
    let time = i64::try_from(at.as_micros()).ok().and_then(|micros| jiff::Timestamp::from_microsecond(micros).ok());
    time.unwrap_or(jiff::Timestamp::MAX).to_zoned(TimeZone::UTC).strftime(format).to_string()
}

/// `3 d 4 h`, `12 min`, `43 s`, `120 ms`: the two largest units.
pub fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => two(seconds, 3_600, "h", 60, "min"),
        _ => two(seconds, 86_400, "d", 3_600, "h"),
    }
}

fn two(seconds: u64, large: u64, large_name: &str, small: u64, small_name: &str) -> String {
    match seconds % large / small {
        0 => format!("{} {large_name}", seconds / large),
        rest => format!("{} {large_name} {rest} {small_name}", seconds / large),
    }
}

/// `1 message`, `2 messages`.
pub fn count(number: u64, one: &str, many: &str) -> String {
    let mut digits = number.to_string();
    let mut at = digits.len();
    while at > 3 {
        at -= 3;
        digits.insert(at, ',');
    }
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write!(text, "{digits} {}", if number == 1 { one } else { many });
    text
}

/// `812 B`, `4.1 KB`, `20 MB`.
pub fn size(octets: u64) -> String {
    let (amount, unit) = match octets {
        0..1_000 => return format!("{octets} B"),
        1_000..1_000_000 => (octets as f64 / 1e3, "KB"),
        1_000_000..1_000_000_000 => (octets as f64 / 1e6, "MB"),
        _ => (octets as f64 / 1e9, "GB"),
    };
    if amount < 10.0 { format!("{amount:.1} {unit}") } else { format!("{amount:.0} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&[("destination", Align::Left), ("queued", Align::Right), ("state", Align::Left)]);
        table.row([(Tone::Plain, "example.org".into()), (Tone::Plain, "12".into()), (Tone::Good, "ready".into())]);
        table.row([(Tone::Plain, "ü.example".into()), (Tone::Plain, "1000".into()), (Tone::Bad, "down".into())]);
        table
    }

    #[test]
    fn columns_are_as_narrow_as_their_cells() {
        assert_eq!(
            table().render(Style::PLAIN),
            "destination  queued  state\n\
             example.org      12  ready\n\
             ü.example      1000  down\n"
        );
    }

    #[test]
    fn colours_do_not_move_the_columns() {
        let coloured = table().render(Style::COLOURED);
        assert!(coloured.contains("\x1b[32mready\x1b[0m"));
        let mut plain = coloured;
        for code in ["\x1b[0m", "\x1b[2m", "\x1b[31m", "\x1b[32m"] {
            plain = plain.replace(code, "");
        }
        assert_eq!(plain, table().render(Style::PLAIN));
    }

    #[test]
    fn a_message_cannot_steer_the_terminal() {
        let mut table = Table::new(&[("subject", Align::Left)]);
        table.row([(Tone::Plain, "\x1b]0;owned\x07\n\u{202e}evil".into())]);
        let shown = table.render(Style::PLAIN);
        assert!(!shown.contains('\x1b') && !shown.contains('\x07') && !shown.contains('\u{202e}'), "{shown:?}");
        assert_eq!(shown.lines().count(), 2);
    }

    #[test]
    fn numbers_and_times_read_as_people_write_them() {
        assert_eq!(count(1, "message", "messages"), "1 message");
        assert_eq!(count(1_234_567, "message", "messages"), "1,234,567 messages");
        assert_eq!(count(999, "message", "messages"), "999 messages");
        assert_eq!(span(Duration::from_millis(120)), "120 ms");
        assert_eq!(span(Duration::from_secs(59)), "59 s");
        assert_eq!(span(Duration::from_secs(3_600 * 28)), "1 d 4 h");
        assert_eq!(span(Duration::from_secs(7_200)), "2 h");
        assert_eq!(size(2_912), "2.9 KB");
        assert_eq!(moment(Timestamp::from_secs(1_795_321_000)), "2026-11-22 04:16:40 UTC");
        assert_eq!(moment_exact(Timestamp(1_795_321_000_250_000)), "2026-11-22 04:16:40.250 UTC");
    }
}
