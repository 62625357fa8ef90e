"""Files in a form (multipart/form-data, RFC 7578), taken apart while they arrive."""

from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from mediakeep.http.problems import bad_request
from mediakeep.intake.declared import declared_name

MAX_PART_HEADERS = 16


@dataclass(slots=True)
class Part:
    """One part of a form: a file, or a value without a file name."""

    name: str
    filename: str | None
    content_type: str


class Form:
    """A form that is being received. Ask for a part, then for its chunks; the rest is passed over.

    Raises:
        Problem: it is malformed, or cut off.
    """

    __slots__ = ("_body", "_ended", "_events", "_field", "_fields", "_parser", "_value")

    def __init__(self, content_type: str, body: AsyncIterator[bytes]) -> None:
        _, parameters = parse_options_header(content_type)
        boundary = parameters.get(b"boundary")
        if not boundary:
            raise bad_request("multipart/form-data needs a boundary in its Content-Type")
        self._body = body
        self._events: deque[Part | bytes | None] = deque()
        self._ended = False
        self._field, self._value = b"", b""
        self._fields: dict[str, bytes] = {}
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._fields.clear,
                    "on_header_begin": self._begin_field,
                    "on_header_field": self._add_name,
                    "on_header_value": self._add_value,
                    "on_header_end": self._end_field,
                    "on_headers_finished": self._begin_part,
                    "on_part_data": self._add_data,
                    "on_part_end": lambda: self._events.append(None),
                    "on_end": self._end,
                },
                max_header_count=MAX_PART_HEADERS,
            )
        except FormParserError as error:
            raise bad_request(f"the form cannot be read: {error}") from None

    async def next(self) -> Part | None:
        """Return the next part, None after the last one."""
        while (event := await self._next_event()) is not _END:
            if isinstance(event, Part):
                return event
        return None

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the bytes of the part that `next` has returned last."""
        while isinstance(event := await self._next_event(), bytes):
            yield event

    async def _next_event(self) -> Part | bytes | object | None:
        while not self._events:
            if self._ended:
                return _END
            chunk = await anext(self._body, None)
            if chunk is None:
                raise bad_request("the form is cut off: its last boundary is missing")
            try:
                self._parser.write(chunk)
            except FormParserError as error:
                raise bad_request(f"the form cannot be read: {error}") from None
        return self._events.popleft()

    def _begin_field(self) -> None:
        self._field = self._value = b""

    def _add_name(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_field(self) -> None:
        self._fields[self._field.decode("latin-1").lower()] = self._value

    def _begin_part(self) -> None:
        shown = self._fields.get("content-disposition", b"")
        _, parameters = parse_options_header(shown)
        is_file = any(it in parameters for it in (b"filename", b"filename*"))
        self._events.append(
            Part(
                _text(parameters.get(b"name", b"")),
                declared_name(_text(shown)) if is_file else None,
                _text(self._fields.get("content-type", b"")),
            )
        )

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        self._events.append(data[start:end])

    def _end(self) -> None:
        self._ended = True


def _text(value: bytes) -> str:
    # What browsers and clients send (RFC 7578, section 5.1.2).
    return value.decode("utf-8", "replace")


_END = object()
