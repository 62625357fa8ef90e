"""The event stream: what happens is told once, to whom it concerns, and to who comes back."""

import json
import threading
import time
from contextlib import contextmanager

import pytest

pytest.importorskip("starlette")

from http_server import DEADLINE, serving
from mediakeep import MediaMeta, open_store
from mediakeep.http import feed


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("events")) as served:
        served.root = served.token("*")
        yield served


class Stream:
    """Events as they come."""

    def __init__(self, answer):
        self._lines = answer.iter_lines()
        self.last = ""

    def next(self):
        """Return name and data of the next event."""
        fields = {}
        for line in self._lines:
            name, _, value = line.partition(": ")
            if not line and "event" in fields:
                self.last = fields.get("id", self.last)
                return fields["event"], json.loads(fields["data"])
            if not line:
                fields = {}
            elif name:
                fields[name] = value
        return None

    def until(self, wanted):
        """Return the data of the next event with this name."""
        while found := self.next():
            if found[0] == wanted:
                return found[1]
        raise AssertionError(f"the stream ended without {wanted!r}")


@contextmanager
def listening(served, headers, last=""):
    more = {"last-event-id": last} if last else {}
    with served.client.stream("GET", "/v1/events", headers={**headers, **more}) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream"
        # The journal has to be looked at once before it can tell what is new.
        wait_until(lambda: served.listened() >= 1)
        yield Stream(answer)


@pytest.fixture(autouse=True)
def _count_looks(served, monkeypatch):
    """Count how often the journal has been looked at since the test began."""
    looks = []
    news = feed._Journal.news

    def counted(self, store):
        found = news(self, store)
        looks.append(1)
        return found

    monkeypatch.setattr(feed._Journal, "news", counted)
    served.listened = lambda: len(looks)


def test_put_and_its_end_are_told(served):
    with listening(served, served.root) as stream:
        media_id = served.put(b"told", "e:1", headers=served.root, filename="x\nevent: y.txt")
        put = stream.until("put")
        assert (put["id"], put["scope"], put["size"]) == (media_id, "e:1", 4)
        served.client.delete(f"/v1/media/{media_id}", headers=served.root)
        assert stream.until("released")["id"] == media_id
        assert stream.until("deleted")["id"] == media_id


def test_what_another_process_does_is_told(served):
    with listening(served, served.root) as stream, open_store(served.config.store) as other:
        ref = other.put(b"of another process", MediaMeta("other.txt"), "e:2")
        put = stream.until("put")
        assert (put["ref"], put["scope"], put["filename"]) == (ref, "e:2", "other.txt")
        assert stream.until("changed")["files"] >= 1
        shared = other.share(ref, "e:2")
        assert stream.until("put")["ref"] == shared, "though no more is stored than before"
        other.release(ref)
        assert stream.until("released")["ref"] == ref


def test_a_put_is_told_once_and_those_before_never(served, monkeypatch):
    monkeypatch.setattr(feed, "LOOK_SECONDS", 0.01)
    with open_store(served.config.store) as other:
        other.put(b"before", scope="e:5")
        with listening(served, served.token("e:5")) as stream:
            ids = []
            for number in range(4):
                ids.append(served.put(b"own %d" % number, "e:5", headers=served.root))
                ids.append(other.put(b"other %d" % number, scope="e:5").removeprefix("media://"))
            told = [stream.next() for _ in ids]
            assert {name for name, _ in told} == {"put"}
            assert sorted(said["id"] for _, said in told) == sorted(ids)
            before = served.listened()
            wait_until(lambda: served.listened() > before + 2)
            other.put(b"last", scope="e:5")
            assert stream.next()[1]["id"] not in ids, "nothing of it is told again"


def test_a_token_hears_of_its_scopes_only(served):
    mine = served.token("mine:*")
    with listening(served, mine) as stream:
        for scope in ("other:1", "mine:1"):
            media_id = served.put(scope.encode(), scope, headers=served.root)
            served.client.delete(f"/v1/media/{media_id}", headers=served.root)
        put, released = stream.next(), stream.next()
        assert (put[0], put[1]["scope"]) == ("put", "mine:1")
        assert (released[0], released[1]["scope"]) == ("released", "mine:1")
        assert "by" not in released[1]
        again = served.put(b"again", "mine:2", headers=served.root)
        assert stream.next()[1]["id"] == again, "and nothing of the file's own fate"


def test_who_comes_back_hears_what_was_missed(served):
    with listening(served, served.root) as stream:
        served.put(b"1", "e:3", headers=served.root)
        stream.until("put")
        last = stream.last
    missed = served.put(b"2", "e:3", headers=served.root)
    with served.client.stream(
        "GET", "/v1/events", headers={**served.root, "last-event-id": last}
    ) as answer:
        assert Stream(answer).until("put")["id"] == missed


def test_who_has_missed_too_much_is_told_to_look_anew(served):
    for last in ("other-1", "nonsense", "-"):
        with served.client.stream(
            "GET", "/v1/events", headers={**served.root, "last-event-id": last}
        ) as answer:
            assert Stream(answer).next() == ("reset", {})


def test_a_stream_ends_with_its_token(served):
    text, token = served.tokens.create(["*"], ["read"])
    with listening(served, {"authorization": f"Bearer {text}"}) as stream:
        served.tokens.revoke(token.id)
        served.put(b"wakes it", "e:4", headers=served.root)
        heard = [stream.next(), stream.next()]
        assert heard[-1] is None or heard[0] is None


def test_streams_end_when_the_server_stops(tmp_path):
    with serving(tmp_path) as served, served.client.stream("GET", "/v1/events") as answer:
        lines = answer.iter_lines()
        assert next(lines) == "retry: 2000"
        rest = []
        reading = threading.Thread(target=lambda: rest.extend(lines))
        reading.start()
        served.server.should_exit = True
        reading.join(DEADLINE)
        assert not reading.is_alive(), "else it would last as long as transfers may, shutdown_seconds"


def wait_until(true, seconds: float = 60.0) -> None:
    """Wait for what another thread does."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.01)
