use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::settings::{Record, SECTIONS, TABLES, Tls, variable_name};
use super::value::{Size, Value};
use super::*;
use accept::Network;

/// A configuration of this file text and these variables, on a machine called `build7`.
fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
    load_for(Purpose::Serve, text, environment)
}

fn load_for(purpose: Purpose, text: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
    let directory = tempfile::tempdir().expect("a directory for the test");
    let file = directory.path().join("postrider.toml");
    std::fs::write(&file, text).expect("the file can be written");
    Config::load(&sources(purpose, Some(file), environment))
        .map_err(|error| error.to_string().replace(&format!("{}/", directory.path().display()), ""))
}

fn sources(purpose: Purpose, file: Option<PathBuf>, environment: &[(&str, &str)]) -> Sources {
    Sources {
        purpose,
        file,
        data: None,
        environment: environment.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect(),
        directory: PathBuf::from("/srv/lab"),
        machine_name: "build7".to_owned(),
    }
}

fn error(text: &str) -> String {
    load(text, &[]).expect_err("this configuration is wrong")
}

#[test]
fn without_any_configuration_everything_has_a_value() {
    let config = Config::load(&sources(Purpose::Serve, None, &[])).unwrap();
    assert_eq!(config.hostname.as_str(), "localhost");
    assert_eq!(config.data, Path::new("/var/lib/postrider"));
    assert_eq!(config.store, Path::new("/var/lib/postrider/store"));
    assert_eq!(config.delivery.mode, DeliveryMode::Sandbox);
    assert_eq!(config.smtp.message_size_max.0, 50 * 1024 * 1024);
    assert_eq!(config.certificate, Certificate::SelfSigned);
    let ports: Vec<_> =
        config.smtp.listeners.iter().map(|listener| (listener.address.port(), listener.tls, listener.auth)).collect();
    let starttls = |port| (port, ListenerTls::StartTls, ListenerAuth::WhenTls);
    assert_eq!(
        ports,
        [starttls(25), starttls(587), starttls(2525), (465, ListenerTls::Implicit, ListenerAuth::WhenTls)]
    );
    assert!(config.warnings.is_empty());
}

#[test]
fn dev_stays_on_loopback_and_beside_the_work() {
    let config = Config::load(&sources(Purpose::Dev, None, &[])).unwrap();
    assert_eq!(config.data, Path::new("/srv/lab/data"));
    assert!(config.smtp.listeners.iter().all(|listener| listener.address.ip().is_loopback()));
    assert!(config.smtp.listeners.iter().all(|listener| listener.address.port() > 1024));
    let has_starttls = |listener: &&Listener| listener.tls == ListenerTls::StartTls;
    let plain = config.smtp.listeners.iter().find(has_starttls).expect("one listener offers STARTTLS");
    assert_eq!(plain.auth, ListenerAuth::Always, "on loopback a password may go in the clear");
    assert!(config.http.address.ip().is_loopback());
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_known_one() {
    assert_eq!(
        error("[smtp]\n\nmesage_size_max = \"1MB\"\n"),
        "the configuration has a mistake:\n  postrider.toml:3: smtp.mesage_size_max: there is no such setting; \
         did you mean message_size_max?"
    );
    assert!(
        error("[delivrey]\n")
            .contains("postrider.toml:1: delivrey: there is no such setting or section; did you mean delivery?")
    );
    assert!(error("recipients_max = 5\n").contains("there is no such setting here; recipients_max belongs in [smtp]"));
    assert!(error("[smtp]\nhostname = \"a.example\"\n").contains("hostname belongs before the first section"));
    assert!(
        error("[log]\nzzz = 1\n")
            .contains("postrider.toml:2: log.zzz: there is no such setting; known here: level, format")
    );
}

#[test]
fn an_unknown_key_of_a_listener_is_refused_at_its_own_line() {
    let text =
        "[[smtp.listeners]]\naddress = \"127.0.0.1:0\"\n\n[[smtp.listeners]]\naddress = \"[::1]:0\"\ntsl = \"none\"\n";
    assert_eq!(
        error(text),
        "the configuration has a mistake:\n  postrider.toml:6: smtp.listeners[1].tsl: there is no such setting; \
         did you mean tls?"
    );
    assert!(
        error("[[smtp.listeners]]\ntls = \"none\"\n")
            .contains("postrider.toml:1: smtp.listeners[0].address: is required: an IP address and a port")
    );
}

#[test]
fn all_mistakes_are_told_at_once() {
    let text = "[smtp]\nrecipients_max = 0\nmessage_size_max = \"lots\"\n[log]\nformat = \"jsn\"\n";
    let error = error(text);
    assert!(error.starts_with("the configuration has 3 mistakes:"), "{error}");
    assert!(
        error.contains("postrider.toml:2: smtp.recipients_max: expected a whole number from 1, found 0"),
        "{error}"
    );
    assert!(error.contains("postrider.toml:3: smtp.message_size_max: expected a size such as"), "{error}");
    assert!(error.contains("found \"lots\""), "{error}");
    assert!(
        error.contains("postrider.toml:5: log.format: \"jsn\" is not one of the choices; did you mean json?"),
        "{error}"
    );
}

#[test]
fn what_is_not_toml_is_told_with_its_line() {
    let error = error("[smtp]\nrecipients_max = \n");
    assert!(error.contains("postrider.toml:2: this is not TOML: "), "{error}");
}

#[test]
fn a_file_that_is_not_there_is_an_error() {
    let missing = Some(PathBuf::from("/nowhere/postrider.toml"));
    let error = Config::load(&sources(Purpose::Serve, missing, &[])).unwrap_err().to_string();
    assert!(error.contains("/nowhere/postrider.toml: cannot read the configuration file: "), "{error}");
}

#[test]
fn sizes_and_times_are_written_as_people_write_them() {
    let text =
        "[smtp]\nmessage_size_max = \"25 MB\"\nidle_time_max = \"1h30m\"\n[delivery]\nretry_delay_first = \"250ms\"\n";
    let config = load(text, &[]).unwrap();
    assert_eq!(config.smtp.message_size_max, Size(25_000_000));
    assert_eq!(config.smtp.idle_time_max, Duration::from_secs(5400));
    assert_eq!(config.delivery.retry_delay_first, Duration::from_millis(250));
    for wrong in ["5", "m", "5 parsecs", "-5m", "0s", "99999999999999999999d", "9999999999999999d", "5mm"] {
        let told = error(&format!("[smtp]\nidle_time_max = {wrong:?}\n"));
        assert!(told.contains("smtp.idle_time_max: expected a time such as \"30s\""), "{wrong}: {told}");
    }
    for wrong in ["", "MB", "5", "5XB", "99999999999999GB"] {
        let told = error(&format!("[smtp]\nmessage_size_max = {wrong:?}\n"));
        assert!(told.contains("smtp.message_size_max: expected a size"), "{wrong}: {told}");
    }
}

#[test]
fn the_environment_overrides_the_file_and_a_flag_overrides_both() {
    let environment = [
        ("POSTRIDER_SMTP_RECIPIENTS_MAX", "7"),
        ("POSTRIDER_HOSTNAME", "mail.example.org"),
        ("POSTRIDER_HTTP_HOSTS", "[\"panel.example.org\"]"),
        ("POSTRIDER_LOG_LEVEL", ""),
        ("POSTRIDER_DATA", "elsewhere"),
        ("HOME", "/root"),
    ];
    let config = load("[smtp]\nrecipients_max = 5\n[log]\nlevel = \"debug\"\n", &environment).unwrap();
    assert_eq!(config.smtp.recipients_max, 7);
    assert_eq!(config.hostname.as_str(), "mail.example.org");
    assert_eq!(config.ehlo_name.as_str(), "mail.example.org");
    assert_eq!(config.http.hosts.len(), 1);
    assert_eq!(config.log.level, "debug", "an empty variable is not set");
    assert_eq!(config.data, Path::new("/srv/lab/elsewhere"));
    let flagged = Sources { data: Some("./flagged".into()), ..sources(Purpose::Serve, None, &environment) };
    assert_eq!(Config::load(&flagged).unwrap().data, Path::new("/srv/lab/flagged"));
}

#[test]
fn listeners_can_come_from_the_environment() {
    let text = "[{ address = '127.0.0.1:0', auth = 'always', trust = ['127.0.0.0/8'] }]";
    let config = load("", &[("POSTRIDER_SMTP_LISTENERS", text)]).unwrap();
    assert_eq!(config.smtp.listeners.len(), 1);
    assert_eq!(config.smtp.listeners[0].trust[0].json(), json!("127.0.0.0/8"));
    let error = load("", &[("POSTRIDER_SMTP_LISTENERS", "[{ adress = '127.0.0.1:0' }]")]).unwrap_err();
    assert!(
        error.contains(
            "POSTRIDER_SMTP_LISTENERS: smtp.listeners[0].adress: there is no such setting; did you mean address?"
        ),
        "{error}"
    );
    let error = load("", &[("POSTRIDER_SMTP_RECIPIENTS_MAX", "many")]).unwrap_err();
    assert!(error.contains("POSTRIDER_SMTP_RECIPIENTS_MAX: smtp.recipients_max: expected a whole number"), "{error}");
}

#[test]
fn an_unknown_variable_is_a_warning_because_kubernetes_makes_such() {
    let environment = [
        ("POSTRIDER_SMTP_RECIPENTS_MAX", "7"),
        ("POSTRIDER_SERVICE_HOST", "10.0.0.1"),
        ("POSTRIDER_MASTER_KEY", "not ours to look at"),
    ];
    let config = load("", &environment).unwrap();
    assert_eq!(
        config.warnings,
        [
            "the environment variable POSTRIDER_SMTP_RECIPENTS_MAX is no setting; did you mean POSTRIDER_SMTP_RECIPIENTS_MAX?",
            "the environment variable POSTRIDER_SERVICE_HOST is no setting",
        ]
    );
}

#[test]
fn what_would_be_unsafe_or_useless_is_refused() {
    let listener = |more: &str| error(&format!("[[smtp.listeners]]\naddress = \"0.0.0.0:25\"\n{more}\n"));
    assert!(listener("auth = \"always\"").contains("smtp.listeners[0].auth: \"always\" sends passwords in the clear"));
    assert!(listener("tls = \"none\"").contains("nobody could log in"));
    assert!(listener("trust = [\"0.0.0.0/0\"]").contains("an open relay"));
    assert!(error("[smtp]\nlisteners = []").contains("at least one listener"));
    let twice = "[[smtp.listeners]]\naddress = \"127.0.0.1:25\"\n".repeat(2);
    assert!(error(&twice).contains("smtp.listeners[1].address: 127.0.0.1:25 is listed twice"));
    assert!(error("[tls]\nkey = \"k.pem\"\n").contains("postrider.toml:2: tls.key: is set and tls.certificate is not"));
    assert!(error("[tls]\ncertificate = \"c.pem\"\n").contains("tls.certificate: is set and tls.key is not"));
    assert!(error("[delivery]\nlifetime = \"5s\"\n").contains("nothing would ever be tried twice"));
    assert!(error("[delivery]\nretry_delay_max = \"5s\"\n").contains("is longer than delivery.retry_delay_max"));
    assert!(error("[log]\nlevel = \"loud,,=\"\n").contains("log.level: \"loud,,=\" is no level"));
    assert!(error("smtp = 5\n").contains("smtp: is a section: write [smtp]"));
}

#[test]
fn pages_that_others_can_reach_are_a_warning() {
    let config = load("[http]\naddress = \"0.0.0.0:8025\"\n", &[]).unwrap();
    assert_eq!(config.warnings.len(), 1);
    assert!(config.warnings[0].contains("reads the sandbox inbox"));
}

#[test]
fn destinations_have_limits_and_laboratories_have_hosts() {
    let text = "[delivery.limits.\"Example.org\"]\nconnections_max = 2\nmessages_per_second_max = 0.5\n\
                [dns]\nhosts = { \"example.test\" = \"127.0.0.1:2526\", \"six.test\" = \"[::1]:25\", \"named.test\" = \"mx.lab:26\" }\n";
    let config = load(text, &[]).unwrap();
    let limits = &config.delivery.limits[&Domain::parse("example.org").unwrap()];
    assert_eq!((limits.connections_max, limits.messages_per_connection_max), (Some(2), None));
    assert_eq!(limits.messages_per_second_max, Some(0.5));
    let hosts: Vec<String> = config.dns.hosts.values().map(ToString::to_string).collect();
    assert_eq!(hosts, ["127.0.0.1:2526", "mx.lab:26", "[::1]:25"]);
    assert!(
        error("[delivery.limits.\"example.org\"]\nmessages_per_second = 1\n")
            .contains("postrider.toml:2: delivery.limits.\"example.org\".messages_per_second: there is no such setting; did you mean messages_per_second_max?")
    );
    assert!(error("[dns]\nhosts = { \"example.test\" = \"127.0.0.1\" }\n").contains("expected a host and a port"));
    assert!(error("[dns]\nhosts = { \"bad name\" = \"127.0.0.1:25\" }\n").contains("the domain is no host name"));
}

#[test]
fn relative_paths_in_a_file_are_meant_from_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("postrider.toml");
    std::fs::write(&file, "data = \"mail\"\n[tls]\ncertificate = \"c.pem\"\nkey = \"/etc/k.pem\"\n").unwrap();
    let config = Config::load(&sources(Purpose::Serve, Some(file), &[])).unwrap();
    assert_eq!(config.data, directory.path().join("mail"));
    assert_eq!(
        config.certificate,
        Certificate::Files { certificate: directory.path().join("c.pem"), key: "/etc/k.pem".into() }
    );
}

#[test]
fn networks_are_read_with_their_prefix() {
    let network = |text: &str| Network::read(&Node::text(text)).map(|network| network.json());
    assert_eq!(network("10.0.0.0/8"), Ok(json!("10.0.0.0/8")));
    assert_eq!(network("192.0.2.7"), Ok(json!("192.0.2.7/32")));
    assert_eq!(network("2001:db8::/32"), Ok(json!("2001:db8::/32")));
    for wrong in ["10.0.0.0/33", "::/129", "ten", "10.0.0.0/", "10.0.0.0/-1", ""] {
        assert!(network(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn show_names_each_value_and_where_it_came_from() {
    let config = load("[smtp]\nrecipients_max = 5\n", &[("POSTRIDER_HOSTNAME", "mx.example.org")]).unwrap();
    let row = |key: &str| {
        let row = config.shown.iter().find(|row| row.key == key).expect("the setting is shown");
        (row.value.clone(), row.origin.clone())
    };
    assert_eq!(
        row("hostname"),
        (json!("mx.example.org"), Origin::Environment { variable: "POSTRIDER_HOSTNAME".into() })
    );
    assert!(matches!(row("smtp.recipients_max"), (value, Origin::File { line: Some(2), .. }) if value == json!(5)));
    assert_eq!(row("delivery.ehlo_name"), (json!("mx.example.org"), Origin::Default));
    assert_eq!(row("smtp.message_size_max"), (json!("50MiB"), Origin::Default));
    assert_eq!(row("delivery.lifetime").0, json!("5d"));
    assert_eq!(row("http.hosts").0, json!([]));
    let settings: usize = SECTIONS.iter().map(|(_, _, settings)| settings.len()).sum();
    assert_eq!(config.shown.len(), settings);
}

#[test]
fn every_setting_is_explained() {
    let tables = TABLES.iter().map(|(_, table, _, settings)| (*table, *settings));
    for (section, settings) in SECTIONS.iter().map(|(section, _, settings)| (*section, *settings)).chain(tables) {
        for setting in settings {
            let words = setting.doc.join(" ");
            assert!(words.trim().len() > 20, "[{section}] {} needs a doc comment", setting.name);
        }
    }
    assert_eq!(variable_name("tls", Tls::SETTINGS[0].name), "POSTRIDER_TLS_CERTIFICATE");
}

#[test]
fn the_reference_in_the_docs_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, reference()).unwrap();
    }
    let page = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        page == reference(),
        "docs/configuration.md is out of date: run `UPDATE_DOCS=1 cargo test -p postrider the_reference`"
    );
}
