-- What became of each message. Filled by the projector from the spool's journal, read by the
-- operator and by the owner of the mail. Times are microseconds since 1970 UTC, days are counted
-- from 1970 UTC.
--
-- A column named `record` or `detail` is sealed: AES-256-GCM under the key of (account, key_day,
-- class "history"), bound to its table, column and row.
--
-- No row refers to `account` by a foreign key: the journal is the truth, and a fact about an
-- account that was removed meanwhile must not stop the projector.

CREATE TABLE message (
    -- Our own id (UUID v7), which grows with time: it is the order of lists.
    id BLOB PRIMARY KEY NOT NULL,
    -- Whose message it is; nobody else sees it.
    account BIGINT NOT NULL,
    -- The credential it came in with, to trace a misused one; NULL: by none.
    credential BIGINT,
    -- When we took responsibility.
    received_at BIGINT NOT NULL,
    -- Which key `record` is sealed under: the UTC day of `received_at`.
    key_day BIGINT NOT NULL,
    -- Keyed hash of the sender's address under the account, to find by it; NULL: the null sender.
    sender_hash BLOB,
    -- For lists and volume statistics.
    size_octets BIGINT NOT NULL,
    -- What the seven counters and the quarantine add up to (MessageState), to find by it.
    state INTEGER NOT NULL,
    -- How many recipients are in which state; their sum is the number of recipients.
    queued BIGINT NOT NULL,
    deferred BIGINT NOT NULL,
    held BIGINT NOT NULL,
    delivered BIGINT NOT NULL,
    bounced BIGINT NOT NULL,
    expired BIGINT NOT NULL,
    cancelled BIGINT NOT NULL,
    -- When its body was found damaged and it was put aside; NULL: it was not.
    quarantined_at BIGINT,
    -- When its body's key was destroyed; NULL: it is still needed.
    closed_at BIGINT,
    -- Sealed: sender, recipients, subject, Message-ID, and how it came in.
    record BLOB NOT NULL
) WITHOUT ROWID;

CREATE INDEX message_account ON message (account, id);
CREATE INDEX message_sender ON message (sender_hash, id);
-- Most messages end as delivered (4) and need no entry: the few others are what people look for.
CREATE INDEX message_state ON message (account, state, id) WHERE state <> 4;

CREATE TABLE recipient (
    message BLOB NOT NULL,
    -- Index into the envelope's recipients; the address itself is in `message.record`.
    position INTEGER NOT NULL,
    -- Keyed hash of the address under the account, to find by it.
    address_hash BLOB NOT NULL,
    -- RecipientState.
    state INTEGER NOT NULL,
    -- When the state was last set.
    changed_at BIGINT NOT NULL,
    -- How often delivery was tried.
    attempts INTEGER NOT NULL,
    PRIMARY KEY (message, position)
) WITHOUT ROWID;

CREATE INDEX recipient_address ON recipient (address_hash, message);

CREATE TABLE event (
    -- Given in the order of the journal, without gaps: the cursor of whoever follows events.
    seq INTEGER PRIMARY KEY,
    at BIGINT NOT NULL,
    account BIGINT NOT NULL,
    message BLOB NOT NULL,
    -- Position of the recipient it is about; NULL: it is about the whole message.
    recipient INTEGER,
    -- EventKind.
    kind INTEGER NOT NULL,
    -- The event whose `detail` tells what is behind this one, maybe this one itself (several
    -- recipients share one attempt, and its dialogue is kept once); NULL: there is no more to tell.
    told_by BIGINT,
    -- Which key `detail` is sealed under: the UTC day of `at`.
    key_day BIGINT NOT NULL,
    -- Sealed: server, replies and dialogue of the attempt, or the reason of a hold.
    detail BLOB
);

CREATE INDEX event_message ON event (message, seq);

-- How much happened on a day, for graphs, limits and bills: numbers only.
CREATE TABLE counter (
    account BIGINT NOT NULL,
    day BIGINT NOT NULL,
    -- Counter.
    kind INTEGER NOT NULL,
    number BIGINT NOT NULL,
    PRIMARY KEY (account, day, kind)
) WITHOUT ROWID;

-- How far the journal has been applied. Written in the same transaction as what it stands for.
CREATE TABLE projector (
    singleton INTEGER PRIMARY KEY CHECK (singleton = 1),
    segment BIGINT NOT NULL,
    position BIGINT NOT NULL,
    -- The last `event.seq` given.
    event_seq BIGINT NOT NULL
);

INSERT INTO projector (singleton, segment, position, event_seq) VALUES (1, 0, 0, 0);
