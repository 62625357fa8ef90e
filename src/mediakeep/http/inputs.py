"""What operations take: each input is declared once, for its check and for its description."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import parse_qsl

from mediakeep.http.problems import Problem, bad_request

MOST_PARAMETERS = 40
MAX_JSON_BYTES = 64 << 10


class Kind(Protocol):
    """What values an input takes. Its verbs raise ValueError with what they should be."""

    def schema(self) -> dict[str, Any]:
        """Return the values as JSON Schema."""

    def of_text(self, text: str) -> Any:
        """Return the value that `text` spells in a query."""

    def of_json(self, value: Any) -> Any:
        """Return the value that stands in JSON."""


@dataclass(frozen=True, slots=True)
class Input:
    """One parameter of a query, or one member of a JSON body."""

    name: str
    kind: Kind
    description: str
    required: bool = False
    default: Any = None


@dataclass(frozen=True, slots=True)
class Text:
    """Text of at most `longest` characters; None leaves that to others."""

    longest: int | None = None
    pattern: str = ""
    shortest: int = 0

    def schema(self) -> dict[str, Any]:
        """Return the values as JSON Schema."""
        schema: dict[str, Any] = {"type": "string"}
        if self.longest is not None:
            schema["maxLength"] = self.longest
        if self.shortest:
            schema["minLength"] = self.shortest
        if self.pattern:
            schema["pattern"] = f"^(?:{self.pattern})$"
        return schema

    def of_text(self, text: str) -> str:
        """Return `text`, if it is one of these."""
        if len(text) < self.shortest or (self.longest is not None and len(text) > self.longest):
            raise ValueError(f"a text of {self.shortest} to {self.longest} characters")
        if self.pattern and not re.fullmatch(self.pattern, text):
            raise ValueError(f"a text like {self.pattern}")
        if "\0" in text or any("\ud800" <= c <= "\udfff" for c in text):
            raise ValueError("a text of valid Unicode without NUL")
        return text

    def of_json(self, value: Any) -> str:
        """Return `value`, if it is one of these."""
        if not isinstance(value, str):
            raise ValueError("a text")
        return self.of_text(value)


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number."""

    least: int
    most: int

    def schema(self) -> dict[str, Any]:
        """Return the values as JSON Schema."""
        return {"type": "integer", "minimum": self.least, "maximum": self.most}

    def of_text(self, text: str) -> int:
        """Return the number that `text` spells."""
        if not re.fullmatch("-?[0-9]{1,18}", text, re.ASCII):
            raise ValueError(f"a whole number from {self.least} to {self.most}")
        return self.of_json(int(text))

    def of_json(self, value: Any) -> int:
        """Return `value`, if it is one of these."""
        if isinstance(value, float) and value.is_integer():  # JSON has but one kind of number
            value = int(value)
        if type(value) is not int or not self.least <= value <= self.most:
            raise ValueError(f"a whole number from {self.least} to {self.most}")
        return value


@dataclass(frozen=True, slots=True)
class Seconds:
    """An amount of time in seconds, more than none unless that may be too."""

    most: float
    or_none: bool = False

    def schema(self) -> dict[str, Any]:
        """Return the values as JSON Schema."""
        least = "minimum" if self.or_none else "exclusiveMinimum"
        return {"type": "number", least: 0, "maximum": self.most}

    def of_text(self, text: str) -> float:
        """Return the number that `text` spells, as JSON spells them."""
        try:
            return self.of_json(json.loads(text))
        except ValueError:
            raise self._wrong() from None

    def of_json(self, value: Any) -> float:
        """Return `value`, if it is one of these."""
        if type(value) not in (int, float) or not 0 <= value <= self.most or not math.isfinite(value):
            raise self._wrong()
        if value == 0 and not self.or_none:
            raise self._wrong()
        return float(value)

    def _wrong(self) -> ValueError:
        return ValueError(
            f"a number of seconds, {'at least' if self.or_none else 'more than'} 0"
            f" and at most {self.most:.0f}"
        )


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""

    def schema(self) -> dict[str, Any]:
        """Return the values as JSON Schema."""
        return {"type": "boolean"}

    def of_text(self, text: str) -> bool:
        """Return whether `text` says `true`."""
        if text not in ("true", "false"):
            raise ValueError("true or false")
        return text == "true"

    def of_json(self, value: Any) -> bool:
        """Return `value`, if it is one of these."""
        if type(value) is not bool:
            raise ValueError("true or false")
        return value


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some values."""

    values: Sequence[str | int]

    def schema(self) -> dict[str, Any]:
        """Return the values as JSON Schema."""
        return {"enum": list(self.values)}

    def of_text(self, text: str) -> str | int:
        """Return the value that `text` spells."""
        for value in self.values:
            if str(value) == text:
                return value
        raise ValueError(f"one of {', '.join(map(str, self.values))}")

    def of_json(self, value: Any) -> str | int:
        """Return `value`, if it is one of these."""
        if type(value) is bool or value not in self.values:
            raise ValueError(f"one of {', '.join(map(str, self.values))}")
        return value  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Moment:
    """A time, as RFC 3339 writes it."""

    def schema(self) -> dict[str, Any]:
        """Return the values as JSON Schema."""
        return {"type": "string", "format": "date-time"}

    def of_text(self, text: str) -> datetime:
        """Return the time that `text` spells."""
        if not _RFC3339.fullmatch(text):
            raise ValueError("a time like 2030-01-31T12:00:00Z")
        try:
            return datetime.fromisoformat(text.upper()[:19] + _rest(text)).astimezone(UTC)
        except (ValueError, OverflowError):
            raise ValueError("a time that exists") from None

    def of_json(self, value: Any) -> datetime:
        """Return the time that `value` spells."""
        return self.of_text(value if isinstance(value, str) else "")


_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,12})?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII
)


def _rest(text: str) -> str:
    """Return fraction and zone of a time, the fraction as long as Python takes it."""
    found = re.fullmatch(r"(?:\.(\d+))?(.+)", text[19:])
    fraction = f".{found[1][:6]:0<6}" if found and found[1] else ""
    return fraction + (found[2].upper() if found else "")


# -- reading them


def read_query(query: bytes, inputs: Sequence[Input]) -> dict[str, Any]:
    """Return the values of all `inputs`; those that were not given by their default.

    Raises:
        Problem: one is missing, unknown, given twice, or not as it must be.
    """
    if not query and not any(it.required for it in inputs):
        return {it.name: it.default for it in inputs}
    return _values("parameter", query_pairs(query), inputs, lambda it, text: it.kind.of_text(text))


def query_pairs(query: bytes) -> dict[str, str]:
    """Return names and values of a query, percent-decoded.

    Raises:
        Problem: there are too many, a name comes twice, or they are not UTF-8.
    """
    try:
        pairs = parse_qsl(
            query.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MOST_PARAMETERS,
        )
    except ValueError as error:
        raise bad_request(f"the query cannot be read: {error}") from None
    values = dict(pairs)
    if len(values) < len(pairs):
        twice = next(name for n, (name, _) in enumerate(pairs) if name in dict(pairs[:n]))
        raise bad_request(f"parameter {twice!r} is given twice: give it once")
    return values


def read_json(body: bytes, inputs: Sequence[Input]) -> dict[str, Any]:
    """Return the values of all `inputs` in a JSON object; nothing at all counts as an empty one.

    Raises:
        Problem: it is no such object, or one of them is missing, unknown or not as it must be.
    """
    try:
        said = json.loads(body) if body else {}
    except (ValueError, RecursionError):
        raise bad_request("the body is not JSON in UTF-8") from None
    if not isinstance(said, dict):
        raise bad_request("the body must be a JSON object")
    return _values("member", said, inputs, lambda it, value: it.kind.of_json(value))


def _values(what: str, said: Mapping[str, Any], inputs: Sequence[Input], read: Any) -> dict[str, Any]:
    names = {it.name for it in inputs}
    for name in said:
        if name not in names:
            there = ", ".join(sorted(names)) or "none"
            raise bad_request(f"there is no {what} {name!r} here; there are: {there}")
    values = {}
    for it in inputs:
        if it.name not in said:
            if it.required:
                raise bad_request(f"{what} {it.name!r} is missing: {it.description}")
            values[it.name] = it.default
            continue
        try:
            values[it.name] = read(it, said[it.name])
        except ValueError as error:
            raise bad_request(f"{what} {it.name!r} must be {error}") from None
    return values


__all__ = [
    "Choice",
    "Flag",
    "Input",
    "Kind",
    "Moment",
    "Problem",
    "Seconds",
    "Text",
    "Whole",
    "query_pairs",
    "read_json",
    "read_query",
]
