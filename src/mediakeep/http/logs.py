"""What the command's log looks like: lines of JSON, or text. The library itself configures nothing."""

import json
import logging
import sys
import time

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
        return json.dumps(said, default=str)


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


def _time(seconds: float) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{int(seconds % 1 * 1000):03d}Z"
