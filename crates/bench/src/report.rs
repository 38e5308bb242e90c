//! Medians, the table, the file.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;
use serde::ser::SerializeMap;

use crate::case::Case;
use crate::mta::Kind;
use crate::run::Figures;

/// The medians of one server in one case.
#[derive(Debug, Clone)]
pub struct Row {
    pub kind: Kind,
    pub case: Case,
    pub figures: Figures,
    pub syncs_per_message: Option<f64>,
}

impl Serialize for Row {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("mta", &self.kind.to_string())?;
        map.serialize_entry("size_bytes", &self.case.size_bytes)?;
        map.serialize_entry("sessions", &self.case.sessions)?;
        map.serialize_entry("connection", self.case.connection.as_str())?;
        map.serialize_entry("accepted_per_s", &rounded(self.figures.accepted_per_s, 0))?;
        map.serialize_entry("end_to_end_per_s", &rounded(self.figures.end_to_end_per_s, 0))?;
        map.serialize_entry("cpu_s_per_1000", &self.figures.cpu_s_per_1000.map(|value| rounded(value, 3)))?;
        map.serialize_entry("peak_rss_mb", &self.figures.peak_rss_mb.map(|value| rounded(value, 1)))?;
        map.serialize_entry("syncs_per_message", &self.syncs_per_message.map(|value| rounded(value, 3)))?;
        map.end()
    }
}

fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

/// One row for each server and case, in the order in which they were first measured.
pub fn medians(measured: &[(Kind, Case, Figures)]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for (kind, case, _) in measured {
        if rows.iter().any(|row| row.kind == *kind && row.case == *case) {
            continue;
        }
        let of = |figure: fn(&Figures) -> Option<f64>| {
            let same = measured.iter().filter(|(other, of, _)| other == kind && of == case);
            median(same.filter_map(|(_, _, figures)| figure(figures)).collect())
        };
        let figures = Figures {
            accepted_per_s: of(|figures| Some(figures.accepted_per_s)).unwrap_or_default(),
            end_to_end_per_s: of(|figures| Some(figures.end_to_end_per_s)).unwrap_or_default(),
            cpu_s_per_1000: of(|figures| figures.cpu_s_per_1000),
            peak_rss_mb: of(|figures| figures.peak_rss_mb),
        };
        rows.push(Row { kind: *kind, case: *case, figures, syncs_per_message: None });
    }
    rows
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    if values.len() % 2 == 1 { Some(upper) } else { Some(f64::midpoint(values[middle - 1], upper)) }
}

/// The rows as a table for people, in Markdown.
pub fn table(rows: &[Row]) -> String {
    let end_to_end = |kind: Kind, case: Case| {
        rows.iter().find(|row| row.kind == kind && row.case == case).map(|row| row.figures.end_to_end_per_s)
    };
    let mut text = "| size | sessions | connection | server | accepted/s | end to end/s | of direct | x Postfix | CPU s/1,000 | MB | syncs |\n\
                    |---|---|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for row in rows {
        let ratio = |kind: Kind| match end_to_end(kind, row.case) {
            Some(other) if other > 0.0 && row.kind != kind => format!("{:.2}", row.figures.end_to_end_per_s / other),
            _ => "-".to_owned(),
        };
        let number = |value: Option<f64>, digits: usize| match value {
            Some(value) => format!("{value:.digits$}"),
            None => "-".to_owned(),
        };
        // A string takes everything.
        let _ = writeln!(
            text,
            "| {} KB | {} | {} | {} | {:.0} | {:.0} | {} | {} | {} | {} | {} |",
            row.case.size_bytes / 1024,
            row.case.sessions,
            row.case.connection.as_str(),
            row.kind,
            row.figures.accepted_per_s,
            row.figures.end_to_end_per_s,
            ratio(Kind::Direct),
            ratio(Kind::Postfix),
            number(row.figures.cpu_s_per_1000, 2),
            number(row.figures.peak_rss_mb, 0),
            number(row.syncs_per_message, 2),
        );
    }
    text
}

/// Writes a result as JSON.
pub fn write(directory: &Path, name: &str, value: &impl Serialize) -> Result<PathBuf> {
    std::fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    let path = directory.join(name);
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn a_median_is_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(Vec::new()), None);
    }
}
