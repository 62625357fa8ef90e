"""Scopes, lists, leases, shares and the journal over HTTP."""

import base64
import time
from urllib.parse import quote

import pytest

pytest.importorskip("starlette")

from http_server import Served, serving
from mediakeep import CleanupPolicy, FileMediaStore, MediaMeta
from mediakeep.catalogs.listing import NIL
from mediakeep.http import ServerConfig

SCOPES = [
    "plain",
    "a/b",
    "a:b:c",
    "..",
    "../..",
    "%2e",
    "\u00fc\u2603",
    "x y",
    "?",
    "#",
    "a\nb",
    "'\"<b>",
    "\ufffd",
]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("scopes"), requests_per_second=0) as served:
        yield served


@pytest.fixture
def memory():
    """A store in memory, served by an application of its own."""
    with FileMediaStore() as store:
        served = Served(store, ServerConfig())
        served.start()
        yield served
        served.stop()


def listed(served, path, **query):
    """Return the ids on all pages, and how many pages there were."""
    ids, pages, cursor = [], 0, None
    while pages == 0 or cursor:
        if cursor:
            query["cursor"] = cursor
        answer = served.client.get(path, params=query)
        assert answer.status_code == 200, answer.text
        ids += [entry["id"] for entry in answer.json()["entries"]]
        cursor, pages = answer.json()["next"], pages + 1
    return ids, pages


@pytest.mark.parametrize("scope", SCOPES)
def test_a_scope_is_a_scope_however_it_is_spelled(served, scope):
    media_id = served.put(b"x", f"s:{scope}")
    path = "/v1/scopes/" + quote(f"s:{scope}", safe="")
    assert listed(served, path)[0] == [media_id]
    assert f"s:{scope}" in served.client.get("/v1/scopes?limit=1000").json()["scopes"]
    assert served.client.delete(path).json()["refs"] == 1
    assert listed(served, path)[0] == []


def test_a_path_that_is_not_utf8_names_no_scope(served):
    served.put(b"x", "bad:\ufffd")
    answer = served.client.delete("/v1/scopes/bad:%ff")
    assert answer.status_code == 400
    assert len(listed(served, "/v1/scopes/bad:%EF%BF%BD")[0]) == 1


def test_pages_hold_everything_once_in_order(served):
    ids = [served.put(b"%d" % n, f"page:{n % 3}") for n in range(25)]
    whole, _ = listed(served, "/v1/scopes/page", nested="true")
    in_order = [entry.ref for entry in served.store.entries("page", nested=True)]
    assert [f"media://{it}" for it in whole] == in_order
    assert sorted(whole) == sorted(ids)
    for limit in (1, 7, 24, 25, 26):
        paged, pages = listed(served, "/v1/scopes/page", nested="true", limit=limit)
        assert paged == whole
        assert pages == -(-25 // limit)


def test_pages_of_the_newest_first_are_the_same_the_other_way_round(tmp_path):
    with serving(tmp_path) as served:
        everything, narrow = served.token("*"), served.token("back:*")
        for n in range(20):
            served.put(b"%d" % n, ("back:1", "back:2", "other", "back:1:x")[n % 4], headers=everything)
        for token in (everything, narrow):
            served.client.headers.update(token)
            for path, query in (
                ("/v1/scopes/back", {"nested": "true"}),
                ("/v1/scopes/back:2", {}),
                ("/v1/media", {}),
            ):
                oldest, _ = listed(served, path, limit=3, **query)
                newest, pages = listed(served, path, limit=3, order="newest", **query)
                assert newest == oldest[::-1]
                assert len(newest) == {"back:2": 5, "back": 15}.get(
                    path.rpartition("/")[2], 20 if token is everything else 15
                )
                assert pages == -(-len(newest) // 3)


def test_pages_stay_right_while_refs_come_and_go(served):
    ids = [served.put(b"%d" % n, "moving:b") for n in range(10)]
    first = served.client.get("/v1/scopes/moving?nested=true&limit=4").json()
    for gone in (ids[0], ids[3], ids[5]):  # the cursor's own ref too
        served.client.delete(f"/v1/media/{gone}")
    served.put(b"before", "moving:a")
    after = [served.put(b"after", "moving:b"), served.put(b"last", "moving:c")]
    rest, _ = listed(served, "/v1/scopes/moving", nested="true", limit=3, cursor=first["next"])
    assert rest == [ids[4], *ids[6:], *after]


def test_all_media_are_listed_page_by_page_too(served):
    served.put(b"x", "all:1")
    whole = [entry.ref.removeprefix("media://") for entry in served.store.entries()]
    assert listed(served, "/v1/media", limit=5)[0] == whole


def test_names_of_scopes_come_in_pages(served):
    for name in ("names:1", "names:2", "names:3", "names:3:x"):
        served.put(b"x", name)
    first = served.client.get("/v1/scopes?prefix=names&limit=3").json()
    assert first["scopes"] == ["names:1", "names:2", "names:3"]
    second = served.client.get("/v1/scopes", params={"prefix": "names", "cursor": first["next"]}).json()
    assert second == {"scopes": ["names:3:x"], "next": None}


def spelled(cursor):
    return base64.urlsafe_b64encode(cursor.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        *("", "nonsense", "bnVsbA", "WzEsMiwzXQ", "WyJhIiwx", "\u00e9"),
        *(spelled(f'["\\ud800",1,"{NIL}"]'), spelled('["a",1,"media://x"]')),
        spelled(f'["a",{10**30},"{NIL}"]'),
    ],
)
def test_a_cursor_that_is_none_is_refused(served, cursor):
    for path in ("/v1/media", "/v1/scopes", "/v1/scopes/a"):
        assert served.client.get(path, params={"cursor": cursor}).status_code == 400


def test_filters_let_through_what_fits(served):
    png = b"\x89PNG\r\n\x1a\n" + bytes(40)
    picture = served.put(png, "f", filename="Cat.PNG", source="telegram")
    words = served.put(b"words", "f", filename="notes.txt", type="text/plain; charset=utf-8", ttl="60")

    def fit(**query):
        return listed(served, "/v1/scopes/f", **query)[0]

    entry = served.store.entry(f"media://{words}")
    stored = entry.stored_at.isoformat()
    assert fit(type="image/png") == fit(type="image/*") == fit(name="cat") == [picture]
    assert fit(type="text/plain") == fit(max_size="5") == [words]
    assert fit(source="telegram") == fit(min_size="6") == [picture]
    assert fit(stored_after=stored) == [words]
    assert fit(stored_before=stored) == [picture]
    assert fit(expires_before="2999-12-31T00:00:00Z") == [words]
    assert fit(type="image/*", name="notes") == []
    assert fit(owned="true") == [picture, words]
    assert fit(owned="false") == []
    assert fit(type="*/*", limit="1") == [picture, words]


def test_a_page_looks_at_so_many_entries_only(served, monkeypatch):
    from mediakeep.http import paging

    monkeypatch.setattr(paging, "MOST_LOOKED_AT", 3)
    wanted = [served.put(b"%d" % n, "few", filename=f"{n}.txt") for n in range(10)][7]
    ids, pages = listed(served, "/v1/scopes/few", name="7.txt")
    assert ids == [wanted]
    assert pages == 4


def test_a_scope_ends_with_what_only_it_needs(served):
    shared = served.put(b"shared", "end:1")
    served.put(b"only here", "end:1:2")
    made = served.client.post(f"/v1/media/{shared}/share", json={"scope": "kept"}).json()
    before = served.client.get("/v1/stats").json()
    url = "/v1/scopes/end:1?nested=true"
    would = served.client.delete(f"{url}&dry_run=true").json()
    assert would["refs"] == 2
    assert would["files"]["deleted"] == 1
    assert would["files"]["freed"] == 9
    assert would["files"]["kept"] == [{"id": shared, "why": "shared with 1 other ref"}]
    assert len(listed(served, "/v1/scopes/end:1", nested="true")[0]) == 2, "nothing has ended"
    assert served.client.delete(url).json() == {**would, "dry_run": False}
    assert listed(served, "/v1/scopes/end:1", nested="true")[0] == []
    assert served.get(made["id"]).content == b"shared"
    assert before["refs"] >= 3


def test_of_a_very_large_scope_only_the_refs_are_counted(served, monkeypatch):
    from mediakeep.http import endings

    monkeypatch.setattr(endings, "MOST_PLANNED", 2)
    for number in range(4):
        served.put(b"%d" % number, "large")
    assert served.client.delete("/v1/scopes/large").json() == {
        "dry_run": False,
        "refs": 4,
        "files": None,
    }
    assert served.client.get("/v1/scopes/large").json()["entries"] == []


def test_without_nested_the_scopes_below_go_on(served):
    served.put(b"a", "tree")
    below = served.put(b"b", "tree:1")
    assert served.client.delete("/v1/scopes/tree").json()["refs"] == 1
    assert served.get(below).status_code == 200


def test_the_empty_scope_is_not_ended_as_a_whole(served):
    media_id = served.put(b"x", "")
    assert served.client.delete("/v1/scopes/").status_code == 400
    assert media_id in listed(served, "/v1/scopes/")[0]


def test_what_is_borrowed_stays(served, tmp_path):
    path = tmp_path / "theirs.txt"
    path.write_bytes(b"theirs")
    ref = served.store.store(path, MediaMeta(cleanup_policy=CleanupPolicy.FORGET_ONLY), "borrowed")
    answer = served.client.delete(f"/v1/media/{ref.removeprefix('media://')}").json()
    assert answer["files"]["kept"][0]["why"] == "borrowed"
    assert path.read_bytes() == b"theirs"


def test_a_ref_that_has_ended_cannot_end_again(served):
    media_id = served.put(b"x", "twice")
    assert served.client.delete(f"/v1/media/{media_id}").status_code == 200
    assert served.client.delete(f"/v1/media/{media_id}").status_code == 410


def test_a_share_lives_on_by_itself(served):
    media_id = served.put(b"handed over", "giver")
    answer = served.client.post(f"/v1/media/{media_id}/share", json={"scope": "taker", "ttl": 60})
    assert answer.status_code == 201
    assert answer.json()["entry"]["expires_at"] is not None
    served.client.delete("/v1/scopes/giver")
    assert served.client.get(answer.headers["location"]).content == b"handed over"


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b"nonsense", b'{"scope": 1}', b'{"scope": "a", "ttl": true}', b"\xff",
     b'{"scope": "a", "path": "/etc"}', b'{"scope": "a\\u0000"}', b'{"scope": "\\ud800"}', b"[" * 60000],
)  # fmt: skip
def test_a_body_that_is_not_as_it_must_be_is_refused(served, body):
    media_id = served.put(b"x", "bodies")
    headers = {"content-type": "application/json"}
    answer = served.client.post(f"/v1/media/{media_id}/share", content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"] == "BadRequest"


def test_a_form_of_a_web_page_is_no_json(served):
    media_id = served.put(b"x", "bodies")
    headers = {"content-type": "text/plain"}
    answer = served.client.post(f"/v1/media/{media_id}/share", content=b'{"scope":"a"}', headers=headers)
    assert answer.status_code == 415


# -- leases


def test_a_lease_holds_the_file_until_it_ends(served):
    media_id = served.put(b"held", "lease:1")
    path = served.store.resolve(f"media://{media_id}")
    made = served.client.post(f"/v1/media/{media_id}/leases", json={"seconds": 60})
    assert made.status_code == 201
    lease = f"/v1/media/{media_id}/leases/{made.json()['lease']}"
    assert served.client.get(f"/v1/media/{media_id}/entry").json()["leases"] == 1
    served.client.delete("/v1/scopes/lease:1")
    assert path.exists()
    renewed = served.client.post(lease, json={"seconds": 120})
    assert renewed.status_code == 200
    assert renewed.json()["expires_at"] > made.json()["expires_at"]
    assert served.client.delete(lease).status_code == 204
    assert not path.exists()
    assert served.client.delete(lease).status_code == 204, "a second end is no error"
    assert served.client.post(lease, json={}).json()["error"] == "LeaseEnded"


def test_a_lease_lapses_if_nobody_renews_it(served):
    media_id = served.put(b"held", "lease:2")
    path = served.store.resolve(f"media://{media_id}")
    made = served.client.post(f"/v1/media/{media_id}/leases", json={"seconds": 0.2}).json()
    served.client.delete("/v1/scopes/lease:2")
    assert path.exists()
    wait_until(lambda: served.store.sweep() and not path.exists())
    answer = served.client.post(f"/v1/media/{media_id}/leases/{made['lease']}", json={})
    assert (answer.status_code, answer.json()["error"]) == (410, "LeaseEnded")


def test_a_lease_lapses_in_a_store_in_memory_too(memory):
    media_id = memory.put(b"held", "lease")
    path = memory.store.resolve(f"media://{media_id}")
    made = memory.client.post(f"/v1/media/{media_id}/leases", json={"seconds": 0.3}).json()
    lease = f"/v1/media/{media_id}/leases/{made['lease']}"
    assert memory.client.post(lease, json={"seconds": 0.5}).status_code == 200
    memory.client.delete("/v1/scopes/lease")
    assert path.exists()
    wait_until(lambda: not path.exists())
    assert memory.client.post(lease, json={}).status_code == 410


def test_a_lease_is_only_for_whom_it_was_made(tmp_path):
    with serving(tmp_path) as served:
        one, other = served.token("a"), served.token("a")
        media_id, second = served.put(b"1", "a", headers=one), served.put(b"2", "a", headers=one)
        made = served.client.post(f"/v1/media/{media_id}/leases", json={}, headers=one).json()["lease"]
        number, _, proof = made.partition(".")
        for path, headers in (
            (f"/v1/media/{media_id}/leases/{made}", other),
            (f"/v1/media/{second}/leases/{made}", one),
            (f"/v1/media/{media_id}/leases/{int(number, 16) + 1:x}.{proof}", one),
            (f"/v1/media/{media_id}/leases/{number}", one),
            (f"/v1/media/{media_id}/leases/zz.{proof}", one),
        ):
            assert served.client.delete(path, headers=headers).status_code == 404
            assert served.client.post(path, json={}, headers=headers).status_code == 404
        assert served.store.entry(f"media://{media_id}").leases == 1


@pytest.mark.parametrize("seconds", [0, -1, 3601, "60", None])
def test_a_lease_has_its_bounds(served, seconds):
    media_id = served.put(b"x", "lease:3")
    answer = served.client.post(f"/v1/media/{media_id}/leases", json={"seconds": seconds})
    assert answer.status_code == 400


# -- the journal and the numbers


def test_the_journal_tells_what_became_of_a_ref(served):
    media_id = served.put(b"told of", "told:1")
    served.client.delete(f"/v1/media/{media_id}")
    lines = served.client.get(f"/v1/history?id={media_id}").json()["lines"]
    assert [line["what"] for line in lines] == ["deleted", "released"]
    assert {line["id"] for line in lines} == {media_id}
    assert all(line["by"] for line in lines)
    assert served.client.get("/v1/history?scope=told&limit=1").json()["lines"] == lines[:1]
    before = served.client.get("/v1/history", params={"id": media_id, "before": lines[0]["at"]}).json()
    assert before["lines"] == lines[1:]
    assert "path" not in str(lines)
    assert served.config.store not in str(lines)


def test_the_numbers_are_those_of_the_store(tmp_path):
    with serving(tmp_path) as served:
        served.put(b"12345", "n:1")
        served.put(b"12345", "n:2")
        stats = served.client.get("/v1/stats?by_scope=true").json()
        assert (stats["refs"], stats["files"], stats["size"], stats["saved"]) == (2, 1, 5, 5)
        assert stats["by_scope"]["n:1"] == {"refs": 1, "files": 1, "size": 5}


def wait_until(true, seconds: float = 60.0) -> None:
    """Wait for what another thread does."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.01)
