"""The tables of an SQLite catalog: what they are, and how they come to be what they are."""

VERSION = 2

SCHEMA = """
CREATE TABLE locations (
    id INTEGER PRIMARY KEY,
    location BLOB NOT NULL UNIQUE,      -- a local path in the file system's bytes, or the key of a blob
    owned INTEGER NOT NULL,             -- may the bytes be deleted?
    size INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    condemned INTEGER,                  -- the line of history that says why; NULL while live
    attempts INTEGER NOT NULL DEFAULT 0,  -- deletions that failed
    error TEXT NOT NULL DEFAULT '',
    variant_of INTEGER,                 -- the location that it was made from; that may go first
    variant TEXT NOT NULL DEFAULT ''    -- and what was made of it
) STRICT;
CREATE INDEX locations_condemned ON locations (condemned) WHERE condemned IS NOT NULL;
CREATE INDEX locations_by_content ON locations (substr(sha256, 1, 16)) WHERE sha256 <> '';
CREATE INDEX locations_variants ON locations (variant_of) WHERE variant_of IS NOT NULL;

CREATE TABLE refs (
    ref BLOB PRIMARY KEY,               -- the 16 bytes of the uuid
    location_id INTEGER NOT NULL REFERENCES locations (id),
    scope TEXT NOT NULL,
    path BLOB,                          -- as the caller gave it; NULL where that is the location
    meta TEXT NOT NULL,                 -- JSON
    stored_at REAL NOT NULL,            -- seconds since the epoch
    expires_at REAL                     -- NULL without a time to live of its own
) STRICT, WITHOUT ROWID;
CREATE INDEX refs_by_location ON refs (location_id);
CREATE INDEX refs_by_scope ON refs (scope, stored_at);
CREATE INDEX refs_by_age ON refs (expires_at, stored_at);

CREATE TABLE leases (
    number INTEGER PRIMARY KEY,         -- random
    location_id INTEGER NOT NULL REFERENCES locations (id) ON DELETE CASCADE,
    deadline REAL NOT NULL,             -- by the clock of leases: seconds since that boot
    boot TEXT NOT NULL,                 -- which boot of the machine that is
    holder TEXT NOT NULL
) STRICT;
CREATE INDEX leases_by_location ON leases (location_id);

CREATE TABLE history (                  -- the journal, for a week
    id INTEGER PRIMARY KEY,             -- grows with time
    at REAL NOT NULL,
    what TEXT NOT NULL,                 -- released, expired or reconciled
    ref BLOB,                           -- NULL for a blob that had none
    scope TEXT NOT NULL,
    location BLOB NOT NULL,
    size INTEGER NOT NULL,
    process TEXT NOT NULL,
    failed_at REAL,                     -- where this was the last ref: when deleting first failed,
    error TEXT NOT NULL DEFAULT '',     -- and how,
    deleted_at REAL,                    -- and when the bytes were deleted,
    deleted_by TEXT NOT NULL DEFAULT '' -- and by whom it was tried last
) STRICT;
CREATE INDEX history_by_ref ON history (ref);

CREATE TABLE totals (                   -- of locations; kept by the triggers, for the limits
    files INTEGER NOT NULL,
    size INTEGER NOT NULL
) STRICT;
INSERT INTO totals VALUES (0, 0);
CREATE TRIGGER locations_more AFTER INSERT ON locations BEGIN
    UPDATE totals SET files = files + 1, size = size + new.size;
END;
CREATE TRIGGER locations_other AFTER UPDATE OF size ON locations WHEN old.size <> new.size BEGIN
    UPDATE totals SET size = size + new.size - old.size;
END;
CREATE TRIGGER locations_less AFTER DELETE ON locations BEGIN
    UPDATE totals SET files = files - 1, size = size - old.size;
END
"""

MIGRATIONS = {
    1: (
        "ALTER TABLE locations ADD COLUMN variant_of INTEGER",
        "ALTER TABLE locations ADD COLUMN variant TEXT NOT NULL DEFAULT ''",
        "CREATE INDEX locations_by_content ON locations (substr(sha256, 1, 16)) WHERE sha256 <> ''",
        "CREATE INDEX locations_variants ON locations (variant_of) WHERE variant_of IS NOT NULL",
    ),
}
"""What brings a file of each older version to the next one."""

# A lease is live while its deadline is ahead, in this boot of the machine.
# One on an original holds what was made of it, too.
LEASED = """EXISTS (
    SELECT 1 FROM leases WHERE location_id IN (locations.id, locations.variant_of)
        AND deadline >= :now AND boot = :boot
)"""

COLUMNS = """
    r.scope, l.location, r.path, r.meta, l.size, l.sha256, r.stored_at, r.expires_at
"""
