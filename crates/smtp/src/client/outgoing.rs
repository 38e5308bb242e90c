//! Octets on their way to the socket.

/// Content waits here in pieces of about this size, so that a message of any size takes this
/// much memory, and one of a few kilobytes leaves in one write with its final dot.
pub const SEND_OCTETS: usize = 64 * 1024;

/// What was said and not yet taken by the socket. Counts octets from the first of the connection
/// on, so that it is known whether a certain one has left.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    buffer: Vec<u8>,
    /// Octets of `buffer` that have left.
    left: usize,
    /// Octets that left before those in `buffer`.
    earlier: u64,
}

impl Outgoing {
    /// For appending only.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    pub fn pending(&self) -> &[u8] {
        &self.buffer[self.left..]
    }

    pub fn is_empty(&self) -> bool {
        self.left == self.buffer.len()
    }

    pub fn has_room(&self) -> bool {
        self.buffer.len() - self.left < SEND_OCTETS
    }

    pub fn written(&mut self, octets: usize) {
        self.left = self.buffer.len().min(self.left + octets);
        if self.is_empty() {
            self.clear();
        } else if self.left >= SEND_OCTETS {
            // A socket that is never quite drained must not make the buffer as long as the message.
            self.buffer.drain(..self.left);
            self.earlier += self.left as u64;
            self.left = 0;
        }
    }

    /// Forgets what is pending. The memory is kept.
    pub fn clear(&mut self) {
        self.earlier += self.left as u64;
        self.buffer.clear();
        self.left = 0;
    }

    /// The place behind the last octet that was appended.
    pub fn end(&self) -> u64 {
        self.earlier + self.buffer.len() as u64
    }

    /// Whether everything before `place` has left.
    pub fn has_passed(&self, place: u64) -> bool {
        self.earlier + self.left as u64 >= place
    }
}
