-- Who may hand us mail. Times are microseconds since 1970 UTC.

CREATE TABLE account (
    -- Keys are derived from it, so a number is never given twice (AUTOINCREMENT).
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- The operator's short name for the account; shown in lists, the start of its user names.
    name TEXT NOT NULL UNIQUE,
    -- Shown to the operator.
    created_at BIGINT NOT NULL,
    -- Since when its mail is refused; NULL: it is not.
    suspended_at BIGINT
);

CREATE TABLE credential (
    -- Named in each message's record, so a number is never given twice.
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- Whose mail a session with this credential hands in.
    account BIGINT NOT NULL REFERENCES account (id),
    -- What the client logs in with. Made by us: it is no address of anybody.
    username TEXT NOT NULL UNIQUE,
    -- HMAC-SHA256 of the secret under a derived key. The secret is ours and random (128 bits at
    -- least), so nothing slower is needed to keep it from being guessed.
    secret_hash BLOB NOT NULL,
    -- The owner's words for the program that uses it, so that he knows which one to revoke.
    label TEXT NOT NULL,
    -- Shown to the owner.
    created_at BIGINT NOT NULL,
    -- Since when it is refused; NULL: it is not.
    revoked_at BIGINT,
    -- The UTC day (days since 1970) of the last login, to find unused ones. No finer: who worked
    -- at which hour is nobody's business.
    last_used_day BIGINT
);

CREATE INDEX credential_account ON credential (account);

-- How often a set of rows was changed: who keeps a copy in memory looks whether it is stale.
CREATE TABLE revision (
    topic TEXT PRIMARY KEY,
    number BIGINT NOT NULL
);

INSERT INTO revision (topic, number) VALUES ('directory', 0);

-- Settings of the whole instance that are changed while it runs. No personal data.
CREATE TABLE setting (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
