"""The page of one ref: what it is, who else has it, how long it lives, and what became of it."""

from dataclasses import dataclass
from functools import partial
from itertools import islice

from mediakeep.errors import MediaError, UnknownRef
from mediakeep.http.dashboard.pages import Page, Window
from mediakeep.http.dashboard.words import name_words
from mediakeep.http.problems import TITLES, problem_of
from mediakeep.http.service import Call
from mediakeep.model import Entry, Receipt

MOST_SHARERS = 50
MOST_LINES = 50
PREVIEW_BYTES = 2000
"""How much of a text is shown."""


@dataclass(slots=True)
class _Found:
    entry: Entry
    others: list[tuple[str, str]]
    """Ref and scope of those that share the file, as far as they may be seen."""
    more: bool
    history: list[Receipt]
    preview: str


async def show_media(window: Window, call: Call) -> Page:
    """Show a ref, or why it has ended."""
    service = window.service
    try:
        found = await service.read_long(partial(_look, call))
    except UnknownRef as error:
        problem = problem_of(error, call.grant)
        history = await service.read_long(partial(_history, call)) if problem.status == 410 else []
        values = {
            "title": TITLES[problem.error],
            "detail": problem.detail,
            "status": problem.status,
            "error": problem.error,
            "history": history,
        }
        return Page("problem.html", values, problem.status)
    return Page(
        "media.html",
        {
            "entry": found.entry,
            "name": name_words(found.entry.meta.filename),
            "others": found.others,
            "more_others": found.more,
            "history": found.history,
            "preview": found.preview,
            "max_link_seconds": service.config.max_link_seconds,
        },
    )


def _look(call: Call) -> _Found:
    call.look_up()
    store = call.service.store
    entry = store.entry(call.ref)
    sharing = (it for it in store._catalog.refs_at(entry.location) if it.ref != call.ref)
    # Who does not see all scopes is not told whether others have the same file.
    seen = (it for it in islice(sharing, 1000) if call.grant.sees(it.scope))
    others = [(it.ref, it.scope) for it in islice(seen, MOST_SHARERS + 1)]
    return _Found(
        entry, others[:MOST_SHARERS], len(others) > MOST_SHARERS, _history(call), _preview(call, entry)
    )


def _history(call: Call) -> list[Receipt]:
    """Return the last lines of the journal about the ref, as far as they may be told."""
    grant = call.grant
    lines = [
        it
        for it in call.service.store.history(call.ref)
        if grant.sees_all or (it.what not in ("deleted", "failed") and grant.sees(it.scope))
    ]
    return lines[-MOST_LINES:]


def _preview(call: Call, entry: Entry) -> str:
    """Return the beginning of a plain text; nothing of what cannot be read."""
    if entry.meta.content_type.partition(";")[0].strip().lower() != "text/plain":
        return ""
    try:
        with call.service.store.open(call.ref) as file:
            data = file.read(PREVIEW_BYTES)
    except MediaError:  # the page itself says that the bytes are gone, when they are asked for
        return ""
    return data.decode("utf-8", "replace")
