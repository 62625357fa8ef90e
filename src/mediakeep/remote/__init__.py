"""A store that somebody else serves: `open_store("http://host:port", token=…)`."""

from mediakeep.remote.store import HTTPMediaStore

__all__ = ["HTTPMediaStore"]
