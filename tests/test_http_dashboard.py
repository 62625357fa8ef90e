"""The window without a browser: who gets in, what a page tells to whom, and that nothing in it runs."""

import os
import re
import struct
import threading
import time
from urllib.parse import quote

import httpx2
import pytest

pytest.importorskip("starlette")
pytest.importorskip("jinja2")

from http_server import running, serving
from mediakeep import MediaMeta
from mediakeep.catalogs import Use
from mediakeep.http.config import ServerConfig
from mediakeep.http.dashboard import breakdowns
from mediakeep.http.dashboard.breakdowns import Breakdowns
from mediakeep.http.dashboard.once import LINK_SECONDS, make_login, way_in
from mediakeep.http.dashboard.plots import draw_line, draw_lines
from mediakeep.http.dashboard.samples import MINUTES, Samples

PAGES = ("/", "/gallery", "/upload")
OWN = {"sec-fetch-site": "same-origin"}
HOSTILE = (
    '"><script>alert(1)</script>',
    "'><img src=x onerror=alert(1)>",
    "{{7*7}}{% raw %}",
    "</title><svg onload=alert(1)>",
    "javascript:alert(1)",
    "a\u202egnp.exe\r\nset-cookie: x=1",
)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("window")) as served:
        served.all = served.token("*")
        yield served


@pytest.fixture
def alone(tmp_path):
    with serving(tmp_path) as served:
        yield served


def text_of(header):
    return header["authorization"].removeprefix("Bearer ")


def log_in(served, token, **form):
    return served.client.post("/login", data={"token": text_of(token), **form}, headers=OWN)


def cookie_of(answer):
    """Return the header that shows the session of a login."""
    assert answer.status_code == 303, answer.text
    return {"cookie": answer.headers["set-cookie"].split(";")[0], **OWN}


@pytest.fixture(autouse=True)
def _forget_cookies(served):
    served.client.cookies.clear()


# -- the way in


@pytest.mark.parametrize("page", PAGES)
def test_a_page_leads_who_shows_no_token_to_the_login_and_back(served, page):
    answer = served.client.get(f"{page}?scope=a%26b")
    assert (answer.status_code, answer.headers["location"]) == (
        303,
        "/login?next=" + quote(f"{page}?scope=a%26b", safe=""),
    )
    assert "Sign in" in served.client.get(answer.headers["location"]).text
    entered = log_in(served, served.all, next=f"{page}?scope=a%26b")
    assert entered.headers["location"] == f"{page}?scope=a%26b"


def test_the_session_is_a_cookie_that_no_script_reads_and_no_other_site_sends(served):
    said = log_in(served, served.all).headers["set-cookie"]
    assert re.fullmatch(
        rf"mediakeep_{served.port}=[^;]+; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict", said
    )


def test_behind_tls_the_cookie_is_secure(tmp_path):
    with serving(tmp_path, public_url="https://media.example") as served:
        assert log_in(served, served.token("*")).headers["set-cookie"].endswith("; Secure")


@pytest.mark.parametrize("text", ["", "mk_00000000_" + "A" * 43, "nonsense", "\x00", "é" * 300])
def test_a_token_that_is_none_does_not_get_in(served, text):
    answer = served.client.post("/login", data={"token": text}, headers=OWN)
    assert answer.status_code == 401
    assert "not valid" in answer.text
    assert "set-cookie" not in answer.headers


def test_a_token_that_may_not_read_does_not_get_in(served):
    answer = log_in(served, served.token("*", can="write"))
    assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)


@pytest.mark.parametrize(
    "aim", ["//evil.example", "https://evil.example", "/\\evil.example", "\\/evil.example", "/a\nb", ""]
)
def test_the_login_leads_nowhere_else(served, aim):
    assert log_in(served, served.all, next=aim).headers["location"] == "/"


def test_a_page_of_elsewhere_cannot_log_its_reader_in_or_out(served):
    for path in ("/login", "/logout"):
        for headers in (
            {"sec-fetch-site": "cross-site"},
            {"sec-fetch-site": "same-site"},
            {"origin": "http://evil.example"},
            {"origin": "null"},
            {},
        ):
            answer = served.client.post(path, data={"token": text_of(served.all)}, headers=headers)
            assert (answer.status_code, "set-cookie" in answer.headers) == (403, False), headers


def test_a_session_counts_only_for_what_the_own_pages_ask(served):
    session = cookie_of(log_in(served, served.all))
    only_cookie = {"cookie": session["cookie"]}
    media_id = served.put(b"mine", "own", headers=served.all)
    path = f"/v1/media/{media_id}"
    assert served.client.get(path, headers=session).content == b"mine"
    assert served.client.get(path, headers=only_cookie).status_code == 200  # a browser of long ago
    for site in ("same-site", "cross-site"):  # another port of this host is the same site
        assert (
            served.client.get(path, headers={**only_cookie, "sec-fetch-site": site}).status_code == 401
        )
    for headers in (
        {},
        {"origin": "http://127.0.0.1:1"},
        {"origin": "null"},
        {"sec-fetch-site": "none"},
    ):
        answer = served.client.delete(path, headers={**only_cookie, **headers})
        assert answer.status_code == 401, headers
    answer = served.client.delete(path, headers={**only_cookie, "origin": served.url})
    assert answer.json()["refs"] == 1


def test_a_session_ends_with_its_token(served):
    text, token = served.tokens.create(["*"], ["read"])
    session = cookie_of(log_in(served, {"authorization": f"Bearer {text}"}))
    assert served.client.get("/", headers=session).status_code == 200
    served.tokens.revoke(token.id)
    assert served.client.get("/", headers=session).status_code == 303
    assert served.client.get("/v1/scopes", headers=session).status_code == 401


def test_a_session_ends_after_its_time(served, monkeypatch):
    from mediakeep.http.dashboard import sessions

    session = cookie_of(log_in(served, served.all))
    later = time.time() + sessions.SESSION_SECONDS + 1
    monkeypatch.setattr(sessions.time, "time", lambda: later)
    assert served.client.get("/v1/scopes", headers=session).status_code == 401


def test_a_session_that_was_tampered_with_is_none(served):
    _, narrow = served.tokens.create(["own"], ["read"])
    session = cookie_of(log_in(served, served.all))
    name, _, value = session["cookie"].partition("=")
    holder, expires, nonce, proof = value.split(".", 3)
    for forged in (
        f"{narrow.id}.{expires}.{nonce}.{proof}",
        f"{holder}.{int(expires) + 1}.{nonce}.{proof}",
        f"{holder}.{expires}.{nonce}.{proof[:-2]}AA",
        f"{holder}.{expires}.{nonce}.",
        f"{holder}.x.{nonce}.{proof}",
        "...",
        "",
    ):
        answer = served.client.get("/v1/scopes", headers={**OWN, "cookie": f"{name}={forged}"})
        assert answer.status_code == 401, forged


def test_a_token_that_is_shown_is_not_helped_by_a_session(served):
    session = cookie_of(log_in(served, served.all))
    answer = served.client.get("/v1/scopes", headers={**session, "authorization": "Bearer nonsense"})
    assert answer.status_code == 401


def test_signing_out_takes_the_cookie_away(served):
    session = cookie_of(log_in(served, served.all))
    answer = served.client.post("/logout", headers=session)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert "Max-Age=0" in answer.headers["set-cookie"]


def test_who_follows_a_link_of_another_site_arrives_with_his_session(served):
    session = cookie_of(log_in(served, served.all))
    strict = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}  # and without the cookie
    arriving = served.client.get("/gallery", headers=strict)
    assert (arriving.status_code, 'http-equiv="refresh"' in arriving.text) == (200, True)
    assert served.client.get("/gallery", headers=session).status_code == 200


def test_a_one_time_link_lets_in_once(alone):
    alone.token("*")
    link = make_login(alone.config.state_folder())
    answers = []

    def ask():
        answers.append(httpx2.get(alone.url + link, trust_env=False))

    asking = [threading.Thread(target=ask) for _ in range(6)]
    for it in asking:
        it.start()
    for it in asking:
        it.join()
    assert sorted(it.status_code for it in answers) == [303, *[403] * 5]
    assert sum("set-cookie" in it.headers for it in answers) == 1
    (session,) = (cookie_of(it) for it in answers if it.status_code == 303)
    assert alone.client.get("/", headers=session).status_code == 200
    again = alone.client.get(link)
    assert (again.status_code, "set-cookie" in again.headers) == (403, False)


def test_a_one_time_link_gets_too_old(alone):
    alone.token("*")
    state = alone.config.state_folder()
    link = make_login(state)
    (file,) = (state / "login").iterdir()
    then = time.time() - LINK_SECONDS - 1
    os.utime(file, (then, then))
    assert alone.client.get(link).status_code == 403
    assert alone.client.get(f"{link}x").status_code == 403
    assert not list((state / "login").iterdir())


def test_serve_knows_the_way_in(tmp_path):
    config = ServerConfig(store=str(tmp_path / "store"))
    assert way_in(config) == "/"  # without tokens whoever is on this machine may look
    from mediakeep.http import Tokens

    Tokens(config.state_folder() / "tokens.json").create(["*"], ["read"])
    assert way_in(config).startswith("/login?once=")
    elsewhere = ServerConfig(store=config.store, host="0.0.0.0")
    assert way_in(elsewhere) == "/login"


def test_a_log_never_gets_a_login_link(tmp_path):
    from mediakeep.http import Tokens

    Tokens(tmp_path / "store" / "server" / "tokens.json").create(["*"], ["read"])
    with running("--store", tmp_path / "store") as process:
        log = process.stop()
    assert "once=" not in log
    assert not (tmp_path / "store" / "server" / "login").exists()


def test_without_tokens_this_machine_looks_in_and_no_other_name_does(alone):
    assert "Open on this machine" in alone.client.get("/").text
    assert alone.client.get("/login").headers["location"] == "/"
    answer = alone.client.get("/", headers={"host": "evil.example"})
    assert (answer.status_code, "evil.example" in answer.text) == (421, True)


# -- what a page tells


def test_a_token_sees_only_its_scopes_on_every_page(alone):
    served, served.all = alone, alone.token("*")
    mine = served.put(b"mine", "mine:1", headers=served.all, filename="mine.txt", ttl="500")
    others = served.put(b"theirs", "theirs:1", headers=served.all, filename="theirs.txt", ttl="400")
    served.store.share(f"media://{mine}", "theirs:2")
    narrow = served.token("mine:*")
    seen = {page: served.client.get(page, headers=narrow).text for page in (*PAGES, f"/media/{mine}")}
    for page, text in seen.items():
        assert "theirs" not in text, page
        assert "mine" in text, page
    assert "theirs" in served.client.get("/", headers=served.all).text
    assert "theirs:2" in served.client.get(f"/media/{mine}", headers=served.all).text
    assert served.client.get(f"/media/{others}", headers=narrow).status_code == 404
    asked = served.client.get("/gallery", params={"scope": "theirs"}, headers=narrow)
    assert others not in asked.text
    assert 'id="plots"' not in seen["/"], "how much the store has tells what others have"
    assert "Nobody in your scopes" in seen[f"/media/{mine}"]


def test_a_token_is_offered_only_what_it_may(served):
    media_id = served.put(b"read only", "own", headers=served.all)
    reader = served.token("*", can="read")
    page = served.client.get(f"/media/{media_id}", headers=reader).text
    assert "data-release=" not in page
    assert "data-release=" not in served.client.get("/gallery?scope=own", headers=reader).text
    assert "/upload" not in page
    assert served.client.get("/upload", headers=reader).status_code == 403


@pytest.mark.parametrize("hostile", HOSTILE)
def test_names_scopes_and_sources_are_text_on_every_page(served, tmp_path, hostile):
    # Registered in place, since what is put has its name cleaned.
    meta = MediaMeta(hostile, f"text/{hostile}", hostile)
    (tmp_path / "file").write_text("anything")
    ref = served.store.store(tmp_path / "file", meta, hostile, ttl=300)
    path = f"/media/{ref.removeprefix('media://')}"
    (tmp_path / "gone").write_text("anything")
    gone = served.store.store(tmp_path / "gone", meta, hostile)
    served.store.release(gone)
    for page, query in (
        ("/", {}),
        ("/gallery", {}),
        ("/gallery", {"scope": hostile}),
        ("/gallery", {"name": hostile, "source": hostile}),
        ("/upload", {"scope": hostile}),
        (path, {}),
        (f"/media/{gone.removeprefix('media://')}", {}),
        ("/login", {"next": f"/{hostile}"}),
        (f"/media/{quote(hostile.replace('/', ''), safe='')}", {}),
    ):
        answer = served.client.get(page, params=query, headers=served.all)
        assert_inert(answer)
        assert "49{% raw" not in answer.text
        assert answer.headers.get("set-cookie") is None
    served.store.release(ref)


def assert_inert(answer):
    """Check that a page has no script, style or handler but those that its policy allows."""
    text = answer.text
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self'; style-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert not re.findall(r"<script(?![^>]* src=\"/static/)", text)
    assert not re.findall(r"<style|<[^>]* style=|<[a-z][^<>\"']*(?:\"[^\"]*\"[^<>\"']*)* on\w+=", text)
    assert not re.findall(r"(?:href|src|action)=\"(?!/|\?|#)", text), "only of this server"
    for it in re.findall(r"<img[^>]*>", text):
        assert "/thumbnail?size=" in it


def test_pages_are_kept_by_nobody_and_framed_by_nobody(served):
    answer = served.client.get("/", headers=served.all)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    head = served.client.head("/", headers=served.all)
    assert (head.status_code, head.content) == (200, b"")


def test_what_is_not_there_is_said_on_a_page(served):
    unknown = served.client.get("/media/00000000-0000-4000-8000-000000000000", headers=served.all)
    assert (unknown.status_code, "names nothing that is known" in unknown.text) == (404, True)
    wrong = served.client.get("/gallery?min_size=many", headers=served.all)
    assert (wrong.status_code, "must be a whole number" in wrong.text) == (400, True)
    put = served.client.put("/gallery", headers=served.all)
    assert (put.status_code, put.headers["allow"]) == (405, "GET")


def test_a_ref_that_has_ended_says_why_and_when(served):
    media_id = served.put(b"ended", "own:ended", headers=served.all)
    served.client.delete(f"/v1/media/{media_id}", headers=served.all)
    answer = served.client.get(f"/media/{media_id}", headers=served.all)
    assert answer.status_code == 410
    assert "The ref was released" in answer.text
    assert re.search(
        r"<b>Released</b>.*<b>Deleted</b>|<b>Deleted</b>.*<b>Released</b>", answer.text, re.DOTALL
    )


def test_a_type_that_contradicts_what_was_said_is_told(served):
    media_id = served.put(b"\x89PNG\r\n\x1a\n" + bytes(60), "own", headers=served.all, type="text/plain")
    page = served.client.get(f"/media/{media_id}", headers=served.all).text
    assert re.search(r"<dt>Declared</dt><dd>text/plain</dd>", page)
    assert re.search(r"<dt>Detected</dt><dd>image/png.*differs", page)


def test_what_is_looked_for_is_in_the_address(served):
    for name, kind in (
        ("cat.png", "image/x-demo"),
        ("dog.png", "image/x-demo"),
        ("cat.txt", "text/plain"),
    ):
        served.put(name.encode(), "own:looked", headers=served.all, filename=name, type=kind)
    query = "/gallery?scope=own:looked&name=CAT&type=image/*&min_size=&owned=&source="
    page = served.client.get(query, headers=served.all).text
    assert re.findall(r'tile-name"><bdi>(.*?)</bdi>', page) == ["cat.png"]
    assert 'value="CAT"' in page
    nothing = served.client.get(f"{query}nobody", headers=served.all).text
    assert "Nothing fits" in nothing


def test_further_pages_go_on_from_either_end(alone):
    refs = [alone.store.put(b"%d" % n, MediaMeta(f"{n}.txt"), "many") for n in range(150)]
    ids = [ref.removeprefix("media://") for ref in refs]

    def page_of(query):
        """Return the ids of a page, and what to ask for those around it and for itself."""
        page = alone.client.get(f"/gallery?{query}&part=tiles").text
        said = [re.search(f'data-{it}="([^"]*)"', page)[1] for it in ("before", "next", "at")]
        return re.findall(r'data-id="([^"]+)"', page), *(it.replace("&amp;", "&") for it in said)

    for query, whole in (("scope=many", ids[::-1]), ("scope=many&order=oldest", ids)):
        seen, way = [], query
        while way:
            some, before, way, at = page_of(way)
            assert bool(before) == bool(seen)
            assert page_of(f"{query}&at={at}")[0] == some
            seen += some
        assert seen == whole
        seen, way = [], f"{query}&before=end"
        while way:
            some, way, following, _ = page_of(way)
            assert page_of(following)[0][:1] == seen[:1] if following else not seen
            seen = some + seen
        assert seen == whole
    assert alone.client.get("/gallery?before=nonsense").status_code == 400
    assert alone.client.get("/gallery?at=nonsense").status_code == 400


def test_scopes_are_a_tree_with_counts(alone):
    for scope in ("a:1:x", "a:1:y", "a:2", "b", "", ":odd"):
        alone.store.put(scope.encode(), scope=scope)
    counted = re.compile(r'title="([^"]*)"><bdi>[^<]*</bdi><span class="quiet">(\d+)')
    top = alone.client.get("/gallery").text
    assert counted.findall(top) == [("a", "3"), ("b", "1")]
    below = alone.client.get("/gallery?scope=a:1").text
    assert [
        it for it, _ in re.findall(r'title="([^"]*)"><bdi>[^<]*</bdi><span class="quiet">(\d+)', below)
    ] == [
        "a:1:x",
        "a:1:y",
    ]


def test_modules_are_kept_for_ever_under_their_own_version(served):
    page = served.client.get("/", headers=served.all).text
    for asset in re.findall(r'(?:src|href)="(/static/[^"]+)"', page):
        answer = served.client.get(asset)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["x-content-type-options"] == "nosniff"
    for wrong in ("/static/0/app.js", f"{asset}x", asset.replace("/static/", "/static/../")):
        assert served.client.get(wrong).status_code == 404


def test_failed_deletions_and_leases_are_shown(alone):
    ref = alone.store.put(b"stuck", scope="own")
    path = alone.store.resolve(ref)
    path.unlink()
    (path / "in the way").mkdir(parents=True)
    alone.store.release(ref)
    held = alone.store.put(b"held", MediaMeta("held.bin"), scope="own")
    with alone.store.lease(held):
        page = alone.client.get("/").text
    assert "Is a directory" in page
    assert "1 attempt;" in page
    assert re.search(r'id="leases".*held\.bin.*1 held', page, re.DOTALL)
    assert str(path) not in page, "paths of the server's machine are nobody's business"


def test_what_ends_next_and_what_is_held_does_not_wait_for_a_count(alone, monkeypatch):
    from mediakeep.http.dashboard import census

    going_on = threading.Event()
    counted = census._counted
    monkeypatch.setattr(census, "_counted", lambda *them: going_on.wait(60) and counted(*them))
    for number in range(9):
        ttl = 500 + 100 * (number % 5)
        alone.store.put(b"%d" % number, MediaMeta(f"ends-{ttl}.txt"), f"s:{number}", ttl=ttl)
    everything, narrow = alone.token("*"), alone.token("s:3", "s:4")
    with alone.store.lease(alone.store.put(b"held", MediaMeta("held.bin"), scope="held")):
        page = alone.client.get("/", headers=everything).text
        assert "counting…" in page
        assert re.search(r'id="leases".*held\.bin.*1 held', page, re.DOTALL)
    ends = re.compile(r"ends-(\d+)\.txt")
    assert ends.findall(page) == ["500", "500", "600", "600", "700", "700"]
    page = alone.client.get("/", headers=narrow).text
    assert ends.findall(page) == ["800", "900"]
    assert "held.bin" not in page
    going_on.set()


def test_types_and_scopes_are_counted_exactly_and_drawn_over_time(alone):
    alone.store.put(b"1", MediaMeta("a.txt", "text/plain"), "chat:1")
    ref = alone.store.put(b"22", MediaMeta("b.txt", "text/x-log"), "chat:2")
    alone.store.share(ref, "mail")
    folder = alone.config.state_folder()
    past = Breakdowns(folder / "breakdowns.bin", lambda: time.time() - 3600)
    past.add({"chat": (7, 7000), "gone<b>": (9, 9000)}, {"Text": (5, 5000)})
    page = alone.client.get("/").text
    types = page[page.index('id="types"') : page.index('id="expiring"')]
    assert re.search(r"Text.*?5\s*B.*?3 refs", types, re.DOTALL)
    assert_inert(alone.client.get("/"))
    plots = re.findall(r"<h3>([^<]*)</h3></figcaption>", page)
    assert plots == ["Bytes by scope", "Refs by scope", "Bytes by type", "Refs by type"]
    figure = page[page.index("Refs by scope") : page.index("Bytes by type")]
    drawn = re.findall(r"<title>([^<]*)</title>.*?</g>", figure)
    assert drawn == ["chat", "mail"], "those that are largest now"
    chat = figure[figure.index("<title>chat") : figure.index("<title>mail")]
    assert re.search(r'd="M[\d. ]+ L[\d. ]+"', chat), "from what was kept to what there is now"
    narrow = alone.token("chat:*")
    assert "by scope</h3>" not in alone.client.get("/", headers=narrow).text


def test_no_page_waits_for_a_count_that_takes_long(alone, monkeypatch):
    from mediakeep.http.dashboard import census

    counted, going_on = census._counted, threading.Event()

    def slowly(store, grant):
        assert going_on.wait(60)
        return counted(store, grant)

    def seconds_for_a_page():
        began = time.monotonic()
        assert "counting…" in alone.client.get("/").text
        return time.monotonic() - began

    monkeypatch.setattr(census, "_counted", slowly)
    monkeypatch.setattr(census, "WAIT_SECONDS", 1.5)
    alone.store.put(b"data", scope="own")
    assert seconds_for_a_page() >= 1.5
    # Busy as the machine may be, it is not so for each of them.
    assert any(seconds_for_a_page() < 1.5 for _ in range(10)), "only the first one waits"
    assert "4&nbsp;B" in alone.client.get("/").text.replace("\N{NO-BREAK SPACE}", "&nbsp;")
    going_on.set()
    until = time.monotonic() + 60
    while "counting…" in alone.client.get("/").text:
        assert time.monotonic() < until
        time.sleep(0.02)


# -- numbers over time


def test_samples_are_those_of_a_week_and_take_no_more_room(tmp_path):
    now = [1_800_000_000.0]
    samples = Samples(tmp_path / "state" / "samples.bin", lambda: now[0])
    assert samples.since(3600) == []
    for minute in range(MINUTES + 100):
        now[0] += 60
        if minute % 50 == 0 or minute > MINUTES + 90:
            samples.add(Use(minute, minute * 10))
    assert (tmp_path / "state" / "samples.bin").stat().st_size <= MINUTES * 24
    found = samples.since(14 * 86_400)
    assert [it.files for it in found[-2:]] == [MINUTES + 98, MINUTES + 99]
    assert found == sorted(found)
    assert found[0].files >= 100, "what is older than a week has made room"
    assert [it.size for it in samples.since(120)] == [it.size for it in found[-3:]]


def test_a_torn_sample_is_passed_over(tmp_path):
    path = tmp_path / "samples.bin"
    now = 1_800_000_000.0
    samples = Samples(path, lambda: now)
    samples.add(Use(1, 2))
    minute = int(now // 60)
    with open(path, "r+b") as file:
        file.seek((minute - 1) % MINUTES * 24)
        file.write(struct.pack("<qqq", minute - 5, 9, 9))
        file.seek(0, 2)
        file.write(b"torn")
    assert [(it.files, it.size) for it in samples.since(3600)] == [(1, 2)]


def test_samples_without_a_folder_are_in_memory():
    samples = Samples(None)
    samples.add(Use(3, 4))
    assert [(it.files, it.size) for it in samples.since(3600)] == [(3, 4)]


def test_breakdowns_are_those_of_a_week_and_take_no_more_room(tmp_path):
    now = [1_800_000_000.0]
    path = tmp_path / "state" / "breakdowns.bin"
    kept = Breakdowns(path, lambda: now[0])
    assert kept.since(3600) == []
    assert kept.is_due()
    huge = {"\N{GRINNING FACE}" * 500 + str(n): (n, 2**60 + n) for n in range(1000)}
    for slot in range(2 * breakdowns.SLOTS):
        now[0] += breakdowns.EVERY_SECONDS
        if slot % 100 == 0:
            kept.add(huge, {"Text": (slot, slot * 10)})
    assert not kept.is_due() or slot % 100
    assert path.stat().st_size <= breakdowns.SLOTS * 2048
    kept.add({"a": (1, 2)}, {})
    assert not kept.is_due()
    found = kept.since(14 * 86_400)
    assert len(found) <= breakdowns.MOST_READ
    recent = kept.since(300 * 150)
    assert [it.sorts.get("Text", (0, 0))[0] for it in recent] == [3900, 4000, 0]
    assert recent[-1].levels == {"a": (1, 2)}
    assert 1 <= len(recent[0].levels) <= breakdowns.MOST_NAMES
    with open(path, "r+b") as file:
        file.seek(int(now[0] // 300) % breakdowns.SLOTS * 2048 + 20)
        file.write(b"torn")
    assert len(kept.since(300 * 150)) == 2


def test_breakdowns_without_a_folder_are_in_memory():
    kept = Breakdowns(None)
    kept.add({"a": (1, 2)}, {"Text": (3, 4)})
    (found,) = kept.since(600)
    assert (found.levels, found.sorts) == ({"a": (1, 2)}, {"Text": (3, 4)})


def test_several_lines_share_a_scale():
    series = {"a": [(0.0, 10.0), (300.0, 20.0)], "b": [(0.0, 40.0), (300.0, 0.0)]}
    plot = draw_lines(series, 300.0, 3600.0, binary=False)
    assert [it.name for it in plot.parts] == ["a", "b"]
    assert plot.levels[-1].value == 40
    assert plot.parts[1].last[1] == plot.levels[0].at, "0 is at the bottom"
    assert plot.lone


def test_a_line_is_broken_where_nobody_looked():
    points = [(float(at), 5.0) for at in (*range(0, 1000, 60), *range(3000, 3600, 60))]
    line = draw_line(points, 3600.0, 3600.0, binary=False)
    assert len(line.strokes) == 2
    assert (line.least, line.most, line.lone) == (5, 5, False)


def test_an_empty_store_has_a_plot():
    line = draw_line([(100.0, 0.0)], 100.0, 3600.0, binary=True)
    assert line.lone
    assert [tick.value for tick in line.levels] == [0, 1]


def test_a_long_time_has_no_more_points_than_can_be_seen():
    points = [(float(minute * 60), float(minute)) for minute in range(MINUTES)]
    line = draw_line(points, MINUTES * 60.0, MINUTES * 60.0, binary=False)
    assert len(line.points.split()) <= 241
    assert line.most == MINUTES - 1
