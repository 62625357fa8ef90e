"""The window in a real browser: what people do there, and what others would like to do to them."""

import contextlib
import io
import sqlite3
import subprocess
import sys
import time
import wave
from pathlib import Path
from urllib.parse import urlencode

import pytest

pytest.importorskip("starlette")
pytest.importorskip("playwright", reason="needs the dependency group `test`")

from playwright.sync_api import Error, expect

import papers
from browser import chromium, visiting
from http_server import serving
from mediakeep import MediaMeta
from mediakeep.http.dashboard.once import make_login
from mediakeep.http.links import LinkKeys
from pictures import photograph, written

expect.set_options(timeout=30_000)

PICTURE = written(photograph(320, 200), "JPEG")
XSS = (
    "<img src=x onerror=window.hacked=1>",
    '"><script>window.hacked=1</script>',
    "'-window.hacked=1-'",
    "</title></textarea><svg onload=window.hacked=1>",
)


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("window"), sweep_seconds=0) as served:
        served.root, _ = served.tokens.create(["*"], ["read", "write", "release"])
        served.headers = {"authorization": f"Bearer {served.root}"}
        yield served


@pytest.fixture(scope="module")
def session(browser, served):
    with visiting(browser, served.url) as visitor:
        visitor.log_in(served.root)
        return visitor.context.storage_state()


@pytest.fixture
def visitor(browser, served, session):
    """Somebody who is in."""
    with visiting(browser, served.url, storage_state=session) as visitor:
        yield visitor


def put(served, scope, name, data=PICTURE, kind="image/jpeg", **more):
    ref = served.store.put(data, MediaMeta(name, kind, "test"), scope, **more)
    return ref.removeprefix("media://")


def sound(seconds=8):
    file = io.BytesIO()
    with wave.open(file, "wb") as audio:
        audio.setnchannels(1)
        audio.setsampwidth(2)
        audio.setframerate(44_100)
        audio.writeframes(b"\0\x10" * (44_100 * seconds))
    return file.getvalue()


def drop(visitor, *files):
    """Drop files from outside of the browser onto the middle of the page."""
    devtools = visitor.context.new_cdp_session(visitor.page)
    data = {"items": [], "files": [str(it) for it in files], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        devtools.send("Input.dispatchDragEvent", {"type": kind, "x": 640, "y": 400, "data": data})


# -- the way in


def test_a_token_lets_in_and_signing_out_out(browser, served):
    with visiting(browser, served.url) as visitor:
        visitor.go("/gallery?scope=a")
        assert "/login?next=" in visitor.page.url
        visitor.page.fill("#token", served.root)
        visitor.page.click("text=Sign in >> nth=-1")
        visitor.page.wait_for_url(f"{served.url}/gallery?scope=a")
        (cookie,) = visitor.context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        assert visitor.page.evaluate("document.cookie") == ""
        visitor.page.click(".menu summary")
        visitor.page.click("text=Sign out")
        visitor.page.wait_for_url("**/login")
        assert visitor.context.cookies() == []


def test_a_wrong_token_is_told_and_does_not_let_in(browser, served):
    with visiting(browser, served.url) as visitor:
        visitor.refused = ("401",)
        visitor.go("/login")
        visitor.page.fill("#token", served.root[:-1] + "!")
        visitor.page.press("#token", "Enter")
        expect(visitor.page.get_by_role("alert")).to_contain_text("not valid")
        assert visitor.context.cookies() == []


def test_a_one_time_link_opens_the_window(browser, served):
    link = make_login(served.config.state_folder())
    with visiting(browser, served.url) as visitor:
        visitor.go(link)
        assert visitor.page.url == f"{served.url}/", "the secret does not stay in the address"
        expect(visitor.page.get_by_role("heading", name="Overview")).to_be_visible()
    with visiting(browser, served.url) as visitor:
        visitor.refused = ("403",)
        visitor.go(link)
        expect(visitor.page.get_by_role("alert")).to_contain_text("has been used")


def test_a_session_that_ends_leads_back_to_the_login(browser, served):
    text, token = served.tokens.create(["*"], ["read", "release"])
    media_id = put(served, "ends", "still.jpg")
    with visiting(browser, served.url) as visitor:
        visitor.refused = ("401",)
        visitor.log_in(text)
        visitor.go(f"/media/{media_id}")
        served.tokens.revoke(token.id)
        visitor.page.click("text=Release…")
        visitor.page.wait_for_url(f"**/login?next=%2Fmedia%2F{media_id}")


# -- the gallery and its files


def test_files_are_dropped_onto_the_page_and_are_there(visitor, served, tmp_path):
    files = [tmp_path / "one.jpg", tmp_path / "two & three.txt"]
    files[0].write_bytes(PICTURE)
    files[1].write_text("three")
    visitor.go("/upload?scope=dropped:here")
    drop(visitor, *files)
    done = visitor.page.locator("#uploads li[data-state=done]")
    expect(done).to_have_count(2)
    for bar in visitor.page.locator("#uploads progress").all():
        assert bar.evaluate("it => it.value") == 1
    stored = {it.meta.filename: it for it in served.store.entries("dropped:here")}
    assert set(stored) == {"one.jpg", "two & three.txt"}
    assert stored["one.jpg"].size == len(PICTURE)
    assert {it.meta.source for it in stored.values()} == {"dashboard"}
    done.get_by_text("one.jpg").click()
    expect(visitor.page.locator("h1")).to_have_text("one.jpg")


def test_files_are_dropped_into_the_scope_that_is_looked_at(visitor, served, tmp_path):
    (tmp_path / "dropped.jpg").write_bytes(PICTURE)
    put(served, "shelf:1", "first.jpg")
    visitor.go("/gallery?scope=shelf:1")
    visitor.wait_live()
    drop(visitor, tmp_path / "dropped.jpg")
    expect(visitor.page.locator(".tile-name")).to_have_text(["dropped.jpg", "first.jpg"])


def test_an_upload_that_is_refused_says_why(browser, tmp_path):
    with serving(tmp_path, max_body_bytes=10) as small, visiting(browser, small.url) as visitor:
        visitor.refused = ("413",)
        (tmp_path / "large.txt").write_text("more than ten bytes")
        visitor.go("/upload?scope=s")
        drop(visitor, tmp_path / "large.txt")
        failed = visitor.page.locator("#uploads li[data-state=failed]")
        expect(failed).to_contain_text("max_body_bytes")
        assert list(small.store.entries()) == []


def test_the_gallery_shows_pictures_and_what_is_looked_for(visitor, served):
    put(served, "looks:1", "harbour.jpg")
    put(served, "looks:2", "hill.jpg")
    put(served, "looks:2", "note.txt", b"text", "text/plain")
    visitor.go("/gallery?scope=looks")
    picture = visitor.page.locator(".tile", has_text="harbour.jpg").locator("img")
    expect(picture).to_have_js_property("naturalWidth", 256)
    visitor.page.fill("#search", "h")
    visitor.page.press("#search", "Enter")
    expect(visitor.page.locator(".tile-name")).to_have_text(["hill.jpg", "harbour.jpg"])
    assert visitor.page.url.endswith("/gallery?scope=looks&name=h")
    visitor.page.click("#tree >> text=2")
    expect(visitor.page.locator(".tile-name")).to_have_text(["hill.jpg"])
    visitor.page.go_back()
    expect(visitor.page.locator(".tile-name")).to_have_count(2)
    visitor.page.select_option("select[name=type]", "text/*")
    expect(visitor.page.get_by_text("Nothing fits")).to_be_visible()


def test_documents_show_what_they_are(served, visitor):
    pytest.importorskip("pypdfium2")
    names = {
        "paper.pdf": put(served, "papers", "paper.pdf", papers.pdf(), "application/pdf"),
        "book.epub": put(served, "papers", "book.epub", papers.epub(), "application/epub+zip"),
        "song.m4a": put(served, "papers", "song.m4a", papers.m4a(papers.COVER), "audio/mp4"),
    }
    for name, media_id in names.items():
        visitor.go("/gallery?scope=papers")
        tile = visitor.page.locator(f".tile[data-id='{media_id}'] img")
        expect(tile).to_have_js_property("naturalWidth", 96 if name != "paper.pdf" else 256)
        visitor.go(f"/media/{media_id}")
        expect(visitor.page.locator(".stage img")).to_be_visible()
        expect(visitor.page.get_by_text("No preview")).to_be_hidden()


def test_a_document_that_shows_nothing_has_its_sign(served, visitor):
    visitor.refused = ("415",)
    media_id = put(served, "blank", "blank.epub", papers.epub("<package/>"), "application/epub+zip")
    visitor.go("/gallery?scope=blank")
    expect(visitor.page.locator(".tile .thumb .icon")).to_be_visible()
    expect(visitor.page.locator(".tile .extension")).to_have_text("EPUB")
    expect(visitor.page.locator(".tile img")).to_be_hidden()
    visitor.go(f"/media/{media_id}")
    expect(visitor.page.get_by_text("No preview")).to_be_visible()


def test_scrolling_shows_everything_and_lets_go_of_what_is_far_away(browser, served, session):
    for number in range(700):
        put(served, "long", f"{number}.txt", b"%d" % number, "text/plain")
    size = {"width": 400, "height": 800}
    with visiting(browser, served.url, viewport=size, storage_state=session) as visitor:
        visitor.go("/gallery?scope=long")
        for key, end in (("End", "#more"), ("Home", "#earlier")):
            seen = set()
            while visitor.page.locator(end).count():
                seen |= set(visitor.page.locator(".tile-name").all_inner_texts())
                visitor.page.keyboard.press(key)
                visitor.page.wait_for_timeout(30)
            seen |= set(visitor.page.locator(".tile-name").all_inner_texts())
            assert len(seen) == 700
            assert visitor.page.locator(".tile").count() <= 8 * 60, "those far away made room"
        expect(visitor.page.locator(".tile-name").first).to_have_text("699.txt")


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A server with 100,000 files in one scope, which are rows only."""
    with serving(tmp_path_factory.mktemp("large"), sweep_seconds=0) as served:
        path = Path(served.config.store) / "catalog.db"
        with contextlib.closing(sqlite3.connect(path)) as db, db:
            numbers = (
                "WITH RECURSIVE n (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < 100000)"
            )
            db.execute(
                f"{numbers} INSERT INTO locations (id, location, owned, size, sha256)"
                " SELECT n, CAST('b/' || n AS BLOB), 1, n, '' FROM n"
            )
            db.execute(
                f"{numbers} INSERT INTO refs SELECT randomblob(16), n, 'large', NULL,"
                " json_object('filename', n || '.txt', 'content_type', 'text/plain'), 1.7e9 + n, NULL"
                " FROM n"
            )
        yield served


def first_in_sight(page):
    """Return the name of the first tile below the bar, and where it is."""
    return page.evaluate("""() => {
        const tile = [...document.querySelectorAll(".tile")]
            .find((it) => it.getBoundingClientRect().bottom > 72);
        return [tile.querySelector(".tile-name").textContent, tile.getBoundingClientRect().top];
    }""")


def scroll_on(page, way):
    """Scroll as far as it goes, and wait until a further page is there."""
    page.evaluate(
        """(way) => new Promise((done, fail) => {
            const pages = document.getElementById("pages");
            const end = way > 0 ? "lastElementChild" : "firstElementChild";
            const last = pages[end];
            const [loaded, tail] = ["loaded", "tail"].map((it) => document.getElementById(it));
            const late = setTimeout(() => fail(`no page came: ${scrollY} of`
                + ` ${document.body.scrollHeight}, ${loaded.textContent} ${tail.textContent}`), 30_000);
            new MutationObserver((_, seeing) => {
                if (pages[end] === last) return;
                seeing.disconnect();
                clearTimeout(late); // it holds what was last
                done();
            }).observe(pages, { childList: true });
            scrollTo({ top: way > 0 ? document.body.scrollHeight : 0, behavior: "instant" });
        })""",
        way,
    )


def comes_back_to(page, there):
    """Wait until the first tile in sight is the one that was, where it was."""
    # Asked again and again from here: the policy of the page allows no text to be evaluated in it, as
    # wait_for_function does, and going back may still be under way.
    until = time.monotonic() + 30
    there_again = False
    while not there_again:
        assert time.monotonic() < until, there
        page.wait_for_timeout(20)
        with contextlib.suppress(Error):
            there_again = page.evaluate(
                """([name, top]) => [...document.querySelectorAll(".tile")].some((it) =>
                    it.querySelector(".tile-name").textContent === name
                    && Math.abs(it.getBoundingClientRect().top - top) < 3)""",
                list(there),
            )


def test_a_hundred_thousand_files_are_seen_through_a_window_of_some_hundred(browser, large):
    with visiting(browser, large.url, viewport={"width": 1200, "height": 900}) as visitor:
        page = visitor.page
        visitor.go("/gallery?scope=large")
        expect(page.locator(".tile-name").first).to_have_text("100000.txt")
        devtools = visitor.context.new_cdp_session(page)
        devtools.send("Performance.enable")

        def nodes():
            """Return how many nodes the browser keeps, those that nothing holds left out."""
            devtools.send("HeapProfiler.collectGarbage")
            metrics = devtools.send("Performance.getMetrics")["metrics"]
            return next(it["value"] for it in metrics if it["name"] == "Nodes")

        asked = []
        for _ in range(3):
            for _ in range(12):
                scroll_on(page, 1)
            asked.append(sum("part=tiles" in it for it in visitor.requests))
            assert page.locator(".tile").count() <= 8 * 60
        assert asked[2] - asked[1] <= 18, "one request for each further page"
        until = time.monotonic() + 30
        while (kept := nodes()) > 30_000:  # one page has about 1,200, and there were 37
            assert time.monotonic() < until, kept
            page.wait_for_timeout(50)
        page.wait_for_url("**at=**")
        there = first_in_sight(page)
        page.get_by_role("link", name="To the end").click()
        expect(page.locator("#tail")).to_contain_text("That is all")
        expect(page.locator(".tile-name").last).to_have_text("1.txt")
        page.wait_for_url("**at=**")  # it has come to rest at the end
        scroll_on(page, -1)
        scroll_on(page, -1)
        assert int(first_in_sight(page)[0].removesuffix(".txt")) > 60, "earlier pages come above"
        page.go_back()
        comes_back_to(page, there)
        page.get_by_role("link", name="To the beginning").click()
        expect(page.locator(".tile-name").first).to_have_text("100000.txt")


def test_back_from_a_file_leads_to_where_one_was(browser, large):
    with visiting(browser, large.url, viewport={"width": 1200, "height": 900}) as visitor:
        page = visitor.page
        visitor.go("/gallery?scope=large")
        for _ in range(4):
            scroll_on(page, 1)
        page.evaluate("scrollBy({ top: -333, behavior: 'instant' })")
        there = first_in_sight(page)
        whole = page.evaluate("""() => [...document.querySelectorAll(".tile")]
            .find((it) => it.getBoundingClientRect().top > 100).dataset.id""")
        visitor.refused = ("410",)  # its bytes are not there
        page.locator(f'.tile[data-id="{whole}"] .tile-link').click()
        page.wait_for_url("**/media/*")
        page.go_back()
        comes_back_to(page, there)


def test_a_player_seeks_with_a_range_request(visitor, served):
    media_id = put(served, "music", "long.wav", sound(), "audio/wav")
    path = f"/v1/media/{media_id}"
    ranges = []
    visitor.page.on(
        "response",
        lambda it: it.url.endswith(path) and ranges.append((it.status, it.request.headers.get("range"))),
    )
    visitor.go(f"/media/{media_id}")
    player = visitor.page.locator("audio")
    expect(player).to_have_js_property("readyState", 4)
    player.evaluate("""it => new Promise((done) => {
        it.addEventListener("seeked", done, { once: true });
        it.currentTime = 7.5;
    })""")
    assert player.evaluate("it => it.currentTime") == 7.5
    assert all(status == 206 for status, _ in ranges)
    assert any(asked and asked != "bytes=0-" for _, asked in ranges), ranges


def test_sound_is_played_in_the_gallery(visitor, served):
    put(served, "plays", "short.wav", sound(1), "audio/wav")
    visitor.go("/gallery?scope=plays")
    visitor.page.get_by_role("button", name="Play short.wav").click()
    player = visitor.page.locator("#player audio")
    expect(player).to_have_js_property("readyState", 4)
    visitor.page.keyboard.press("Escape")
    expect(player).to_have_count(0)


# -- ends


def test_release_shows_first_what_it_will_do(visitor, served):
    media_id = put(served, "ends:1", "last.jpg", PICTURE + b"unlike any other")
    visitor.go(f"/media/{media_id}")
    visitor.page.click("text=Release…")
    dialog = visitor.page.get_by_role("dialog")
    expect(dialog).to_contain_text("1 ref ends, for good.")
    expect(dialog).to_contain_text("1 file is deleted")
    dialog.get_by_role("button", name="Keep it").click()
    assert served.store.entry(f"media://{media_id}")
    visitor.refused = ("410",)
    visitor.page.click("text=Release…")
    dialog.get_by_role("button", name="Release", exact=True).click()
    expect(visitor.page.get_by_role("heading", name="The ref was released")).to_be_visible()
    assert list(served.store.entries("ends:1")) == []


def test_release_says_which_files_stay_and_why(visitor, served):
    media_id = put(served, "ends:2", "shared.jpg", PICTURE + b"shared")
    served.store.share(f"media://{media_id}", "ends:3")
    visitor.go(f"/media/{media_id}")
    visitor.page.click("text=Release…")
    expect(visitor.page.get_by_role("dialog")).to_contain_text("1 file stays: shared with 1 other ref.")


def test_a_scope_is_released_with_those_below_it(visitor, served):
    for scope in ("tree", "tree:a/b", "tree:a/b:c", "treehouse"):
        put(served, scope, f"{scope}.txt", scope.encode(), "text/plain")
    visitor.go("/gallery?scope=tree:a/b")
    visitor.page.click("text=Release scope…")
    expect(visitor.page.get_by_role("dialog")).to_contain_text("2 refs end")
    visitor.page.get_by_role("dialog").get_by_role("button", name="Release", exact=True).click()
    visitor.page.wait_for_url("**/gallery")
    assert [it for it in served.store.scopes() if it.startswith("tree")] == ["tree", "treehouse"]


def test_a_time_to_live_counts_down_and_its_end_is_seen(visitor, served):
    media_id = put(served, "short", "short.jpg", ttl=300)
    visitor.go(f"/media/{media_id}")
    time = visitor.page.locator("#life time")
    before = time.inner_text()
    expect(time).not_to_have_text(before)
    assert "in 00:04:00" < time.inner_text() < before < "in 00:05:00"
    visitor.refused = ("410",)
    visitor.wait_live()
    served.client.delete(f"/v1/media/{media_id}", headers=served.headers)
    expect(visitor.page.get_by_role("heading", name="The ref was released")).to_be_visible()


def test_a_signed_link_is_good_until_it_expires(visitor, browser, served, monkeypatch):
    media_id = put(served, "links", "linked.jpg")
    visitor.go(f"/media/{media_id}")
    visitor.page.click("text=Signed link…")
    visitor.page.select_option("#expires", "600")
    visitor.page.click("text=Make the link")
    expect(visitor.page.locator("#link-url")).to_be_visible()
    link = visitor.page.input_value("#link-url")
    with visiting(browser, served.url) as stranger:
        assert stranger.page.goto(link).status == 200
        check = LinkKeys.check

        def check_later(self, media_id, query):
            monkeypatch.setattr(self, "_clock", lambda: 4e9)
            check(self, media_id, query)

        monkeypatch.setattr(LinkKeys, "check", check_later)
        stranger.refused = ("403", "NotSameOrigin")  # the icon of a sandboxed page
        answer = stranger.page.goto(link)
        assert (answer.status, "has expired" in answer.text()) == (403, True)


# -- what happens meanwhile


def test_what_another_process_does_appears_by_itself(visitor, served):
    visitor.go("/gallery?scope=other")
    expect(visitor.page.get_by_text("Nothing here yet")).to_be_visible()
    visitor.wait_live()
    code = (
        "import sys, mediakeep as m\n"
        "with m.open_store(sys.argv[1]) as store:\n"
        "    print(store.put(b'from elsewhere', m.MediaMeta('elsewhere.txt', 'text/plain'), 'other'))\n"
        "    sys.stdin.read()\n"
        "    store.release_all('other')\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, served.config.store],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    tile = visitor.page.locator(".tile", has_text="elsewhere.txt")
    expect(tile).to_be_visible()
    process.communicate(timeout=60)
    expect(tile).to_contain_text("released")


def test_the_overview_follows_what_happens(visitor, served):
    visitor.go("/")
    visitor.wait_live()
    media_id = served.put(b"news", "news:1", headers=served.headers, filename="news.txt", ttl="1200")
    expect(visitor.page.locator("#news")).to_contain_text("news.txt")
    # What has to be counted comes later where counting takes long, as on a busy machine.
    expect(visitor.page.locator("#expiring")).to_contain_text("news.txt", timeout=120_000)
    served.client.delete(f"/v1/media/{media_id}", headers=served.headers)
    expect(visitor.page.locator("#news")).to_contain_text("Deleted")
    expect(visitor.page.locator("#expiring")).not_to_contain_text("news.txt", timeout=120_000)


# -- what others would like


@pytest.mark.parametrize("text", XSS)
def test_names_and_scopes_are_never_more_than_text(visitor, served, tmp_path, text):
    (tmp_path / "file").write_text("<script>window.hacked=1</script>")
    # Registered in place, since what is put has its name cleaned.
    ref = served.store.store(tmp_path / "file", MediaMeta(text, f"audio/{text}", text), text, ttl=99)
    media_id = ref.removeprefix("media://")
    scope = f"/gallery?{urlencode({'scope': text})}"
    for page in ("/", "/gallery", scope, f"/media/{media_id}", "/upload"):
        visitor.go(page)
        assert visitor.page.evaluate("window.hacked") is None, page
    expect(visitor.page).to_have_title("Upload · mediakeep")
    visitor.go(scope)
    visitor.refused = ("Failed to load", "media")  # no sound
    visitor.page.get_by_role("button", name="Play").click()
    expect(visitor.page.locator("#player-title")).to_be_visible()
    visitor.page.keyboard.press("Escape")
    visitor.page.click("text=Release scope…")
    expect(visitor.page.get_by_role("dialog")).to_contain_text("1 ref ends")
    expect(visitor.page.locator("#release-title")).to_contain_text(text)
    assert visitor.page.evaluate("window.hacked") is None
    visitor.go("/")
    visitor.wait_live()
    served.put(b"x" + text.encode(), "xss", headers=served.headers, filename=text)
    expect(visitor.page.locator("#news li")).to_have_count(1)
    assert visitor.page.evaluate("window.hacked") is None
    served.store.release_all(text)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("image/svg+xml", b'<svg xmlns="http://www.w3.org/2000/svg" onload="opener.hacked=1"/>'),
        ("text/html", b"<script>document.title='hacked';opener.hacked=1</script>"),
        ("text/plain", b"<html><script>document.title='hacked'</script>"),
        ("image/png", b"<svg xmlns='http://www.w3.org/2000/svg' onload='document.title=1'/>"),
    ],
)
def test_what_is_in_a_file_never_runs(visitor, served, kind, data):
    media_id = put(served, "content", "page", data, kind)
    visitor.go(f"/media/{media_id}")
    visitor.page.get_by_role("heading", name="page").wait_for()
    assert visitor.page.evaluate("window.hacked") is None
    answer = visitor.context.request.get(
        f"{served.url}/v1/media/{media_id}", headers={"sec-fetch-site": "same-origin"}
    )
    assert answer.status == 200
    assert "sandbox" in answer.headers["content-security-policy"]
    if kind != "text/plain":
        assert answer.headers["content-disposition"].startswith("attachment") or kind == "image/png"
    served.store.release(f"media://{media_id}")


def test_a_page_of_elsewhere_gets_nothing_by_the_session(visitor, served, tmp_path):
    media_id = put(served, "private", "private.jpg")
    with serving(
        tmp_path
    ) as other:  # another port of the same host: the same site, with the same cookies
        visitor.refused = ("401", "CORS", "ERR_FAILED", "Failed to load", "Content Security Policy")
        visitor.page.goto(f"{other.url}/healthz")
        got = visitor.page.evaluate(
            """async (url) => {
                const tries = [fetch(url), fetch(url, { credentials: "include" }),
                    fetch(url, { credentials: "include", method: "DELETE" }),
                    fetch(url, { credentials: "include", mode: "no-cors" })];
                const ends = await Promise.allSettled(tries);
                return ends.map((it) => it.status === "fulfilled" && it.value.type !== "opaque");
            }""",
            f"{served.url}/v1/media/{media_id}",
        )
        assert got == [False] * 4
        visitor.requests[:] = [it for it in visitor.requests if not it.startswith(other.url)]
    assert served.store.entry(f"media://{media_id}")


# -- for everybody


def test_all_of_it_can_be_done_with_the_keyboard(visitor, served):
    for number in range(3):
        put(served, "keys", f"key-{number}.jpg")
    visitor.go("/")
    keys = visitor.page.keyboard
    keys.press("Tab")
    expect(visitor.page.locator(":focus")).to_have_text("Skip to the content")
    keys.press("g")
    keys.press("g")
    visitor.page.wait_for_url("**/gallery")
    keys.press("/")
    expect(visitor.page.locator("#search")).to_be_focused()
    keys.type("key-")
    keys.press("Enter")
    visitor.page.wait_for_url("**name=key-**")
    tiles = visitor.page.locator(".tile-link")
    tiles.first.focus()
    keys.press("ArrowRight")
    keys.press("ArrowRight")
    keys.press("ArrowLeft")
    expect(tiles.nth(1)).to_be_focused()
    keys.press("Enter")
    visitor.page.wait_for_url("**/media/*")
    release = visitor.page.get_by_role("button", name="Release…")
    release.focus()
    keys.press("Enter")
    expect(visitor.page.get_by_role("dialog")).to_contain_text("1 ref ends")
    keys.press("Escape")
    expect(release).to_be_focused()
    keys.press("?")
    expect(visitor.page.get_by_role("dialog", name="Keyboard")).to_be_visible()


@pytest.mark.parametrize("page", ["/", "/gallery?scope=named", "/upload", "media"])
def test_whatever_can_be_used_has_a_name_and_headings_are_in_order(visitor, served, page):
    media_id = put(served, "named", "named.wav", sound(1), "audio/wav", ttl=600)
    visitor.go(f"/media/{media_id}" if page == "media" else page)
    nameless = visitor.page.evaluate("""() => [
            ...document.querySelectorAll("a, button, input, select, audio, video"),
        ].filter((it) => it.checkVisibility())
        .filter((it) => !(it.textContent.trim() || it.ariaLabel || it.labels?.length || it.title))
        .map((it) => it.outerHTML)""")
    assert nameless == []
    levels = visitor.page.evaluate("""() => [...document.querySelectorAll("h1, h2, h3")]
        .filter((it) => it.checkVisibility()).map((it) => Number(it.tagName[1]))""")
    assert levels.count(1) == 1
    assert visitor.page.evaluate("document.documentElement.lang") == "en"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_of_it_without_scrolling_sideways(browser, served, session, scheme):
    media_id = put(served, "phone:" + "long" * 30, "long" * 40 + ".jpg", ttl=600)
    size = {"width": 360, "height": 740}
    look = {"viewport": size, "color_scheme": scheme, "storage_state": session}
    with visiting(browser, served.url, **look) as visitor:
        for page in ("/", "/gallery", "/upload", f"/media/{media_id}"):
            visitor.go(page)
            assert visitor.page.evaluate("document.documentElement.scrollWidth") <= 360, page
        ground = visitor.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(17, 20, 19)") == (scheme == "dark")
