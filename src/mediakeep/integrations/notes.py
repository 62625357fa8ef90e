"""What a framework says of a medium beyond name and type, kept in the source of its meta.

It is written and ends with the ref, in one row: there is no second record that could be left behind.
"""

import json
from collections.abc import Mapping
from typing import Any


def note(framework: str, values: Mapping[str, Any] | None = None) -> str:
    """Return the source of a medium of `framework` of which `values` are said.

    Raises:
        TypeError, ValueError: a value cannot be JSON.

    >>> note("adk", {"version": 0}), note("adk")
    ('adk {"version":0}', 'adk')
    """
    if not values:
        return framework
    written = json.dumps(dict(values), separators=(",", ":"), allow_nan=False)
    return f"{framework} {written}"


def noted(framework: str, source: str) -> dict[str, Any] | None:
    """Return the values that `note` wrote, or None if the source is not one of `framework`.

    >>> noted("adk", 'adk {"version":0}'), noted("adk", "telegram")
    ({'version': 0}, None)
    """
    name, _, written = source.partition(" ")
    if name != framework:
        return None
    try:
        values = json.loads(written or "{}")
    except ValueError:  # somebody else's source, whatever it means
        return None
    return values if isinstance(values, dict) else None
