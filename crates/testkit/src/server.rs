//! The real program, run as its users run it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::http::{self, Response};
use crate::wait::{DEADLINE, try_until, until, until_within};
use crate::{Client, Program, Scratch, target_directory};

/// The name that the server has in all stories.
pub const HOSTNAME: &str = "relay.test";

const DEFAULT_LISTENERS: [&str; 2] = ["address = \"127.0.0.1:0\"", "address = \"127.0.0.1:0\", tls = \"implicit\""];

/// How long a start may take. A recovery of a large spool is waited for elsewhere.
const START_WITHIN: Duration = Duration::from_secs(60);
/// How long an orderly stop may take.
const STOP_WITHIN: Duration = Duration::from_secs(45);

/// The program under test: `POSTRIDER_BIN`, or what Cargo built last. `make test` builds it before the tests;
/// who runs the stories by hand does so too.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("POSTRIDER_BIN") {
        return PathBuf::from(path);
    }
    let path = target_directory().join("debug/postrider");
    assert!(path.exists(), "{} is not there: cargo build --package postrider", path.display());
    path
}

/// What the ready file says.
#[derive(Debug, Clone, Deserialize)]
pub struct Ready {
    pub pid: u32,
    pub smtp: SocketAddr,
    #[serde(default)]
    pub smtps: Option<SocketAddr>,
    pub http: SocketAddr,
    #[serde(default)]
    pub username: String,
    #[serde(default)]
    pub password: String,
}

/// How a server is set up. Without more: `dev`, sandbox, ports picked by the system.
#[derive(Debug, Clone)]
pub struct Builder {
    name: String,
    command: &'static str,
    listeners: Vec<String>,
    /// Section, key, value in TOML.
    settings: Vec<(String, String, String)>,
    hosts: Vec<(String, String)>,
    wrapper: Vec<String>,
    environment: Vec<(String, String)>,
    data: Option<PathBuf>,
    directory: PathBuf,
    program: Option<PathBuf>,
}

impl Builder {
    /// As a real instance and not for a developer: no account, no first message.
    pub fn serve(mut self) -> Builder {
        self.command = "serve";
        self
    }

    /// Mail leaves.
    pub fn live(self) -> Builder {
        self.set("delivery", "mode", "\"live\"")
    }

    /// Mail for `domain` goes to this server.
    pub fn host(mut self, domain: &str, server: SocketAddr) -> Builder {
        self.hosts.push((domain.to_owned(), server.to_string()));
        self
    }

    /// A setting, its value in TOML.
    pub fn set(mut self, section: &str, key: &str, value: &str) -> Builder {
        self.settings.push((section.to_owned(), key.to_owned(), value.to_owned()));
        self
    }

    /// One more listener, in TOML's inline form without the braces.
    pub fn listener(mut self, table: &str) -> Builder {
        self.listeners.push(table.to_owned());
        self
    }

    /// Only the listeners that are added.
    pub fn without_default_listeners(mut self) -> Builder {
        self.listeners.drain(..DEFAULT_LISTENERS.len());
        self
    }

    /// One more listener that takes mail from this machine without a password, as the benchmark needs it.
    pub fn trusting_listener(self, address: SocketAddr) -> Builder {
        self.listener(&format!("address = \"{address}\", auth = \"never\", trust = [\"127.0.0.0/8\"]"))
    }

    /// Retries within seconds, not hours.
    pub fn impatient(self) -> Builder {
        self.retrying("500ms", "1s")
    }

    /// The first wait between two attempts, and the longest.
    pub fn retrying(self, first: &str, max: &str) -> Builder {
        let quoted = |time: &str| format!("{time:?}");
        self.set("delivery", "retry_delay_first", &quoted(first)).set("delivery", "retry_delay_max", &quoted(max))
    }

    /// Runs the program under another one, such as `strace -o file`.
    pub fn under<A: Into<String>>(mut self, wrapper: impl IntoIterator<Item = A>) -> Builder {
        self.wrapper = wrapper.into_iter().map(Into::into).collect();
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Builder {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The data directory, in place of one beside the configuration.
    pub fn data(mut self, directory: &Path) -> Builder {
        self.data = Some(directory.to_owned());
        self
    }

    /// Keeps everything below this directory and not in the system's temporary one.
    pub fn within(mut self, directory: &Path) -> Builder {
        directory.clone_into(&mut self.directory);
        self
    }

    /// This program in place of [`binary`].
    pub fn program(mut self, program: &Path) -> Builder {
        self.program = Some(program.to_owned());
        self
    }

    fn toml(&self) -> String {
        let mut sections: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        // Keys of no section come first in a file, and so does the empty name.
        sections.entry("").or_default().push(format!("hostname = {HOSTNAME:?}"));
        let listeners: Vec<String> = self.listeners.iter().map(|table| format!("{{ {table} }}")).collect();
        sections.entry("smtp").or_default().push(format!("listeners = [{}]", listeners.join(", ")));
        if !self.settings.iter().any(|(section, key, _)| section == "http" && key == "address") {
            sections.entry("http").or_default().push("address = \"127.0.0.1:0\"".to_owned());
        }
        let hosts: Vec<String> = self.hosts.iter().map(|(domain, server)| format!("{domain:?} = {server:?}")).collect();
        sections.entry("dns").or_default().push(format!("hosts = {{ {} }}", hosts.join(", ")));
        for (section, key, value) in &self.settings {
            sections.entry(section).or_default().push(format!("{key} = {value}"));
        }
        let mut text = String::new();
        for (section, lines) in sections {
            if !section.is_empty() {
                text.push_str(&format!("\n[{section}]\n"));
            }
            text.push_str(&lines.join("\n"));
            text.push('\n');
        }
        text
    }

    /// Starts it and waits until it accepts mail.
    #[track_caller]
    pub fn start(self) -> Server {
        let mut server = self.prepare();
        server.start();
        server
    }

    /// Writes the configuration, and starts nothing.
    pub fn prepare(self) -> Server {
        let scratch = Scratch::within(&self.directory, &self.name);
        let config = scratch.write("postrider.toml", self.toml());
        let data = self.data.clone().unwrap_or_else(|| scratch.join("data"));
        Server { builder: self, config, data, daemon: None, ready: None, scratch }
    }
}

/// A Postrider in a directory of its own.
#[derive(Debug)]
pub struct Server {
    builder: Builder,
    config: PathBuf,
    data: PathBuf,
    // Before the scratch directory: fields are dropped in order, and a running server writes there.
    daemon: Option<Daemon>,
    ready: Option<Ready>,
    scratch: Scratch,
}

impl Server {
    /// `name` shows in the name of its directory.
    pub fn builder(name: &str) -> Builder {
        Builder {
            name: name.to_owned(),
            command: "dev",
            listeners: DEFAULT_LISTENERS.map(str::to_owned).to_vec(),
            settings: Vec::new(),
            hosts: Vec::new(),
            wrapper: Vec::new(),
            environment: Vec::new(),
            data: None,
            directory: std::env::temp_dir(),
            program: None,
        }
    }

    /// The directory of everything: configuration, log, data.
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Adds to the configuration, for the next start.
    pub fn reconfigure(&mut self, change: impl FnOnce(Builder) -> Builder) {
        self.builder = change(self.builder.clone());
        self.scratch.write("postrider.toml", self.builder.toml());
    }

    fn ready_file(&self) -> PathBuf {
        self.scratch.join("ready.json")
    }

    fn program(&self) -> PathBuf {
        self.builder.program.clone().unwrap_or_else(binary)
    }

    fn command(&self) -> Command {
        let program = self.program();
        let mut command = match self.builder.wrapper.split_first() {
            Some((wrapper, arguments)) => {
                let mut command = Command::new(wrapper);
                command.args(arguments).arg(program);
                command
            }
            None => Command::new(program),
        };
        command.arg(self.builder.command).arg("--config").arg(&self.config).arg("--data").arg(&self.data);
        command.arg("--ready-file").arg(self.ready_file());
        command.envs(self.builder.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts it, and waits until it accepts mail. How long that took.
    ///
    /// # Panics
    /// When it ends or is not ready within a minute.
    #[track_caller]
    pub fn start(&mut self) -> Duration {
        self.start_within(START_WITHIN)
    }

    #[track_caller]
    pub fn start_within(&mut self, deadline: Duration) -> Duration {
        let started = Instant::now();
        self.launch();
        let (file, daemon) = (self.ready_file(), self.daemon.as_mut().expect("it was just launched"));
        let ready = until_within(deadline, "the ready file", || {
            if let Some(status) = daemon.try_ended() {
                panic!("the server ended with {status} before it was ready:\n{}", daemon.log());
            }
            let text = std::fs::read(&file).ok()?;
            Some(serde_json::from_slice(&text).unwrap_or_else(|error| {
                panic!("the ready file is no JSON as promised ({error}): {}", String::from_utf8_lossy(&text))
            }))
        });
        self.ready = Some(ready);
        started.elapsed()
    }

    /// Starts it and does not wait.
    pub fn launch(&mut self) {
        assert!(self.daemon.is_none(), "it runs already");
        // One from the last start must not be taken for this one's. It may not be there.
        let _ = std::fs::remove_file(self.ready_file());
        self.ready = None;
        self.daemon = Some(Daemon::start(self.command(), &self.log_file()));
    }

    /// Waits until it ends by itself.
    #[track_caller]
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let daemon = self.daemon.as_mut().expect("it was launched");
        let status = until_within(START_WITHIN, "the server to end", || daemon.try_ended());
        self.daemon = None;
        status
    }

    /// As a power cut would, but for what the system still holds in memory.
    pub fn kill(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill();
        }
        self.ready = None;
    }

    /// SIGTERM, and waits for the end.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        let status = self.daemon.as_mut().expect("it runs").stop(STOP_WITHIN);
        self.daemon = None;
        self.ready = None;
        status
    }

    /// Stops in good order and starts again.
    #[track_caller]
    pub fn restart(&mut self) {
        self.stop();
        self.start();
    }

    pub fn daemon(&mut self) -> &mut Daemon {
        self.daemon.as_mut().expect("it runs")
    }

    fn log_file(&self) -> PathBuf {
        self.scratch.join("server.log")
    }

    /// What it printed, over all its starts.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log_file()).unwrap_or_default()).into_owned()
    }

    pub fn ready(&self) -> &Ready {
        self.ready.as_ref().expect("the server is ready")
    }

    pub fn smtp(&self) -> SocketAddr {
        self.ready().smtp
    }

    pub fn smtps(&self) -> SocketAddr {
        self.ready().smtps.expect("a listener with implicit TLS is configured")
    }

    pub fn user(&self) -> &str {
        &self.ready().username
    }

    pub fn password(&self) -> &str {
        &self.ready().password
    }

    /// A connection, greeted, nothing said.
    #[track_caller]
    pub fn connect(&self) -> Client {
        Client::connect(self.smtp())
    }

    /// A connection under TLS, logged in.
    #[track_caller]
    pub fn login(&self) -> Client {
        let mut client = self.connect();
        client.ehlo();
        client.starttls();
        let reply = client.auth_plain(self.user(), self.password());
        assert_eq!(reply.code, 235, "{reply}");
        client
    }

    /// The command line of the operator: `postrider ARGUMENTS --config … --data …`.
    pub fn command_line(&self, arguments: &[&str]) -> Program {
        Program::new(self.program()).args(arguments).arg("--config").arg(&self.config).arg("--data").arg(&self.data)
    }

    /// A command that must succeed, with `--json`; what it printed.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let printed = self.command_line(arguments).arg("--json").run().expect_success();
        serde_json::from_str(&printed.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {printed}"))
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        http::get(self.ready().http, path)
    }

    /// An operator's call over the control socket; whatever it answers.
    #[track_caller]
    pub fn try_admin(&self, method: &str, path: &str, body: &str) -> Response {
        let socket = self.data.join("control.sock");
        http::over_socket(&socket, method, &format!("/api/v1/admin{path}"), body)
            .unwrap_or_else(|error| panic!("{method} {path} over {}: {error}", socket.display()))
    }

    /// An operator's question, which must be answered.
    #[track_caller]
    pub fn admin(&self, path: &str) -> Value {
        let response = self.try_admin("GET", path, "");
        assert_eq!(response.status, 200, "{path}: {response:?}");
        response.json()
    }

    /// An operator's order, which must be carried out.
    #[track_caller]
    pub fn order(&self, path: &str, body: &Value) -> Value {
        let response = self.try_admin("POST", path, &body.to_string());
        assert_eq!(response.status, 200, "{path}: {response:?}");
        response.json()
    }

    /// Everything that is known of a message. The history may be a moment behind: it is waited for.
    #[track_caller]
    pub fn story(&self, id: &str) -> Value {
        until(&format!("message {id} in the history"), || {
            let response = self.try_admin("GET", &format!("/messages/{id}"), "");
            (response.status == 200).then(|| response.json())
        })
    }

    /// Waits until the history says this of the message as a whole.
    #[track_caller]
    pub fn wait_for_state(&self, id: &str, state: &str) -> Value {
        let mut last = Value::Null;
        let found = try_until(DEADLINE, || {
            let response = self.try_admin("GET", &format!("/messages/{id}"), "");
            last = serde_json::from_str(&response.body).unwrap_or(Value::Null);
            (last["state"] == state).then(|| last.clone())
        });
        found.unwrap_or_else(|| panic!("message {id} is not {state}: {last:#}"))
    }

    /// The state of the message as a whole, once it is a final one or the usual deadline has passed.
    #[track_caller]
    pub fn wait_for_final_state(&self, id: &str) -> String {
        let mut last = String::new();
        try_until(DEADLINE, || {
            let response = self.try_admin("GET", &format!("/messages/{id}"), "");
            last = match response.status {
                200 => response.json()["state"].as_str().unwrap_or_default().to_owned(),
                status => format!("unknown ({status})"),
            };
            ["delivered", "failed", "cancelled", "quarantined"].contains(&last.as_str()).then_some(())
        });
        last
    }

    /// An account and a credential of this name; user and password.
    #[track_caller]
    pub fn add_credential(&self, account: &str) -> (String, String) {
        self.order("/accounts", &json!({ "name": account }));
        let issued = self.order("/credentials", &json!({ "account": account }));
        let text = |key: &str| issued[key].as_str().unwrap_or_else(|| panic!("no {key}: {issued}")).to_owned();
        (text("username"), text("password"))
    }

    /// The sandbox inbox.
    #[track_caller]
    pub fn inbox(&self) -> Vec<Value> {
        let response = self.get("/sandbox/messages.json");
        assert_eq!(response.status, 200, "{response:?}");
        match response.json() {
            Value::Array(messages) => messages,
            other => panic!("no list of messages: {other}"),
        }
    }

    /// The sum of a metric over its labels; `None` where it is not exported.
    #[track_caller]
    pub fn metric(&self, name: &str) -> Option<f64> {
        let text = self.get("/metrics").body;
        let values = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            (series.split('{').next() == Some(name)).then(|| value.parse::<f64>().ok())?
        });
        let values: Vec<f64> = values.collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }
}
