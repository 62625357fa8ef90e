"""What is known of a ref, as JSON; never where its bytes are on the server's machine."""

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from mediakeep.http.grants import Grant
from mediakeep.images.posters import may_have_poster
from mediakeep.model import Entry
from mediakeep.refs import PREFIX

if TYPE_CHECKING:
    from mediakeep.http.service import Call

_TEXT = {"type": "string"}
_TIME = {"type": "string", "format": "date-time"}

ENTRY_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "What is known of a ref.",
    "required": ["ref", "id", "scope", "size", "stored_at"],
    "properties": {
        "ref": {"type": "string", "description": "`media://` and the id"},
        "id": {"type": "string", "format": "uuid"},
        "scope": _TEXT,
        "filename": _TEXT,
        "content_type": {"type": "string", "description": "the one to believe"},
        "declared_type": {"type": "string", "description": "the one that was said of the bytes"},
        "detected_type": {"type": "string", "description": "the one that the bytes show, or empty"},
        "source": _TEXT,
        "size": {"type": "integer", "description": "in bytes"},
        "sha256": {"type": "string", "description": "empty for a file that was registered in place"},
        "stored_at": _TIME,
        "expires_at": {**_TIME, "type": ["string", "null"]},
        "cleanup_policy": {
            "enum": ["delete_on_cleanup", "forget_only"],
            "description": "as it was said of this ref; `owned` is what holds of the file",
        },
        "owned": {"type": "boolean", "description": "whether the bytes go with their last ref"},
        "refs": {
            "type": ["integer", "null"],
            "description": "how many refs share the file; null for a token that does not see all scopes",
        },
        "leases": {
            "type": ["integer", "null"],
            "description": "how many leases hold it; null for a token that does not see all scopes",
        },
    },
}

STORED_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["ref", "id", "entry", "links"],
    "properties": {
        "ref": _TEXT,
        "id": {"type": "string", "format": "uuid"},
        "entry": {"$ref": "#/components/schemas/Entry"},
        "links": {
            "type": "object",
            "properties": {"self": _TEXT, "entry": _TEXT, "thumbnail": _TEXT},
        },
    },
}


def entry_json(entry: Entry, grant: Grant) -> dict[str, Any]:
    """Return `entry` as it is told to who has this `grant`.

    How many refs and leases a file has tells what other scopes have. Since equal bytes are kept once,
    whoever puts a file would learn from it whether somebody else has the same.
    """
    return {
        "ref": entry.ref,
        "id": id_of(entry.ref),
        "scope": entry.scope,
        "filename": entry.meta.filename,
        "content_type": entry.meta.content_type,
        "declared_type": entry.declared_type,
        "detected_type": entry.detected_type,
        "source": entry.meta.source,
        "size": entry.size,
        "sha256": entry.sha256,
        "stored_at": entry.stored_at,
        "expires_at": entry.expires_at,
        "cleanup_policy": entry.meta.cleanup_policy,
        "owned": entry.owned,
        "refs": entry.refs if grant.sees_all else None,
        "leases": entry.leases if grant.sees_all else None,
    }


def stored_json(call: "Call", entry: Entry) -> dict[str, Any]:
    """Return a new ref with its entry and where to go from there."""
    where = url_of(call, entry.ref)
    links = {"self": where, "entry": f"{where}/entry"}
    if may_have_poster(entry.meta.content_type):
        links["thumbnail"] = f"{where}/thumbnail"
    said = entry_json(entry, call.grant)
    return {"ref": entry.ref, "id": said["id"], "entry": said, "links": links}


def url_of(call: "Call", ref: str) -> str:
    """Return where the bytes of `ref` are, as a URL or, without `public_url`, as a path."""
    base = call.service.config.public_url.rstrip("/") or call.scope.get("root_path", "")
    return f"{base}/v1/media/{quote(id_of(ref))}"


def id_of(ref: str) -> str:
    """Return the uuid of a ref."""
    return ref.removeprefix(PREFIX)
