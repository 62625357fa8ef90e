"""What comes in is what it says, fits, and comes from where it may; what goes out has a safe name."""

import os
import stat
import struct
import zlib
from pathlib import Path

import pytest

from mediakeep import (
    BlobError,
    Limits,
    MediaMeta,
    MediaMissing,
    NotAFile,
    PathNotAllowed,
    TooLarge,
    TypeNotAllowed,
    UnknownRef,
    open_store,
)

MEDIA = Path(__file__).parent.parent / "examples" / "media"


def png(width, height):
    """A PNG of a few bytes that claims to have so many pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


NO_META = MediaMeta()
PNG = png(3, 2)
SCRIPT = b"<script>alert(document.cookie)</script>"


def left_over(folder):
    return [
        p for p in folder.rglob("*") if p.is_file() and not p.name.startswith((".lock", "catalog.db"))
    ]


# -- true type


def test_what_bytes_show_for_certain_wins_over_what_is_said_of_them(store):
    entry = store.entry(store.put(PNG, MediaMeta("a.jpg", "image/jpeg")))
    assert entry.meta.content_type == "image/png"
    assert (entry.declared_type, entry.detected_type) == ("image/jpeg", "image/png")


def test_what_is_said_stays_where_the_bytes_do_not_contradict(store):
    for said in ("IMAGE/PNG", "image/png; q=1"):
        entry = store.entry(store.put(PNG, MediaMeta(content_type=said)))
        assert (entry.meta.content_type, entry.declared_type) == (said, said)
        assert entry.detected_type == "image/png"
    entry = store.entry(store.put(b"\x00\x01\x02 who knows", MediaMeta(content_type="x/y")))
    assert (entry.meta.content_type, entry.declared_type, entry.detected_type) == ("x/y", "x/y", "")


def test_what_nobody_says_is_looked_at(store):
    assert store.resolve_with_meta(store.put(PNG)).meta.content_type == "image/png"
    assert store.entry(store.put(PNG)).declared_type == ""


@pytest.mark.parametrize("script", [SCRIPT, b"#!/bin/sh\nrm -rf ~\n", b"<?php system($_GET['c']);"])
def test_a_script_is_never_called_an_image(store, script):
    meta = store.resolve_with_meta(store.put(script, MediaMeta("cat.png", "image/png"))).meta
    assert not meta.content_type.startswith("image/")


def test_the_type_is_seen_however_the_bytes_come(store):
    for source in (PNG, iter([PNG[:1], b"", PNG[1:5], PNG[5:]]), [memoryview(PNG)]):
        assert store.entry(store.put(source)).detected_type == "image/png"


def test_types_are_remembered_by_shares_and_across_reopening(tmp_path):
    with open_store(tmp_path, fsync=False) as store:
        ref = store.share(store.put(PNG, MediaMeta("a", "image/gif")), "other")
    with open_store(tmp_path, fsync=False) as store:
        entry = store.entry(ref)
        assert (entry.declared_type, entry.detected_type) == ("image/gif", "image/png")


def test_each_example_is_detected_as_what_it_is(store):
    types = {p.name: store.entry(store.put(p)).meta.content_type for p in MEDIA.iterdir() if p.is_file()}
    expected = {
        ".jpg": "image/jpeg", ".png": "image/png", ".webp": "image/webp", ".gif": "image/gif",
        ".mp3": "audio/mpeg", ".mp4": "video/mp4", ".pdf": "application/pdf",
        ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    }  # fmt: skip
    seen = {name: found for name, found in types.items() if Path(name).suffix in expected}
    assert len(seen) >= 8
    assert all(found == expected[Path(name).suffix] for name, found in seen.items()), seen


# -- names


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\cat.jpg", "cat.jpg"),
        ("evil\0.txt", "evil.txt"),
        ("gpj.\u202etxt.exe", "gpj.txt.exe"),
        ("e\u0301.txt", "\u00e9.txt"),
        ("", ""),
    ],
)
def test_a_name_is_cleaned_when_bytes_come_in(store, given, kept):
    assert store.resolve_with_meta(store.put(b"x", MediaMeta(given))).meta.filename == kept


# -- rules


def refused(store, source, error, match, meta=NO_META):
    with pytest.raises(error, match=match):
        store.put(source, meta)
    assert store.stats().refs == 0
    assert list(store._blobs.scan()) == []
    assert list(store._blobs.leftovers()) == []


def test_only_allowed_types_come_in_whatever_is_said_of_them(opened):
    store = opened(limits=Limits(allowed_types=["image/*", "application/pdf"]))
    store.release(store.put(PNG, MediaMeta(content_type="text/plain")))
    lie = MediaMeta("cat.png", "image/png")
    refused(store, SCRIPT, TypeNotAllowed, r"text/html \(declared as 'image/png'\).*allowed_types", lie)
    refused(store, b"\0\1\2\3", TypeNotAllowed, "application/octet-stream", lie)
    refused(store, b"just text", TypeNotAllowed, "text/plain", lie)
    refused(store, b"", TypeNotAllowed, "allowed_types")


def test_refused_types_stay_out_even_if_a_pattern_allows_them(opened):
    store = opened(limits=Limits(allowed_types=["image/*"], refused_types=["image/svg+xml"]))
    refused(
        store, b"<svg xmlns='http://www.w3.org/2000/svg'/>", TypeNotAllowed, "image/svg.*refused_types"
    )


def test_a_refused_type_is_refused_before_it_has_filled_the_disk(opened):
    store = opened(limits=Limits(refused_types=["image/*"]))
    given = []

    def endless():
        yield PNG
        while True:
            given.append(1)
            assert len(given) < 100, "went on reading what is refused"
            yield b"\0" * 4096

    refused(store, endless(), TypeNotAllowed, "image/png")


def test_a_type_may_have_a_size_of_its_own(opened):
    store = opened(
        limits=Limits(max_file_bytes=500, max_bytes_by_type={"image/*": 100, "image/png": 200})
    )
    refused(store, PNG + b"\0" * 200, TooLarge, r"image/png.*image/\* may have 100 \(max_bytes_by_type")
    store.put(b"\0" * 400)


def test_a_picture_that_claims_too_many_pixels_is_refused_by_its_header(opened):
    store = opened(limits=Limits(max_pixels=50_000_000))
    refused(store, png(50_000, 50_000), TooLarge, "50000 x 50000 pixels.*max_pixels")
    store.put(png(5_000, 10_000))
    store.release_all("")
    refused(store, PNG[:20], TooLarge, "does not tell how many pixels")
    refused(store, PNG[:33] + png(50_000, 50_000)[8:], TooLarge, "50000 x 50000")
    comments = b"\x21\xfe" + (b"\xff" + b"x" * 255) * 1100 + b"\0"
    late = b"\x2c" + struct.pack("<HHHHB", 0, 0, 60_000, 60_000, 0) + b"\2\0;"
    refused(store, b"GIF89a\1\0\1\0\0\0\0" + comments + late, TooLarge, "60000 x 60000")
    store.put(b"<svg xmlns='http://www.w3.org/2000/svg'/>")


def test_rules_hold_for_files_that_are_registered_too(opened, make):
    limits = Limits(allowed_types=["image/*"], max_pixels=100, max_bytes_by_type={"image/*": 1000})
    store = opened(limits=limits)
    store.store(make("ok", PNG))
    for data, error in (
        (SCRIPT, TypeNotAllowed),
        (png(11, 11), TooLarge),
        (PNG + b"\0" * 1000, TooLarge),
    ):
        with pytest.raises(error):
            store.store(make("bad", data), MediaMeta(content_type="image/png"))
    assert store.stats().refs == 1
    assert make("bad").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"allowed_types": "image/*"},
        {"allowed_types": ["image"]},
        {"refused_types": ["image/*/x"]},
        {"refused_types": [7]},
        {"max_bytes_by_type": {"image/png": 0}},
        {"max_bytes_by_type": {"png": 1}},
        {"max_pixels": -1},
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Limits(**wrong)


# -- a path to copy


def test_a_path_is_copied_and_stays(store, make):
    path = make("cat.png", PNG)
    ref = store.put(path, scope="s")
    assert store.resolve(ref) != path
    assert store.read_bytes(ref) == PNG
    assert store.entry(ref).meta.filename == "cat.png"
    assert store.resolve_with_meta(store.put(path, MediaMeta("dog.png"))).meta.filename == "dog.png"
    store.release_all("s")
    assert path.read_bytes() == PNG


def test_what_is_no_file_is_not_copied(store, folder):
    with pytest.raises(MediaMissing, match="No such file"):
        store.put(folder / "none")
    os.mkfifo(folder / "fifo")
    for path in (folder, folder / "fifo"):
        with pytest.raises(NotAFile):
            store.put(path)
    assert store.stats().refs == 0


# -- roots


@pytest.fixture
def rooted(opened, folder, tmp_path):
    (tmp_path / "secret").write_bytes(b"key")
    return opened(import_roots=[folder])


def test_files_within_the_roots_come_in(rooted, make, monkeypatch):
    path = make("a", b"a")
    rooted.put(path)
    rooted.read_bytes(rooted.store(path))
    monkeypatch.chdir(path.parent)
    rooted.store("a")
    rooted.store("../files/./a")
    (path.parent / "link").symlink_to(path)
    rooted.store(path.parent / "link")


def test_no_path_leads_out_of_the_roots(rooted, folder, tmp_path):
    secret = tmp_path / "secret"
    (folder / "link").symlink_to(secret)
    (folder / "door").symlink_to(tmp_path)
    sibling = tmp_path / "files-of-another"
    sibling.mkdir()
    (sibling / "f").write_bytes(b"x")
    for path in (
        secret,
        folder / ".." / "secret",
        folder / "link",
        folder / "door" / "secret",
        sibling / "f",
    ):
        for verb in (rooted.store, rooted.put):
            with pytest.raises(PathNotAllowed, match="lies outside of the folders"):
                verb(path)
    assert rooted.stats().refs == 0
    assert secret.exists()


def test_a_link_that_is_turned_out_of_the_roots_later_is_not_opened(rooted, folder, tmp_path):
    (folder / "inside").write_bytes(b"fine")
    link = folder / "link"
    link.symlink_to(folder / "inside")
    ref = rooted.store(link)
    assert rooted.read_bytes(ref) == b"fine"
    link.unlink()
    link.symlink_to(tmp_path / "secret")
    with pytest.raises(PathNotAllowed):
        rooted.read_bytes(ref)


def test_no_verb_reads_through_a_link_that_was_turned_out_of_the_roots(rooted, folder, tmp_path):
    (folder / "inside").write_bytes(b"fine")
    (tmp_path / "out").mkdir()
    ref = rooted.store(folder / "inside")
    (folder / "inside").unlink()
    (folder / "inside").symlink_to(tmp_path / "secret")
    for verb in (
        lambda: rooted.variant(ref, "v", lambda path: path.read_bytes()),
        lambda: rooted.export(ref, tmp_path / "out"),
        lambda: rooted.export(ref, tmp_path / "out", link=True),
        lambda: rooted.data_url(ref),
    ):
        with pytest.raises(PathNotAllowed):
            verb()
    assert list((tmp_path / "out").iterdir()) == []


def test_roots_that_are_no_folders_are_refused(opened, folder, make):
    for wrong in ([folder / "none"], [make()], str(folder), [""]):
        with pytest.raises(ValueError, match="import_roots"):
            opened(import_roots=wrong)


def test_without_any_root_no_file_comes_in(opened, make):
    with pytest.raises(PathNotAllowed):
        opened(import_roots=[]).store(make())


# -- export


def test_a_file_is_exported_under_its_name_and_nothing_is_overwritten(store, folder):
    ref = store.put(PNG, MediaMeta("cat.png"))
    (folder / "cat (2).png").write_bytes(b"mine")
    names = [store.export(ref, folder) for _ in range(3)]
    assert names == [folder / "cat.png", folder / "cat (3).png", folder / "cat (4).png"]
    assert {path.read_bytes() for path in names} == {PNG}
    assert (folder / "cat (2).png").read_bytes() == b"mine"
    store.release(ref)
    assert names[0].exists()
    assert len(list(folder.iterdir())) == 4, "something was left"


def test_the_extension_is_that_of_the_bytes(store, folder):
    for said, exported in (
        ("cat.exe", "cat.png"),
        ("cat", "cat.png"),
        ("cat.PNG", "cat.PNG"),
        ("../../.ssh/cat.png.", "cat.png"),
    ):
        path = store.export(store.put(PNG, MediaMeta(said)), folder)
        assert path == folder / exported
        path.unlink()
    assert store.export(store.put(b"# hi", MediaMeta("notes.md")), folder).name == "notes.md"
    unnamed = store.put(PNG)
    assert store.export(unnamed, folder).name == f"file-{unnamed[-12:]}.png"


def test_mode_and_group_are_the_callers(store, folder):
    ref = store.put(PNG, MediaMeta("cat.png"))
    path = store.export(ref, folder, mode=0o640, group=os.getgid())
    found = path.stat()
    assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o640, os.getgid())
    path.write_bytes(b"changed")
    assert store.read_bytes(ref) == PNG


def test_a_link_is_the_same_file_where_the_bytes_are_on_this_machine(store, folder, kind):
    ref = store.put(PNG, MediaMeta("cat.png"))
    path = store.export(ref, folder, link=True)
    if kind != "fleet" and store.resolve(ref).stat().st_dev == folder.stat().st_dev:
        assert path.samefile(store.resolve(ref))
    store.release(ref)
    assert path.read_bytes() == PNG


def test_a_link_to_a_file_is_exported_as_the_file(store, folder, make):
    (folder / "link").symlink_to(make("real.txt", b"real").name)
    out = folder / "out"
    out.mkdir()
    ref = store.store(folder / "link", MediaMeta("name.txt"))
    for link in (False, True):
        path = store.export(ref, out, link=link)
        assert not path.is_symlink()
        assert path.read_bytes() == b"real"


def test_an_export_that_cannot_be_done_says_why_and_leaves_nothing(store, folder, make):
    ref = store.put(PNG, MediaMeta("cat.png"))
    for where in (folder / "none", make("file")):
        with pytest.raises(BlobError, match=r"cannot export 'cat.png' into"):
            store.export(ref, where)
    with pytest.raises(BlobError, match="null"):
        store.export(ref, "a\0b")
    store._blobs.delete(store.entry(ref).location)
    with pytest.raises(MediaMissing):
        store.export(ref, folder)
    store.release(ref)
    with pytest.raises(UnknownRef):
        store.export(ref, folder)
    assert [p.name for p in folder.iterdir()] == ["file"]


def test_a_data_url_says_type_and_bytes(store):
    assert store.data_url(store.put(b"hi", MediaMeta(content_type="text/x-note"))) == (
        "data:text/x-note;base64,aGk="
    )
    url = store.data_url(store.put(b"hi", MediaMeta(content_type='x/y;a="\r\n,<b>"')))
    assert "\n" not in url and url.count(",") == 1


def test_every_name_of_the_room_leads_somewhere():
    import mediakeep.intake

    assert all(getattr(mediakeep.intake, name) for name in mediakeep.intake.__all__)
    assert set(mediakeep.intake.__all__) <= set(dir(mediakeep.intake))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = mediakeep.intake.nothing
