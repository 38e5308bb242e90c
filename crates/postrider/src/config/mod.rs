//! The configuration, in two types: [`written::Written`] is what somebody wrote (file, environment,
//! flags; all optional), [`Config`] is what holds (every value there, checked), and only `Config` travels.
//!
//! Order of precedence, the later wins: built-in default, file (TOML), environment
//! (`POSTRIDER_<SECTION>_<KEY>`), command line (`--data`).
//!
//! Invariants:
//! - A key that does not exist is an error that names the nearest one that does.
//! - An error says file, line and key, and all errors are told at once.
//! - No secret is ever a setting: the file may be shown to anybody who helps.
//! - Every path in a `Config` is absolute. In a file, relative ones are meant from the file's directory.

mod problem;
mod reference;
mod settings;
#[cfg(test)]
mod tests;
mod value;
mod written;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base::Domain;
use serde_json::{Value as Json, json};

pub use problem::{ConfigError, Origin, Problem};
pub use reference::reference;
pub use settings::{
    Delivery, DeliveryMode, Dns, Doctor, Http, Listener, ListenerAuth, ListenerTls, Log, LogFormat, Purpose, Smtp,
};
pub use value::HostPort;

use problem::Fault;
use settings::{Instance, Record, SECTIONS, Store, Tls, full_key};
use value::Node;
use written::Written;

/// The configuration that holds: complete and checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Whether this is a developer's machine or an instance that stays.
    pub purpose: Purpose,
    /// Our name in greetings, EHLO, `Received` and `Message-ID`.
    pub hostname: Domain,
    /// The data directory, absolute.
    pub data: PathBuf,
    /// The directory of the SQLite files, absolute.
    pub store: PathBuf,
    /// `smtp.listeners` (never empty) and the limits of the way in.
    pub smtp: Smtp,
    /// What listeners with TLS show.
    pub certificate: Certificate,
    /// `http.address` and the host names that the pages answer to.
    pub http: Http,
    /// Sandbox or live, retries, limits by destination.
    pub delivery: Delivery,
    /// The name in EHLO to other servers.
    pub ehlo_name: Domain,
    pub dns: Dns,
    pub log: Log,
    pub doctor: Doctor,
    /// What may be a mistake and is no error, as sentences.
    pub warnings: Vec<String>,
    /// Every setting with its value and origin, in the order of the reference.
    pub shown: Vec<Shown>,
}

/// Where the certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Certificate {
    /// Made at first start and kept in the data directory.
    SelfSigned,
    /// PEM files of the operator, read again when they change.
    Files { certificate: PathBuf, key: PathBuf },
}

/// One row of `postrider config show`.
#[derive(Debug, Clone)]
pub struct Shown {
    pub key: String,
    pub value: Json,
    pub origin: Origin,
}

/// Where a configuration is taken from.
#[derive(Debug, Clone)]
pub struct Sources {
    pub purpose: Purpose,
    /// The file to read; its absence is an error.
    pub file: Option<PathBuf>,
    /// `--data`: wins over everything else that names the directory.
    pub data: Option<PathBuf>,
    pub environment: Vec<(String, String)>,
    /// What relative paths outside files are meant from.
    pub directory: PathBuf,
    /// What the machine calls itself.
    pub machine_name: String,
}

impl Sources {
    /// What this process was started with. Variables that are not UTF-8 are no settings and are left out.
    pub fn of_process(purpose: Purpose, file: Option<PathBuf>, data: Option<PathBuf>) -> Sources {
        Sources {
            purpose,
            file,
            data,
            environment: std::env::vars_os()
                .filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?)))
                .collect(),
            directory: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
            machine_name: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        }
    }
}

impl Config {
    /// Reads, merges and checks.
    ///
    /// # Errors
    /// Everything that is wrong, each with file, line and key.
    pub fn load(sources: &Sources) -> Result<Config, ConfigError> {
        let mut problems = Vec::new();
        let mut written = Written::default();
        if let Some(file) = &sources.file {
            match std::fs::read_to_string(file) {
                Ok(text) => written.read_file(file, &text, &mut problems),
                Err(error) => problems.push(Problem {
                    origin: Origin::File { path: file.clone(), line: None },
                    key: String::new(),
                    text: format!("cannot read the configuration file: {error}"),
                }),
            }
        }
        written.read_environment(&sources.environment);
        if let Some(data) = &sources.data {
            let node = Node::text(data.display().to_string());
            written.set("data".to_owned(), node, Origin::Flag { name: "data" });
        }
        let mut resolver = Resolver { sources, written, problems };
        match resolver.resolve() {
            Some(config) if resolver.problems.is_empty() => Ok(config),
            _ => Err(ConfigError { problems: resolver.problems }),
        }
    }
}

impl Config {
    /// The SQLite file of accounts and history.
    pub fn database(&self) -> PathBuf {
        self.store.join("postrider.sqlite")
    }
}

/// What is written on its way to what holds.
struct Resolver<'a> {
    sources: &'a Sources,
    written: Written,
    problems: Vec<Problem>,
}

impl Resolver<'_> {
    fn resolve(&mut self) -> Option<Config> {
        let instance = self.section::<Instance>("");
        let smtp = self.section::<Smtp>("smtp");
        let tls = self.section::<Tls>("tls");
        let http = self.section::<Http>("http");
        let delivery = self.section::<Delivery>("delivery");
        let dns = self.section::<Dns>("dns");
        let log = self.section::<Log>("log");
        let store = self.section::<Store>("store");
        let doctor = self.section::<Doctor>("doctor");
        let (instance, smtp, tls, http, delivery) = (instance?, smtp?, tls?, http?, delivery?);
        let (dns, log, store, doctor) = (dns?, log?, store?, doctor?);

        self.check_listeners(&smtp);
        self.check_delivery(&delivery);
        self.check_log(&log);
        self.note_open_pages(&http);
        let certificate = self.certificate(&tls)?;
        let hostname = instance.hostname.clone().unwrap_or_else(|| self.machine_name());
        let data = self.absolute("data", &instance.data);
        let store_directory = store.path.as_deref().map(|path| self.absolute("store.path", path));
        let mut config = Config {
            purpose: self.sources.purpose,
            store: store_directory.unwrap_or_else(|| data.join("store")),
            data,
            certificate,
            ehlo_name: delivery.ehlo_name.clone().unwrap_or_else(|| hostname.clone()),
            hostname,
            warnings: std::mem::take(&mut self.written.warnings),
            shown: Vec::new(),
            smtp,
            http,
            delivery,
            dns,
            log,
            doctor,
        };
        config.shown = self.shown(&config, &tls);
        Some(config)
    }

    fn section<R: Record>(&mut self, section: &str) -> Option<R> {
        let written = &self.written;
        let value = |name: &str| written.value(section, name).map(|(node, _)| node.clone());
        match R::read(self.sources.purpose, &value) {
            Ok(record) => Some(record),
            Err(faults) => {
                let problems: Vec<Problem> = faults.into_iter().map(|fault| self.problem(section, fault)).collect();
                self.problems.extend(problems);
                None
            }
        }
    }

    /// Gives a fault its file and its full name.
    fn problem(&self, section: &str, fault: Fault) -> Problem {
        let path = fault.path.trim_start_matches('.');
        let name = path.split(['.', '[']).next().unwrap_or(path);
        let origin = self.origin(section, name).at_line(fault.line);
        Problem { origin, key: full_key(section, path), text: fault.text }
    }

    fn origin(&self, section: &str, name: &str) -> Origin {
        self.written.value(section, name).map_or(Origin::Default, |(_, origin)| origin.clone())
    }

    fn refuse(&mut self, section: &str, path: &str, text: impl Into<String>) {
        let problem = self.problem(section, Fault { path: path.to_owned(), line: None, text: text.into() });
        self.problems.push(problem);
    }

    fn check_listeners(&mut self, smtp: &Smtp) {
        if smtp.listeners.is_empty() {
            self.refuse("smtp", "listeners", "at least one listener is needed, or no mail comes in");
        }
        for (index, listener) in smtp.listeners.iter().enumerate() {
            let path = |name: &str| format!("listeners[{index}].{name}");
            let twin = smtp.listeners[..index].iter().any(|other| other.address == listener.address);
            if twin && listener.address.port() != 0 {
                self.refuse("smtp", &path("address"), format!("{} is listed twice", listener.address));
            }
            if listener.auth == ListenerAuth::Always && !listener.address.ip().is_loopback() {
                let text = "\"always\" sends passwords in the clear, so it is allowed on a loopback address only; \
                            use \"tls\"";
                self.refuse("smtp", &path("auth"), text);
            }
            if listener.auth == ListenerAuth::WhenTls && listener.tls == ListenerTls::None {
                let text = "\"tls\" needs TLS, and this listener has tls = \"none\": nobody could log in; \
                            set tls, or auth = \"never\"";
                self.refuse("smtp", &path("auth"), text);
            }
            if listener.trust.iter().any(accept::Network::is_everything) {
                let text = "a network of all addresses would let everybody in the world send through this machine \
                            (an open relay); name the networks of your own programs";
                self.refuse("smtp", &path("trust"), text);
            }
        }
    }

    fn check_delivery(&mut self, delivery: &Delivery) {
        if delivery.retry_delay_first > delivery.retry_delay_max {
            self.refuse("delivery", "retry_delay_first", "is longer than delivery.retry_delay_max");
        }
        if delivery.lifetime < delivery.retry_delay_first {
            let text = "is shorter than delivery.retry_delay_first, so nothing would ever be tried twice";
            self.refuse("delivery", "lifetime", text);
        }
    }

    fn check_log(&mut self, log: &Log) {
        if let Err(error) = tracing_subscriber::EnvFilter::builder().parse(&log.level) {
            let text = format!("{:?} is no level (error, warn, info, debug, trace): {error}", log.level);
            self.refuse("log", "level", text);
        }
    }

    fn note_open_pages(&mut self, http: &Http) {
        if !http.address.ip().is_loopback() {
            self.written.warnings.push(format!(
                "http.address {} can be reached from other machines, without TLS or a password: whoever reaches it \
                 reads the sandbox inbox",
                http.address
            ));
        }
    }

    fn certificate(&mut self, tls: &Tls) -> Option<Certificate> {
        match (&tls.certificate, &tls.key) {
            (None, None) => Some(Certificate::SelfSigned),
            (Some(certificate), Some(key)) => {
                let certificate = self.absolute("tls.certificate", certificate);
                let key = self.absolute("tls.key", key);
                for file in [&certificate, &key] {
                    // A warning only: `config check` may run where the files are not, or as somebody else.
                    if let Err(error) = std::fs::File::open(file) {
                        self.written.warnings.push(format!("cannot read {}: {error}", file.display()));
                    }
                }
                Some(Certificate::Files { certificate, key })
            }
            (Some(_), None) => {
                self.refuse("tls", "certificate", "is set and tls.key is not: set both or neither");
                None
            }
            (None, Some(_)) => {
                self.refuse("tls", "key", "is set and tls.certificate is not: set both or neither");
                None
            }
        }
    }

    fn machine_name(&self) -> Domain {
        let full = Some(self.sources.machine_name.as_str()).filter(|name| name.contains('.'));
        full.and_then(|name| Domain::parse(name).ok())
            .unwrap_or_else(|| Domain::parse("localhost").expect("localhost is a host name"))
    }

    fn absolute(&self, key: &str, path: &Path) -> PathBuf {
        let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
        let origin = self.origin(section, name);
        let base = origin.base_directory().unwrap_or(Path::new(""));
        // `.` in front is for the reader of a command line, and would stay in every message after it.
        let path = path.strip_prefix(".").unwrap_or(path);
        self.sources.directory.join(base).join(path)
    }

    fn shown(&self, config: &Config, tls: &Tls) -> Vec<Shown> {
        let (certificate, key) = match &config.certificate {
            Certificate::SelfSigned => (Json::Null, Json::Null),
            Certificate::Files { certificate, key } => {
                (json!(certificate.display().to_string()), json!(key.display().to_string()))
            }
        };
        // What is worked out from other settings, or made absolute, is shown as it holds.
        let resolved = BTreeMap::from([
            ("hostname", json!(config.hostname.as_str())),
            ("data", json!(config.data.display().to_string())),
            ("tls.certificate", certificate),
            ("tls.key", key),
            ("delivery.ehlo_name", json!(config.ehlo_name.as_str())),
            ("store.path", json!(config.store.display().to_string())),
        ]);
        let sections = [
            ("smtp", config.smtp.values()),
            ("tls", tls.values()),
            ("http", config.http.values()),
            ("delivery", config.delivery.values()),
            ("dns", config.dns.values()),
            ("log", config.log.values()),
            ("doctor", config.doctor.values()),
        ];
        let mut rows = Vec::new();
        for (section, _, settings) in SECTIONS {
            for setting in *settings {
                let key = full_key(section, setting.name);
                let plain = sections.iter().filter(|(name, _)| name == section).flat_map(|(_, values)| values);
                let value = resolved
                    .get(key.as_str())
                    .cloned()
                    .or_else(|| plain.clone().find(|(name, _)| *name == setting.name).map(|(_, value)| value.clone()));
                rows.push(Shown {
                    key,
                    value: value.unwrap_or(Json::Null),
                    origin: self.origin(section, setting.name),
                });
            }
        }
        rows
    }
}
