-- The sandbox inbox: messages that were captured instead of sent. `envelope` and `content` are
-- sealed under the key of (account, key_day, class "sandbox").

CREATE TABLE sandbox (
    -- The order of arrival; the oldest go when an account's inbox is full.
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- Whose message it is; nobody else sees it.
    account BIGINT NOT NULL,
    message BLOB NOT NULL,
    -- The first recipient of this capture. With `message` it makes a repeated capture (after a
    -- crash between capture and journal) the same one.
    recipient_first INTEGER NOT NULL,
    captured_at BIGINT NOT NULL,
    -- Which key is used: the UTC day of `captured_at`.
    key_day BIGINT NOT NULL,
    -- What it adds to the inbox: counted against the limit.
    size_octets BIGINT NOT NULL,
    -- Sealed: sender, recipients, subject and the dialogue that would have been.
    envelope BLOB NOT NULL,
    -- Sealed: the message as it would have been sent; NULL: it alone is over the limit.
    content BLOB,
    UNIQUE (message, recipient_first)
);

-- With the size in it, the limits are checked without touching the messages.
CREATE INDEX sandbox_account ON sandbox (account, id, size_octets);
