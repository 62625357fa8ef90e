"""Cursors: a place in a list of entries as text, for who asks for one page after another."""

import base64
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Self

from mediakeep.catalogs.rows import uuid_of
from mediakeep.errors import UnknownRef
from mediakeep.model import Position
from mediakeep.refs import PREFIX

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in the order of entries: by scope, then by age, then by ref.

    It names the last ref of a page, so that the next one goes on behind it, whether that ref still lives
    or not.
    """

    scope: str
    stored_at: datetime
    ref: str

    @classmethod
    def at(cls, place: Position) -> Self:
        """Return the cursor that names the place of an entry."""
        return cls(place.scope, place.stored_at, place.ref)

    @classmethod
    def read(cls, text: str) -> Self:
        """Return the cursor that `str` wrote.

        Raises:
            ValueError: it is none.
        """
        try:
            said = json.loads(base64.urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4)))
            scope, stored_at, ref = said
            if (type(scope), type(stored_at), type(ref)) != (str, int, str):
                raise TypeError
            scope.encode()  # a lone surrogate is in no scope, and no database takes one
            uuid_of(ref)
            return cls(scope, _EPOCH + stored_at * _MICROSECOND, ref)
        except (ValueError, TypeError, RecursionError, OverflowError, UnknownRef):
            raise ValueError("the cursor is none: take `next` of the page before, as it is") from None

    def just_before(self, *, newest: bool) -> Self:
        """Return the place right before it in a list, so that what comes behind begins with itself."""
        number = int(uuid_of(self.ref).replace("-", ""), 16) + (1 if newest else -1)
        h = f"{min(max(number, 0), (1 << 128) - 1):032x}"
        ref = f"{PREFIX}{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"
        return replace(self, ref=ref)

    def __str__(self) -> str:
        microseconds = (self.stored_at - _EPOCH) // _MICROSECOND
        said = json.dumps([self.scope, microseconds, self.ref], separators=(",", ":"))
        return base64.urlsafe_b64encode(said.encode()).rstrip(b"=").decode()
