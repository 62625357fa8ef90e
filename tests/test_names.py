"""Whatever a stranger calls a file, what comes out is one harmless component of a path."""

import os
import re
import time
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mediakeep.intake.declared import declared_name, declared_type
from mediakeep.intake.names import MAX_NAME_BYTES, display_name, with_number

FORBIDDEN = set('<>:"|?*/\\')
DEVICES = {
    "CON",
    "PRN",
    "AUX",
    "NUL",
    *(f"{port}{n}" for port in ("COM", "LPT") for n in "0123456789¹²³"),
}

# fmt: off
PARTS = st.sampled_from([
    "../", "..\\", "C:\\", "/", ".", "..", " ", "\t", "\n", "\0", "con", "NUL", "COM1", "LPT²", ".txt",
    ".tar.gz", "-", "~", "\u202e", "\u200d", "\u0301", "\u0338", "e\u0301", "<", "\ud800", "\udcff",
    "\ufeff", "😀", "\U0001f3fd", "日本", "\ue000", "\u3000", "\u2028", "\u037e", "_",
])
# fmt: on
LONG = st.sampled_from(["x" * 90, "é" * 99])
NAMES = st.text() | st.lists(PARTS | LONG | st.text(max_size=5), max_size=12).map("".join)


def is_harmless(name):
    assert len(name.encode("utf-8", "strict")) <= MAX_NAME_BYTES
    assert not FORBIDDEN & set(name)
    assert unicodedata.is_normalized("NFC", name)
    for character in name:
        assert unicodedata.category(character) not in ("Cc", "Cf", "Co", "Cs", "Zl", "Zp")
    assert name == name.strip()
    assert not name.endswith(".")
    assert not name.startswith((".", "-", "~"))
    assert name.split(".")[0].rstrip().upper() not in DEVICES
    assert "  " not in name
    return True


@given(NAMES)
@example("CON" + "x" + "\u0301" * 300 + ".txt")
@example("a" + "\u0301" * 300 + ".jpg")
@example("." * 300)
@example("-" * 300 + ".jpg")
@example("\u0338>\u0338")
def test_every_name_becomes_harmless_and_stays_as_it_is_then(name):
    clean = display_name(name)
    assert is_harmless(clean)
    assert display_name(clean) == clean


@given(NAMES, st.integers(0, 10**9))
@example("0 .0", 0)
def test_a_numbered_name_is_as_harmless(name, n):
    clean = display_name(name)
    numbered = with_number(clean, n)
    assert is_harmless(numbered)
    assert f"({n})" in numbered
    assert with_number(clean, n + 1) != numbered


@given(st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=30))
def test_every_name_is_the_name_of_a_file_on_this_system(tmp_path_factory, name):
    clean = display_name(name)
    if clean:
        folder = tmp_path_factory.getbasetemp() / "names"
        folder.mkdir(exist_ok=True)
        path = folder / clean
        path.write_bytes(b"")
        assert os.listdir(folder) == [clean]
        path.unlink()


@pytest.mark.parametrize(
    ("given_name", "clean"),
    {
        "cat.jpg": "cat.jpg",
        "Ärger mit Größe.pdf": "Ärger mit Größe.pdf",
        "A\u0308rger.pdf": "Ärger.pdf",
        "日本語の文書.docx": "日本語の文書.docx",
        "../../etc/passwd": "passwd",
        "/etc/shadow": "shadow",
        r"C:\Users\me\cat.jpg": "cat.jpg",
        r"..\..\x": "x",
        "C:cat.jpg": "C_cat.jpg",
        "cat.jpg:stream": "cat.jpg_stream",
        "folder/": "",
        "..": "",
        ".": "",
        " . . ": "",
        "": "",
        "\0": "",
        "cat.jpg\0.exe": "cat.jpg.exe",
        "invoice\u202egpj.exe": "invoicegpj.exe",
        "cat.jpg" + " " * 200 + ".exe": "cat.jpg .exe",
        "line\r\nbreak.txt": "line break.txt",
        "\u3000wide\u00a0space .txt ": "wide space .txt",
        "cat.jpg. . .": "cat.jpg",
        'a<b>c:"d"|e?f*.txt': "a_b_c__d__e_f_.txt",
        "con": "_con",
        "Aux.tar.gz": "_Aux.tar.gz",
        "nul .txt": "_nul .txt",
        "COM¹": "_COM¹",
        "conin$": "_conin$",
        "console.log": "console.log",
        "com10": "com10",
        ".bashrc": "_.bashrc",
        "...jpg": "_...jpg",
        "-rf": "_-rf",
        "~root": "_~root",
        "a\ue000b\ufdd0c\U0001ffffd\ud800e": "abcde",
        "\u3164\u2800": "",
        "👩\u200d👧.png": "👩👧.png",
        "❤\ufe0f.png": "❤\ufe0f.png",
    }.items(),
)
def test_names_that_are_met_become_what_is_meant(given_name, clean):
    assert display_name(given_name) == clean


def test_a_long_name_is_cut_before_its_extension():
    assert display_name("x" * 300 + ".jpeg") == "x" * 250 + ".jpeg"
    assert display_name("ü" * 300 + ".tar.gz") == "ü" * 124 + ".tar.gz"
    assert display_name("x" * 300) == "x" * 255
    assert display_name("x." + "y" * 300) == ("x." + "y" * 300)[:255], "that is no extension"
    assert display_name("x" * 10_000_000 + ".gif") == "x" * 251 + ".gif"


def test_a_cut_goes_between_characters_never_through_one():
    for filler in range(4):
        start = "x" * (240 + filler)
        for character in ("e\u0323\u0302", "👍🏽", "क्षि", "🇩"):
            kept = display_name(start + character * 30 + ".gif")[len(start) :].removesuffix(".gif")
            whole = unicodedata.normalize("NFC", character)
            if character == "क्षि":  # two clusters: a consonant with its sign, and another
                assert re.fullmatch("(क्षि)*(क्)?", kept)
            else:
                assert kept == whole * (len(kept) // len(whole))


def test_a_hostile_name_takes_no_time():
    marks = "".join(chr(c) for c in (0x301, 0x323, 0x345, 0x334)) * 500_000
    for name in (
        "a" + marks,
        " " * 2_000_000 + "x",
        "/" * 2_000_000,
        "." * 2_000_000,
        "\u202e" * 2_000_000,
    ):
        begin = time.process_time()
        display_name(name)
        assert time.process_time() - begin < 2


@pytest.mark.parametrize(
    ("name", "numbered"),
    {
        "cat.jpg": "cat (2).jpg",
        "backup.tar.gz": "backup (2).tar.gz",
        "Backup.TAR.ZST": "Backup (2).TAR.ZST",
        "README": "README (2)",
        "v1.2 final": "v1.2 final (2)",
        "_.bashrc": "_ (2).bashrc",
        "": "(2)",
        "x" * 251 + ".gif": "x" * 247 + " (2).gif",
        "e\u0323\u0302".join("x" * 60): None,
    }.items(),
)
def test_a_number_stands_before_the_extension(name, numbered):
    if numbered is not None:
        assert with_number(name, 2) == numbered
    assert len(with_number(name, 10**6).encode()) <= MAX_NAME_BYTES


def test_a_number_below_zero_is_refused():
    with pytest.raises(ValueError, match="not -1"):
        with_number("cat.jpg", -1)


# -- what a sender declares


@pytest.mark.parametrize(
    ("disposition", "name"),
    {
        "attachment": "",
        "": "",
        "attachment; filename=cat.jpg": "cat.jpg",
        'ATTACHMENT; FileName="my cat.jpg"': "my cat.jpg",
        "inline;filename = cat.jpg ;size=3": "cat.jpg",
        r'attachment; filename="a \"big\" cat.jpg"': "a _big_ cat.jpg",
        r'attachment; filename="C:\new\cat.jpg"': "cat.jpg",
        'attachment; filename="a;b.jpg"; x=y': "a;b.jpg",
        "attachment; filename=my cat.jpg": "my cat.jpg",
        'attachment; filename="cat.jpg': "_cat.jpg",
        "attachment; filename*=UTF-8''na%C3%AFve%20%E2%82%AC.txt": "naïve €.txt",
        "attachment; filename*=utf-8'de'%c3%a4.txt; filename=fallback.txt": "ä.txt",
        "attachment; filename=fallback.txt; filename*=ISO-8859-1''%e4.txt": "ä.txt",
        "attachment; filename=fallback.txt; filename*=UTF-8''%ff.txt": "fallback.txt",
        "attachment; filename=fallback.txt; filename*=utf-7''x": "fallback.txt",
        "attachment; filename=fallback.txt; filename*=nothing": "fallback.txt",
        "attachment; filename*=UTF-8''..%2f..%2fetc%2fpasswd": "passwd",
        "attachment; filename=first.txt; filename=second.txt": "first.txt",
        'attachment; filename="Käse.txt"': "Käse.txt",
        "attachment; xfilename=x.txt": "",
        'attachment; x="; filename=x.txt"': "",
    }.items(),
)
def test_the_name_in_a_disposition_is_found(disposition, name):
    assert declared_name(disposition) == name


@pytest.mark.parametrize(
    ("text", "kind"),
    {
        "": "",
        "image/png": "image/png",
        " Image/PNG ": "image/png",
        "text/html; Charset=UTF-8": "text/html;charset=UTF-8",
        'video/mp4 ; codecs="avc1, mp4a"; x=1;y': 'video/mp4;codecs="avc1, mp4a";x=1',
        r'a/b;c="\"\\"': r'a/b;c="\"\\"',
        "a/b;c=1;c=2": "a/b;c=1",
        "png": "",
        "image/": "",
        "image/png/x": "",
        "image/png\r\nX: y": "",
        "image/png;x=\x00": "image/png",
        "<script>/x": "",
        "*/*": "",
        "a/" + "b" * 200: "",
        "a/b;c=" + "d" * 300: "a/b",
    }.items(),
)
def test_a_content_type_is_in_one_spelling_or_none(text, kind):
    assert declared_type(text) == kind
    assert declared_type(kind) == kind


@given(st.text(max_size=100) | st.lists(st.sampled_from([*"a/;=\"\\ 'é%\n", "filename*"])).map("".join))
def test_nothing_that_is_declared_does_harm(text):
    assert is_harmless(declared_name("attachment;" + text))
    kind = declared_type("a/b;" + text)
    assert kind.isascii()
    assert kind.isprintable()
    assert len(kind) <= 255
    assert declared_type(kind) == kind


def test_hostile_headers_take_no_time():
    for text in (
        ';a="' * 500_000,
        "a/b;" + "\\" * 2_000_000,
        ";" * 2_000_000,
        ';x="' + '\\"' * 999_999,
        "a= " * 999,
    ):
        begin = time.process_time()
        declared_name("x;filename=" + text)
        declared_type("a/b" + text)
        assert time.process_time() - begin < 2
