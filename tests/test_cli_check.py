"""`mediakeep check`: what is wrong is named, and mended on request only."""

import hashlib
import os
import time
from pathlib import Path

import pytest

from mediakeep import open_store
from test_cli import (
    HOSTILE,
    HOSTILE_SHOWN,
    Run,
    assert_one_complaint,
    blobs_in,
    file_of,
    fixture_place,  # noqa: F401
    fixture_run,  # noqa: F401
    fixture_tmp_path,  # noqa: F401
    on_terminal,
    owned_and_out_of_reach,
    refs_in,
    stored,
)


def stray(place: Path, number: int = 0, age: float = 7200) -> Path:
    """Leave a blob that nothing names in the store."""
    name = f"ab{number:030x}"
    path = place / "blobs" / "ab" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"stray")
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_a_sound_store_has_nothing_to_mend(run: Run, tmp_path: Path) -> None:
    stored(tmp_path, "a")
    run("add", file_of(tmp_path, "file"), "--scope", "a")
    for options in ([], ["--fix"], ["--deep"]):
        done = run("check", *options)
        assert (done.code, done.err) == (0, "")
        assert done.out == "looked at 2 files and 1 blob: nothing to mend\n"


def test_check_names_what_is_wrong_and_changes_nothing(run: Run, tmp_path: Path, place: Path) -> None:
    stored(tmp_path, "a")
    orphan = stray(place)
    file = file_of(tmp_path, "file")
    run("add", file, "--own", "--scope", "a")
    file.unlink()
    before = refs_in(place)
    done = run("check")
    assert (done.code, done.err) == (1, "")
    missing, found, summary = done.lines
    assert missing.split()[:2] == ["missing", str(file)]
    assert "its file is gone; put it back; mending ends its refs" in missing
    assert found.split()[:2] == ["orphan", f"ab/{orphan.name}"]
    assert found.endswith("that nothing in the catalog names; mending deletes it")
    assert summary.startswith("looked at 2 files and 2 blobs: 1 missing, 1 orphan (")
    assert "mediakeep check --fix" in summary
    assert orphan.exists()
    assert refs_in(place) == before


def test_check_fix_mends_and_says_so(run: Run, tmp_path: Path, place: Path) -> None:
    ref = stored(tmp_path, "a")
    orphan = stray(place)
    done = run("check", "--fix")
    assert (done.code, done.err) == (0, "")
    assert done.lines[0].endswith("mending deletes it (mended)")
    assert done.lines[1] == "looked at 1 file and 2 blobs: 1 orphan; 1 mended, 0 left"
    assert not orphan.exists()
    assert refs_in(place) == {ref}
    assert run("check").code == 0


def test_what_nobody_but_a_person_can_mend_is_left_and_exits_1(run: Run, tmp_path: Path) -> None:
    path = Path(run("resolve", stored(tmp_path, "a")).out.strip())
    path.write_bytes(b"short")
    done = run("check", "--fix")
    assert done.code == 1
    assert done.lines[0].startswith("size ")
    assert done.lines[0].endswith("or release its refs (not mended)")
    assert done.lines[1].endswith("1 size; 0 mended, 1 left")


def test_other_bytes_of_the_same_size_are_found_by_a_deep_check(run: Run, tmp_path: Path) -> None:
    path = Path(run("resolve", stored(tmp_path, "a")).out.strip())
    path.write_bytes(b"HELLO\n")
    assert run("check").code == 0
    done = run("check", "--deep")
    assert done.code == 1
    assert done.lines[0].startswith("sha256 ")
    assert hashlib.sha256(b"HELLO\n").hexdigest() in done.lines[0]


def test_check_gives_one_json_document(run: Run, tmp_path: Path, place: Path) -> None:
    stored(tmp_path, "a")
    orphan = stray(place)
    dry, done = run("check", "--json"), run("check", "--json", "--fix")
    assert (dry.code, done.code) == (1, 0)
    numbers = {"blobs": 2, "locations": 1, "counts": {"orphan": 1}}
    for document, mended in ((dry.json, False), (done.json, True)):
        (finding,) = document.pop("findings")
        assert (finding["kind"], finding["subject"]) == ("orphan", f"ab/{orphan.name}")
        assert finding["mended"] is mended
        assert document == {
            "dry_run": not mended,
            **numbers,
            "mended": int(mended),
            "clean": mended,
        }


def test_a_young_blob_is_nobodys_orphan_before_its_grace(run: Run, tmp_path: Path, place: Path) -> None:
    stored(tmp_path, "a")
    stray(place, age=600)
    assert run("check").code == 0
    assert run("check", "--grace", "5m").code == 1


def test_losing_most_of_the_store_has_to_be_forced(run: Run, tmp_path: Path, place: Path) -> None:
    stored(tmp_path, "a")
    orphans = {stray(place, number) for number in range(10)}
    done = run("check", "--fix")
    assert_one_complaint(done, 1)
    assert done.out == ""
    assert "--fix --force" in done.err
    assert orphans < blobs_in(place)
    assert run("check", "--fix", "--force").code == 0
    assert not orphans & blobs_in(place)


def test_what_mending_could_not_delete_is_complained_of(run: Run, tmp_path: Path) -> None:
    file = owned_and_out_of_reach(run, tmp_path)
    run("release", "t")
    assert run("check").code == 1
    done = run("check", "--fix")
    assert_one_complaint(done, 1)
    assert f"cannot delete {file}: " in done.err


@pytest.mark.parametrize("options", [[], ["--fix"]], ids=["dry", "fix"])
def test_findings_are_told_without_raw_names(run: Run, tmp_path: Path, options: list[str]) -> None:
    file = file_of(tmp_path, HOSTILE)
    run("add", file, "--scope", HOSTILE)
    file.unlink()
    done = run("check", *options)
    assert HOSTILE_SHOWN in done.out
    assert done.out.replace("\n", "").isprintable()


@pytest.fixture
def many(place: Path) -> Path:
    """A store with many files, one of them gone."""
    with open_store(place, fsync=False) as store:
        for number in range(5002):
            ref = store.put(b"%d" % number, scope=f"{number}")
        store.resolve(ref).unlink()
    return place


def test_many_files_get_a_progress_bar_on_a_terminal(many: Path) -> None:
    done = on_terminal("check", only_stderr=True)
    assert done.code == 1
    assert "looking" in done.err and "/5002" in done.err
    assert [line.split()[0] for line in done.lines] == ["missing", "looked"]
    done = on_terminal("check", "--fix")
    assert done.code == 0
    assert "/5002" in done.err
    assert "1 mended, 0 left\n" in done.err


def test_few_files_get_no_progress_bar(run: Run, tmp_path: Path) -> None:
    stored(tmp_path, "a")
    done = on_terminal("check", only_stderr=True)
    assert (done.code, done.err, len(done.lines)) == (0, "", 1)
