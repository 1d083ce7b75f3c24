"""
The tables of the SQLite ledger, and how an older ledger gets them.

What each table holds is written beside it. A format that has been released never changes:
what is new makes a new format, and a migration to it.
"""

from __future__ import annotations

APPLICATION_ID = 0x43434531
"""Says in the file's header whose it is: "CCE1" in ASCII."""

FORMAT = 2
"""The format this program writes, in the header's ``user_version``."""

SCHEMA = """
-- Single facts. born_ms, floor_ms: in milliseconds since 1970. period_ms: the length of the
-- periods that the seen_<period> tables are numbered by. retire_after_ms: as it was when the
-- ledger was last opened, 0 for never. replay_from_ms, replay_counts: what a copy has to catch
-- up with, if it has. lag_ms_<day>: how late a log file was counted on that day, at worst.
-- identity: a UUID by which others know the ledger and its copies. Older ones have none.
CREATE TABLE fact (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;

-- The bucket list of each family's data: a family declared with another list starts anew.
CREATE TABLE family (name TEXT PRIMARY KEY, buckets TEXT NOT NULL) STRICT, WITHOUT ROWID;

-- Totals. labels: a JSON list in the family's order. amount: a count, a sum in thousandths
-- or the newest time in milliseconds. buckets: a JSON list, not cumulated. released_ms: the
-- end of the hold, NULL while held. held_amount, held_buckets: what it shows while held, NULL
-- for 0.
CREATE TABLE series (
    family TEXT NOT NULL,
    labels TEXT NOT NULL,
    amount INTEGER NOT NULL,
    buckets TEXT NOT NULL,
    born_ms INTEGER NOT NULL,
    released_ms INTEGER,
    held_amount INTEGER,
    held_buckets TEXT,
    PRIMARY KEY (family, labels)
) STRICT, WITHOUT ROWID;

-- Repositories known, deleted ones too. shown_ms, deleted_ms: the newest events that showed
-- it to be there and deleted it, NULL without one. active_ms: when, by the clock, a label
-- last named it, 0 if never. repository_id: its id, empty if unknown or deleted.
CREATE TABLE repository (
    account_id TEXT NOT NULL,
    aws_region TEXT NOT NULL,
    name TEXT NOT NULL,
    deleted_ms INTEGER,
    shown_ms INTEGER,
    active_ms INTEGER NOT NULL DEFAULT 0,
    repository_id TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (account_id, aws_region, name)
) STRICT, WITHOUT ROWID;

-- Which repository an id belongs to, by its name at the time. kind: pull_request, comment or
-- repository. event_ms: time of the event that taught it. created_ms: creation of a pull
-- request, where known. on_pull_request: whether a comment is on one. deleted_ms: when a
-- repository was deleted, 0 if it was not.
CREATE TABLE learnt (
    kind TEXT NOT NULL,
    account_id TEXT NOT NULL,
    aws_region TEXT NOT NULL,
    id TEXT NOT NULL,
    repository TEXT NOT NULL,
    event_ms INTEGER,
    created_ms INTEGER,
    on_pull_request INTEGER NOT NULL DEFAULT 0,
    deleted_ms INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (kind, account_id, aws_region, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX learnt_of ON learnt (account_id, aws_region, repository) WHERE kind = 'repository';

-- Renames of repositories, by their old name and the time of the event.
CREATE TABLE rename (
    account_id TEXT NOT NULL,
    aws_region TEXT NOT NULL,
    name TEXT NOT NULL,
    event_ms INTEGER NOT NULL,
    new_name TEXT NOT NULL,
    PRIMARY KEY (account_id, aws_region, name, event_ms)
) STRICT, WITHOUT ROWID;

-- Log files read, by the day of reading and a hash of bucket and key.
CREATE TABLE log_file (
    day INTEGER NOT NULL,
    hash INTEGER NOT NULL,
    PRIMARY KEY (day, hash)
) STRICT, WITHOUT ROWID;

-- Ids kept for good. Those of a period are in tables of the same shape, seen_<period>.
CREATE TABLE seen_kept (id BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;
"""

MIGRATION_TO_2 = """
ALTER TABLE series ADD COLUMN held_amount INTEGER;
ALTER TABLE series ADD COLUMN held_buckets TEXT;
ALTER TABLE repository ADD COLUMN shown_ms INTEGER;
ALTER TABLE repository ADD COLUMN active_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE repository ADD COLUMN repository_id TEXT NOT NULL DEFAULT '';
ALTER TABLE learnt ADD COLUMN on_pull_request INTEGER NOT NULL DEFAULT 0;
ALTER TABLE learnt ADD COLUMN deleted_ms INTEGER NOT NULL DEFAULT 0;
CREATE INDEX learnt_of ON learnt (account_id, aws_region, repository) WHERE kind = 'repository';
CREATE TABLE rename (
    account_id TEXT NOT NULL,
    aws_region TEXT NOT NULL,
    name TEXT NOT NULL,
    event_ms INTEGER NOT NULL,
    new_name TEXT NOT NULL,
    PRIMARY KEY (account_id, aws_region, name, event_ms)
) STRICT, WITHOUT ROWID
"""
"""What format 2 adds to format 1."""
