//! What a self-check asks: does the resolver answer, and by what name does an address go?

use std::net::IpAddr;

use crate::dns::Missing;
use crate::resolver::Resolver;

/// The DNS gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// It says that there is none.
    #[error("there is no such record")]
    Absent,
    /// It could not be found out.
    #[error("the DNS gave no usable answer: {0}")]
    Unknown(Box<str>),
}

impl From<Missing> for LookupError {
    fn from(missing: Missing) -> LookupError {
        match missing {
            Missing::Name | Missing::Data => LookupError::Absent,
            Missing::Unknown(why) => LookupError::Unknown(why),
        }
    }
}

impl Resolver {
    /// Whether the name servers answer, by a question that every one of them can answer.
    ///
    /// # Errors
    /// What they did instead.
    pub async fn check_resolver(&self) -> Result<(), LookupError> {
        Ok(self.dns().root().await?)
    }

    /// The name that an address goes by. A server whose address has none, or one that does not lead
    /// back to it (see [`Resolver::addresses_of`]), is refused by many.
    ///
    /// # Errors
    /// When there is none, or it could not be found out.
    pub async fn reverse_name(&self, address: IpAddr) -> Result<Box<str>, LookupError> {
        Ok(self.dns().reverse(address).await?)
    }

    /// The addresses of a host.
    ///
    /// # Errors
    /// When there are none, or they could not be found out.
    pub async fn addresses_of(&self, host: &str) -> Result<Vec<IpAddr>, LookupError> {
        Ok(self.addresses(host).await?)
    }
}
