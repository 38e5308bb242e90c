//! `docs/configuration.md`, made from the doc comments of the settings.

use super::settings::{Preset, SECTIONS, Setting, TABLES, full_key, variable_name};
use super::value::Spelling;

/// The whole page, in Markdown.
pub fn reference() -> String {
    let mut page = String::from(INTRODUCTION);
    for (section, about, settings) in SECTIONS {
        let title = if section.is_empty() { "Before the first section".to_owned() } else { format!("`[{section}]`") };
        page.push_str(&format!("\n## {title}\n\n{}\n", paragraph(about)));
        for setting in *settings {
            let heading = full_key(section, setting.name);
            page.push_str(&entry(&heading, setting, Some(&variable_name(section, setting.name))));
            for (_, table, about, inner) in TABLES.iter().filter(|(holder, ..)| *holder == heading) {
                page.push_str(&format!("\n#### `{table}`\n\n{}\n\n", paragraph(about)));
                page.push_str("| key | value | default | |\n|---|---|---|---|\n");
                for setting in *inner {
                    page.push_str(&row(setting));
                }
            }
        }
    }
    page
}

const INTRODUCTION: &str = "\
# Configuration

<!-- Made from the doc comments in crates/postrider/src/config/settings.rs by `postrider config reference`.
     `UPDATE_DOCS=1 cargo test -p postrider` writes it again. -->

Postrider runs without any configuration. What you do want to set goes into a TOML file that you name with `--config`
(or `POSTRIDER_CONFIG`); without one, `/etc/postrider/postrider.toml` is read if it is there. An environment variable
overrides the file, and `--data` overrides both. `postrider config check` says what is wrong with a file,
`postrider config show` prints every value that holds and where it came from.

- A size is written `\"50MiB\"` or `\"50MB\"`, a time `\"30s\"`, `\"5m\"`, `\"1h30m\"` or `\"5d\"`.
- A relative path in a file is meant from the file's directory.
- A list or a table in an environment variable is written in TOML's inline form: `[\"127.0.0.1:53\"]`. An empty
  variable counts as unset.
- An unknown key is refused, with the nearest known one.
- No secret is a setting. The master key is made at first start (`master.key` in the data directory, readable by its
  owner only) or comes from `POSTRIDER_MASTER_KEY`.

A real instance often needs no more than this:

```toml
hostname = \"mail.example.org\"

[tls]
certificate = \"/etc/ssl/mail.example.org/fullchain.pem\"
key = \"/etc/ssl/mail.example.org/key.pem\"

[delivery]
mode = \"live\"
```
";

fn entry(heading: &str, setting: &Setting, variable: Option<&str>) -> String {
    let mut text = format!("\n### `{heading}`\n\n{}\n\n", paragraph(setting.doc));
    text.push_str(&format!("- Value: {}\n- Default: {}\n", setting.kind, default(setting)));
    if let Some(variable) = variable {
        text.push_str(&format!("- Environment: `{variable}`\n"));
    }
    text
}

fn row(setting: &Setting) -> String {
    let doc = paragraph(setting.doc).replace('\n', " ");
    format!("| `{}` | {} | {} | {} |\n", setting.name, setting.kind, default(setting), doc)
}

fn default(setting: &Setting) -> String {
    match setting.preset {
        Preset::Required => "none: it must be written".to_owned(),
        Preset::Always(text) => spelled(setting, text),
        Preset::ByPurpose { serve, dev } => {
            format!("{}; with `postrider dev` {}", spelled(setting, serve), spelled(setting, dev))
        }
    }
}

fn spelled(setting: &Setting, text: &str) -> String {
    match (text, setting.spelling) {
        ("", _) => "unset".to_owned(),
        (text, Spelling::Plain) => format!("`{text:?}`"),
        (text, Spelling::Toml) => format!("`{}`", text.replace('\'', "\"")),
    }
}

/// A doc comment without the blank that `///` leaves before each line.
fn paragraph(doc: &[&str]) -> String {
    doc.iter().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
}
