-- Schema 1. docs/ledger.md explains it to outsiders.
--
-- Unsigned 64-bit numbers are kept as the signed number of the same bits.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE poll (
    id              INTEGER PRIMARY KEY,
    slug            TEXT    NOT NULL UNIQUE,
    title           TEXT    NOT NULL,
    candidates      TEXT    NOT NULL, -- JSON: [{"number": 1, "name": "…"}, …]
    utc_offset      TEXT    NOT NULL, -- "-03:00"
    opens_at        INTEGER,          -- this and the next two: ms since 1970
    closes_at       INTEGER,
    final_at        INTEGER,
    key_life_s      INTEGER NOT NULL,
    partials_policy TEXT    NOT NULL,
    principal       INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    secret          BLOB    NOT NULL
) STRICT;

CREATE TABLE lane (
    lane          INTEGER PRIMARY KEY,
    owner         INTEGER NOT NULL,
    epoch         INTEGER NOT NULL,
    writes        INTEGER NOT NULL, -- changed by every transaction of the owner: the fence
    next_position INTEGER NOT NULL
) STRICT;

CREATE TABLE ledger (
    place       INTEGER PRIMARY KEY, -- lane * 2^48 + position
    lane        INTEGER NOT NULL AS (place >> 48) VIRTUAL,
    position    INTEGER NOT NULL AS (place & 281474976710655) VIRTUAL,
    incarnation INTEGER NOT NULL,
    number      INTEGER NOT NULL,
    poll        INTEGER NOT NULL,
    minute      INTEGER NOT NULL,
    votes       INTEGER NOT NULL,
    checksum    INTEGER NOT NULL,    -- of the body: its last four bytes
    applied_at  INTEGER NOT NULL,
    seal        INTEGER NOT NULL,    -- CRC-32C over lane (1 byte), position (8), checksum (4), marks
    marks       BLOB    NOT NULL,
    body        BLOB    NOT NULL
) STRICT;

CREATE UNIQUE INDEX ledger_batch ON ledger (incarnation, number, lane);
CREATE INDEX ledger_minute ON ledger (lane, minute, poll);

CREATE TRIGGER ledger_entries_never_change BEFORE UPDATE ON ledger
BEGIN SELECT RAISE(ABORT, 'the ledger only grows'); END;
CREATE TRIGGER ledger_entries_never_go BEFORE DELETE ON ledger
BEGIN SELECT RAISE(ABORT, 'the ledger only grows'); END;

-- What follows down to `account` is a cache of the ledger.

CREATE TABLE total (
    poll      INTEGER NOT NULL,
    candidate INTEGER NOT NULL,
    lane      INTEGER NOT NULL,
    votes     INTEGER NOT NULL,
    PRIMARY KEY (poll, candidate, lane)
) STRICT, WITHOUT ROWID;

CREATE TABLE minute_bucket (
    poll      INTEGER NOT NULL,
    start     INTEGER NOT NULL, -- UTC minutes since 1970
    candidate INTEGER NOT NULL,
    lane      INTEGER NOT NULL,
    votes     INTEGER NOT NULL,
    PRIMARY KEY (poll, start, candidate, lane)
) STRICT, WITHOUT ROWID;

CREATE TABLE hour_bucket (
    poll      INTEGER NOT NULL,
    start     INTEGER NOT NULL, -- the minute in which an hour of the poll's clock begins
    candidate INTEGER NOT NULL,
    lane      INTEGER NOT NULL,
    votes     INTEGER NOT NULL,
    PRIMARY KEY (poll, start, candidate, lane)
) STRICT, WITHOUT ROWID;

CREATE TABLE account (
    poll    INTEGER NOT NULL,
    account TEXT    NOT NULL,
    lane    INTEGER NOT NULL,
    votes   INTEGER NOT NULL,
    PRIMARY KEY (poll, account, lane)
) STRICT, WITHOUT ROWID;

CREATE TABLE incarnation (
    lane        INTEGER NOT NULL,
    incarnation INTEGER NOT NULL,
    cumulative  INTEGER NOT NULL, -- this and the next two: votes, derived from the book
    missing     INTEGER NOT NULL,
    unanswered  INTEGER NOT NULL,
    book        TEXT    NOT NULL, -- JSON
    PRIMARY KEY (lane, incarnation)
) STRICT, WITHOUT ROWID;

CREATE TABLE dead_letter (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    at             INTEGER NOT NULL,
    state          TEXT    NOT NULL CHECK (state IN ('unresolved', 'requeued', 'written_off')),
    written_off_as TEXT,
    reason         TEXT    NOT NULL,
    votes          INTEGER NOT NULL,
    poll           INTEGER, -- this and the next three: NULL where the envelope was unreadable
    incarnation    INTEGER,
    number         INTEGER,
    lane           INTEGER,
    envelope       TEXT,             -- JSON
    hash           BLOB NOT NULL UNIQUE, -- BLAKE3 over the batch's name and the body
    body           BLOB NOT NULL
) STRICT;

CREATE INDEX dead_letter_batch ON dead_letter (incarnation, number, lane);

CREATE TABLE barrier (
    poll INTEGER NOT NULL,
    lane INTEGER NOT NULL,
    PRIMARY KEY (poll, lane)
) STRICT, WITHOUT ROWID;

-- The last position of each lane when a result was declared final: what follows came late.
CREATE TABLE finality (
    poll          INTEGER NOT NULL,
    lane          INTEGER NOT NULL,
    last_position INTEGER NOT NULL,
    PRIMARY KEY (poll, lane)
) STRICT, WITHOUT ROWID;

-- Missing batches that were given up, and why.
CREATE TABLE written_off_batches (
    lane        INTEGER NOT NULL,
    incarnation INTEGER NOT NULL,
    first       INTEGER NOT NULL,
    last        INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    reason      TEXT    NOT NULL,
    PRIMARY KEY (lane, incarnation, first)
) STRICT, WITHOUT ROWID;

-- Files of the vote log that were there once and are gone. In `meta` (eight bytes, big-endian): the
-- highest number ever known as `log_segment`, the highest that went in good order as `log_released`.
CREATE TABLE lost_segments (
    first          INTEGER PRIMARY KEY,
    last           INTEGER NOT NULL,
    noticed_at     INTEGER NOT NULL,
    written_off_as TEXT
) STRICT;
