//! Who may send: the one place where that is decided.

use std::net::IpAddr;
use std::sync::Arc;

use base::{AccountId, Address, CredentialId, Enhanced, Envelope, Recipient, Reply, Secret, Stream};

/// Somebody who may hand mail in, and in whose name it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    pub account: AccountId,
    /// With which he came in; `None` for a trusted network or a program of ours.
    pub credential: Option<CredentialId>,
    /// In which line his mail waits.
    pub stream: Stream,
    /// What he is called in logs.
    pub name: Arc<str>,
}

/// Who knows accounts and their rights. Given to the doors at start.
pub trait Directory: Send + Sync {
    /// Who logs in with this. Called on the connection's own task, so it must be quick; and it must
    /// take the same time whether the user is unknown or the secret wrong.
    fn authenticate(&self, user: &str, secret: &Secret, client: IpAddr) -> Option<Principal>;

    /// Whether mail may go in this sender's name. `None` is the null sender.
    ///
    /// # Errors
    /// The reply to say, such as 550 5.7.1.
    fn may_send(&self, principal: &Principal, sender: Option<&Address>) -> Result<(), Reply>;
}

/// Decides about MAIL. Mail for our own domains, from the servers of the world, will be let in here
/// when there is somebody to receive it; until then nobody sends without being known.
pub(crate) fn mail(directory: &dyn Directory, principal: Option<&Principal>, envelope: &Envelope) -> Result<(), Reply> {
    match principal {
        Some(principal) => directory.may_send(principal, envelope.sender.as_ref()),
        None => Err(Reply::new(530, Enhanced(5, 7, 0), "Authentication required")),
    }
}

/// Decides about RCPT. Who was let in may write to anybody: where mail cannot go is found out when it
/// is sent.
pub(crate) fn recipient(principal: Option<&Principal>, _recipient: &Recipient) -> Result<(), Reply> {
    match principal {
        Some(_) => Ok(()),
        // Cannot be, as MAIL was refused; and must not be.
        None => Err(Reply::new(554, Enhanced(5, 7, 1), "Relaying denied")),
    }
}
