"""What can go wrong between a worker and a server, as gates of a proxy."""

import itertools
import threading
import time

from .proxy import Asked, Cut, Gate


class Deaf(Gate):
    """Cuts the connection at one request, or from that on: it is done, and its answer is lost."""

    def __init__(self, number: int, *, always: bool = False) -> None:
        self._number = number
        self._always = always
        self._count = itertools.count(1)
        self.cuts = 0

    def answer(self, asked: Asked, answer: bytes) -> bytes:
        self._cut()
        return answer

    def _cut(self, passed: bytes = b"") -> None:
        number = next(self._count)
        if number == self._number or (self._always and number > self._number):
            self.cuts += 1
            raise Cut(passed)


class Cutting(Deaf):
    """Cuts the connection at one request, in the midst of its answer."""

    def answer(self, asked: Asked, answer: bytes) -> bytes:
        self._cut(answer[: len(answer) // 2])
        return answer


class Losing(Deaf):
    """Cuts the connection at one request, or from that on, and it never arrives."""

    def ask(self, asked: Asked) -> None:
        self._cut()

    def answer(self, asked: Asked, answer: bytes) -> bytes:
        return answer


class Slow(Gate):
    """Takes its time with every answer."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def answer(self, asked: Asked, answer: bytes) -> bytes:
        time.sleep(self._seconds)
        return answer


class Stalling(Gate):
    """Passes so many requests on, and then nothing, without an end to the connection."""

    def __init__(self, after: int = 0) -> None:
        self._left = after
        self._over = threading.Event()
        self.stalled = 0

    def ask(self, asked: Asked) -> None:
        if self._left > 0:
            self._left -= 1
            return
        self.stalled += 1
        self._over.wait(60)
        raise Cut

    def close(self) -> None:
        self._over.set()


class Refusing(Gate):
    """Lets nobody in, as where no server runs."""

    def connect(self) -> None:
        raise Cut

    def ask(self, asked: Asked) -> None:
        raise Cut


class Overloaded(Gate):
    """Answers 503 SlowDown, or another refusal, to the next `times` requests, None for all.

    `only` limits it to requests that are described so.
    """

    def __init__(self, times: int | None, *, status: str, code: str, only: str = "") -> None:
        self._left = times
        self._only = only
        body = f"<Error><Code>{code}</Code><Message>no</Message></Error>"
        self._said = (
            f"HTTP/1.1 {status}\r\nContent-Type: application/xml\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        ).encode()
        self.refused = 0

    def ask(self, asked: Asked) -> bytes | None:
        if not asked.what.startswith(self._only) or self._left == 0:
            return None
        if self._left is not None:
            self._left -= 1
        self.refused += 1
        return self._said
