"""Leases on a server, by numbers as the engine has them."""

import logging
from collections.abc import Iterable
from itertools import count
from urllib.parse import quote

from mediakeep.errors import MediaError
from mediakeep.remote.connection import Connection
from mediakeep.remote.problems import LeaseEnded, UnansweredError
from mediakeep.remote.reading import understood

logger = logging.getLogger("mediakeep.leases")

LEAST_SECONDS = 1.0
"""How long the answer to a renewal is waited for, at least: a server may be busy."""


class Holds:
    """The live leases of one client. Its heartbeat renews them."""

    __slots__ = ("_connection", "_numbers", "_paths")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._numbers = count(1)
        self._paths: dict[int, str] = {}
        """By number: where a lease is renewed and ended."""

    def begin(self, path: str, ref: str, seconds: float) -> int:
        """Hold the file of `ref`, whose bytes are at `path`, and return the lease's number.

        One whose answer is lost lapses by itself, so it is asked for again.
        """
        said = self._connection.post(f"{path}/leases", {"seconds": seconds}, ref=ref, repeatable=True)
        with understood(self._connection.base):
            name = quote(said["lease"], safe="")
        number = next(self._numbers)
        self._paths[number] = f"{path}/leases/{name}"
        return number

    def renew(self, leases: Iterable[int], seconds: float) -> list[int]:
        """Let the leases last for `seconds` from now; return those that had lapsed and are gone.

        One that the server refuses to renew keeps no other from being renewed.

        Raises:
            CatalogError: the server cannot be reached.
        """
        lost, refused = [], 0
        # One answer that never comes costs no lease: two thirds of its life are left for this.
        within = max(seconds / 6, LEAST_SECONDS)
        for number in leases:
            path = self._paths.get(number)
            if path is None:
                continue  # it has just ended
            try:
                self._connection.post(path, {"seconds": seconds}, repeatable=True, within=within)
            except LeaseEnded:
                lost.append(number)
            except UnansweredError:
                raise
            except (MediaError, ValueError) as error:
                refused, why = refused + 1, error
        if refused:
            logger.warning("%d leases not renewed, trying again later: %s", refused, why)
        return lost

    def end(self, number: int) -> None:
        """End a lease; one that has lapsed is no error, and one that cannot be ended now lapses."""
        path = self._paths.pop(number, None)
        if path is None:
            return
        try:
            self._connection.delete(path, repeatable=True)
        except LeaseEnded:
            return
        except MediaError as error:
            # Whoever leaves a lease's block has done his work: this is no time to raise.
            logger.warning("a lease is left to lapse: %s", error)
