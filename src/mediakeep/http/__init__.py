"""The server: a store behind HTTP, for bots in other languages, sandboxes and remote tools.

`mediakeep serve` runs it; `create_app` gives the ASGI application, to be run by another server or beside
other applications. It needs the extra `mediakeep[server]`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mediakeep.http.app import create_app
    from mediakeep.http.config import ServerConfig
    from mediakeep.http.grants import Grant, Right
    from mediakeep.http.links import LinkKeys
    from mediakeep.http.running import serve
    from mediakeep.http.tokens import Token, Tokens

__all__ = ["Grant", "LinkKeys", "Right", "ServerConfig", "Token", "Tokens", "create_app", "serve"]

_HOMES = {
    "Grant": "grants",
    "LinkKeys": "links",
    "Right": "grants",
    "ServerConfig": "config",
    "Token": "tokens",
    "Tokens": "tokens",
    "create_app": "app",
    "serve": "running",
}
# What each package is called where it is imported; all of them come with the extra.
_EXTRA = {
    "starlette",
    "jinja2",
    "uvicorn",
    "httptools",
    "python_multipart",
    "prometheus_client",
    "anyio",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mediakeep.http' has no attribute {name!r}")
    try:
        value = getattr(import_module(f"mediakeep.http.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in _EXTRA:
            message = f'the server needs {error.name}: pip install "mediakeep[server]"'
            raise ImportError(message) from error
        raise
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
