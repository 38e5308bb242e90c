//! The message on its way from the spool to a server.

use base::MessageId;
use bytes::Bytes;
use spool::{Spool, SpoolError};

use crate::attempt::blocking;

/// Where the message is.
#[derive(Clone)]
pub enum BodySource {
    /// As it was handed over at acceptance.
    Memory(Bytes),
    Spool {
        spool: Spool,
        id: MessageId,
    },
}

/// A message that is known to be readable, at least at its beginning.
#[derive(Clone)]
pub(crate) enum Body {
    Whole(Bytes),
    /// Read piece by piece, again for each transaction.
    Long {
        spool: Spool,
        id: MessageId,
        octets: u64,
        start: Bytes,
    },
}

impl BodySource {
    /// Reads the first piece. A small message is then in memory.
    ///
    /// # Errors
    /// As the spool has them.
    pub(crate) async fn open(self) -> Result<Body, SpoolError> {
        let (spool, id) = match self {
            BodySource::Memory(bytes) => return Ok(Body::Whole(bytes)),
            BodySource::Spool { spool, id } => (spool, id),
        };
        let reading = spool.clone();
        blocking(move || {
            let mut body = reading.body(id)?;
            let start = body.next_chunk()?.unwrap_or_default();
            let octets = body.octets();
            if start.len() as u64 == octets {
                return Ok(Body::Whole(start));
            }
            Ok(Body::Long { spool: reading, id, octets, start })
        })
        .await
    }
}

impl Body {
    pub(crate) fn octets(&self) -> u64 {
        match self {
            Body::Whole(bytes) => bytes.len() as u64,
            Body::Long { octets, .. } => *octets,
        }
    }

    /// Whether no octet of the header section, as far as it stands in the first piece, is above 127.
    pub(crate) fn has_ascii_header(&self) -> bool {
        let start = match self {
            Body::Whole(bytes) => bytes,
            Body::Long { start, .. } => start,
        };
        let end = memchr::memmem::find(start, b"\r\n\r\n").unwrap_or(start.len());
        start[..end].is_ascii()
    }

    /// A message that a 7-bit server can take (RFC 6152 §3). Takes the whole into memory.
    ///
    /// # Errors
    /// When it cannot be read; inside, when no conversion is legal.
    pub(crate) async fn to_seven_bit(&self) -> Result<Result<Bytes, mail::downgrade::NotConvertible>, SpoolError> {
        let whole = match self {
            Body::Whole(bytes) => bytes.clone(),
            Body::Long { octets, .. } => {
                let mut whole = Vec::with_capacity(usize::try_from(*octets).unwrap_or(0));
                let mut reader = self.reader();
                while let Some(piece) = reader.next().await? {
                    whole.extend_from_slice(&piece);
                }
                whole.into()
            }
        };
        blocking(move || Ok(mail::downgrade::to_seven_bit(&whole).map(|converted| Bytes::from(converted.into_owned()))))
            .await
    }

    /// Reads it from the beginning, piece by piece.
    pub(crate) fn reader(&self) -> Reader {
        match self {
            Body::Whole(bytes) => Reader::Whole(Some(bytes.clone())),
            Body::Long { spool, id, .. } => Reader::Closed { spool: spool.clone(), id: *id },
        }
    }
}

/// Pieces of a message in order.
pub(crate) enum Reader {
    Whole(Option<Bytes>),
    Closed { spool: Spool, id: MessageId },
    Open(spool::Body),
    Ended,
}

impl Reader {
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, SpoolError> {
        let mut body = match std::mem::replace(self, Reader::Ended) {
            Reader::Whole(bytes) => return Ok(bytes),
            Reader::Ended => return Ok(None),
            Reader::Closed { spool, id } => blocking(move || spool.body(id)).await?,
            Reader::Open(body) => body,
        };
        let (body, piece) = blocking(move || {
            let piece = body.next_chunk()?;
            Ok((body, piece))
        })
        .await?;
        *self = Reader::Open(body);
        Ok(piece)
    }
}
