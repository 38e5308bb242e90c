//! The configuration as it was written: what the file and the environment say, key by key, with
//! its origin. Nothing is checked here but that every key is one that exists.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::problem::{Origin, Problem, suggestion};
use super::settings::{SECTIONS, full_key, variable_name};
use super::value::{Node, Raw, Spelling};

/// Variables that begin like a setting's and are none: read by other parts of the program.
const OTHER_VARIABLES: [&str; 3] = ["POSTRIDER_CONFIG", "POSTRIDER_MASTER_KEY", "POSTRIDER_PASSWORD"];

/// What was written, by full key.
#[derive(Debug, Clone, Default)]
pub struct Written {
    values: BTreeMap<String, (Node, Origin)>,
    /// What may be a mistake and is no error, as sentences.
    pub warnings: Vec<String>,
}

impl Written {
    pub fn value(&self, section: &str, name: &str) -> Option<&(Node, Origin)> {
        self.values.get(&full_key(section, name))
    }

    /// A later `set` wins over an earlier one.
    pub fn set(&mut self, key: String, node: Node, origin: Origin) {
        self.values.insert(key, (node, origin));
    }

    /// Takes over a file's text. Every unknown key is a problem.
    pub fn read_file(&mut self, path: &Path, text: &str, problems: &mut Vec<Problem>) {
        let lines = Lines::of(path, text);
        let root = match DeTable::parse(text) {
            Ok(root) => root,
            Err(error) => {
                let origin = lines.origin(error.span().map(|span| span.start));
                let text = format!("this is not TOML: {}", error.message());
                problems.push(Problem { origin, key: String::new(), text });
                return;
            }
        };
        for (key, value) in root.get_ref() {
            let (name, at) = (key.get_ref().as_ref(), key.span().start);
            let is_section = !name.is_empty() && SECTIONS.iter().any(|(section, _, _)| *section == name);
            if !is_section {
                self.read_entry("", name, at, value.get_ref(), value.span().start, &lines, problems);
                continue;
            }
            let DeValue::Table(entries) = value.get_ref() else {
                let text = format!("is a section: write [{name}] and its settings below");
                problems.push(Problem { origin: lines.origin(Some(at)), key: name.to_owned(), text });
                continue;
            };
            for (key, value) in entries {
                let (entry, at) = (key.get_ref().as_ref(), key.span().start);
                self.read_entry(name, entry, at, value.get_ref(), value.span().start, &lines, problems);
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one entry of a file is its section, name, value and two places")]
    fn read_entry(
        &mut self,
        section: &str,
        name: &str,
        key_at: usize,
        value: &DeValue<'_>,
        value_at: usize,
        lines: &Lines<'_>,
        problems: &mut Vec<Problem>,
    ) {
        let key = full_key(section, name);
        let origin = lines.origin(Some(key_at));
        if !is_known(section, name) {
            problems.push(Problem { origin, key, text: unknown(section, name) });
            return;
        }
        self.set(key, node(value, value_at, lines), origin);
    }

    /// Takes over the environment: `POSTRIDER_SMTP_RECIPIENTS_MAX` sets `smtp.recipients_max`. An
    /// empty variable counts as not set. An unknown one is a warning and no error: Kubernetes gives
    /// every program `POSTRIDER_PORT` and its like where a service is called postrider.
    pub fn read_environment(&mut self, variables: &[(String, String)]) {
        let known: Vec<(String, String, Spelling)> = SECTIONS
            .iter()
            .flat_map(|(section, _, settings)| {
                settings.iter().map(|setting| {
                    (variable_name(section, setting.name), full_key(section, setting.name), setting.spelling)
                })
            })
            .collect();
        for (variable, text) in variables.iter().filter(|(name, _)| name.starts_with("POSTRIDER_")) {
            match known.iter().find(|(name, _, _)| name == variable) {
                Some(_) if text.is_empty() => {}
                Some((_, key, spelling)) => {
                    let origin = Origin::Environment { variable: variable.clone() };
                    self.set(key.clone(), from_plain_text(text, *spelling), origin);
                }
                None if OTHER_VARIABLES.contains(&variable.as_str()) => {}
                None => {
                    let hint = suggestion_for_variable(variable, &known);
                    self.warnings.push(format!("the environment variable {variable} is no setting{hint}"));
                }
            }
        }
    }
}

fn suggestion_for_variable(variable: &str, known: &[(String, String, Spelling)]) -> String {
    let near = known.iter().map(|(name, _, _)| (strsim::levenshtein(variable, name), name)).min();
    match near {
        Some((distance, name)) if distance <= 3 => format!("; did you mean {name}?"),
        _ => String::new(),
    }
}

fn is_known(section: &str, name: &str) -> bool {
    SECTIONS.iter().any(|(known, _, settings)| *known == section && settings.iter().any(|s| s.name == name))
}

/// Where a key stands in another section, that section is the better hint than a similar name in this one.
fn unknown(section: &str, name: &str) -> String {
    let elsewhere = SECTIONS.iter().find(|(_, _, settings)| settings.iter().any(|setting| setting.name == name));
    if let Some((home, _, _)) = elsewhere {
        let home = if home.is_empty() { "before the first section".to_owned() } else { format!("in [{home}]") };
        return format!("there is no such setting here; {name} belongs {home}");
    }
    let names = SECTIONS
        .iter()
        .filter(|(known, _, _)| *known == section)
        .flat_map(|(_, _, settings)| settings.iter().map(|setting| setting.name));
    if section.is_empty() {
        let sections = SECTIONS.iter().map(|(name, _, _)| *name).filter(|name| !name.is_empty());
        return format!("there is no such setting or section; {}", suggestion(name, names.chain(sections)));
    }
    format!("there is no such setting; {}", suggestion(name, names))
}

/// A value from a place that has only text. What does not read as TOML where TOML is expected is
/// left as text, and the setting's reader says what it wanted.
pub fn from_plain_text(text: &str, spelling: Spelling) -> Node {
    let parsed = match spelling {
        // An unset `Option` of any spelling is the empty text.
        _ if text.is_empty() => None,
        Spelling::Plain => None,
        Spelling::Toml => DeValue::parse(text).ok(),
    };
    match parsed {
        Some(value) => node(value.get_ref(), 0, &Lines { path: Path::new(""), text: None }),
        None => Node::text(text),
    }
}

fn node(value: &DeValue<'_>, at: usize, lines: &Lines<'_>) -> Node {
    let raw = match value {
        DeValue::String(text) => Raw::Text(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            // Beyond 63 bits: the reader will say what it wanted instead.
            .map_or_else(|_| Raw::Text(number.to_string()), Raw::Integer),
        DeValue::Float(number) => number.as_str().parse().map_or_else(|_| Raw::Text(number.to_string()), Raw::Float),
        DeValue::Boolean(truth) => Raw::Boolean(*truth),
        DeValue::Datetime(date) => Raw::Text(date.to_string()),
        DeValue::Array(items) => {
            Raw::List(items.iter().map(|item| node(item.get_ref(), item.span().start, lines)).collect())
        }
        DeValue::Table(entries) => {
            let entries = entries.iter().map(|(name, entry)| {
                // The key's place: a table written as `[a.b]` has no span of its own value.
                (name.get_ref().to_string(), node(entry.get_ref(), name.span().start, lines))
            });
            Raw::Table(entries.collect())
        }
    };
    Node { line: lines.number(at), raw }
}

/// Turns octet positions of a file into line numbers.
struct Lines<'a> {
    path: &'a Path,
    /// None where there is no file: then nothing has a line.
    text: Option<&'a str>,
}

impl<'a> Lines<'a> {
    fn of(path: &'a Path, text: &'a str) -> Lines<'a> {
        Lines { path, text: Some(text) }
    }

    fn number(&self, at: usize) -> Option<usize> {
        let before = self.text?.as_bytes().get(..at)?;
        Some(before.iter().filter(|octet| **octet == b'\n').count() + 1)
    }

    fn origin(&self, at: Option<usize>) -> Origin {
        Origin::File { path: PathBuf::from(self.path), line: at.and_then(|at| self.number(at)) }
    }
}
