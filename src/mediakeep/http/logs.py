"""What the command's log looks like: lines of JSON, or text. The library itself configures nothing."""

import json
import logging
import sys
import time
from functools import lru_cache

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}


class JsonLines(logging.Formatter):
    """A record as one line of JSON in ASCII, its extras beside the message."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        said = {
            "time": _time(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{name: value for name, value in vars(record).items() if name not in _OWN},
        }
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        return _encode(said)


class TextLines(logging.Formatter):
    """A record as one line for people; what is not printable is spelled out."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = f"{_time(record.created)} {record.levelname.lower():7} {record.getMessage()}"
        line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def configure(kind: str) -> None:
    """Have everything logged to standard error, as `json` or as `text`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if kind == "json" else TextLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    # Its own lines tell what a client sent; ours do not.
    logging.getLogger("uvicorn.access").disabled = True


_encode = json.JSONEncoder(default=str).encode  # made once, and not for each line


def _time(seconds: float) -> str:
    return f"{_second(int(seconds))}.{int(seconds % 1 * 1000):03d}Z"


@lru_cache(maxsize=2)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
