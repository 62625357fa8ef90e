"""Who may ask the server: tokens, scopes, and what nobody learns of the scopes of others."""

import json
import os
import stat
import time

import pytest

pytest.importorskip("starlette")

from http_server import bearer, serving
from mediakeep import Limits
from mediakeep.http import Grant, LinkKeys, Tokens
from mediakeep.http.tokens import BadSecretsFile
from mediakeep.testing import FakeClock

NO_ID = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("tokens")) as served:
        served.root = served.token("*")
        yield served


@pytest.fixture(scope="module")
def theirs(served):
    """The id of a file that is somebody else's, and dead ones of his."""
    live = served.put(b"their secret", "web:9", headers=served.root)
    dead = served.put(b"their dead secret", "web:9", headers=served.root)
    served.client.delete(f"/v1/media/{dead}", headers=served.root)
    return live, dead


@pytest.fixture(scope="module")
def mine(served):
    return served.token("telegram:*", "solo")


# -- the file


def test_a_token_is_kept_as_a_hash_that_nobody_else_can_read(tmp_path):
    tokens = Tokens(tmp_path / "server" / "tokens.json")
    text, token = tokens.create(["a:*"], ["read"], name="bot")
    kept = tokens.path.read_text()
    assert text not in kept
    assert text[len("mk_01234567_") :] not in kept
    assert token.sha256 in kept
    assert stat.S_IMODE(tokens.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(tokens.path.parent.stat().st_mode) == 0o700
    assert tokens.allow(text) == Grant(["a:*"], ["read"], token.id)


def test_no_other_text_is_a_token(tmp_path):
    tokens = Tokens(tmp_path / "tokens.json")
    text, token = tokens.create(["*"], ["read"])
    for other in (
        "",
        text[:-1],
        text + "A",
        text.upper(),
        f"mk_{token.id}_" + "A" * 43,
        "mk_",
        "\ud800",
    ):
        assert tokens.allow(other) is None


def test_a_token_ends_with_its_time(tmp_path):
    clock = FakeClock()
    tokens = Tokens(tmp_path / "tokens.json", clock)
    text, _ = tokens.create(["*"], ["read"], ttl=10)
    clock.advance(9)
    assert tokens.allow(text)
    clock.advance(1)
    assert tokens.allow(text) is None


def test_what_one_process_revokes_ends_in_the_other(tmp_path):
    ours, others = Tokens(tmp_path / "tokens.json"), Tokens(tmp_path / "tokens.json")
    text, token = ours.create(["*"], ["read"])
    assert others.allow(text)
    assert ours.revoke(token.id)
    assert others.allow(text) is None
    assert not ours.revoke(token.id)


def test_a_file_that_others_can_read_is_refused(tmp_path):
    tokens = Tokens(tmp_path / "tokens.json")
    tokens.create(["*"], ["read"])
    tokens.path.chmod(0o640)
    with pytest.raises(BadSecretsFile, match="chmod 600"):
        list(Tokens(tokens.path))


@pytest.mark.parametrize(
    "text",
    ["", "nonsense", "[]", "{}", '{"version": 2, "tokens": []}', '{"version": 1, "tokens": [{}]}'],
)
def test_a_file_that_is_damaged_lets_nobody_in(tmp_path, text):
    path = tmp_path / "tokens.json"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(BadSecretsFile, match=str(path)):
        Tokens(path).allow("mk_00000000_" + "A" * 43)


@pytest.mark.parametrize("pattern", ["a*", "*a", "a:*:b", "**", ":*", "a:**"])
def test_a_star_stands_for_whole_levels_at_the_end_only(pattern):
    with pytest.raises(ValueError, match="no pattern"):
        Grant([pattern])


@pytest.mark.parametrize(
    ("pattern", "seen", "unseen"),
    [
        ("*", ["", "a", "a:b"], []),
        ("a:*", ["a:b", "a:b:c", "a:"], ["a", "ab", "", "b:a:b"]),
        ("a", ["a"], ["a:b", "A", ""]),
        ("", [""], ["a"]),
    ],
)
def test_a_pattern_stands_for_these_scopes(pattern, seen, unseen):
    grant = Grant([pattern])
    assert all(grant.sees(scope) for scope in seen)
    assert not any(grant.sees(scope) for scope in unseen)


def test_who_sees_a_scope_does_not_see_those_below_it():
    assert Grant(["a:*"]).sees_below("a")
    assert Grant(["a:*"]).sees_below("a:b")
    assert not Grant(["a"]).sees_below("a")
    assert not Grant(["a:b:*"]).sees_below("a")


# -- asking


@pytest.mark.parametrize(
    "headers",
    [{}, {"authorization": "Basic YTpi"}, bearer("nonsense"), bearer("mk_00000000_" + "A" * 43)],
)
def test_without_a_valid_token_nothing_is_told(served, theirs, headers):
    for path in (
        f"/v1/media/{theirs[0]}",
        "/v1/media",
        "/v1/stats",
        "/v1/events",
        "/metrics",
        "/v1/history",
    ):
        answer = served.client.get(path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith('Bearer realm="mediakeep"')
        assert answer.json()["error"] == "Unauthorized"
    assert served.client.post("/v1/media?scope=a", content=b"x", headers=headers).status_code == 401


def test_everybody_may_ask_how_the_server_is(served):
    for path in ("/healthz", "/readyz", "/v1/openapi.json"):
        assert served.client.get(path).status_code == 200


def test_a_right_that_a_token_has_not_is_refused(served):
    reader, writer = served.token("r", can="read"), served.token("r", can="write")
    media_id = served.put(b"x", "r", headers=writer)
    assert served.get(media_id, reader).status_code == 200
    assert served.get(media_id, writer).status_code == 403
    for headers in (reader, writer):
        assert served.client.delete(f"/v1/media/{media_id}", headers=headers).status_code == 403
        assert served.client.delete("/v1/scopes/r", headers=headers).status_code == 403
    assert served.client.post("/v1/media?scope=r", content=b"x", headers=reader).status_code == 403
    for headers in (reader, writer):  # to share is to read and to write
        answer = served.client.post(f"/v1/media/{media_id}/share", json={"scope": "r"}, headers=headers)
        assert answer.status_code == 403
    assert served.client.get("/metrics", headers=served.token("*", can="read")).status_code == 403
    assert served.client.get("/metrics", headers=served.token("x", can="metrics")).status_code == 200


ASKED = [
    ("GET", "/v1/media/{}", None),
    ("HEAD", "/v1/media/{}", None),
    ("DELETE", "/v1/media/{}", None),
    ("DELETE", "/v1/media/{}?dry_run=true", None),
    ("GET", "/v1/media/{}/entry", None),
    ("GET", "/v1/media/{}/thumbnail", None),
    ("POST", "/v1/media/{}/share", {"scope": "telegram:1"}),
    ("POST", "/v1/media/{}/link", {}),
    ("POST", "/v1/media/{}/leases", {}),
]


@pytest.mark.parametrize(("method", "path", "body"), ASKED)
def test_an_id_of_another_scope_is_as_one_that_never_was(served, theirs, mine, method, path, body):
    def ask(media_id):
        answer = served.client.request(method, path.format(media_id), json=body, headers=mine)
        headers = {name: value for name, value in answer.headers.items() if name != "date"}
        return answer.status_code, answer.text.replace(media_id, NO_ID), headers

    never = ask(NO_ID)
    assert never[0] == 404
    assert [ask(media_id) for media_id in theirs] == [never, never]
    assert served.store.read_bytes(f"media://{theirs[0]}") == b"their secret"


def test_nothing_is_put_or_shared_into_a_scope_of_others(served, mine):
    for scope in ("web:9", "telegram", "solo:1", ""):
        answer = served.client.post("/v1/media", params={"scope": scope}, content=b"x", headers=mine)
        assert (answer.status_code, answer.json()["error"]) == (403, "Forbidden")
    media_id = served.put(b"x", "telegram:1", headers=mine)
    answer = served.client.post(f"/v1/media/{media_id}/share", json={"scope": "web:9"}, headers=mine)
    assert answer.status_code == 403


def test_lists_hold_only_what_is_seen(served, theirs, mine):
    media_id = served.put(b"listed", "telegram:42:7", headers=mine)
    everything = served.client.get("/v1/media", headers=mine).json()["entries"]
    assert media_id in {entry["id"] for entry in everything}
    assert all(entry["scope"].startswith("telegram:") for entry in everything)
    assert set(served.client.get("/v1/scopes", headers=mine).json()["scopes"]) <= {
        entry["scope"] for entry in everything
    }
    for path in ("/v1/scopes/web:9", "/v1/scopes/web?nested=true", "/v1/scopes/web:9?nested=true"):
        assert served.client.get(path, headers=mine).json() == {"entries": [], "next": None}
    stats = served.client.get("/v1/stats?by_scope=true", headers=mine).json()
    assert stats["refs"] == sum(it["refs"] for it in stats["by_scope"].values())
    assert all(scope.startswith("telegram:") for scope in stats["by_scope"])
    assert "condemned" not in stats


def test_the_journal_tells_of_own_scopes_only(served, theirs, mine):
    media_id = served.put(b"ended", "telegram:8", headers=mine)
    served.client.delete(f"/v1/media/{media_id}", headers=mine)
    lines = served.client.get("/v1/history", headers=mine).json()["lines"]
    assert (media_id, "released") in {(line["id"], line["what"]) for line in lines}
    assert all(line["scope"].startswith("telegram:") for line in lines)
    assert served.client.get(f"/v1/history?id={theirs[1]}", headers=mine).json() == {"lines": []}
    whole = served.client.get(f"/v1/history?id={theirs[1]}", headers=served.root).json()["lines"]
    assert [line["what"] for line in whole] == ["deleted", "released"]


def test_nobody_learns_whether_somebody_else_has_the_same_bytes(served, theirs, mine):
    same = served.put(b"their secret", "telegram:5", headers=mine)
    other = served.put(b"a secret of my own", "telegram:5", headers=mine)
    ref = f"media://{same}"
    assert served.store.entry(ref).refs == 2, "they are kept once"

    def told(media_id):
        entry = served.client.get(f"/v1/media/{media_id}/entry", headers=mine).json()
        would = served.client.delete(f"/v1/media/{media_id}?dry_run=true", headers=mine).json()
        done = served.client.delete(f"/v1/media/{media_id}", headers=mine).json()
        lines = served.client.get(f"/v1/history?id={media_id}", headers=mine).json()["lines"]
        return entry["refs"], entry["leases"], would, done, [line["what"] for line in lines]

    assert told(same) == told(other)


def test_a_scope_is_ended_with_those_below_only_by_who_sees_them(served):
    served.put(b"x", "n", headers=served.root)
    served.put(b"y", "n:1", headers=served.root)
    only = served.token("n")
    answer = served.client.delete("/v1/scopes/n?nested=true", headers=only)
    assert (answer.status_code, answer.json()["error"]) == (403, "Forbidden")
    assert served.client.delete("/v1/scopes/n", headers=only).json()["refs"] == 1
    assert served.client.get("/v1/scopes/n:1", headers=served.root).json()["entries"]
    assert served.client.delete("/v1/scopes/n:1", headers=only).status_code == 403


def test_a_full_store_does_not_tell_how_much_others_have(tmp_path):
    with serving(tmp_path, limits=Limits(max_store_bytes=100)) as served:
        root, mine = served.token("*"), served.token("a")
        served.put(bytes(77), "b", headers=root)
        answer = served.client.post("/v1/media?scope=a", content=bytes(50), headers=mine)
        assert answer.status_code == 507
        assert "77" not in answer.text
        assert "77" in served.client.post("/v1/media?scope=a", content=bytes(50), headers=root).text


def test_a_token_that_is_revoked_is_refused_at_once(served):
    text, token = served.tokens.create(["*"], ["read"])
    assert served.client.get("/v1/scopes", headers=bearer(text)).status_code == 200
    served.tokens.revoke(token.id)
    assert served.client.get("/v1/scopes", headers=bearer(text)).status_code == 401


def test_when_the_tokens_are_damaged_nobody_is_let_in(tmp_path):
    with serving(tmp_path) as served:
        headers = served.token("*")
        served.tokens.path.write_text("nonsense")
        answer = served.client.get("/v1/scopes", headers=headers)
        assert answer.status_code == 503
        assert str(tmp_path) not in answer.text
        served.tokens.path.unlink()
        assert served.client.get("/v1/scopes", headers=headers).status_code == 401
        assert served.client.get("/v1/scopes").status_code == 401, "no file does not mean no lock"


# -- how much


def test_more_requests_than_a_token_may_make_are_refused(served):
    from mediakeep.http.grants import Allowance

    slow = served.token("*", allowance=Allowance(requests_per_second=2))
    statuses = [served.client.get("/v1/scopes", headers=slow).status_code for _ in range(8)]
    assert statuses[:4] == [200] * 4
    assert 429 in statuses[4:]
    refused = served.client.get("/v1/scopes", headers=slow)
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "1"
    assert served.client.get("/v1/scopes", headers=served.root).status_code == 200, "others go on"


def test_a_token_may_be_allowed_smaller_bodies(served):
    from mediakeep.http.grants import Allowance

    small = served.token("*", allowance=Allowance(max_body_bytes=10))
    assert served.client.post("/v1/media?scope=a", content=bytes(10), headers=small).status_code == 201
    assert served.client.post("/v1/media?scope=a", content=bytes(11), headers=small).status_code == 413


# -- where there are no tokens


@pytest.fixture
def unlocked(tmp_path):
    with serving(tmp_path) as served:
        yield served


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"host": "localhost"}, 200),
        ({"host": "[::1]:80"}, 200),
        ({"host": "evil.example"}, 421),
        ({"host": "127.0.0.1.evil.example"}, 421),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-origin"}, 200),
    ],
)
def test_no_web_page_of_elsewhere_gets_in_where_no_token_is_needed(unlocked, headers, status):
    assert unlocked.client.get("/v1/scopes", headers=headers).status_code == status
    put = unlocked.client.post("/v1/media?scope=a", content=b"x", headers=headers)
    assert put.status_code == (201 if status == 200 else status)


def test_from_the_first_token_on_everybody_needs_one(unlocked):
    assert unlocked.client.get("/v1/scopes").status_code == 200
    headers = unlocked.token("*")
    assert unlocked.client.get("/v1/scopes").status_code == 401
    assert unlocked.client.get("/v1/scopes", headers=headers).status_code == 200


# -- signed links


@pytest.fixture(scope="module")
def link(served):
    media_id = served.put(
        b"linked", "telegram:1", headers=served.root, filename="a.txt", content_type="text/plain"
    )
    return served.client.post(f"/v1/media/{media_id}/link", json={}, headers=served.root).json()["url"]


def test_who_has_a_link_takes_nothing_from_the_token_that_made_it(served):
    from mediakeep.http.grants import Allowance

    slow = served.token("*", allowance=Allowance(requests_per_second=2))
    media_id = served.put(b"linked", "telegram:1", headers=slow)
    url = served.client.post(f"/v1/media/{media_id}/link", json={}, headers=slow).json()["url"]
    assert [served.client.get(url).status_code for _ in range(8)][-1] == 429
    assert served.client.get("/v1/scopes", headers=slow).status_code == 200


def test_a_link_lets_whoever_has_it_read_one_file(served, link):
    answer = served.client.get(link)
    assert (answer.status_code, answer.content) == (200, b"linked")
    assert answer.headers["content-disposition"].startswith("inline")
    assert served.client.head(link).status_code == 200
    assert served.client.get(link, headers={"range": "bytes=0-1"}).content == b"li"
    path, _, query = link.partition("?")
    assert served.client.get(f"{path}/entry?{query}").status_code == 401
    assert served.client.delete(link).status_code == 401


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("expires=", "expires=9"),
        ("disposition=inline", "disposition=attachment"),
        ("by=", "by=0"),
        ("key=", "key=0"),
        ("signature=", "signature=A"),
        ("signature=", "more=1&signature="),
        ("disposition=inline&", ""),
        ("signature=", "signature=\u00e9"),
    ],
)
def test_a_link_that_was_changed_is_worth_nothing(served, link, old, new):
    answer = served.client.get(link.replace(old, new))
    assert (answer.status_code, answer.json()["error"]) == (403, "BadLink")


def test_a_link_to_one_file_opens_no_other(served, link, theirs):
    _, _, query = link.partition("?")
    assert served.client.get(f"/v1/media/{theirs[0]}?{query}").status_code == 403


def test_a_link_ends_with_the_token_that_made_it(served):
    text, token = served.tokens.create(["telegram:*"], ["read", "write"])
    media_id = served.put(b"linked", "telegram:1", headers=bearer(text))
    made = served.client.post(f"/v1/media/{media_id}/link", json={}, headers=bearer(text)).json()
    assert served.client.get(made["url"]).status_code == 200
    served.tokens.revoke(token.id)
    assert served.client.get(made["url"]).status_code == 403


def test_a_link_to_a_dead_ref_says_why(served):
    media_id = served.put(b"linked", "telegram:1", headers=served.root)
    url = served.client.post(f"/v1/media/{media_id}/link", json={}, headers=served.root).json()["url"]
    served.client.delete(f"/v1/media/{media_id}", headers=served.root)
    assert served.client.get(url).status_code == 410


def test_a_link_may_say_that_it_is_to_be_kept(served):
    media_id = served.put(b"linked", "t", headers=served.root)
    body = {"disposition": "attachment", "expires_in": 60}
    made = served.client.post(f"/v1/media/{media_id}/link", json=body, headers=served.root).json()
    answer = served.client.get(made["url"])
    assert answer.headers["content-disposition"] == "attachment"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    long = {"expires_in": 8 * 86400}
    refused = served.client.post(f"/v1/media/{media_id}/link", json=long, headers=served.root)
    assert refused.status_code == 400


def test_a_link_expires(tmp_path):
    from mediakeep.http.links import BadLink

    clock = FakeClock()
    keys = LinkKeys(tmp_path / "keys.json", clock)
    query = pairs(keys.sign(NO_ID, int(clock()) + 10, "inline", "someone"))
    keys.check(NO_ID, query)
    clock.advance(10)
    with pytest.raises(BadLink, match="expired"):
        keys.check(NO_ID, query)


def test_keys_are_rotated_and_older_links_live_on_for_a_while(tmp_path):
    from mediakeep.http.links import BadLink

    path = tmp_path / "keys.json"
    ours, others = LinkKeys(path), LinkKeys(path)
    until = int(time.time()) + 100
    old = pairs(ours.sign(NO_ID, until, "inline", ""))
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    others.rotate()
    new = pairs(ours.sign(NO_ID, until, "inline", ""))
    assert new["key"] != old["key"]
    ours.check(NO_ID, old)
    others.check(NO_ID, new)
    others.rotate(keep=1)
    with pytest.raises(BadLink):
        ours.check(NO_ID, old)
    ours.check(NO_ID, new)
    others.rotate(keep=0)
    with pytest.raises(BadLink):
        ours.check(NO_ID, new)
    assert len(json.loads(path.read_text())["keys"]) == 1


def pairs(query: str) -> dict[str, str]:
    from urllib.parse import parse_qsl

    return dict(parse_qsl(query, keep_blank_values=True))
