"""All operations of the API, in the order in which its description tells of them."""

from typing import Any

from mediakeep.http import events, health, leases, media, scopes, upkeep, uploads
from mediakeep.http.config import ServerConfig
from mediakeep.http.endings import PLAN_SCHEMA
from mediakeep.http.entries import ENTRY_SCHEMA, STORED_SCHEMA
from mediakeep.http.grants import Right
from mediakeep.http.inputs import Choice, Flag, Input, Moment, Seconds, Text, Whole
from mediakeep.http.links import DISPOSITIONS
from mediakeep.http.operations import LONGEST_SCOPE, Operation, Result
from mediakeep.http.paging import FILTERS, ORDER, PAGING
from mediakeep.http.problems import SCHEMA as PROBLEM_SCHEMA

YEARS = 100 * 365.25 * 86_400
UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"

_TEXT = {"type": "string"}
_TIME = {"type": "string", "format": "date-time"}
_COUNT = {"type": "integer"}
_FLAG = {"type": "boolean"}
_NEXT = {"type": ["string", "null"], "description": "the cursor of the next page, null after the last"}


def _object(required: tuple[str, ...], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": properties}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


SCHEMAS: dict[str, Any] = {
    "Problem": PROBLEM_SCHEMA,
    "Entry": ENTRY_SCHEMA,
    "Stored": STORED_SCHEMA,
    "Released": PLAN_SCHEMA,
    "Entries": _object(
        ("entries", "next"), entries={"type": "array", "items": _ref("Entry")}, next=_NEXT
    ),
    "Scopes": _object(("scopes", "next"), scopes={"type": "array", "items": _TEXT}, next=_NEXT),
    "Lease": _object(("lease", "expires_at"), lease=_TEXT, expires_at=_TIME),
    "Link": _object(("url", "expires_at"), url=_TEXT, expires_at=_TIME),
    "Stats": _object(
        ("refs", "scopes", "size"),
        refs=_COUNT,
        scopes=_COUNT,
        size={**_COUNT, "description": "bytes; of a token's own scopes, each counted by itself"},
        by_scope={
            "type": "object",
            "additionalProperties": _object(
                ("refs", "files", "size"), refs=_COUNT, files=_COUNT, size=_COUNT
            ),
        },
    ),
    "History": _object(
        ("lines",),
        lines={
            "type": "array",
            "items": _object(
                ("at", "what", "ref", "scope", "size"),
                at=_TIME,
                what={"enum": ["released", "expired", "reconciled", "deleted", "failed"]},
                ref=_TEXT,
                id=_TEXT,
                scope=_TEXT,
                size=_COUNT,
                by=_TEXT,
                error=_TEXT,
            ),
        },
    ),
    "Erased": _object(
        ("dry_run", "files"),
        dry_run=_FLAG,
        files={
            "type": "array",
            "items": _object(
                ("location", "size", "refs", "result"),
                location={**_TEXT, "description": "empty for a path, unless the token sees all scopes"},
                size=_COUNT,
                refs={**_COUNT, "description": "how many refs of the scope named it"},
                result={**_TEXT, "description": "`deleted`, or why it was `kept`, `leased` or `failed`"},
            ),
        },
    ),
    "Swept": _object(
        ("dry_run", "expired", "deleted", "freed", "temps", "failed"),
        dry_run=_FLAG,
        expired={**_COUNT, "description": "refs"},
        deleted={**_COUNT, "description": "files"},
        freed={**_COUNT, "description": "bytes"},
        temps={**_COUNT, "description": "what writers that died have left"},
        failed={
            "type": "array",
            "items": _object(
                ("location", "reason", "attempts"), location=_TEXT, reason=_TEXT, attempts=_COUNT
            ),
        },
    ),
    "Reconciled": _object(
        ("dry_run", "blobs", "locations", "counts", "mended", "findings"),
        dry_run=_FLAG,
        blobs=_COUNT,
        locations=_COUNT,
        counts={"type": "object", "additionalProperties": _COUNT},
        mended=_COUNT,
        findings={
            "type": "array",
            "items": _object(
                ("kind", "subject", "reason", "remedy", "mended"),
                kind=_TEXT,
                subject=_TEXT,
                reason=_TEXT,
                remedy=_TEXT,
                mended=_FLAG,
            ),
        },
    ),
    "Status": _object(("status",), status={"const": "ok"}),
}

_SCOPE = Text(LONGEST_SCOPE)
_DRY_RUN = Input("dry_run", Flag(), "change nothing, and say what would happen", default=False)
_NESTED = Input("nested", Flag(), "the scopes below it (`scope:…`) too", default=False)
_IF_NONE_MATCH = Input("If-None-Match", Text(), "answers 304 if the client has the bytes already")


def _in_the_end(description: str, name: str) -> Result:
    """Return the result of what may take long: by then its status has been sent."""
    late = "; or problem details, where it took long before it failed"
    return Result(description + late, {"anyOf": [_ref(name), _ref("Problem")]})


_BYTES = {
    200: Result("The bytes.", {}, "*/*"),
    206: Result("Some of the bytes; several ranges as multipart/byteranges.", {}, "*/*"),
    304: Result("The client has them."),
}


def operations(config: ServerConfig) -> tuple[Operation, ...]:
    """Return all operations, with the bounds that `config` sets."""
    seconds = Input(
        "seconds",
        Seconds(config.max_lease_seconds),
        "how long, from now",
        default=min(60.0, config.max_lease_seconds),
    )
    expires_in = Input(
        "expires_in",
        Seconds(config.max_link_seconds),
        "seconds",
        default=min(3600.0, config.max_link_seconds),
    )
    return (
        Operation(
            "getMedia",
            "GET",
            "/v1/media/{id}",
            "The bytes of a file",
            media.get_bytes,
            Right.READ,
            _BYTES,
            query=(
                Input(
                    "download", Flag(), "as an attachment, also where it could be shown", default=False
                ),
            ),
            headers=(
                Input(
                    "Range",
                    Text(),
                    "`bytes=…`, one range or several (RFC 9110); other units are ignored",
                ),
                Input("If-Range", Text(), "the ETag or date that the ranges are meant for"),
                _IF_NONE_MATCH,
                Input("If-Modified-Since", Text(), "answers 304 if nothing has changed since"),
            ),
            takes_links=True,
            problems=(404, 410, 412, 416, 421),
        ),
        Operation(
            "putMedia",
            "POST",
            "/v1/media",
            "Put a file, or several in a form",
            uploads.put_media,
            Right.WRITE,
            {
                201: Result(
                    "It is stored, durably.",
                    {
                        "anyOf": [
                            _ref("Stored"),
                            _object(("media",), media={"type": "array", "items": _ref("Stored")}),
                        ]
                    },
                )
            },
            query=(
                Input("scope", _SCOPE, "what the ref belongs to and ends with", required=True),
                Input(
                    "filename",
                    Text(1024),
                    "its name; else that of the form or of Content-Disposition",
                    default="",
                ),
                Input(
                    "content_type", Text(255), "what it is; else what the Content-Type says", default=""
                ),
                Input("source", Text(255), "where it comes from, such as `telegram`", default=""),
                Input("ttl", Seconds(YEARS), "seconds that the ref lives; else until its scope ends"),
            ),
            bytes_in=True,
            headers=(
                Input(
                    "Idempotency-Key",
                    Text(255, shortest=1),
                    "the same upload, sent again with the same key within a day, is not stored again",
                ),
            ),
            problems=(408, 409, 410, 413, 415, 422, 507),
        ),
        Operation(
            "listMedia",
            "GET",
            "/v1/media",
            "The live refs of all scopes, by scope and then by age",
            scopes.list_media,
            Right.READ,
            {200: Result("A page of entries.", _ref("Entries"))},
            query=(*PAGING, ORDER, *FILTERS),
        ),
        Operation(
            "releaseMedia",
            "DELETE",
            "/v1/media/{id}",
            "End a ref; its file goes if that was the last one",
            media.release,
            Right.RELEASE,
            {200: Result("It has ended.", _ref("Released"))},
            query=(_DRY_RUN,),
            problems=(404, 410),
        ),
        Operation(
            "getEntry",
            "GET",
            "/v1/media/{id}/entry",
            "What is known of a ref",
            media.get_entry,
            Right.READ,
            {200: Result("The entry.", _ref("Entry"))},
            problems=(404, 410),
        ),
        Operation(
            "getThumbnail",
            "GET",
            "/v1/media/{id}/thumbnail",
            "A small copy of a picture, the first page of a PDF, or the cover or preview in a file",
            media.get_thumbnail,
            Right.READ,
            {
                200: Result("A JPEG or PNG, its longer side at most `size` pixels.", {}, "image/*"),
                304: Result("The client has it."),
            },
            query=(Input("size", Choice(media.SIZES), "pixels", default=256),),
            headers=(_IF_NONE_MATCH,),
            problems=(404, 410, 412, 415, 421, 422, 501, 507),
        ),
        Operation(
            "shareMedia",
            "POST",
            "/v1/media/{id}/share",
            "Another ref of the same file, in another scope",
            media.share,
            Right.WRITE,
            {201: Result("The new ref.", _ref("Stored"))},
            body=(
                Input("scope", _SCOPE, "where the new ref belongs", required=True),
                Input("ttl", Seconds(YEARS), "seconds that it lives"),
            ),
            problems=(404, 410, 415, 507),
        ),
        Operation(
            "makeLink",
            "POST",
            "/v1/media/{id}/link",
            "A signed URL that lets whoever has it read the bytes until it expires",
            media.make_link,
            Right.READ,
            {201: Result("The URL.", _ref("Link"))},
            body=(
                expires_in,
                Input("disposition", Choice(DISPOSITIONS), "shown or downloaded", default="inline"),
            ),
            problems=(404, 410, 415),
        ),
        Operation(
            "beginLease",
            "POST",
            "/v1/media/{id}/leases",
            "Hold the file: nothing deletes it while the lease lives",
            leases.begin_lease,
            Right.READ,
            {201: Result("The lease.", _ref("Lease"))},
            body=(seconds,),
            problems=(404, 410, 415),
        ),
        Operation(
            "renewLease",
            "POST",
            "/v1/media/{id}/leases/{lease}",
            "Let a lease last longer",
            leases.renew_lease,
            Right.READ,
            {200: Result("The lease.", _ref("Lease"))},
            body=(seconds,),
            problems=(404, 410, 415),
        ),
        Operation(
            "endLease",
            "DELETE",
            "/v1/media/{id}/leases/{lease}",
            "End a lease",
            leases.end_lease,
            Right.READ,
            {204: Result("It has ended.")},
            problems=(404,),
        ),
        Operation(
            "listScopes",
            "GET",
            "/v1/scopes",
            "The scopes that have a live ref",
            scopes.list_scopes,
            Right.READ,
            {200: Result("A page of names.", _ref("Scopes"))},
            query=(Input("prefix", _SCOPE, "what the names begin with", default=""), *PAGING),
        ),
        Operation(
            "listScope",
            "GET",
            "/v1/scopes/{scope}",
            "The live refs of a scope, by age",
            scopes.list_scope,
            Right.READ,
            {200: Result("A page of entries.", _ref("Entries"))},
            query=(_NESTED, *PAGING, ORDER, *FILTERS),
        ),
        Operation(
            "releaseScope",
            "DELETE",
            "/v1/scopes/{scope}",
            "End every ref of a scope",
            scopes.release_scope,
            Right.RELEASE,
            {200: Result("It has ended.", _ref("Released"))},
            query=(_NESTED, _DRY_RUN),
        ),
        Operation(
            "getStats",
            "GET",
            "/v1/stats",
            "The store in numbers, or the token's own scopes",
            health.get_stats,
            Right.READ,
            {200: Result("Some seconds old at most.", _ref("Stats"))},
            query=(Input("by_scope", Flag(), "also those of each scope", default=False),),
        ),
        Operation(
            "getHistory",
            "GET",
            "/v1/history",
            "What has ended and was deleted, the newest first",
            events.get_history,
            Right.READ,
            {200: Result("Lines of the journal.", _ref("History"))},
            query=(
                Input("id", Text(36, UUID), "of this ref and its file"),
                Input("scope", _SCOPE, "of this scope and those below it"),
                Input("before", Moment(), "before this time"),
                Input("limit", Whole(1, 1000), "how many at most", default=100),
                Input(
                    "skip",
                    Whole(0, 10**9),
                    "how many to leave out, of those that come first: many may be of one moment",
                    default=0,
                ),
            ),
        ),
        Operation(
            "streamEvents",
            "GET",
            "/v1/events",
            f"Server-sent events: {', '.join(events.NAMES)}",
            events.stream_events,
            Right.READ,
            {200: Result("Events until the client goes.", _TEXT, "text/event-stream")},
            headers=(Input("Last-Event-ID", Text(), "go on after this event"),),
        ),
        Operation(
            "erase",
            "POST",
            "/v1/erase",
            "End a scope and those below it, delete their files at once, and tell what became of each",
            upkeep.erase,
            Right.ADMIN,
            {200: _in_the_end("What became of each file.", "Erased")},
            body=(
                Input("scope", Text(LONGEST_SCOPE, shortest=1), "the scope", required=True),
                Input(
                    "wait",
                    Seconds(config.max_lease_seconds),
                    "how long to wait for leases; without it they refuse it",
                ),
                _DRY_RUN,
            ),
            problems=(409, 415),
        ),
        Operation(
            "sweep",
            "POST",
            "/v1/sweep",
            "End what is past its time, and delete what is condemned, now",
            upkeep.sweep,
            Right.ADMIN,
            {200: _in_the_end("What was done.", "Swept")},
            body=(_DRY_RUN,),
            problems=(415,),
        ),
        Operation(
            "reconcile",
            "POST",
            "/v1/reconcile",
            "Compare the catalog with the blobs, and mend it if asked to",
            upkeep.reconcile,
            Right.ADMIN,
            {200: _in_the_end("What was found.", "Reconciled")},
            body=(
                Input("dry_run", Flag(), "change nothing", default=True),
                Input("deep", Flag(), "read all bytes, too", default=False),
                Input(
                    "grace",
                    Seconds(YEARS, or_none=True),
                    "how old an unnamed blob must be",
                    default=3600.0,
                ),
                Input("force", Flag(), "also where most of them would be deleted", default=False),
            ),
            problems=(409, 415),
        ),
        Operation(
            "healthz",
            "GET",
            "/healthz",
            "Whether the process answers",
            health.healthz,
            None,
            {200: Result("It does.", _ref("Status"))},
        ),
        Operation(
            "readyz",
            "GET",
            "/readyz",
            "Whether catalog and blobs answer",
            health.readyz,
            None,
            {200: Result("They do.", _ref("Status"))},
            problems=(503,),
        ),
        Operation(
            "metrics",
            "GET",
            "/metrics",
            "Numbers for Prometheus",
            health.get_metrics,
            Right.METRICS,
            {200: Result("In Prometheus' text format.", _TEXT, "text/plain")},
        ),
    )
