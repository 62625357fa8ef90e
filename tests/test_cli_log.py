"""`mediakeep log`: where did my file go?"""

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mediakeep import open_store
from test_cli import (
    HOSTILE,
    HOSTILE_SHOWN,
    NO_REF,
    Run,
    assert_one_complaint,
    file_of,
    fixture_place,  # noqa: F401
    fixture_run,  # noqa: F401
    fixture_tmp_path,  # noqa: F401
    on_terminal,
    owned_and_out_of_reach,
    stored,
)


def test_log_tells_when_what_and_by_whom_a_file_went(run: Run, tmp_path: Path) -> None:
    file = file_of(tmp_path, "a")
    ref = run("add", file, "--own", "--scope", "t:1").out.strip()
    run("release", "t:1")
    released, deleted = run("log", ref).lines
    for line, what in ((released, "released"), (deleted, "deleted")):
        day, clock, *rest = line.split()
        assert abs(datetime.now(UTC) - datetime.fromisoformat(f"{day} {clock}")) < timedelta(minutes=10)
        assert rest[:6] == [what, ref, "t:1", str(file), "6", "B"]
        assert rest[6:9] == ["process", str(os.getpid()), "on"]
        assert rest[-1] == "-"


def test_log_of_everything_and_of_a_scope(run: Run, tmp_path: Path) -> None:
    refs = {scope: stored(tmp_path, scope) for scope in ("a", "a:1", "ab")}
    for scope in refs:
        run("release", scope)
    assert {line["ref"] for line in run("log", "--json").json} == set(refs.values())
    assert {line["ref"] for line in run("log", "a", "--json").json} == {refs["a"], refs["a:1"]}


def test_log_gives_a_json_list(run: Run, tmp_path: Path) -> None:
    file = file_of(tmp_path, "a")
    ref = run("add", file, "--own", "--scope", "t").out.strip()
    run("release", "t")
    lines = run("log", "--json").json
    assert [line.pop("what") for line in lines] == ["released", "deleted"]
    for line in lines:
        assert datetime.fromisoformat(line.pop("at")).tzinfo is not None
        assert line.pop("by").startswith(f"process {os.getpid()} on ")
        assert line == {"ref": ref, "scope": "t", "location": str(file), "size": 6, "error": ""}


def test_log_says_why_a_deletion_failed(run: Run, tmp_path: Path) -> None:
    owned_and_out_of_reach(run, tmp_path)
    run("release", "t")
    released, failed = run("log", "t").lines
    assert (released.split()[2], failed.split()[2]) == ("released", "failed")
    assert "symbolic link" in failed


def test_the_newest_lines_are_listed_last_and_the_others_counted(run: Run, place: Path) -> None:
    with open_store(place, fsync=False) as store:
        refs = [store.put(b"%d" % n, scope="t") for n in range(60)]
        for ref in refs:
            store.release(ref)
    done = run("log")
    assert done.code == 0
    assert [line.split()[3] for line in done.lines] == [ref for ref in refs[10:] for _ in range(2)]
    assert done.err == "mediakeep: 20 older lines left out: --limit 120 lists all\n"
    assert run("log", "--limit", "120").err == ""
    done = run("log", "--limit", "1", "--json")
    assert [(line["what"], line["ref"]) for line in done.json] == [("deleted", refs[-1])]
    assert "119 older lines" in done.err


def test_lines_are_in_order_of_time_however_late_a_file_was_deleted(run: Run, place: Path) -> None:
    then = time.time() - 3600
    with open_store(place, fsync=False, clock=lambda: then) as store:
        first, second = (store.put(data, scope="t") for data in (b"1", b"2"))
        with store.lease(first):
            store.release(first)
            store.release(second)
            then += 60
    lines = [(line["what"], line["ref"]) for line in run("log", "--json").json]
    assert lines[-1] == ("deleted", first)
    assert run("log", "--json", "--limit", "1").json[0]["ref"] == first


def test_log_of_a_live_ref_says_since_when_and_where(run: Run, tmp_path: Path) -> None:
    file = file_of(tmp_path, "a")
    began = datetime.now().astimezone()
    ref = run("add", file, "--scope", "t").out.strip()
    done = run("log", ref)
    assert (done.code, done.err) == (0, "")
    (line,) = done.lines
    years = {f"{it:%Y-}" for it in (began, datetime.now().astimezone())}
    assert line.startswith(tuple(f"{ref} is live since {it}" for it in years))
    assert line.endswith(f"its file is {file}")
    file.unlink()
    assert run("log", ref).out.endswith(f"but nothing is at {file}: somebody else deleted it\n")


def test_log_of_a_live_ref_is_a_line_in_json(run: Run, tmp_path: Path) -> None:
    ref = stored(tmp_path, "t")
    (line,) = run("log", ref, "--json").json
    assert (line["what"], line["ref"], line["scope"], line["size"]) == ("live", ref, "t", 6)
    assert line["at"] == run("show", ref, "--json").json["stored_at"]


def test_a_ref_that_the_journal_does_not_know_exits_1(run: Run, tmp_path: Path) -> None:
    stored(tmp_path, "t")
    done = run("log", NO_REF)
    assert_one_complaint(done, 1)
    assert "unknown here" in done.err


def test_a_scope_in_which_nothing_has_ended_exits_1(run: Run, tmp_path: Path) -> None:
    stored(tmp_path, "t")
    done = run("log", "t")
    assert_one_complaint(done, 1)
    assert "mediakeep ls" in done.err
    assert run("log", "t", "--json").json == []


def test_log_of_a_store_where_nothing_has_ended_is_empty(run: Run, tmp_path: Path) -> None:
    stored(tmp_path, "t")
    done = run("log")
    assert (done.code, done.out, done.err) == (0, "", "")


def test_log_has_headings_on_a_terminal_only(run: Run, tmp_path: Path) -> None:
    run("release", stored(tmp_path, "t"))
    assert on_terminal("log").err.startswith("TIME ")
    assert "TIME" not in run("log").out


def test_log_shows_hostile_names_spelled_out(run: Run, tmp_path: Path) -> None:
    run("add", file_of(tmp_path, HOSTILE), "--own", "--scope", HOSTILE)
    run("release", HOSTILE)
    done = run("log", HOSTILE)
    assert done.out.count(HOSTILE_SHOWN) == 4
    assert done.out.replace("\n", "").isprintable()
