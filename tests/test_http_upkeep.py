"""Erase, sweep and reconcile through a server: by whom, with what outcome, however long they take."""

import threading

import pytest

pytest.importorskip("starlette")

from http_server import serving
from mediakeep import AccessDenied, MediaError, MediaMeta, StillLeased
from mediakeep.http import upkeep
from mediakeep.remote import HTTPMediaStore


@pytest.fixture
def served(tmp_path):
    with serving(tmp_path, sweep_seconds=0) as served:
        yield served


@pytest.fixture
def remote(served, tmp_path):
    with HTTPMediaStore(served.url, cache=tmp_path / "cache") as store:
        yield store


def test_only_who_may_admin_keeps_order_and_in_his_scopes_only(served):
    everything, rest = served.token("*", can="admin"), served.token("*")
    narrow = served.token("mine:*", can="admin")
    for scope in ("mine:1", "mine", "theirs"):
        served.put(scope.encode(), scope, headers=rest)

    def asked(token, path, **said):
        return served.client.post(f"/v1/{path}", json=said, headers=token)

    for path, said in (("erase", {"scope": "mine:1"}), ("sweep", {}), ("reconcile", {})):
        assert asked(rest, path, **said).status_code == 403
    for path, said in (
        *(("erase", {"scope": it}) for it in ("mine", "theirs")),
        *(("sweep", {}), ("reconcile", {})),
    ):
        assert asked(narrow, path, **said).json()["error"] == "Forbidden"
    assert len(served.store.scopes()) == 3
    answer = asked(narrow, "erase", scope="mine:1").json()
    assert [it["result"] for it in answer["files"]] == ["deleted"]
    assert asked(everything, "erase", scope="").status_code == 400
    assert asked(everything, "erase", scope="theirs").json()["files"][0]["refs"] == 1
    assert asked(everything, "sweep").json()["deleted"] == 0
    assert asked(everything, "reconcile").json()["blobs"] == 1
    assert served.store.scopes() == ["mine"]


def test_an_erasure_is_foreseen_before_it_is_done(served, remote, tmp_path):
    (tmp_path / "lent").write_bytes(b"lent")
    served.store.store(tmp_path / "lent", MediaMeta(cleanup_policy="forget_only"), "user:1")
    held = served.store.put(b"held", scope="user:1:chat")
    served.store.share(served.store.put(b"shared", scope="user:1"), "user:2")
    with served.store.lease(held):
        said = served.client.post("/v1/erase", json={"scope": "user:1", "dry_run": True}).json()
        results = sorted(it["result"] for it in said["files"])
        assert results == [
            "kept: another scope has a ref of it",
            "kept: borrowed",
            "leased: 1 time, so say how long to wait",
        ]
        with pytest.raises(StillLeased, match="nothing was ended"):
            remote.erase("user:1")
    assert served.store.scopes() == ["user:1", "user:1:chat", "user:2"]
    path = remote.resolve(held)
    assert sorted(it.result for it in remote.erase("user:1")) == ["deleted", *results[:2]]
    assert not path.exists(), "its copy has gone too"
    assert served.store.scopes() == ["user:2"]


def test_who_does_not_see_all_scopes_is_told_no_path(served, tmp_path):
    (tmp_path / "lent").write_bytes(b"lent")
    tokens = served.token("user:*", can="admin"), served.token("*", can="admin")
    paths = []
    for token in tokens:
        served.store.store(tmp_path / "lent", MediaMeta(cleanup_policy="forget_only"), "user:1")
        answer = served.client.post("/v1/erase", json={"scope": "user:1"}, headers=token)
        paths += [it["location"] for it in answer.json()["files"]]
    assert paths == ["", str(tmp_path / "lent")]
    owned = served.store.store(tmp_path / "lent", scope="user:1")
    with served.store.lease(owned):
        answer = served.client.post("/v1/erase", json={"scope": "user:1"}, headers=tokens[0])
    assert (answer.status_code, answer.json()["error"]) == (409, "StillLeased")
    assert "lent" not in answer.text


def test_a_sweep_says_what_it_did_and_what_it_could_not(served, remote):
    ref = served.store.put(b"12345", scope="s")
    served.store.put(b"short", scope="s", ttl=1e-6)
    path = served.store.resolve(ref)
    path.unlink()
    path.mkdir()  # what has taken its place cannot be unlinked
    served.store.release(ref)
    assert remote.sweep(dry_run=True).expired == 1
    report = remote.sweep()
    assert (report.expired, report.deleted, report.freed) == (1, 1, 5)
    (failed,) = report.failed
    assert (failed.location, failed.attempts) == (served.store._blobs.key(str(path)), 2)
    path.rmdir()
    assert (remote.clean_expired(), remote.sweep().failed) == (0, ())


def test_what_nothing_names_is_found_and_mended(served, remote):
    ref = served.store.put(b"kept", scope="s")
    key = served.store._blobs.key(str(served.store.resolve(served.store.put(b"stray", scope="t"))))
    served.store._catalog.release_scope("t")
    served.store._catalog.lose(key)
    found = []
    report = remote.reconcile(grace=0, tell=found.append)
    assert [(it.kind, it.subject, it.mended) for it in report.findings] == [("orphan", key, False)]
    assert tuple(found) == report.findings
    assert (report.blobs, dict(report.counts), report.clean) == (2, {"orphan": 1}, False)
    assert remote.reconcile(False, grace=0).clean
    assert remote.reconcile(grace=0, deep=True) == type(report)(blobs=1, locations=1)
    assert remote.read_bytes(ref) == b"kept"


def test_a_mending_that_would_be_a_disaster_is_refused_with_its_reason(served, remote):
    keys = []
    for number in range(12):
        path = served.store.resolve(served.store.put(b"%d" % number, scope="t"))
        keys.append(served.store._blobs.key(str(path)))
    served.store._catalog.release_scope("t")
    for key in keys:
        served.store._catalog.lose(key)
    with pytest.raises(MediaError, match="is this the right catalog") as caught:
        remote.reconcile(False, grace=0)
    assert type(caught.value) is MediaError
    assert remote.reconcile(False, grace=0, force=True).mended == 12


# -- however long it takes


@pytest.fixture
def slow(monkeypatch):
    """Take everything for long work."""
    monkeypatch.setattr(upkeep, "SOON_SECONDS", 0.01)
    monkeypatch.setattr(upkeep, "BEAT_SECONDS", 0.02)


def test_while_it_works_the_server_gives_signs_of_life(served, slow):
    ref = served.store.put(b"held", scope="s")
    lease = served.store.lease(ref)
    lease.__enter__()
    said = {"scope": "s", "wait": 30}
    with served.client.stream("POST", "/v1/erase", json=said) as answer:
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        pieces = answer.iter_bytes()
        beats = b"".join(next(pieces) for _ in range(5))
        assert set(beats) == set(b"\n")
        assert served.store.scopes() == [], "the refs have ended, so that no new lease begins"
        lease.__exit__(None, None, None)
        rest = b"".join(pieces)
    assert b'"result":"deleted"' in rest


def test_a_failure_that_comes_late_is_told_as_one_that_came_at_once(remote, served, slow):
    ref = served.store.put(b"held", scope="s")
    with served.store.lease(ref), pytest.raises(StillLeased, match=r"still held by a lease after 0\.1"):
        remote.erase("s", wait=0.1)
    assert remote.reconcile(grace=0).clean


def test_work_that_has_begun_is_done_though_its_client_has_gone(served, slow):
    ref = served.store.put(b"held", scope="s")
    path = served.store.resolve(ref)
    lease = served.store.lease(ref)
    lease.__enter__()
    with served.client.stream("POST", "/v1/erase", json={"scope": "s", "wait": 30}) as answer:
        next(answer.iter_bytes())
    lease.__exit__(None, None, None)
    gone = threading.Event()
    for _ in range(6000):
        if not path.exists():
            break
        gone.wait(0.01)
    assert not path.exists()


def test_a_token_that_may_not_is_denied_in_the_client_too(served, tmp_path):
    text, _ = served.tokens.create(["*"], ["read", "release"])
    with HTTPMediaStore(served.url, token=text, cache=tmp_path / "cache") as remote:
        for verb in (remote.sweep, remote.reconcile, lambda: remote.erase("s")):
            with pytest.raises(AccessDenied, match="may not admin"):
                verb()
