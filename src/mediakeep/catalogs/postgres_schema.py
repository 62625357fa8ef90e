"""The tables of a PostgreSQL catalog: what they are, and how they come to be what they are.

All tables are in a schema of their own, written `mediakeep` in the statements of these modules, which
:class:`~mediakeep.catalogs.postgres_database.Database` replaces by the name that was chosen.
"""

VERSION = 1
"""Of the tables that this version of mediakeep reads and writes."""

OLDEST_SERVER = 140_000
"""PostgreSQL 14, as `server_version` tells it."""

SLOTS = 64
"""Rows among which the totals are spread, so that writers do not queue for one."""

_OFTEN = "autovacuum_vacuum_scale_factor = 0.01, autovacuum_analyze_scale_factor = 0.005"
"""Vacuum and statistics after a hundredth of the rows: the usual fifth is far too many of millions."""

_CLEAN = "vacuum_index_cleanup = on"
"""The rows that are dead are the oldest, and every sweep begins at their entries in the indexes. Where
they are few, vacuum leaves these in place otherwise (PostgreSQL documentation, "VACUUM")."""

_FIRST = f"""
CREATE TABLE mediakeep.about (
    product text NOT NULL,
    version integer NOT NULL
);
INSERT INTO mediakeep.about VALUES ('mediakeep', 1);

CREATE TABLE mediakeep.locations (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    location bytea NOT NULL,            -- a local path in the file system's bytes, or the key of a blob;
    whole bytea,                        -- this is it, and that a digest, where it is too long to index
    host text COLLATE "C" NOT NULL,     -- whose path it is; empty for a blob
    owned boolean NOT NULL,             -- may the bytes be deleted?
    size bigint NOT NULL,
    sha256 text COLLATE "C" NOT NULL,
    condemned bigint,                   -- the line of history that says why; NULL while live
    attempts integer NOT NULL DEFAULT 0,  -- deletions that failed
    error text NOT NULL DEFAULT '',
    variant_of bigint,                  -- the location that it was made from; that may go first
    variant text NOT NULL DEFAULT '',   -- and what was made of it
    UNIQUE (location, host)
) WITH ({_OFTEN}, {_CLEAN});
CREATE INDEX locations_condemned ON mediakeep.locations (host, condemned) WHERE condemned IS NOT NULL;
CREATE INDEX locations_lines ON mediakeep.locations (condemned) WHERE condemned IS NOT NULL;
CREATE INDEX locations_failed ON mediakeep.locations (id) WHERE attempts > 0 AND condemned IS NOT NULL;
CREATE INDEX locations_content ON mediakeep.locations (substr(sha256, 1, 16)) WHERE sha256 <> '';
CREATE INDEX locations_made_of ON mediakeep.locations (variant_of) WHERE variant_of IS NOT NULL;
CREATE UNIQUE INDEX locations_variants ON mediakeep.locations (variant_of, variant)
    WHERE variant_of IS NOT NULL AND condemned IS NULL;

CREATE TABLE mediakeep.refs (
    ref uuid PRIMARY KEY,
    location_id bigint NOT NULL REFERENCES mediakeep.locations (id),
    scope text COLLATE "C" NOT NULL,
    path bytea,                         -- as the caller gave it; NULL where that is the location
    meta text NOT NULL,                 -- ASCII JSON: a jsonb knows no NUL and no lone surrogate
    stored_at double precision NOT NULL,  -- seconds since the epoch
    expires_at double precision         -- NULL without a time to live of its own
) WITH ({_OFTEN}, {_CLEAN});
CREATE INDEX refs_location ON mediakeep.refs (location_id);
CREATE INDEX refs_scope ON mediakeep.refs (scope, stored_at, ref);
CREATE INDEX refs_age ON mediakeep.refs (stored_at) WHERE expires_at IS NULL;
CREATE INDEX refs_ttl ON mediakeep.refs (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE mediakeep.leases (
    number bigint PRIMARY KEY,          -- random
    location_id bigint NOT NULL REFERENCES mediakeep.locations (id) ON DELETE CASCADE,
    deadline double precision NOT NULL,
    holder text NOT NULL
);
CREATE INDEX leases_location ON mediakeep.leases (location_id);
CREATE INDEX leases_deadline ON mediakeep.leases (deadline);

CREATE TABLE mediakeep.history (        -- the journal, for a week
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,  -- grows with time
    at double precision NOT NULL,
    what text NOT NULL,                 -- released, expired or reconciled
    ref uuid,                           -- NULL for a blob that had none
    scope text COLLATE "C" NOT NULL,
    location bytea NOT NULL,
    location_id bigint NOT NULL,        -- of which a later file of the same path has another
    size bigint NOT NULL,
    process text NOT NULL,
    failed_at double precision,         -- where this was the last ref: when deleting first failed,
    error text NOT NULL DEFAULT '',     -- and how,
    deleted_at double precision,        -- and when the bytes were deleted,
    deleted_by text NOT NULL DEFAULT '' -- and by whom it was tried last
) WITH (fillfactor = 90, {_OFTEN});
CREATE INDEX history_ref ON mediakeep.history (ref);
CREATE INDEX history_location ON mediakeep.history (location_id);
CREATE INDEX history_scope ON mediakeep.history (scope, id);

-- How much the locations are, for the limits. A connection writes the row of its own backend, always
-- last in its transaction: so nobody waits for it who holds what another one wants.
CREATE TABLE mediakeep.totals (
    slot integer PRIMARY KEY,
    files bigint NOT NULL,
    size bigint NOT NULL
) WITH (fillfactor = 20);
INSERT INTO mediakeep.totals SELECT slot, 0, 0 FROM generate_series(0, {SLOTS - 1}) AS slot;

CREATE FUNCTION mediakeep.locations_more() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE mediakeep.totals t SET files = t.files + n.files, size = t.size + n.size
    FROM (SELECT count(*) AS files, coalesce(sum(it.size), 0) AS size FROM changed it) n
    WHERE t.slot = pg_backend_pid() % {SLOTS} AND n.files > 0;
    RETURN NULL;
END $$;
CREATE FUNCTION mediakeep.locations_less() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE mediakeep.totals t SET files = t.files - n.files, size = t.size - n.size
    FROM (SELECT count(*) AS files, coalesce(sum(it.size), 0) AS size FROM changed it) n
    WHERE t.slot = pg_backend_pid() % {SLOTS} AND n.files > 0;
    RETURN NULL;
END $$;
CREATE FUNCTION mediakeep.locations_other() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE mediakeep.totals SET size = size + new.size - old.size
    WHERE slot = pg_backend_pid() % {SLOTS};
    RETURN NULL;
END $$;
CREATE TRIGGER locations_more AFTER INSERT ON mediakeep.locations
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION mediakeep.locations_more();
CREATE TRIGGER locations_less AFTER DELETE ON mediakeep.locations
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION mediakeep.locations_less();
CREATE TRIGGER locations_other AFTER UPDATE OF size ON mediakeep.locations
    FOR EACH ROW WHEN (old.size <> new.size) EXECUTE FUNCTION mediakeep.locations_other();
"""

MIGRATIONS = (_FIRST,)
"""What brings an empty schema to version 1, that to version 2, and so on."""

NOW = "coalesce(%(now)s::float8, extract(epoch FROM statement_timestamp())::float8)"
"""The time: of the database, unless the catalog was given a clock."""

# The OFFSET makes it one look into an index for each location, whatever the server takes the tables for.
LEASED = f"""EXISTS (
    SELECT 1 FROM mediakeep.leases
    WHERE location_id IN (l.id, l.variant_of) AND deadline >= {NOW} OFFSET 0
)"""
"""Whether a live lease holds the location `l`, or that from which it was made."""

ALONE = "NOT EXISTS (SELECT 1 FROM mediakeep.refs WHERE location_id = l.id OFFSET 0)"
"""Whether no ref names the location `l`."""
