//! Every setting, once: name, type, default and the words that explain it.
//!
//! [`settings!`] makes of one table the resolved struct, its reader, and the rows of
//! `docs/configuration.md`: the doc comment of a setting is its documentation, so that they cannot
//! drift apart. A default is written as an environment variable would have it and goes through the
//! same reader as a value from a file.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use accept::Network;
use base::Domain;
use serde_json::{Value as Json, json};

use super::problem::{Fault, suggestion};
use super::value::{HostPort, Node, Raw, SitePattern, Size, Spelling, Value, read_choice};
use super::written::from_plain_text;

/// What holds for a setting that nobody wrote down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// It must be written.
    Required,
    /// This value, spelled as in an environment variable.
    Always(&'static str),
    /// `serve` for a real instance, `dev` on a developer's machine.
    ByPurpose { serve: &'static str, dev: &'static str },
}

/// What the program is started for: it decides a few defaults and nothing else here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// `postrider serve`: an instance that stays.
    Serve,
    /// `postrider dev`: loopback only, unprivileged ports, data beside the work.
    Dev,
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    pub name: &'static str,
    pub kind: &'static str,
    pub spelling: Spelling,
    pub preset: Preset,
    /// The doc comment, one line each, with the blank that `///` leaves at the start.
    pub doc: &'static [&'static str],
}

impl Setting {
    /// The value that holds where nobody wrote one; `None` for a required setting.
    pub fn preset(&self, purpose: Purpose) -> Option<Node> {
        let text = match (self.preset, purpose) {
            (Preset::Required, _) => return None,
            (Preset::Always(text), _) => text,
            (Preset::ByPurpose { serve, .. }, Purpose::Serve) => serve,
            (Preset::ByPurpose { dev, .. }, Purpose::Dev) => dev,
        };
        Some(from_plain_text(text, self.spelling))
    }
}

/// A group of settings: a section of the file, or a table inside a value.
pub trait Record: Sized {
    const ABOUT: &'static [&'static str];
    const SETTINGS: &'static [Setting];

    /// Reads each setting from what `written` knows under its name, or from its default.
    ///
    /// # Errors
    /// Every fault in every setting, with its name in the path.
    fn read(purpose: Purpose, written: &dyn Fn(&str) -> Option<Node>) -> Result<Self, Vec<Fault>>;

    /// The values that hold, in the order of the table.
    fn values(&self) -> Vec<(&'static str, Json)>;
}

fn read_setting<T: Value>(
    setting: &Setting,
    purpose: Purpose,
    written: &dyn Fn(&str) -> Option<Node>,
    faults: &mut Vec<Fault>,
) -> Option<T> {
    let Some(node) = written(setting.name).or_else(|| setting.preset(purpose)) else {
        faults.push(Fault::new(None, format!("is required: {}", T::KIND)).within(&format!(".{}", setting.name)));
        return None;
    };
    match T::read(&node) {
        Ok(value) => Some(value),
        Err(inner) => {
            faults.extend(inner.into_iter().map(|fault| fault.within(&format!(".{}", setting.name))));
            None
        }
    }
}

/// Reads a table inside a value, such as one listener; refuses what it does not know.
fn read_table<R: Record>(node: &Node) -> Result<R, Vec<Fault>> {
    let Raw::Table(entries) = &node.raw else {
        let names: Vec<_> = R::SETTINGS.iter().map(|setting| setting.name).collect();
        return Err(node.fault(format!("expected a table with {}", names.join(", "))));
    };
    let names = R::SETTINGS.iter().map(|setting| setting.name);
    let mut faults: Vec<Fault> = entries
        .iter()
        .filter(|(name, _)| names.clone().all(|known| known != name))
        .map(|(name, entry)| {
            let text = format!("there is no such setting; {}", suggestion(name, names.clone()));
            Fault::new(entry.line, text).within(&format!(".{name}"))
        })
        .collect();
    let written = |name: &str| entries.iter().find(|(key, _)| key == name).map(|(_, entry)| entry.clone());
    match R::read(Purpose::Serve, &written) {
        Ok(record) if faults.is_empty() => Ok(record),
        Ok(_) => Err(faults),
        Err(inner) => {
            faults.extend(inner.into_iter().map(|mut fault| {
                fault.line = fault.line.or(node.line);
                fault
            }));
            Err(faults)
        }
    }
}

macro_rules! preset {
    (required) => {
        Preset::Required
    };
    ($text:literal) => {
        Preset::Always($text)
    };
    ($serve:literal, dev $dev:literal) => {
        Preset::ByPurpose { serve: $serve, dev: $dev }
    };
}

macro_rules! settings {
    ($(#[doc = $about:literal])* $name:ident {
        $($(#[doc = $doc:literal])* $field:ident: $type:ty = [$($preset:tt)*];)*
    }) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $($(#[doc = $doc])* pub $field: $type,)*
        }

        impl Record for $name {
            const ABOUT: &'static [&'static str] = &[$($about),*];
            const SETTINGS: &'static [Setting] = &[$(Setting {
                name: stringify!($field),
                kind: <$type as Value>::KIND,
                spelling: <$type as Value>::SPELLING,
                preset: preset!($($preset)*),
                doc: &[$($doc),*],
            }),*];

            fn read(purpose: Purpose, written: &dyn Fn(&str) -> Option<Node>) -> Result<Self, Vec<Fault>> {
                let mut faults = Vec::new();
                let mut rows = Self::SETTINGS.iter();
                $(let $field: Option<$type> =
                    rows.next().and_then(|setting| read_setting(setting, purpose, written, &mut faults));)*
                match ($($field,)*) {
                    ($(Some($field),)*) => Ok($name { $($field),* }),
                    _ => Err(faults),
                }
            }

            fn values(&self) -> Vec<(&'static str, Json)> {
                vec![$((stringify!($field), self.$field.json())),*]
            }
        }
    };
}

macro_rules! choice {
    ($(#[doc = $about:literal])* $name:ident { $($(#[doc = $doc:literal])* $variant:ident = $word:literal,)* } $kind:literal) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[doc = $doc])* $variant,)*
        }

        impl $name {
            const WORDS: &'static [(&'static str, $name)] = &[$(($word, $name::$variant)),*];
        }

        impl Value for $name {
            const KIND: &'static str = $kind;
            const SPELLING: Spelling = Spelling::Plain;

            fn read(node: &Node) -> Result<Self, Vec<Fault>> {
                read_choice(node, $name::WORDS)
            }

            fn json(&self) -> Json {
                match self {
                    $($name::$variant => json!($word),)*
                }
            }
        }
    };
}

macro_rules! table_value {
    ($name:ident, $kind:literal) => {
        impl Value for $name {
            const KIND: &'static str = $kind;
            const SPELLING: Spelling = Spelling::Toml;

            fn read(node: &Node) -> Result<Self, Vec<Fault>> {
                read_table(node)
            }

            fn json(&self) -> Json {
                let set = self.values().into_iter().filter(|(_, value)| !value.is_null());
                Json::Object(set.map(|(name, value)| (name.to_owned(), value)).collect())
            }
        }
    };
}

settings! {
    /// What stands before the first section of the file.
    Instance {
        /// The name of this machine in the mail world: in the greeting, in EHLO to other servers, in
        /// `Received` and `Message-ID`. It should have an A or AAAA record, and the address of this
        /// machine should lead back to it (reverse DNS): many servers refuse mail from a name that
        /// does not. Unset: the machine's own name, or `localhost` where that is no full name.
        hostname: Option<Domain> = [""];
        /// The directory that holds everything: the spool, the database, the keys and the control
        /// socket. It must be on a local disk, and only the user that runs Postrider may read it.
        data: PathBuf = ["/var/lib/postrider", dev "data"];
    }
}

settings! {
    /// How programs and people hand mail in.
    Smtp {
        /// Where to listen. Each `[[smtp.listeners]]` is one address; writing any replaces the whole
        /// default list. As an environment variable it is a list in TOML's inline form.
        listeners: Vec<Listener> = [
            "[{ address = '[::]:25' }, { address = '[::]:587' }, { address = '[::]:2525' }, { address = '[::]:465', tls = 'implicit' }]",
            dev "[{ address = '127.0.0.1:2525', auth = 'always' }, { address = '127.0.0.1:2465', tls = 'implicit' }]"
        ];
        /// The largest message that is accepted, with its headers. It is offered in EHLO (`SIZE`);
        /// larger ones get 552.
        message_size_max: Size = ["50MiB"];
        /// How many recipients one message may have. Those beyond it get 452, and the client sends
        /// them in another transaction (RFC 5321 section 4.5.3.1.10).
        recipients_max: u32 = ["1000"];
        /// How many clients may be connected at once, over all listeners. Others get 421.
        connections_max: u32 = ["1000"];
        /// How many connections one client address may have at once. For an instance that serves
        /// many programs behind one address translator, raise it; trusted networks are not counted.
        connections_per_address_max: u32 = ["100"];
        /// How long a client may be silent before it gets 421 (RFC 5321 section 4.5.3.2.7 asks for 5 minutes).
        idle_time_max: Duration = ["5m"];
        /// How long one connection may last in all.
        session_time_max: Duration = ["1h"];
    }
}

settings! {
    /// One address on which mail is accepted.
    Listener {
        /// Address and port. `[::]` takes IPv4 as well; port 0 picks a free one.
        address: SocketAddr = [required];
        /// `"starttls"`: begins in the clear and offers STARTTLS (ports 25, 587, 2525).
        /// `"implicit"`: TLS from the first byte (port 465). `"none"`: no TLS at all.
        tls: ListenerTls = ["starttls"];
        /// When a password is taken. `"tls"`: only under TLS. `"always"`: also in the clear, which is
        /// right on loopback only. `"never"`: only networks in `trust` can send here.
        auth: ListenerAuth = ["tls"];
        /// Networks whose clients may send without a password, such as `["127.0.0.0/8", "::1/128"]`.
        /// Everything that runs there can send mail in your name.
        trust: Vec<Network> = ["[]"];
    }
}
table_value!(Listener, "a table with address, tls, auth, trust");

choice! {
    /// When a listener speaks TLS.
    ListenerTls {
        /// Offered as STARTTLS (RFC 3207).
        StartTls = "starttls",
        /// From the first byte (RFC 8314).
        Implicit = "implicit",
        None = "none",
    }
    "\"starttls\", \"implicit\" or \"none\""
}

choice! {
    /// When a listener takes a password.
    ListenerAuth {
        WhenTls = "tls",
        Always = "always",
        Never = "never",
    }
    "\"tls\", \"always\" or \"never\""
}

settings! {
    /// The certificate that listeners show.
    Tls {
        /// A PEM file with the certificate and its chain. It is read again when it changes, so that a
        /// renewal needs no restart. Unset: a self-signed one is made and kept in the data directory;
        /// programs that check certificates will refuse it.
        certificate: Option<PathBuf> = [""];
        /// The PEM file with the certificate's private key. Set both or neither.
        key: Option<PathBuf> = [""];
    }
}

settings! {
    /// Pages and health checks. There is no TLS here: put a reverse proxy in front to leave the machine.
    Http {
        /// Where the pages are served; port 0 picks a free one.
        address: SocketAddr = ["127.0.0.1:8025"];
        /// Names by which the pages may be reached besides IP addresses and `localhost`: the name that
        /// your reverse proxy passes on. A request for any other name is refused, so that a web site
        /// cannot point its own name at this machine and read your mail (DNS rebinding).
        hosts: Vec<Domain> = ["[]"];
    }
}

settings! {
    /// How mail leaves.
    Delivery {
        /// `"sandbox"`: nothing leaves the machine; every message ends in the sandbox inbox, where you
        /// can read it. `"live"`: mail is sent to its recipients.
        mode: DeliveryMode = ["sandbox"];
        /// The name to greet other servers with. Unset: `hostname`.
        ehlo_name: Option<Domain> = [""];
        /// The wait after the first temporary refusal. Each further wait is about double the last, with
        /// some chance in it. Servers that greylist commonly ask for 5 minutes.
        retry_delay_first: Duration = ["5m"];
        /// The longest wait between two attempts.
        retry_delay_max: Duration = ["4h"];
        /// How long to try before the message goes back to its sender (RFC 5321 section 4.5.4.1 asks
        /// for 4 to 5 days).
        lifetime: Duration = ["5d"];
        /// When to tell the sender, once, that a message is still waiting.
        delay_notice_after: Duration = ["4h"];
        /// How many connections to other servers may be open at once, over all destinations.
        connections_max: u32 = ["500"];
        /// Limits for one destination each, as `[delivery.limits."example.org"]`. Where one is unset,
        /// the built-in value holds.
        limits: BTreeMap<Domain, DestinationLimits> = ["{}"];
    }
}

choice! {
    /// Whether mail leaves the machine.
    DeliveryMode {
        Sandbox = "sandbox",
        Live = "live",
    }
    "\"sandbox\" or \"live\""
}

settings! {
    /// What one destination is spared.
    DestinationLimits {
        /// How many connections to it may be open at once.
        connections_max: Option<u16> = [""];
        /// How many messages go over one connection before it is closed.
        messages_per_connection_max: Option<u16> = [""];
        /// How many messages may be begun in a second; may be below 1.
        messages_per_second_max: Option<f64> = [""];
    }
}
table_value!(DestinationLimits, "a table with connections_max, messages_per_connection_max, messages_per_second_max");

settings! {
    /// How names are found.
    Dns {
        /// Name servers to ask, such as `["127.0.0.1:53"]`. Unset: those of the system (`/etc/resolv.conf`).
        servers: Vec<SocketAddr> = ["[]"];
        /// Where mail for a domain goes, without asking DNS: `hosts = { "example.test" = "127.0.0.1:2526" }`
        /// sends it to a server of your laboratory. `"*.example.test"` is every sub-domain, `"*"` everything.
        hosts: BTreeMap<SitePattern, HostPort> = ["{}"];
    }
}

settings! {
    /// What the program says about itself, on standard error.
    Log {
        /// `error`, `warn`, `info`, `debug` or `trace`; also by part, as `info,accept=debug`.
        level: String = ["info"];
        /// `"text"` for people, `"json"` (one object a line) for log collectors.
        format: LogFormat = ["text"];
    }
}

choice! {
    /// The shape of a log line.
    LogFormat {
        Text = "text",
        Json = "json",
    }
    "\"text\" or \"json\""
}

settings! {
    /// Where accounts and the history are kept.
    Store {
        /// The directory of the SQLite files. Unset: `store` in the data directory.
        path: Option<PathBuf> = [""];
    }
}

settings! {
    /// What `postrider doctor` tries.
    Doctor {
        /// A mail server that everybody can reach: port 25 is open to the outside when it answers.
        smtp_target: HostPort = ["gmail-smtp-in.l.google.com:25"];
    }
}

/// The sections of the file in the order of documentation: name, what it is, its settings.
pub const SECTIONS: &[(&str, &[&str], &[Setting])] = &[
    ("", Instance::ABOUT, Instance::SETTINGS),
    ("smtp", Smtp::ABOUT, Smtp::SETTINGS),
    ("tls", Tls::ABOUT, Tls::SETTINGS),
    ("http", Http::ABOUT, Http::SETTINGS),
    ("delivery", Delivery::ABOUT, Delivery::SETTINGS),
    ("dns", Dns::ABOUT, Dns::SETTINGS),
    ("log", Log::ABOUT, Log::SETTINGS),
    ("store", Store::ABOUT, Store::SETTINGS),
    ("doctor", Doctor::ABOUT, Doctor::SETTINGS),
];

/// A table inside a value: the setting that holds it, how it is written in the file, what it is, its settings.
pub type TableDoc = (&'static str, &'static str, &'static [&'static str], &'static [Setting]);

pub const TABLES: &[TableDoc] = &[
    ("smtp.listeners", "[[smtp.listeners]]", Listener::ABOUT, Listener::SETTINGS),
    ("delivery.limits", "[delivery.limits.\"example.org\"]", DestinationLimits::ABOUT, DestinationLimits::SETTINGS),
];

/// `smtp.message_size_max`; a setting before the first section has its bare name.
pub fn full_key(section: &str, name: &str) -> String {
    if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") }
}

/// `POSTRIDER_SMTP_MESSAGE_SIZE_MAX`.
pub fn variable_name(section: &str, name: &str) -> String {
    format!("POSTRIDER_{}", full_key(section, name).replace('.', "_").to_ascii_uppercase())
}
