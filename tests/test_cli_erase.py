"""`mediakeep erase`: a user's files go now, and it is told that they have."""

import subprocess
from pathlib import Path

import pytest

from mediakeep import open_store
from test_cli import (
    HOSTILE,
    HOSTILE_SHOWN,
    Run,
    assert_one_complaint,
    blobs_in,
    command,
    file_of,
    fixture_place,  # noqa: F401
    fixture_run,  # noqa: F401
    fixture_tmp_path,  # noqa: F401
    on_terminal,
    owned_and_out_of_reach,
    refs_in,
    stored,
)


@pytest.fixture
def files(run: Run, tmp_path: Path) -> list[Path]:
    """A file of the store, one that is borrowed, and one that another scope needs; all of user:1."""
    files = [file_of(tmp_path, name) for name in ("own", "borrowed", "shared")]
    own, borrowed, shared = files
    run("add", own, shared, "--own", "--scope", "user:1")
    run("add", own, "--own", "--scope", "user:1:chat")
    run("add", borrowed, "--scope", "user:1:chat")
    run("add", shared, "--own", "--scope", "user:2")
    return files


def test_erase_tells_what_became_of_each_file(run: Run, files: list[Path]) -> None:
    own, borrowed, shared = files
    done = run("erase", "user:1", "--yes")
    assert (done.code, done.err) == (0, "")
    assert set(done.lines[:-1]) == {
        f"deleted  {own}  6 B",
        f"kept     {borrowed}  6 B  (borrowed)",
        f"kept     {shared}  6 B  (another scope has a ref of it)",
    }
    assert done.lines[-1] == "erased 4 refs: 1 file deleted (6 B), 2 kept"
    assert [file.exists() for file in files] == [False, True, True]
    assert run("scopes").lines == ["user:2"]


def test_what_erasing_does_is_what_a_dry_run_said(run: Run, files: list[Path]) -> None:
    dry = run("erase", "user:1", "--dry-run", "--json").json
    assert all(file.exists() for file in files)
    done = run("erase", "user:1", "--yes", "--json").json
    assert (dry.pop("dry_run"), done.pop("dry_run")) == (True, False)
    assert dry == done
    assert (done["scope"], done["refs"], done["freed"]) == ("user:1", 4, 6)
    assert done["files"][1] == {
        "location": str(files[0]),
        "size": 6,
        "refs": 2,
        "result": "deleted",
        "why": "",
    }


def test_a_dry_run_needs_no_yes_and_reads_as_one(run: Run, files: list[Path], place: Path) -> None:
    before = refs_in(place)
    done = run("erase", "user:1", "--dry-run")
    assert (done.code, done.err) == (0, "")
    assert f"would delete  {files[0]}  6 B" in done.lines
    assert done.lines[-1] == "would erase 4 refs: 1 file deleted (6 B), 2 kept"
    assert refs_in(place) == before


def test_where_nobody_can_be_asked_it_needs_yes(run: Run, tmp_path: Path, place: Path) -> None:
    ref = stored(tmp_path, "t")
    done = run("erase", "t", stdin=b"y\n")
    assert_one_complaint(done, 2)
    assert "--yes" in done.err
    assert refs_in(place) == {ref}


@pytest.mark.parametrize(("answer", "erased"), [("y", True), ("YES", True), ("n", False), ("", False)])
def test_on_a_terminal_it_asks(run: Run, tmp_path: Path, place: Path, answer: str, erased: bool) -> None:
    stored(tmp_path, "t:1")
    done = on_terminal("erase", "t", typed=f"{answer}\n".encode())
    assert "End 1 ref of 't' and below, and delete 1 file (6 B)? [y/N]" in done.err
    assert done.code == (0 if erased else 1)
    assert ("nothing was erased" in done.err) is not erased
    assert bool(refs_in(place)) is not erased


def test_what_it_asks_never_gets_into_json(run: Run, tmp_path: Path) -> None:
    stored(tmp_path, "t")
    done = on_terminal("erase", "t", "--json", only_stderr=True, typed=b"y\n")
    assert done.code == 0
    assert done.out.startswith("{")
    assert done.json["files"][0]["result"] == "deleted"


def test_the_question_shows_hostile_names_spelled_out(run: Run, tmp_path: Path) -> None:
    stored(tmp_path, HOSTILE)
    done = on_terminal("erase", HOSTILE, typed=b"\n")
    assert HOSTILE_SHOWN in done.err
    assert "\x1b" not in done.err


def test_no_answer_erases_nothing(tmp_path: Path, place: Path) -> None:
    ref = stored(tmp_path, "t")
    done = on_terminal("erase", "t", typed=b"\x04")
    assert done.code == 1
    assert "nothing was erased" in done.err
    assert refs_in(place) == {ref}


def test_a_scope_with_nothing_in_it_exits_1(run: Run, tmp_path: Path) -> None:
    stored(tmp_path, "t")
    done = run("erase", "tt", "--yes")
    assert_one_complaint(done, 1)
    assert "nothing in scope 'tt' or below" in done.err


def test_what_could_not_be_deleted_is_told_and_exits_1(run: Run, tmp_path: Path) -> None:
    file = owned_and_out_of_reach(run, tmp_path)
    done = run("erase", "t", "--yes")
    assert_one_complaint(done, 1)
    assert "1 file could not be deleted" in done.err
    assert done.lines[0].startswith(f"failed   {file}  6 B  (its folder is reached through")
    assert done.lines[1] == "erased 1 ref: 0 files deleted (0 B), 0 kept, 1 not deleted"


def test_what_could_not_be_deleted_is_in_the_json(run: Run, tmp_path: Path) -> None:
    owned_and_out_of_reach(run, tmp_path)
    done = run("erase", "t", "--yes", "--json")
    assert done.code == 1
    (file,) = done.json["files"]
    assert file["result"] == "failed"
    assert "symbolic link" in file["why"]


def test_a_lease_is_refused_in_one_line_and_nothing_changes(run: Run, place: Path) -> None:
    with open_store(place, fsync=False) as store:
        ref = store.put(b"", scope="t")
        with store.lease(ref):
            dry = run("erase", "t", "--dry-run")
            done = run("erase", "t", "--yes")
    assert dry.code == 0
    assert dry.lines[0].startswith("is leased ")
    assert dry.lines[1] == "would erase 1 ref: 0 files deleted (0 B), 0 kept, 1 leased"
    assert_one_complaint(done, 1)
    assert "nothing was ended" in done.err
    assert refs_in(place) == {ref}


def test_a_lease_that_outlasts_the_wait_is_one_line(run: Run, place: Path) -> None:
    with open_store(place, fsync=False) as store:
        ref = store.put(b"", scope="t")
        with store.lease(ref):
            done = run("erase", "t", "--yes", "--wait", "1s")
            assert blobs_in(place)
    assert_one_complaint(done, 1)
    assert "still held by a lease" in done.err
    assert not blobs_in(place)


def test_erase_waits_for_a_lease_to_end(run: Run, place: Path) -> None:
    with open_store(place, fsync=False) as store:
        ref = store.put(b"", scope="t")
        with store.lease(ref):
            erasing = subprocess.Popen(
                command("erase", "t", "--yes", "--wait", "5m"), stdout=subprocess.PIPE
            )
            while store.scopes():  # until it has ended the refs
                assert erasing.poll() is None
            assert blobs_in(place)
        out, _ = erasing.communicate(timeout=60)
    assert erasing.returncode == 0
    assert out.startswith(b"deleted ")
    assert not blobs_in(place)
