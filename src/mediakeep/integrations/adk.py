"""google-adk: artifacts in a store, each name a scope, below that of its session or its user."""

import random
import time
from functools import partial
from typing import Any, cast

try:
    from google.adk.artifacts.artifact_util import (
        is_artifact_ref,
        parse_artifact_uri,
        resolve_artifact_reference,
        validate_artifact_reference_scope,
        validate_path_segment,
    )
    from google.adk.artifacts.base_artifact_service import (
        ArtifactVersion,
        BaseArtifactService,
        ensure_part,
    )
    from google.adk.errors.input_validation_error import InputValidationError
    from google.genai import types
except ImportError as error:
    raise ImportError(
        'mediakeep.integrations.adk needs google-adk: pip install "mediakeep[adk]"'
    ) from error

from mediakeep.errors import UnknownRef
from mediakeep.integrations.notes import note, noted
from mediakeep.integrations.scopes import scope_of
from mediakeep.integrations.threads import Threads
from mediakeep.integrations.turns import Turns
from mediakeep.model import Entry, MediaMeta
from mediakeep.store import MediaStore

__all__ = ["AdkArtifacts"]

FRAMEWORK = "adk"
"""The first level of all scopes of artifacts, and the source that these have."""


class AdkArtifacts(BaseArtifactService):
    """ADK's artifact service, over a store.

    The versions of an artifact are the refs of a scope of its own, below that of its session, or of its
    user where its name begins with `user:`; `scope` gives those. So a session's artifacts end by
    `store.release_all(service.scope(...), nested=True)`, and a user's likewise. ADK itself ends none
    with its session.

    Looking at an artifact reads the entries of its versions, listing names those of the session and the
    user; nothing of the rest of the store. A version has the number that follows the highest one that is
    live. Several processes may save at once: each save gets a number of its own, and at worst one is
    left out.

    Args:
        store: where the artifacts go; it is not closed.
    """

    def __init__(self, store: MediaStore) -> None:
        self._store = store
        self._threads = Threads()
        self._turns = Turns()

    def scope(self, *, app_name: str, user_id: str, session_id: str | None = None) -> str:
        """Return the scope that the artifacts of a session lie below, or those of a whole user.

        That of a user is above those of all sessions and of the `user:` names.

        Raises:
            InputValidationError: a name is one that ADK refuses.
        """
        levels = [FRAMEWORK, _checked("app_name", app_name), _checked("user_id", user_id)]
        if session_id is not None:
            levels += ["sessions", _checked("session_id", session_id.strip())]
        return scope_of(*levels)

    async def save_artifact(
        self,
        *,
        app_name: str,
        user_id: str,
        filename: str,
        artifact: types.Part | dict[str, Any],
        session_id: str | None = None,
        custom_metadata: dict[str, Any] | None = None,
    ) -> int:
        """Save a version of an artifact, and return its number, from 0 on.

        Raises:
            InputValidationError: a name is none, a `session_id` is missing, the part has neither data
                nor text nor the URI of a file, the metadata cannot be JSON, or a reference leads
                elsewhere.
            MediaError: what :meth:`MediaStore.put` raises, such as `QuotaExceeded`.
        """
        scope = self._scope_of(app_name, user_id, session_id, filename)
        part = ensure_part(artifact)
        if is_artifact_ref(part):
            _check_reference(part, app_name, user_id, session_id)
        data, mime_type, rest = _taken_apart(part)
        said = {"filename": filename, "mime_type": mime_type, "part": rest}
        if custom_metadata:
            said["custom"] = custom_metadata
        try:
            note(FRAMEWORK, said)
            # Deeper than pydantic writes, it would be kept, and no list of versions could be sent.
            ArtifactVersion(
                version=0, canonical_uri="", custom_metadata=custom_metadata or {}
            ).model_dump_json()
        except (TypeError, ValueError, RecursionError) as error:
            raise InputValidationError(f"custom_metadata must be JSON: {error}") from error
        name = filename.removeprefix("user:")

        def save() -> tuple[str, int]:
            with self._turns.of(scope):
                return self._save(scope, data, name, mime_type or "", said)

        _, version = await self._threads.run(save, undo=lambda saved: self._store.release(saved[0]))
        return version

    def _save(
        self, scope: str, data: bytes, name: str, mime_type: str, said: dict[str, Any]
    ) -> tuple[str, int]:
        """Put a version under the next free number, and return its ref and that number."""
        while True:
            version = max((it for _, it, _ in self._versions(scope)), default=-1) + 1
            meta = MediaMeta(name, mime_type, note(FRAMEWORK, {"version": version, **said}))
            ref = self._store.put(data, meta, scope)
            kept = False
            try:
                kept = self._has_alone(scope, version, ref)
            finally:
                if not kept:
                    self._store.release(ref)
            if kept:
                return ref, version
            time.sleep(random.uniform(0, _STEP_SECONDS))  # noqa: S311  it keeps no secret

    def _has_alone(self, scope: str, version: int, ref: str) -> bool:
        """Return whether no other version has this number, which another process may have taken too.

        Of two that took it the one that looks last sees the other. Who sees a smaller ref gives way. Who
        sees larger ones only waits for them to do so: one that looked too early to see this one has kept
        the number, and will not.
        """
        for _ in range(_STEPS):
            rivals = [entry.ref for entry, it, _ in self._versions(scope) if it == version]
            if rivals == [ref]:
                return True
            if min(rivals, default="") < ref:
                return False
            time.sleep(_STEP_SECONDS)
        return False

    async def load_artifact(
        self,
        *,
        app_name: str,
        user_id: str,
        filename: str,
        session_id: str | None = None,
        version: int | None = None,
    ) -> types.Part | None:
        """Return a version of an artifact, the latest by default, or None if there is none.

        A reference to another artifact is followed.

        Raises:
            InputValidationError: a name is none, a `session_id` is missing, or a reference leads
                elsewhere or through too many others.
            MediaMissing: the version is there, but somebody deleted its file.
        """
        for remaining in range(_MOST_REFERENCES, -1, -1):
            scope = self._scope_of(app_name, user_id, session_id, filename)
            part = await self._threads.run(partial(self._load, scope, version))
            if part is None or not is_artifact_ref(part):
                return part
            target = resolve_artifact_reference(
                file_uri=_uri_of(part),
                app_name=app_name,
                user_id=user_id,
                session_id=session_id and session_id.strip(),
                remaining_depth=remaining,
            )
            filename, session_id, version = target.filename, target.session_id, target.version
        raise AssertionError("resolve_artifact_reference ends this")

    def _load(self, scope: str, version: int | None) -> types.Part | None:
        found = self._find(scope, version)
        if found is None:
            return None
        entry, _, said = found
        try:
            data = self._store.read_bytes(entry.ref)
        except UnknownRef:  # it was deleted just now
            return None
        part = _put_together(data, said["part"])
        return None if part == _REMOVED else part

    async def list_artifact_keys(
        self, *, app_name: str, user_id: str, session_id: str | None = None
    ) -> list[str]:
        """Return the names of the artifacts of a session and of its user, sorted."""
        scopes = [self._user_scope(app_name, user_id)]
        if session_id is not None:
            scopes.append(self.scope(app_name=app_name, user_id=user_id, session_id=session_id))
        return await self._threads.run(partial(self._names, scopes))

    def _names(self, scopes: list[str]) -> list[str]:
        entries = (entry for it in scopes for entry in self._store.entries(it, nested=True))
        notes = (noted(FRAMEWORK, entry.meta.source) for entry in entries)
        return sorted({said["filename"] for said in notes if said})

    async def delete_artifact(
        self, *, app_name: str, user_id: str, filename: str, session_id: str | None = None
    ) -> None:
        """Release all versions of an artifact; one that is not there is no error."""
        scope = self._scope_of(app_name, user_id, session_id, filename)
        await self._threads.finish(partial(self._store.release_all, scope))

    async def list_versions(
        self, *, app_name: str, user_id: str, filename: str, session_id: str | None = None
    ) -> list[int]:
        """Return the numbers of the versions of an artifact, rising."""
        scope = self._scope_of(app_name, user_id, session_id, filename)
        return [it for _, it, _ in await self._threads.run(partial(self._versions, scope))]

    async def list_artifact_versions(
        self, *, app_name: str, user_id: str, filename: str, session_id: str | None = None
    ) -> list[ArtifactVersion]:
        """Return what is known of each version of an artifact; its canonical URI is its ref."""
        scope = self._scope_of(app_name, user_id, session_id, filename)
        return [_described(*it) for it in await self._threads.run(partial(self._versions, scope))]

    async def get_artifact_version(
        self,
        *,
        app_name: str,
        user_id: str,
        filename: str,
        session_id: str | None = None,
        version: int | None = None,
    ) -> ArtifactVersion | None:
        """Return what is known of a version, the latest by default, or None if there is none."""
        scope = self._scope_of(app_name, user_id, session_id, filename)
        found = await self._threads.run(partial(self._find, scope, version))
        return None if found is None else _described(*found)

    def _user_scope(self, app_name: str, user_id: str) -> str:
        return f"{self.scope(app_name=app_name, user_id=user_id)}:user"

    def _scope_of(self, app_name: str, user_id: str, session_id: str | None, filename: str) -> str:
        """Return the scope of the versions of one artifact."""
        if filename.startswith("user:"):
            return f"{self._user_scope(app_name, user_id)}:{scope_of(filename)}"
        above = self.scope(app_name=app_name, user_id=user_id, session_id=session_id)
        if session_id is None:
            raise InputValidationError("Session ID must be provided for session-scoped artifacts.")
        return f"{above}:{scope_of(filename)}"

    def _find(self, scope: str, version: int | None) -> "_Version | None":
        versions = self._versions(scope)
        if version is None:
            return versions[-1] if versions else None
        return next((it for it in versions if it[1] == version), None)

    def _versions(self, scope: str) -> "list[_Version]":
        """Return entry, number and note of each version, by number."""
        found = ((entry, noted(FRAMEWORK, entry.meta.source)) for entry in self._store.entries(scope))
        versions = [(entry, cast("int", said["version"]), said) for entry, said in found if said]
        return sorted(versions, key=lambda it: it[1])


_Version = tuple[Entry, int, dict[str, Any]]

_MOST_REFERENCES = 5
"""How many references are followed from one artifact to another, as by ADK's own services."""

_STEPS, _STEP_SECONDS = 20, 0.01
"""How often, and after how long, who saves looks whether others of the same number have given way."""

_REMOVED = types.Part(inline_data=types.Blob(mime_type="application/octet-stream", data=b""))
"""What ADK saves as a version when a session is taken back to before the artifact was there."""


def _checked(field: str, value: str) -> str:
    validate_path_segment(value, field)
    return value


def _taken_apart(part: types.Part) -> tuple[bytes, str | None, dict[str, Any]]:
    """Return the bytes of a part, their type, and the rest of it as JSON."""
    if part.inline_data is not None and part.inline_data.data is not None:
        rest = part.model_dump(mode="json", exclude={"inline_data": {"data"}}, exclude_none=True)
        rest.setdefault("inline_data", {})
        return part.inline_data.data, part.inline_data.mime_type, rest
    rest = part.model_dump(mode="json", exclude={"text"}, exclude_none=True)
    if part.text is not None:
        return part.text.encode("utf-8", "surrogatepass"), "text/plain", {**rest, "text": ""}
    if part.file_data is not None and part.file_data.file_uri:
        mime_type = None if is_artifact_ref(part) else part.file_data.mime_type
        return _uri_of(part).encode(), mime_type, rest
    raise InputValidationError("An artifact must have inline_data, text or file_data.")


def _put_together(data: bytes, rest: dict[str, Any]) -> types.Part:
    """Return the part that was taken apart."""
    part = types.Part.model_validate(rest)
    if part.inline_data is not None:
        part.inline_data.data = data
    elif part.text is not None:
        part.text = data.decode("utf-8", "surrogatepass")
    return part


def _uri_of(part: types.Part) -> str:
    return (part.file_data and part.file_data.file_uri) or ""


def _check_reference(part: types.Part, app_name: str, user_id: str, session_id: str | None) -> None:
    target = parse_artifact_uri(_uri_of(part))
    if target is None:
        raise InputValidationError(f"{_uri_of(part)!r} is no reference to an artifact.")
    validate_artifact_reference_scope(
        app_name=app_name,
        user_id=user_id,
        session_id=session_id and session_id.strip(),
        parsed_uri=target,
    )


def _described(entry: Entry, version: int, said: dict[str, Any]) -> ArtifactVersion:
    return ArtifactVersion(
        version=version,
        canonical_uri=entry.ref,
        custom_metadata=said.get("custom", {}),
        create_time=entry.stored_at.timestamp(),
        mime_type=said["mime_type"],
    )
