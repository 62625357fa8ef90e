"""The server as a process, or several."""

import gc
import logging
import socket
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import uvicorn
from starlette.types import ASGIApp
from uvicorn.supervisors import Multiprocess

from mediakeep.cleaner import MediaCleanerConfig
from mediakeep.errors import MediaError
from mediakeep.http import logs
from mediakeep.http.app import create_app
from mediakeep.http.config import TOKENS, ServerConfig
from mediakeep.http.connection import options
from mediakeep.http.tokens import Tokens
from mediakeep.opening import is_store, open_store
from mediakeep.store import MediaStore

logger = logging.getLogger("mediakeep.http")


def serve(config: ServerConfig, *, ready: Callable[[str], object] | None = None) -> None:
    """Serve a store until the process is told to stop (SIGTERM, SIGINT); then finish what is under way.

    Args:
        config: the store, and how to serve it.
        ready: is given the server's address once connections are taken.

    Raises:
        MediaError: the store cannot be opened, the tokens not be read, or the server is to be reached
            from elsewhere and has no tokens.
        OSError: the address cannot be had.
    """
    check(config)
    listener = _listener(config)
    try:
        logs.configure(config.log)
        app = partial(_worker, config)
        settings = uvicorn.Config(app, factory=True, **options(config))
        if ready is not None:
            ready(_address(listener))
        if config.workers == 1:
            uvicorn.Server(settings).run(sockets=[listener])
        else:
            Multiprocess(settings, sockets=[listener]).run()
    finally:
        listener.close()


def check(config: ServerConfig) -> None:
    """Raise what `serve` would, short of taking the address."""
    if not config.store:
        raise ValueError("which store? Give --store, MEDIAKEEP_STORE, or `store` in the file")
    state = config.state_folder()
    tokens = None if state is None else Tokens(state / TOKENS)
    if tokens is not None:
        list(tokens)
    if not config.loopback and (tokens is None or not tokens.exist()):
        where = "--state names a folder for them" if tokens is None else f"in {str(tokens.path)!r}"
        raise MediaError(
            f"{config.host} can be reached from elsewhere, and there are no tokens ({where}): "
            "make one with `mediakeep token create`, or serve 127.0.0.1"
        )
    if config.workers > 1 and config.store == "memory:":
        raise ValueError("a store in memory belongs to one process: workers must be 1")
    if config.workers > 1 and state is None:
        raise ValueError(
            "workers share the keys of signed links and the answers to repeated uploads: "
            "--state names a folder for them, or workers must be 1"
        )
    if _is_there(config):  # else it is made when it is served
        _open(config).close()


def _is_there(config: ServerConfig) -> bool:
    """Return whether to open the store makes nothing.

    Raises:
        CatalogError: the database does not answer.
    """
    if not config.shared:
        return is_store(config.store)
    from mediakeep.catalogs.postgres_migrations import SCHEMA, version_of

    return version_of(config.store, schema=config.schema or SCHEMA) > 0


def _worker(config: ServerConfig) -> ASGIApp:
    """Return the application of one worker, in its process."""
    logs.configure(config.log)
    store = _open(config)
    try:
        app = create_app(store, config, closes=True)
        gc.freeze()  # what is there now stays: no collection needs to look at it again
        return app
    except BaseException:
        store.close()
        raise


def _open(config: ServerConfig) -> MediaStore:
    age = config.max_age_seconds
    return open_store(
        config.store,
        blobs=config.blobs or None,
        catalog_options={"schema": config.schema} if config.schema else None,
        limits=config.limits,
        default_ttl=config.default_ttl_seconds or None,
        # The server sweeps by itself; this only says what is too old.
        cleaner=MediaCleanerConfig(enabled=False, max_age=timedelta(seconds=age)) if age else None,
    )


def _listener(config: ServerConfig) -> socket.socket:
    host = config.host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, config.port), family=family, backlog=2048)


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
