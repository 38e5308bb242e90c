//! `postrider config`: is it right, what holds, what does each setting mean.

use serde_json::json;

use super::args::ConfigCommand;
use super::failure::Failure;
use super::output::{Align, Printed, Style, Table, Tone};
use crate::config::{Config, Origin, Shown, Sources, reference};

pub fn run(command: &ConfigCommand, sources: &Sources, style: Style) -> Result<Printed, Failure> {
    match command {
        ConfigCommand::Reference => Ok(Printed::text_only(reference())),
        ConfigCommand::Check => Ok(check(&Config::load(sources)?, sources)),
        ConfigCommand::Show => {
            let config = Config::load(sources)?;
            let rows: Vec<_> = config.shown.iter().map(as_json).collect();
            Ok(Printed { json: json!(rows), text: show(&config.shown, style) })
        }
    }
}

fn check(config: &Config, sources: &Sources) -> Printed {
    let mut text = String::new();
    for warning in &config.warnings {
        text.push_str(&format!("warning: {warning}\n"));
    }
    match &sources.file {
        Some(file) => text.push_str(&format!("{} is right\n", file.display())),
        None => text.push_str("there is no configuration file; what the environment sets is right\n"),
    }
    Printed { json: json!({ "ok": true, "file": sources.file, "warnings": config.warnings }), text }
}

fn show(rows: &[Shown], style: Style) -> String {
    let mut table = Table::new(&[("setting", Align::Left), ("from", Align::Left), ("value", Align::Left)]);
    for row in rows {
        let tone = if row.origin == Origin::Default { Tone::Quiet } else { Tone::Plain };
        let value = if row.value.is_null() { "unset".to_owned() } else { row.value.to_string() };
        table.row([(Tone::Plain, row.key.clone()), (Tone::Quiet, row.origin.to_string()), (tone, value)]);
    }
    table.render(style)
}

fn as_json(row: &Shown) -> serde_json::Value {
    let origin = match &row.origin {
        Origin::Default => json!({ "from": "default" }),
        Origin::File { path, line } => json!({ "from": "file", "path": path, "line": line }),
        Origin::Environment { variable } => json!({ "from": "environment", "variable": variable }),
        Origin::Flag { name } => json!({ "from": "flag", "name": name }),
    };
    json!({ "key": row.key, "value": row.value, "origin": origin })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use crate::config::Purpose;

    use super::*;

    fn sources() -> Sources {
        Sources {
            purpose: Purpose::Serve,
            file: None,
            data: Some(PathBuf::from("/srv/mail")),
            environment: vec![("POSTRIDER_SMTP_RECIPIENTS_MAX".into(), "7".into())],
            directory: PathBuf::from("/"),
            machine_name: "mail.example.org".into(),
        }
    }

    #[test]
    fn show_tells_value_and_origin() {
        let printed = run(&ConfigCommand::Show, &sources(), Style::PLAIN).expect("the configuration is right");
        let line = |key: &str| {
            let line = printed.text.lines().find(|line| line.starts_with(key)).expect("the setting is shown");
            line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(line("data "), ["data", "--data", "\"/srv/mail\""]);
        assert_eq!(line("smtp.recipients_max"), ["smtp.recipients_max", "POSTRIDER_SMTP_RECIPIENTS_MAX", "7"]);
        assert_eq!(line("tls.key"), ["tls.key", "default", "unset"]);
        let row = printed.json.as_array().and_then(|rows| rows.iter().find(|row| row["key"] == "smtp.recipients_max"));
        let origin = json!({ "from": "environment", "variable": "POSTRIDER_SMTP_RECIPIENTS_MAX" });
        assert_eq!(row, Some(&json!({ "key": "smtp.recipients_max", "value": 7, "origin": origin })));
    }

    #[test]
    fn a_wrong_configuration_has_its_own_exit_code() {
        let mut wrong = sources();
        wrong.environment[0].1 = "none".into();
        let failure = run(&ConfigCommand::Check, &wrong, Style::PLAIN).expect_err("it is wrong");
        assert_eq!(failure.code(), super::super::failure::Code::Configuration);
        assert!(failure.to_string().contains("smtp.recipients_max: expected a whole number"), "{failure}");
    }

    #[test]
    fn a_right_configuration_may_still_be_warned_about() {
        let mut odd = sources();
        odd.environment.push(("POSTRIDER_SMPT_RECIPIENTS_MAX".into(), "7".into()));
        let printed = run(&ConfigCommand::Check, &odd, Style::PLAIN).expect("it is right");
        assert!(printed.text.starts_with("warning: the environment variable POSTRIDER_SMPT_RECIPIENTS_MAX"));
        assert_eq!(printed.json["ok"], true);
    }
}
