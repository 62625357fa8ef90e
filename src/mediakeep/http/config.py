"""What can be set about the server: by flags, by environment, by a TOML file, in this order."""

import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints
from urllib.parse import urlsplit

from mediakeep.addresses import in_database
from mediakeep.model import Limits

PREFIX = "MEDIAKEEP_SERVER_"
"""What the names in the environment begin with, before the name of the setting in capitals."""

TOKENS, LINK_KEYS, SWEEPER = "tokens.json", "link-keys.json", "sweeper.lock"
"""The files in the state folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """How a store is served. Sizes are bytes, times are seconds.

    Raises:
        ValueError: a setting is none that can be used; the message names it.
    """

    store: str = field(default="", repr=False)  # there may be a password in it
    """A folder, or the address of a PostgreSQL database."""
    blobs: str = field(default="", repr=False)
    """Where the bytes are, if not in the store's folder: another folder, or a bucket."""
    schema: str = ""
    """The schema of a store in PostgreSQL; by default `mediakeep`."""
    state: str = ""
    """The folder of the token file and the keys; by default `server` in the store's folder."""
    host: str = "127.0.0.1"
    port: int = 8321
    """0 takes one that is free."""
    workers: int = 1
    """Processes."""
    public_url: str = ""
    """What signed links begin with, such as `https://media.example`; by default only a path is given."""
    max_body_bytes: int = 2 << 30
    """The most that one upload may have."""
    max_uploads: int = 16
    """How many uploads a token may have under way, in each worker."""
    requests_per_second: float = 500.0
    """How often a token may ask, in each worker; 0 means no limit."""
    max_connections: int = 1000
    head_seconds: float = 10.0
    """How long a client may take to send a request's head."""
    body_seconds: float = 30.0
    """How long a client may pause while it sends a body."""
    write_seconds: float = 30.0
    """How long a client may take nothing of what is sent to it."""
    min_bytes_per_second: int = 1024
    """How fast a body must arrive, on average after `body_seconds`."""
    max_head_bytes: int = 32 << 10
    shutdown_seconds: int = 30
    """How long transfers may go on when the server is told to stop."""
    max_link_seconds: float = 7 * 86_400.0
    """How long a signed link may be valid."""
    max_lease_seconds: float = 3600.0
    """How long a lease may last without being renewed."""
    default_ttl_seconds: float = 0.0
    """How long a ref lives that is given no ttl; 0 means until its scope ends."""
    max_age_seconds: float = 0.0
    """Refs without a ttl that are older end at the next sweep; 0 leaves them alone."""
    sweep_seconds: float = 60.0
    """How often one of the workers sweeps; 0 leaves that to others."""
    cors_origins: tuple[str, ...] = ()
    """Web pages of which origins may use this API, such as `https://app.example`; or `*`."""
    open_metrics: bool = False
    """Whether `/metrics` can be read without a token."""
    trusted_proxies: tuple[str, ...] = ()
    """Whose `X-Forwarded-For` is believed, for the log."""
    log: str = "json"
    """`json` or `text`."""
    access_log: bool = True
    """Whether each request gets a line in it."""
    limits: Limits | None = None
    """What may come in, and how much."""

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if not value >= least:
                raise ValueError(f"{name} must be {least} or more, not {value!r}")
        if self.port > 65535:
            raise ValueError(f"port must be at most 65535, not {self.port}")
        if self.log not in ("json", "text"):
            raise ValueError(f"log must be 'json' or 'text', not {self.log!r}")
        if self.schema and not self.shared:
            raise ValueError("schema goes with a store at postgresql://…")
        parts = urlsplit(self.public_url)
        plain = re.fullmatch(r"[!-~]*", self.public_url)  # it stands in a header
        if self.public_url and not (plain and parts.scheme in ("http", "https") and parts.netloc):
            raise ValueError(f"public_url must begin with https:// or http://, not {self.public_url!r}")
        for origin in self.cors_origins:
            there = urlsplit(origin)
            if origin != "*" and (there.scheme not in ("http", "https") or there.path or there.query):
                raise ValueError(f"{origin!r} in cors_origins is no origin: write 'https://app.example'")

    @property
    def shared(self) -> bool:
        """Whether the books are in a database, which other machines may use too."""
        return in_database(self.store)

    @property
    def loopback(self) -> bool:
        """Whether only this machine can connect."""
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return self.host == "localhost"

    def state_folder(self) -> Path | None:
        """Return the folder of the token file and the keys, None if there is nowhere to keep them."""
        if self.state:
            return Path(self.state)
        if not self.store or self.shared or self.store == "memory:":
            return None
        return Path(self.store, "server")


_LEAST: dict[str, float] = {
    **dict.fromkeys(("port", "requests_per_second", "sweep_seconds"), 0),
    **dict.fromkeys(("default_ttl_seconds", "max_age_seconds", "min_bytes_per_second"), 0),
    **dict.fromkeys(("workers", "max_body_bytes", "max_uploads", "max_connections"), 1),
    **dict.fromkeys(("shutdown_seconds", "max_link_seconds", "max_lease_seconds"), 1),
    **dict.fromkeys(("head_seconds", "body_seconds", "write_seconds"), 0.1),
    "max_head_bytes": 1024,
}


def load_config(
    flags: Mapping[str, Any], environ: Mapping[str, str] = os.environ, file: Path | None = None
) -> ServerConfig:
    """Return the settings: those of `flags` that are not None, then `environ`, then the TOML `file`.

    `MEDIAKEEP_STORE`, `MEDIAKEEP_BLOBS` and `MEDIAKEEP_SCHEMA`, which all commands know, come right
    before the file. What is said of the bytes of one store is not taken for those of a folder that is
    named instead of it.

    Raises:
        ValueError: a setting is unknown or none that can be used; the message names it and its place.
        OSError: the file cannot be read.
    """
    said = {} if file is None else _from_file(file)
    own = _from_environment(environ)
    given = {name: value for name, value in flags.items() if value is not None}
    all_commands = {
        name: environ[f"MEDIAKEEP_{name.upper()}"]
        for name in _PLACE
        if environ.get(f"MEDIAKEEP_{name.upper()}")
    }
    if "store" not in all_commands:
        store = next((it["store"] for it in (given, own, said) if "store" in it), "")
        if not in_database(store):
            all_commands = {}  # what they say of bytes is not said of a folder that others name
    settings: dict[str, Any] = {}
    for layer in (said, all_commands, own, given):
        store = layer.get("store", settings.get("store", ""))
        if store != settings.get("store", store) and not in_database(store):
            settings = {name: value for name, value in settings.items() if name not in _PLACE}
        settings |= layer
    return ServerConfig(**settings)


_PLACE = ("store", "blobs", "schema")


def _from_file(file: Path) -> dict[str, Any]:
    try:
        said = tomllib.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{str(file)!r} is no TOML: {error}") from error
    settings = {}
    for name, value in said.items():
        try:
            settings[name] = _as_limits(value) if name == "limits" else _checked(name, value)
        except ValueError as error:
            raise ValueError(f"{str(file)!r}: {error}") from error
    return settings


def _as_limits(said: Any) -> Limits:
    try:
        return Limits(**said)
    except TypeError as error:
        names = ", ".join(it.name for it in fields(Limits))
        raise ValueError(f"[limits]: {error}; there are {names}") from error


def _checked(name: str, value: Any) -> Any:
    """Return the value of a setting, if it is of its type."""
    kind = _KINDS.get(name)
    if kind is None:
        raise ValueError(f"{name!r} is no setting: there are {', '.join(sorted(_KINDS))}, limits")
    if kind is float and type(value) is int:
        return float(value)
    if kind == tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(it, str) for it in value):
            raise ValueError(f"{name} must be a list of texts, not {value!r}")
        return tuple(value)
    if type(value) is not kind:
        raise ValueError(f"{name} must be a {kind.__name__}, not {value!r}")
    return value


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    settings = {}
    for variable, text in environ.items():
        if not variable.startswith(PREFIX):
            continue
        name = variable.removeprefix(PREFIX).lower()
        kind = _KINDS.get(name, str)
        try:
            settings[name] = _checked(name, _parsed(kind, text))
        except ValueError as error:
            raise ValueError(f"{variable}: {error}") from error
    return settings


def _parsed(kind: Any, text: str) -> Any:
    if kind is bool:
        if text.lower() not in ("true", "false", "1", "0"):
            raise ValueError(f"must be true or false, not {text!r}")
        return text.lower() in ("true", "1")
    if kind == tuple[str, ...]:
        return [it.strip() for it in text.split(",") if it.strip()]
    return kind(text)


_KINDS: dict[str, Any] = {
    name: kind for name, kind in get_type_hints(ServerConfig).items() if name != "limits"
}
