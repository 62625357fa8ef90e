"""Data URLs are taken apart as they occur in practice, and found where they stand."""

import base64
import contextlib
import json
import string
import time
import tracemalloc
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediakeep import MediaError, MediaMeta, TooLarge
from mediakeep.intake.data_urls import (
    BadDataURL,
    DataURL,
    find_data_urls,
    make_data_url,
    parse_data_url,
    put_data_url,
)

PLAIN = "text/plain;charset=US-ASCII"
GIF = b"GIF89a\x01\x00\x01\xfb\xef\xbe\xff\xff\xff\x00"
CODED = base64.b64encode(GIF).decode()  # has a + and a / in it, and padding


def test_the_sample_needs_care():
    assert {"+", "/", "="} <= set(CODED)


@pytest.mark.parametrize(
    ("url", "found"),
    {
        "data:,": DataURL(PLAIN, b""),
        "data:,A%20brief%20note": DataURL(PLAIN, b"A brief note"),
        "data:;base64,": DataURL(PLAIN, b""),
        f"data:image/gif;base64,{CODED}": DataURL("image/gif", GIF),
        f"DATA:Image/GIF;BASE64,{CODED}": DataURL("image/gif", GIF),
        f" \n data: image/gif ; base64 , {CODED} \n": DataURL("image/gif", GIF),
        "data:image/gif;base64," + "\r\n ".join(CODED): DataURL("image/gif", GIF),
        "data:image/gif;base64," + CODED.rstrip("="): DataURL("image/gif", GIF),
        "data:image/gif;base64," + CODED.translate(str.maketrans("+/", "-_")): DataURL("image/gif", GIF),
        "data:image/gif;base64," + quote(CODED, safe=""): DataURL("image/gif", GIF),
        "data:text/plain;charset=utf-8,%E2%82%ac": DataURL("text/plain;charset=utf-8", "€".encode()),
        "data:;charset=utf-8,x": DataURL("text/plain;charset=utf-8", b"x"),
        "data:nonsense,x": DataURL(PLAIN, b"x"),
        "data:text/html,<p>100% ü#1</p>": DataURL("text/html", "<p>100% ü#1</p>".encode()),
        "data:,a\n b\t,c  ": DataURL(PLAIN, b"a b,c"),
        "data:text/plain;base64;x=y,AAAA": DataURL("text/plain;x=y", b"AAAA"),
        "data:application/pdf;name=my%20file.pdf;base64,": DataURL(
            "application/pdf", b"", "my file.pdf"
        ),
        "data:a/b;filename=..%2Fx;charset=utf-8;base64,": DataURL("a/b;charset=utf-8", b"", "x"),
        'data:a/b;codecs="a%2C b";base64,': DataURL('a/b;codecs="a, b"', b""),
        "data:a/b;x=%0d%0aEvil:1,": DataURL("a/b", b""),
        "data:image/svg%2bxml,": DataURL("image/svg+xml", b""),
    }.items(),
)
def test_what_occurs_is_taken_apart(url, found):
    assert parse_data_url(url) == found


@pytest.mark.parametrize(
    ("url", "words"),
    {
        "": "does not begin with 'data:'",
        "https://a/b,c": "does not begin",
        "data:image/png;base64": "has no comma",
        "data:" + "x" * 2000 + ",": "has no comma in the 1024 characters",
        "data:;base64,AAAAA": "cut short",
        "data:;base64,AA=A": "padding where it does not end",
        "data:;base64,AA==AA==": "padding where it does not end",
        "data:;base64,AA.A": "not of its alphabet",
        "data:;base64,ÄAAA": "not of its alphabet",
        "data:;base64,AA%00A": "not of its alphabet",
        "data:;base64,%AAA": "not of its alphabet",
        "data:,\ud800": "no valid Unicode",
    }.items(),
)
def test_what_is_none_is_refused_in_few_words(url, words):
    with pytest.raises(BadDataURL, match=words) as raised:
        parse_data_url(url)
    assert isinstance(raised.value, MediaError)
    assert isinstance(raised.value, ValueError)
    assert len(str(raised.value)) < 220


def test_an_error_does_not_echo_megabytes():
    with pytest.raises(BadDataURL) as raised:
        parse_data_url("data:;base64," + "*" * 1_000_000)
    assert len(str(raised.value)) < 220


@given(st.binary(max_size=200), st.sampled_from(["", "=", "\n", "%"]), st.booleans())
def test_the_size_is_told_before_decoding_and_exactly(data, extra, urlsafe):
    coded = (base64.urlsafe_b64encode if urlsafe else base64.b64encode)(data).decode()
    if extra == "=":
        coded = coded.rstrip("=")
    elif extra == "\n":
        coded = "\n".join(coded)
    elif extra == "%":
        coded = quote(coded, safe="")
    url = "data:;base64," + coded
    assert parse_data_url(url, max_bytes=len(data)).data == data
    if data:
        with pytest.raises(TooLarge, match=r"may hold \d+ \(max_bytes\)"):
            parse_data_url(url, max_bytes=len(data) - 1)


@given(st.binary(max_size=200))
def test_the_size_of_percent_forms_is_told_exactly_too(data):
    for form in (quote(data, safe=""), "".join(f"%{byte:02x}" for byte in data)):
        assert parse_data_url("data:," + form, max_bytes=len(data)).data == data
        if data:
            with pytest.raises(TooLarge):
                parse_data_url("data:," + form, max_bytes=len(data) - 1)


def test_escapes_on_the_seam_of_two_pieces_are_decoded():
    for filler in range((1 << 14) - 6, (1 << 14) + 6):
        data = b"x" * filler + b"\xe2\x82\xac" * 30_000
        assert parse_data_url("data:," + quote(data)).data == data


TYPES = st.sampled_from(
    [
        "image/png",
        "text/plain;charset=utf-8",
        'video/mp4;codecs="avc1, mp4a"',
        'a/b;c="\\"\\\\%41;,"',
        "a/b#c&d",
    ]
)


@given(TYPES, st.binary(max_size=200))
def test_what_is_made_is_taken_apart_again(content_type, data):
    assert parse_data_url(make_data_url(content_type, data)) == DataURL(content_type, data)


@given(st.text(max_size=60) | TYPES, st.binary(max_size=20))
def test_what_is_made_needs_no_escape_anywhere(content_type, data):
    url = make_data_url(content_type, data)
    assert set(url) <= set(string.ascii_letters + string.digits + ":;,=/+%._-~")
    assert parse_data_url(url).data == data
    assert spans(f"![x]({url})") == ([url] if data else [])


def test_what_is_no_content_type_is_octet_stream():
    assert make_data_url('x" onload="evil()', b"") == "data:application/octet-stream;base64,"
    assert make_data_url("", b"") == "data:application/octet-stream;base64,"


@given(st.text(max_size=100), st.sampled_from(["", "data:", "data:;base64,", "data:image/png;base64,"]))
def test_no_text_makes_anything_else_than_a_data_url_or_an_error(text, start):
    try:
        found = parse_data_url(start + text)
    except BadDataURL:
        return
    assert found.content_type.isascii()
    assert found.content_type.isprintable()


# -- in longer text


def spans(text):
    return [text[begin:end] for begin, end in find_data_urls(text)]


URL = f"data:image/gif;base64,{CODED}"


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "a picture: {} and more",
        "![cat]({})",
        '![cat]({} "title")',
        "<img src='{}'>",
        '<img src="{}" alt=x>',
        "<img src={}>",
        "url({})",
        "`{}`",
        "[ref]: <{}>",
        "{}.",
        "{}, and",
        "src={};",
        "data: {}",
        "图片{}图片",
        "data:text/plain,hello {}",
        ";base64,xxxx {}",
        "metadata:image/gif;base64,AAAA {}",
        "data:image/gif;base64,\n{}",
    ],
)
def test_data_urls_are_found_where_they_stand(text):
    assert spans(text.format(URL)) == [URL]
    assert spans(text.format(URL) * 3)[:3].count(URL) >= 1


def test_all_of_them_are_found_in_order():
    svg = "DATA:image/svg+xml;charset=utf-8;name=a%20b.svg;BASE64,PHN2Zz4"
    escaped = "data:image/gif;base64," + quote(CODED, safe="")
    urlsafe = "data:image/gif;base64,a-_b"
    assert spans(f"{URL} {svg}|{escaped}\n{urlsafe}({URL}{URL}") == [
        URL,
        svg,
        escaped,
        urlsafe,
        URL,
        URL,
    ]


def test_they_are_found_in_json():
    assert spans(json.dumps({"a": [f"see {URL}", {"url": URL}]})) == [URL, URL]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "data:",
        "data:,hello",
        "data:image/png;base64,",
        "data:image/png;base64,…",
        "data:image/png base64,AAAA",
        "data:image/png, x;base64,AAAA",
        "mydata:image/png;base64,AAAA",
        "x-data:image/png;base64,AAAA",
        "image/png;base64,AAAA",
        "data:" + "x" * 300 + ";base64,AAAA",
    ],
)
def test_what_is_none_is_passed_over(text):
    assert spans(text) == []


@given(
    st.lists(st.sampled_from([URL, "data:", ";base64,", "base64", ",", " ", "A", "=", "%3D", "\n", '"']))
)
def test_what_is_found_is_one_of_those_that_are_there(parts):
    text = "".join(parts)
    ends = 0
    for begin, end in find_data_urls(text):
        assert ends <= begin < end <= len(text)
        assert text[begin : begin + 5].lower() == "data:"
        assert ";base64," in text[begin:end]
        ends = end


HOSTILE = [
    "data:",
    ";base64,",
    "data:;base64,",
    "data:;base64,A",
    "data:;base64,A ",
    "data:image/png;base64",
    ";",
    "%3D",
    "data:;base64,%3D%2B ",
    " ",
    "=",
    "A",
    "data:x",
]


@pytest.mark.parametrize("piece", HOSTILE)
def test_finding_takes_time_in_proportion_whatever_is_there(piece):
    def once(text):
        begin = time.process_time()
        for _ in find_data_urls(text):
            pass
        return time.process_time() - begin

    def seconds(size):
        # The least of some: a busy machine, or collecting garbage, makes one of them slow by chance.
        return min(once(piece * (size // len(piece))) for _ in range(3))

    seconds(10_000)
    assert seconds(2_000_000) < 1  # so 20 MB take less than ten seconds, at the very worst
    assert seconds(2_000_000) < 40 * max(seconds(200_000), 0.002)


@pytest.mark.parametrize("body", ["%", "%41", "%zz", "=", " ", "A=", "A", "A\n"])
@pytest.mark.parametrize("start", ["data:,", "data:;base64,"])
def test_a_hostile_url_takes_neither_time_nor_memory(start, body):
    url = start + body * (1_000_000 // len(body))

    def once():
        begin = time.process_time()
        with contextlib.suppress(BadDataURL):
            parse_data_url(url)
        return time.process_time() - begin

    assert min(once() for _ in range(3)) < 1.5
    tracemalloc.start()
    try:
        with contextlib.suppress(BadDataURL):
            parse_data_url(url[:300_000])
        assert tracemalloc.get_traced_memory()[1] < 4_000_000 + 4 * 300_000
    finally:
        tracemalloc.stop()


# -- into a store


def test_what_is_put_has_the_type_and_name_of_its_url(store):
    url = f"data:image/gif;name=cat.gif;base64,{CODED}"
    ref = put_data_url(store, url, scope="s", ttl=60)
    entry = store.entry(ref)
    assert (entry.scope, entry.declared_type, entry.meta.filename) == ("s", "image/gif", "cat.gif")
    assert entry.expires_at is not None
    assert store.read_bytes(ref) == GIF


def test_what_the_caller_says_goes_before_what_the_url_says(store):
    meta = MediaMeta("dog.gif", "image/png", "tool:paint")
    ref = put_data_url(store, f"data:image/gif;name=cat.gif;base64,{CODED}", meta)
    entry = store.entry(ref)
    assert (entry.meta.filename, entry.declared_type, entry.meta.source) == (
        "dog.gif",
        "image/png",
        "tool:paint",
    )


def test_what_is_refused_leaves_nothing(store):
    with pytest.raises(TooLarge):
        put_data_url(store, URL, max_bytes=len(GIF) - 1)
    with pytest.raises(BadDataURL):
        put_data_url(store, "data:;base64,A")
    assert store.stats().files == 0
