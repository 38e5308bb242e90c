//! What is measured.

use std::fmt;

/// How the load generator uses its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// A new one for each message.
    New,
    /// One for many messages.
    Reused,
}

impl Connection {
    pub fn as_str(self) -> &'static str {
        match self {
            Connection::New => "new",
            Connection::Reused => "reused",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    pub size_bytes: usize,
    pub sessions: usize,
    pub connection: Connection,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.size_bytes, self.sessions, self.connection.as_str())
    }
}

const fn case(size_bytes: usize, sessions: usize, connection: Connection) -> Case {
    Case { size_bytes, sessions, connection }
}

pub const CASES: [Case; 8] = [
    case(4096, 20, Connection::New),
    case(4096, 20, Connection::Reused),
    case(4096, 100, Connection::New),
    case(4096, 100, Connection::Reused),
    case(51200, 20, Connection::New),
    case(51200, 20, Connection::Reused),
    case(51200, 100, Connection::New),
    case(51200, 100, Connection::Reused),
];
