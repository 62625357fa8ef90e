"""The command `mediakeep`: what it prints, what it changes, and how it fails."""

import io
import json
import os
import pty
import resource
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("click")

from mediakeep import CleanupPolicy, MediaMeta, RefReleased, __version__, open_store
from mediakeep.cli import main

HOSTILE = "a\x1b[2Jb\nc\u202ed\x7f\x9b"
HOSTILE_SHOWN = r"a\x1b[2Jb\nc\u202ed\x7f\x9b"
NO_REF = "media://00000000-0000-4000-8000-000000000000"
MEMORY = "/dev/shm"


@dataclass
class Result:
    code: int
    bytes: bytes
    err: str

    @property
    def out(self) -> str:
        return self.bytes.decode()

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def json(self) -> Any:
        return json.loads(self.bytes)


Run = Callable[..., Result]


# Fixtures have a name of their own, so that the other modules of these tests can import them.


@pytest.fixture(name="tmp_path")
def fixture_tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in memory where there is room: the command always syncs, and disks may be busy."""
    with _quick_folder(tmp_path_factory) as folder:
        yield folder


@contextmanager
def _quick_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    if not os.access(MEMORY, os.W_OK) or shutil.disk_usage(MEMORY).free < 1 << 30:
        yield tmp_path_factory.mktemp("cli")
        return
    with tempfile.TemporaryDirectory(prefix="mediakeep-test-", dir=MEMORY) as folder:
        yield Path(folder)


@pytest.fixture(name="place")
def fixture_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the store that the commands of a test use; nothing is there yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEDIAKEEP_STORE", str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.fixture(name="run")
def fixture_run(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> Run:
    """Runs the command in this process."""

    def run(*arguments: str | Path, stdin: bytes = b"") -> Result:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsysbinary.readouterr()
        code = main([os.fspath(each) for each in arguments])
        out, err = capsysbinary.readouterr()
        return Result(code, out, err.decode())

    return run


def command(*arguments: str | Path | bytes) -> list[str | bytes]:
    return [sys.executable, "-m", "mediakeep", *(os.fspath(each) for each in arguments)]


def real(*arguments: str | Path | bytes, stdin: bytes = b"", **options: Any) -> Result:
    """Run the command in a process of its own."""
    done = subprocess.run(
        command(*arguments), input=stdin, capture_output=True, timeout=60, check=False, **options
    )
    return Result(done.returncode, done.stdout, done.stderr.decode(errors="replace"))


def on_terminal(*arguments: str | Path, only_stderr: bool = False, typed: bytes | None = None) -> Result:
    """Run the command on a terminal, where `typed` may be typed, and return what that got to show."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command(*arguments),
        stdin=subprocess.DEVNULL if typed is None else theirs,
        stdout=subprocess.PIPE if only_stderr else theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "200"},
    )
    os.close(theirs)
    os.write(ours, typed or b"")
    shown = b""
    try:
        while chunk := os.read(ours, 65536):
            shown += chunk
    except OSError:  # Linux: the other side has closed
        pass
    os.close(ours)
    out = b""
    if process.stdout is not None:
        with process.stdout:
            out = process.stdout.read()
    return Result(process.wait(60), out, shown.decode(errors="replace").replace("\r\n", "\n"))


def file_of(folder: Path, name: str, content: bytes = b"hello\n") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def put_one(run: Run, folder: Path, scope: str, name: str = "cat.jpg", *more: str) -> str:
    done = run("put", file_of(folder, name), "--scope", scope, *more)
    assert done.code == 0, done.err
    return done.out.strip()


def stored(folder: Path, scope: str, name: str = "cat.jpg") -> str:
    """Put six bytes into the store as the library does it, which without fsync is quick."""
    with open_store(folder / "store", fsync=False, dedupe=False) as store:
        return store.put(b"hello\n", MediaMeta(name), scope)


def refs_in(place: Path) -> set[str]:
    with open_store(place) as store:
        return {entry.ref for entry in store.entries()}


def blobs_in(place: Path) -> set[Path]:
    return {path for path in (place / "blobs").rglob("*") if path.is_file()}


def assert_one_complaint(done: Result, code: int) -> None:
    assert done.code == code
    assert done.err.startswith("mediakeep: ")
    assert done.err.count("\n") == 1
    assert "Traceback" not in done.err


# -- put


def test_put_prints_one_ref_a_line_in_the_order_of_the_files(run: Run, tmp_path: Path) -> None:
    files = [file_of(tmp_path, name, name.encode()) for name in ("b", "a")]
    done = run("put", *files, "--scope", "t:1")
    assert done.code == 0
    assert [run("cat", ref).out for ref in done.lines] == ["b", "a"]


def test_put_copies_so_the_file_stays_when_the_ref_ends(run: Run, tmp_path: Path, place: Path) -> None:
    ref = put_one(run, tmp_path, "t:1")
    assert run("release", ref).code == 0
    assert (tmp_path / "cat.jpg").read_bytes() == b"hello\n"
    assert not blobs_in(place)


def test_put_keeps_the_files_own_name_its_type_and_cli_as_source(run: Run, tmp_path: Path) -> None:
    shown = run("show", put_one(run, tmp_path, "t:1"), "--json").json
    assert (shown["filename"], shown["content_type"], shown["source"]) == (
        "cat.jpg",
        "image/jpeg",
        "cli",
    )


def test_put_keeps_what_is_said_of_the_file(run: Run, tmp_path: Path) -> None:
    ref = put_one(
        run, tmp_path, "t:1", "x", "--filename", "y.gif", "--type", "a/b", "--source", "telegram"
    )
    shown = run("show", ref, "--json").json
    assert (shown["filename"], shown["content_type"], shown["source"]) == ("y.gif", "a/b", "telegram")


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("a.PNG", "image/png"),
        ("a.tar.gz", "application/gzip"),
        ("a", ""),
        (".png", ""),
        ("data:text/html,x", ""),
        ("http://[x", ""),
    ],
)
def test_put_guesses_the_type_from_the_ending_only(
    run: Run, place: Path, name: str, content_type: str
) -> None:
    ref = run("put", "-", "--scope", "t", "--filename", name).out.strip()
    assert run("show", ref, "--json").json["content_type"] == content_type


def test_put_reads_standard_input(run: Run, place: Path) -> None:
    ref = run("put", "-", "--scope", "t", stdin=b"piped \0 bytes").out.strip()
    assert run("cat", ref).bytes == b"piped \0 bytes"
    assert run("show", ref, "--json").json["filename"] == ""


def test_put_takes_standard_input_among_files(run: Run, tmp_path: Path) -> None:
    done = run("put", file_of(tmp_path, "a", b"A"), "-", "--scope", "t", stdin=b"B")
    assert [run("cat", ref).out for ref in done.lines] == ["A", "B"]


@pytest.mark.parametrize(
    ("ttl", "seconds"),
    [("90s", 90), ("30m", 1800), ("2h", 7200), ("7d", 604_800), ("1w", 604_800), ("1d12h", 129_600)],
)
def test_a_ttl_is_written_with_units(run: Run, tmp_path: Path, ttl: str, seconds: int) -> None:
    shown = run("show", put_one(run, tmp_path, "t", "a", "--ttl", ttl), "--json").json
    lives = datetime.fromisoformat(shown["expires_at"]) - datetime.fromisoformat(shown["stored_at"])
    assert lives.total_seconds() == pytest.approx(seconds, abs=0.01)


@pytest.mark.parametrize("ttl", ["", "5", "h", "2x", "-1h", "1.5h", "1h ", "0s", "99999999999w", "٣h"])
def test_a_ttl_of_another_form_is_refused_with_the_forms(run: Run, tmp_path: Path, ttl: str) -> None:
    done = run("put", file_of(tmp_path, "a"), "--scope", "t", "--ttl", ttl)
    assert_one_complaint(done, 2)
    assert "1d12h" in done.err or "36500d" in done.err


@pytest.mark.parametrize("verb", ["put", "add"])
def test_nothing_is_stored_if_any_file_is_missing(
    run: Run, tmp_path: Path, place: Path, verb: str
) -> None:
    done = run(verb, file_of(tmp_path, "a"), tmp_path / "nope", "--scope", "t")
    assert_one_complaint(done, 1)
    assert "nope: No such file or directory; nothing was stored" in done.err
    assert not place.exists()


@pytest.mark.parametrize("verb", ["put", "add"])
def test_each_file_that_cannot_be_stored_is_named(
    run: Run, tmp_path: Path, place: Path, verb: str
) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    done = run(verb, file_of(tmp_path, "a"), "folder", "fifo", "/dev/null", "--scope", "t")
    assert done.code == 1
    complaints = done.err.splitlines()
    assert [line.split(":")[1].strip() for line in complaints] == ["folder", "fifo", "/dev/null"]
    assert "is a directory" in complaints[0]
    assert "is not a regular file" in complaints[1]
    assert not place.exists()


def test_put_says_what_was_stored_when_it_fails_half_way(tmp_path: Path, place: Path) -> None:
    small, large = file_of(tmp_path, "small"), file_of(tmp_path, "large", bytes(3 << 20))
    done = real("put", small, large, small, "--scope", "t", preexec_fn=_no_file_above_2_mib)
    assert done.code == 1
    assert set(done.lines) == refs_in(place)
    assert len(done.lines) == 1
    assert f"stored 1 of 3 files; not stored: {large}, {small}" in done.err
    assert "File too large" in done.err


def test_json_says_what_was_stored_when_put_fails_half_way(tmp_path: Path, place: Path) -> None:
    small, large = file_of(tmp_path, "small"), file_of(tmp_path, "large", bytes(3 << 20))
    done = real("put", small, large, "--scope", "t", "--json", preexec_fn=_no_file_above_2_mib)
    assert done.code == 1
    assert [each["file"] for each in done.json["stored"]] == [str(small)]
    assert done.json["not_stored"] == [str(large)]


def _no_file_above_2_mib() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, 2 << 20))


def test_interrupting_put_stores_nothing_and_exits_130(tmp_path: Path, place: Path) -> None:
    with subprocess.Popen(
        command("put", "-", "--scope", "t"),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A shell has what it starts in the background ignore ^C, and these tests may be that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdin is not None and process.stderr is not None
        process.stdin.write(bytes(4 << 20))  # more than a pipe holds: it is reading when this returns
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert b"Traceback" not in process.stderr.read()
    assert refs_in(place) == set()
    assert not blobs_in(place)


def test_put_gives_one_json_document(run: Run, tmp_path: Path) -> None:
    file = file_of(tmp_path, "cat.jpg")
    (stored,) = run("put", file, "--scope", "t:1", "--json").json["stored"]
    assert stored["file"] == str(file)
    assert stored["ref"].startswith("media://")
    assert (stored["scope"], stored["size"], stored["owned"]) == ("t:1", 6, True)
    assert Path(stored["path"]).read_bytes() == b"hello\n"


# -- add


def test_add_borrows_so_the_file_stays(run: Run, tmp_path: Path) -> None:
    file = file_of(tmp_path, "a")
    ref = run("add", file, "--scope", "t").out.strip()
    assert run("resolve", ref).out == f"{file}\n"
    assert run("release", "t").code == 0
    assert file.exists()


def test_add_own_gives_the_file_to_the_store(run: Run, tmp_path: Path) -> None:
    file = file_of(tmp_path, "a")
    assert run("add", file, "--own", "--scope", "t").code == 0
    assert run("release", "t").code == 0
    assert not file.exists()


def test_add_refuses_the_stores_own_files(run: Run, tmp_path: Path, place: Path) -> None:
    put_one(run, tmp_path, "t")
    assert_one_complaint(run("add", place / "catalog.db", "--scope", "t"), 1)


# -- resolve, show, cat


def test_resolve_prints_the_path(run: Run, tmp_path: Path) -> None:
    path = Path(run("resolve", stored(tmp_path, "t")).out.removesuffix("\n"))
    assert path.read_bytes() == b"hello\n"


def test_resolve_gives_a_pipe_the_path_as_it_is(run: Run, tmp_path: Path) -> None:
    file = tmp_path / os.fsdecode(b"\x1b\xff")
    file.write_bytes(b"")
    ref = run("add", file, "--scope", "t").out.strip()
    assert run("resolve", ref).bytes == os.fsencode(file) + b"\n"


def test_resolve_spells_the_path_out_on_a_terminal(run: Run, tmp_path: Path) -> None:
    ref = run("add", file_of(tmp_path, "\x1b[2J"), "--scope", "t").out.strip()
    assert on_terminal("resolve", ref).err == f"{tmp_path}/\\x1b[2J\n"


def test_show_tells_everything_in_words(run: Run, tmp_path: Path) -> None:
    ref = put_one(run, tmp_path, "telegram:1", "cat.jpg", "--ttl", "2h")
    shown = dict(line.split(maxsplit=1) for line in run("show", ref).lines)
    assert shown["ref"] == ref
    assert shown["scope"] == "telegram:1"
    assert shown["size"] == "6 B"
    assert shown["expires"].endswith(("(in 119m)", "(in 2h)"))
    assert shown["kept"].startswith("owned")
    assert "leases" not in shown


def test_show_says_so_if_the_file_is_gone(run: Run, tmp_path: Path) -> None:
    file = file_of(tmp_path, "a")
    ref = run("add", file, "--scope", "t").out.strip()
    file.unlink()
    assert "nothing is there" in run("show", ref).out


def test_cat_gives_the_bytes_as_they_are(place: Path, tmp_path: Path) -> None:
    content = os.urandom(3 << 20)
    ref = real("put", file_of(tmp_path, "a", content), "--scope", "t").out.strip()
    done = real("cat", ref)
    assert (done.code, done.err) == (0, "")
    assert done.bytes == content


def test_cat_refuses_to_upset_a_terminal(run: Run, tmp_path: Path) -> None:
    ref = run("put", file_of(tmp_path, "a", b"\x1b[2J"), "--scope", "t").out.strip()
    done = on_terminal("cat", ref)
    assert_one_complaint(done, 1)
    assert "--force" in done.err


def test_cat_writes_anything_to_a_terminal_with_force(run: Run, tmp_path: Path) -> None:
    ref = run("put", file_of(tmp_path, "a", b"\x1b[2J"), "--scope", "t").out.strip()
    done = on_terminal("cat", "--force", ref)
    assert (done.code, done.err) == (0, "\x1b[2J")


def test_cat_writes_text_to_a_terminal(run: Run, tmp_path: Path) -> None:
    text = "äöü€\n" * 100_000  # letters stand across the borders of chunks
    ref = run("put", file_of(tmp_path, "a", text.encode()), "--scope", "t").out.strip()
    done = on_terminal("cat", ref)
    assert (done.code, done.err) == (0, text)


def test_cat_says_what_happened_to_a_file_that_is_gone(run: Run, tmp_path: Path) -> None:
    file = file_of(tmp_path, "a")
    ref = run("add", file, "--scope", "t").out.strip()
    file.unlink()
    assert_one_complaint(run("cat", ref), 1)


def test_a_reader_that_leaves_early_causes_no_word(place: Path, tmp_path: Path) -> None:
    ref = real("put", file_of(tmp_path, "a", bytes(4 << 20)), "--scope", "t").out.strip()
    with subprocess.Popen(
        command("cat", ref), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 1


# -- ls, scopes, stats


def test_ls_gives_one_line_a_ref_that_begins_with_it(run: Run, tmp_path: Path) -> None:
    refs = [stored(tmp_path, scope) for scope in ("a:1", "a:2", "b")]
    assert [line.split()[0] for line in run("ls").lines] == refs


def test_ls_shows_size_sharing_policy_type_scope_and_name(run: Run, tmp_path: Path) -> None:
    file = file_of(tmp_path, "cat.jpg", bytes(2048))
    for _ in range(2):
        run("add", file, "--scope", "t:1", "--ttl", "1d12h")
    for line in run("ls").lines:
        _, size, unit, age, expires, refs, *rest = line.split()
        assert (size, unit, expires, refs) == ("2.0", "KiB", "35h", "2")
        assert age.endswith("s")
        assert rest == ["borrowed", "image/jpeg", "t:1", "cat.jpg"]


def test_ls_aligns_its_columns(run: Run, place: Path) -> None:
    for scope, size in (("a", 1), ("a:long:name", 5000)):
        run("put", "-", "--scope", scope, "--filename", "NAME", stdin=bytes(size))
    assert len({line.index("NAME") for line in run("ls").lines}) == 1


def test_ls_of_a_scope_lists_it_and_what_is_below(run: Run, tmp_path: Path) -> None:
    refs = {scope: stored(tmp_path, scope) for scope in ("a", "a:1", "ab", "b")}
    assert [line.split()[0] for line in run("ls", "a").lines] == [refs["a"], refs["a:1"]]


def test_ls_gives_so_many_of_the_newest(run: Run, tmp_path: Path) -> None:
    refs = [stored(tmp_path, "a") for _ in range(4)]
    assert [line.split()[0] for line in run("ls", "--newest").lines] == refs[::-1]
    assert [line.split()[0] for line in run("ls", "a", "--newest", "--limit", "2").lines] == refs[:1:-1]
    assert [line.split()[0] for line in run("ls", "--limit", "1").lines] == refs[:1]


def test_ls_of_a_scope_without_refs_exits_1(run: Run, tmp_path: Path) -> None:
    stored(tmp_path, "a")
    assert_one_complaint(run("ls", "b"), 1)


def test_ls_of_an_empty_store_is_empty(run: Run, tmp_path: Path) -> None:
    run("release", stored(tmp_path, "a"))
    assert run("ls") == Result(0, b"", "")
    assert run("ls", "--json").json == []


def test_ls_has_headings_on_a_terminal_only(run: Run, tmp_path: Path) -> None:
    stored(tmp_path, "a")
    assert on_terminal("ls").err.startswith("REF ")
    assert "REF" not in run("ls").out


def test_ls_names_what_is_past_its_time(run: Run, place: Path) -> None:
    with open_store(place, fsync=False, clock=lambda: time.time() - 7200) as store:
        store.put(b"", scope="t", ttl=3600)
    assert run("ls").lines[0].split()[4] == "due"


def test_ls_lists_more_than_one_page(run: Run, place: Path) -> None:
    with open_store(place, fsync=False) as store:
        refs = [store.put(b"", scope=f"s:{i:04}") for i in range(603)]
    assert [line.split()[0] for line in run("ls").lines] == refs
    assert [entry["ref"] for entry in run("ls", "--json").json] == refs


def test_tree_unfolds_the_levels_and_sums_each_file_once(run: Run, tmp_path: Path) -> None:
    file = file_of(tmp_path, "x", b"123")
    for scope in ("a", "a:1", "a:1", "a:1:y", "b"):
        run("add", file, "--scope", scope)
    drawn = [line for line in run("ls", "--tree").lines if "media://" not in line]
    assert drawn == [
        "├── a  (4 refs, 3 B)",
        "│   └── 1  (3 refs, 3 B)",
        "│       └── y  (1 ref, 3 B)",
        "└── b  (1 ref, 3 B)",
    ]


def test_tree_gives_json_by_level(run: Run, tmp_path: Path) -> None:
    ref = stored(tmp_path, "a:1")
    root = run("ls", "--tree", "--json").json
    (a,) = root["below"]
    (one,) = a["below"]
    assert (root["refs"], a["scope"], a["size"], a["entries"]) == (1, "a", 6, [])
    assert (one["scope"], [entry["ref"] for entry in one["entries"]]) == ("a:1", [ref])


def test_tree_bears_a_scope_of_any_depth(run: Run, place: Path) -> None:
    with open_store(place, fsync=False) as store:
        store.put(b"", scope=":" * 5000)
    assert run("ls", "--tree").code == 0
    assert run("ls", "--tree", "--json").json["refs"] == 1


def test_scopes_prints_one_a_line(run: Run, tmp_path: Path) -> None:
    for scope in ("b", "a:1", "a:1"):
        stored(tmp_path, scope)
    assert run("scopes").lines == ["a:1", "b"]


def test_scopes_gives_their_numbers_as_json(run: Run, tmp_path: Path) -> None:
    stored(tmp_path, "a")
    assert run("scopes", "--json").json == [{"scope": "a", "refs": 1, "files": 1, "size": 6}]


def test_stats_counts_refs_files_and_bytes(run: Run, tmp_path: Path, place: Path) -> None:
    stored(tmp_path, "a")
    run("add", file_of(tmp_path, "cat.jpg"), "--scope", "b")
    numbers = run("stats", "--json").json
    assert numbers["store"] == str(place)
    assert (numbers["refs"], numbers["scopes"], numbers["files"], numbers["size"]) == (2, 2, 2, 12)
    assert (numbers["owned"], numbers["borrowed"], numbers["failed"]) == (1, 1, [])


def test_stats_is_readable(run: Run, tmp_path: Path, place: Path) -> None:
    stored(tmp_path, "a")
    lines = run("stats").lines
    assert lines[0].split() == ["store", str(place)]
    assert lines[1].split(maxsplit=1) == ["refs", "1 in 1 scope"]
    assert lines[2].split(maxsplit=1) == ["files", "1, 6 B"]


def test_stats_says_why_deletions_failed(run: Run, tmp_path: Path) -> None:
    owned_and_out_of_reach(run, tmp_path)
    run("release", "t")
    (line,) = (line for line in run("stats").lines if line.startswith("failed"))
    reason = run("stats", "--json").json["failed"][0]["reason"]
    assert line.split(maxsplit=1)[1] == f"1 (`mediakeep sweep` tries again): 1 x {reason}"
    assert "symbolic link" in reason
    assert "Errno" not in reason


# -- release, sweep


def test_release_of_a_ref_ends_that_one_only(run: Run, tmp_path: Path, place: Path) -> None:
    first, second = (stored(tmp_path, "t") for _ in range(2))
    assert run("release", first).out == "released 1 ref: 1 file deleted (6 B), 0 kept\n"
    assert refs_in(place) == {second}


def test_release_of_a_scope_leaves_those_below(run: Run, tmp_path: Path, place: Path) -> None:
    stored(tmp_path, "a")
    below = stored(tmp_path, "a:1")
    assert run("release", "a").code == 0
    assert refs_in(place) == {below}


def test_release_nested_ends_those_below_too(run: Run, tmp_path: Path, place: Path) -> None:
    for scope in ("a", "a:1", "a:1:2"):
        stored(tmp_path, scope)
    other = stored(tmp_path, "ab")
    assert run("release", "a", "--nested").out.startswith("released 3 refs: 3 files deleted")
    assert refs_in(place) == {other}


def test_release_of_a_scope_without_refs_exits_1(run: Run, tmp_path: Path) -> None:
    stored(tmp_path, "a")
    done = run("release", "b")
    assert_one_complaint(done, 1)
    assert "nothing in scope 'b'" in done.err
    assert "--nested" not in done.err


def test_release_suggests_nested_where_only_scopes_below_have_refs(run: Run, tmp_path: Path) -> None:
    stored(tmp_path, "a:1")
    done = run("release", "a")
    assert_one_complaint(done, 1)
    assert "--nested" in done.err


def test_release_of_a_dead_ref_says_why_it_is_dead(run: Run, tmp_path: Path) -> None:
    ref = stored(tmp_path, "a")
    run("release", ref)
    done = run("release", ref)
    assert_one_complaint(done, 1)
    assert RefReleased.reason in done.err


def test_release_refuses_an_empty_scope(run: Run, place: Path) -> None:
    with open_store(place, fsync=False) as store:
        store.put(b"")
    assert_one_complaint(run("release", ""), 2)
    assert len(refs_in(place)) == 1


def test_a_dry_release_tells_the_fate_of_each_file(run: Run, tmp_path: Path, place: Path) -> None:
    owned, borrowed, shared = (file_of(tmp_path, name) for name in ("owned", "borrowed", "shared"))
    run("add", owned, shared, "--own", "--scope", "t")
    run("add", owned, "--own", "--scope", "t")
    run("add", borrowed, "--scope", "t")
    run("add", shared, "--own", "--scope", "other")
    plan = run("release", "t", "--dry-run", "--json").json
    assert len(plan["refs"]) == 4
    owned, borrowed, shared = (
        {"path": str(it), "location": str(it)} for it in (owned, borrowed, shared)
    )
    assert plan["deleted"] == [{**owned, "size": 6}]
    assert plan["kept"] == [
        {**shared, "size": 6, "why": "shared with 1 other ref"},
        {**borrowed, "size": 6, "why": "borrowed"},
    ]


def test_what_a_release_does_is_what_a_dry_one_said(run: Run, tmp_path: Path) -> None:
    files = [file_of(tmp_path, name) for name in ("a", "b", "c")]
    run("add", *files[:2], "--own", "--scope", "t")
    run("add", files[2], "--scope", "t")
    run("add", files[0], "--own", "--scope", "other")
    dry = run("release", "t", "--dry-run", "--json").json
    done = run("release", "t", "--json").json
    assert (dry.pop("dry_run"), done.pop("dry_run")) == (True, False)
    assert dry == done
    assert [file.exists() for file in files] == [True, False, True]


@pytest.mark.parametrize(
    "arguments",
    [["release", "t", "--dry-run"], ["release", "t", "--dry-run", "--json"], ["sweep", "--dry-run"]],
)
def test_a_dry_run_changes_nothing(run: Run, tmp_path: Path, place: Path, arguments: list[str]) -> None:
    with open_store(place, fsync=False, clock=lambda: time.time() - 7200) as store:
        store.put(b"old", scope="t", ttl=3600)
    run("add", file_of(tmp_path, "own"), "--own", "--scope", "t")
    before = refs_in(place), blobs_in(place)
    assert run(*arguments).code == 0
    assert (refs_in(place), blobs_in(place)) == before
    assert (tmp_path / "own").exists()


def test_release_lists_what_could_not_be_deleted_and_exits_1(run: Run, tmp_path: Path) -> None:
    file = owned_and_out_of_reach(run, tmp_path)
    done = run("release", "t")
    assert_one_complaint(done, 1)
    assert f"cannot delete {file}: " in done.err
    assert done.out == "released 1 ref: 0 files deleted (0 B), 0 kept, 1 not deleted\n"


def test_sweep_lists_what_could_not_be_deleted_and_exits_1(run: Run, tmp_path: Path) -> None:
    file = owned_and_out_of_reach(run, tmp_path)
    run("release", "t")
    done = run("sweep", "--json")
    assert_one_complaint(done, 1)
    (failed,) = done.json["failed"]
    assert (failed["location"], failed["attempts"]) == (str(file), 2)


def test_sweep_deletes_in_the_end_what_could_not_be_deleted(run: Run, tmp_path: Path) -> None:
    file = owned_and_out_of_reach(run, tmp_path)
    run("release", "t")
    file.parent.unlink()
    (tmp_path / "moved").rename(file.parent)
    assert run("sweep").code == 0
    assert not file.exists()


def owned_and_out_of_reach(run: Run, tmp_path: Path) -> Path:
    """Return an owned file whose folder is a symlink now, which no deletion follows."""
    folder = tmp_path / "folder"
    folder.mkdir()
    file = file_of(folder, "a")
    assert run("add", file, "--own", "--scope", "t").code == 0
    folder.rename(tmp_path / "moved")
    folder.symlink_to("moved")
    return file


def test_sweep_ends_what_is_past_its_time(run: Run, place: Path) -> None:
    with open_store(place, fsync=False, clock=lambda: time.time() - 7200) as store:
        store.put(b"12345", scope="t", ttl=3600)
        stays = store.put(b"", scope="t")
    assert run("sweep").out == "swept: 1 ref expired, 1 file deleted (5 B), 0 leftovers removed\n"
    assert refs_in(place) == {stays}


def test_sweep_with_max_age_ends_old_refs_without_a_ttl(run: Run, place: Path) -> None:
    with open_store(place, fsync=False, clock=lambda: time.time() - 7200) as store:
        store.put(b"", scope="t")
        lives = store.put(b"", scope="t", ttl=86_400)
    with open_store(place, fsync=False) as store:
        young = store.put(b"", scope="t")
    assert run("sweep", "--max-age", "1h", "--json").json["expired"] == 1
    assert refs_in(place) == {lives, young}


def test_a_dry_sweep_counts_what_is_due(run: Run, place: Path) -> None:
    with open_store(place, fsync=False, clock=lambda: time.time() - 7200) as store:
        store.put(b"", scope="t", ttl=3600)
        store.put(b"", scope="t")
    counted = run("sweep", "--dry-run", "--json", "--max-age", "1h").json
    assert (counted["dry_run"], counted["expired"]) == (True, 2)


# -- what holds of every command

COMMANDS = (
    *("put", "add", "resolve", "show", "cat", "ls"),
    *("scopes", "release", "erase", "sweep", "log", "stats", "check", "copy", "migrate"),
    *("mcp", "completion"),
)
READING = [
    ["resolve", NO_REF],
    ["show", NO_REF],
    ["cat", NO_REF],
    ["ls"],
    ["ls", "--tree"],
    ["scopes"],
    ["stats"],
    ["release", "t"],
    ["release", NO_REF],
    ["sweep"],
    ["log"],
    ["log", NO_REF],
    ["erase", "t", "--yes"],
    ["erase", "t", "--dry-run"],
    ["check"],
    ["check", "--fix"],
]


@pytest.mark.parametrize("arguments", READING, ids=" ".join)
def test_a_store_that_is_not_there_is_not_made(run: Run, place: Path, arguments: list[str]) -> None:
    done = run(*arguments)
    assert_one_complaint(done, 1)
    assert f"no store at {place}" in done.err
    assert "--store" in done.err
    assert not place.exists()


@pytest.mark.parametrize("arguments", READING, ids=" ".join)
def test_a_folder_that_is_no_store_stays_as_it_is(run: Run, place: Path, arguments: list[str]) -> None:
    place.mkdir()
    assert_one_complaint(run(*arguments), 1)
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["put", "file", "--scope", "t"],
        ["add", "file", "--scope", "t"],
        ["resolve", "REF"],
        ["show", "REF"],
        ["ls"],
        ["ls", "t"],
        ["ls", "--tree"],
        ["scopes"],
        ["stats"],
        ["release", "t", "--dry-run"],
        ["release", "REF"],
        ["sweep"],
        ["sweep", "--dry-run"],
        ["log", "REF"],
        ["erase", "t", "--dry-run"],
        ["erase", "t", "--yes"],
        ["check"],
        ["check", "--fix", "--deep"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_json_is_one_ascii_document_wherever_the_option_stands(
    run: Run, tmp_path: Path, arguments: list[str], before: bool
) -> None:
    ref = stored(tmp_path, "t", HOSTILE)
    file_of(tmp_path, "file")
    arguments = [ref if each == "REF" else each for each in arguments]
    done = run("--json", *arguments) if before else run(*arguments, "--json")
    assert (done.code, done.err) == (0, "")
    assert isinstance(done.json, dict | list)
    assert done.out.isascii()
    assert done.out.replace("\n", "").isprintable()
    assert done.out.startswith(("{\n  ", "[\n  {\n    "))


def test_the_store_can_be_named_before_and_after_the_command(run: Run, tmp_path: Path) -> None:
    ref = run("put", file_of(tmp_path, "a"), "--scope", "t", "--store", tmp_path / "other").out.strip()
    assert run("--store", tmp_path / "other", "scopes").lines == ["t"]
    assert run("--store", "wrong", "show", ref, "--store", tmp_path / "other").code == 0


def test_the_store_is_in_the_users_data_directory_by_default(tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path), "HOME": str(tmp_path)}
    environment.pop("MEDIAKEEP_STORE", None)
    assert real("put", "-", "--scope", "t", env=environment).code == 0
    assert list(tmp_path.rglob("mediakeep/catalog.db"))


WRONG = [
    (2, ["nope"]),
    (2, ["--nope"]),
    (2, ["put"]),
    (2, ["put", "--scope", "t"]),
    (2, ["put", "file"]),
    (2, ["put", "file", "--scope", ""]),
    (2, ["put", "file", "--scope", "t\udcff"]),
    (2, ["put", "file", "file", "--filename", "x", "--scope", "t"]),
    (2, ["put", "-", "-", "--scope", "t"]),
    (2, ["add", "-", "--scope", "t"]),
    (2, ["add", "file"]),
    (1, ["put", "", "--scope", "t"]),
    (1, ["put", "no\x1b\nfile\udcff", "--scope", "t"]),
    (1, ["put", "x" * 5000, "--scope", "t"]),
    (1, ["put", "nul\0", "--scope", "t"]),
    (1, ["put", "file", "--scope", "t", "--store", "file/x"]),
    (2, ["put", "file", "--scope", "t", "--store", "file"]),
    (2, ["resolve"]),
    (2, ["resolve", "file"]),
    (2, ["resolve", NO_REF, NO_REF]),
    (1, ["resolve", NO_REF]),
    (1, ["resolve", "media://"]),
    (1, ["show", "media://../../etc/passwd"]),
    (1, ["show", "media://\x1b[2J\n\udcff"]),
    (1, ["cat", NO_REF.upper().replace("MEDIA", "media")]),
    (2, ["cat", "--json", NO_REF]),
    (2, ["--json", "cat", NO_REF]),
    (1, ["release", NO_REF]),
    (1, ["release", "nothing\x1b\n"]),
    (2, ["release"]),
    (2, ["release", NO_REF, "--nested"]),
    (1, ["ls", "nothing\u202e"]),
    (2, ["ls", "a", "b"]),
    (2, ["sweep", "--max-age", "soon"]),
    (1, ["log", NO_REF]),
    (1, ["log", "media://\x1b[2J\n"]),
    (1, ["log", "nothing\x1b\n"]),
    (2, ["log", "t\udcff"]),
    (2, ["log", "--limit", "0"]),
    (2, ["log", "--limit", "many"]),
    (2, ["erase"]),
    (2, ["erase", "t"]),
    (2, ["erase", "", "--yes"]),
    (2, ["erase", NO_REF, "--yes"]),
    (2, ["erase", "t", "--yes", "--wait", "soon"]),
    (1, ["erase", "nothing\x1b\n", "--yes"]),
    (1, ["erase", "nothing", "--dry-run"]),
    (2, ["check", "t"]),
    (2, ["check", "--force"]),
    (2, ["check", "--grace", "0s"]),
    (1, ["check", "--store", "damaged"]),
    (2, ["completion"]),
    (2, ["completion", "tcsh"]),
    (2, ["--store", "memory:", "ls"]),
    (2, ["ls", "--store", "memory:"]),
    (2, ["ls", "--store", "s3://bucket"]),
    (2, ["ls", "--store", ""]),
    (1, ["ls", "--store", "damaged"]),
    (1, ["put", "file", "--scope", "t", "--store", "damaged"]),
]


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a store, a file and a damaged store, for tests that change nothing."""
    with _quick_folder(tmp_path_factory) as folder:
        file_of(folder, "file")
        (folder / "damaged").mkdir()
        file_of(folder / "damaged", "catalog.db", b"SQLite format 3\0" + b"x" * 200)
        with open_store(folder / "store", fsync=False) as store:
            store.put(b"", scope="t")
        yield folder


@pytest.mark.parametrize(("code", "arguments"), WRONG, ids=lambda each: ascii(each)[:60])
def test_wrong_input_gets_one_line_and_never_a_traceback(
    run: Run, crowded: Path, monkeypatch: pytest.MonkeyPatch, code: int, arguments: list[str]
) -> None:
    monkeypatch.chdir(crowded)
    monkeypatch.setenv("MEDIAKEEP_STORE", "store")
    before = refs_in(crowded / "store")
    done = run(*arguments)
    assert_one_complaint(done, code)
    assert done.out == ""
    assert done.err[:-1].isprintable()
    assert refs_in(crowded / "store") == before


def test_wrong_usage_names_the_help_of_the_command(run: Run, place: Path) -> None:
    assert "`mediakeep put --help`" in run("put").err


@pytest.mark.parametrize(
    "arguments",
    [
        ["ls"],
        ["ls", "--tree"],
        ["scopes"],
        ["show", "REF"],
        ["release", HOSTILE, "--dry-run"],
        ["stats"],
        ["log", "REF"],
        ["erase", HOSTILE, "--dry-run"],
        ["erase", HOSTILE, "--yes"],
    ],
    ids=["ls", "tree", "scopes", "show", "release", "stats", "log", "dry erase", "erase"],
)
def test_hostile_names_never_reach_a_terminal_raw(
    run: Run, tmp_path: Path, arguments: list[str]
) -> None:
    folder = tmp_path / HOSTILE
    folder.mkdir()
    said = ["--filename", HOSTILE, "--type", HOSTILE, "--source", HOSTILE]
    ref = run(
        "add", file_of(folder, "a"), "--scope", HOSTILE, *said, "--store", folder / "store"
    ).out.strip()
    done = run(*(ref if each == "REF" else each for each in arguments), "--store", folder / "store")
    assert done.code == 0
    assert HOSTILE_SHOWN in done.out
    assert done.out.replace("\n", "").isprintable()


def test_a_deletion_that_fails_is_told_without_raw_names(run: Run, tmp_path: Path) -> None:
    (tmp_path / HOSTILE).mkdir()
    owned_and_out_of_reach(run, tmp_path / HOSTILE)
    assert_one_complaint(run("release", "t"), 1)
    assert run("sweep").err[:-1].isprintable()


def test_a_warning_of_the_library_is_shown_in_one_safe_line(run: Run, tmp_path: Path) -> None:
    file = file_of(tmp_path, HOSTILE)
    run("add", file, "--own", "--scope", "t")
    file.unlink()
    file.mkdir()
    done = run("release", "t")
    assert_one_complaint(done, 0)
    assert f"{HOSTILE_SHOWN} is a directory now" in done.err


# -- terminals, pipes, and other processes


def test_many_files_get_a_progress_bar_on_a_terminal(place: Path, tmp_path: Path) -> None:
    files = [file_of(tmp_path, f"{i}") for i in range(21)]
    done = on_terminal("put", *files, "--scope", "t", only_stderr=True)
    assert done.code == 0
    assert "file 21 of 21" in done.err
    assert set(done.lines) == refs_in(place)


def test_a_large_file_gets_a_progress_bar_on_a_terminal(place: Path, tmp_path: Path) -> None:
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate((16 << 20) + 1)
    done = on_terminal("put", large, "--scope", "t")
    assert done.code == 0
    assert "file 1 of 1" in done.err
    assert done.err.rstrip().endswith(refs_in(place).pop())


def test_a_few_small_files_get_no_progress_bar(place: Path, tmp_path: Path) -> None:
    files = [file_of(tmp_path, f"{i}") for i in range(20)]
    done = on_terminal("put", *files, "--scope", "t", only_stderr=True)
    assert (done.code, done.err, len(done.lines)) == (0, "", 20)


def test_nothing_shows_progress_without_a_terminal(place: Path, tmp_path: Path) -> None:
    files = [file_of(tmp_path, f"{i}") for i in range(21)]
    done = real("put", *files, "--scope", "t")
    assert (done.code, done.err, len(done.lines)) == (0, "", 21)


def test_put_never_holds_a_large_file_in_memory(place: Path, tmp_path: Path) -> None:
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(160 << 20)

    def little_memory() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (150 << 20, 150 << 20))

    ref = real("put", large, "--scope", "t", preexec_fn=little_memory).out.strip()
    assert real("show", ref, "--json").json["size"] == 160 << 20


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a full device")
@pytest.mark.parametrize("arguments", [["ls"], ["--help"], ["cat", "REF"]], ids=" ".join)
def test_output_that_cannot_be_written_is_said_in_one_line(
    run: Run, tmp_path: Path, arguments: list[str]
) -> None:
    ref = stored(tmp_path, "t")
    arguments = [ref if each == "REF" else each for each in arguments]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command(*arguments), stdout=full, stderr=subprocess.PIPE, check=False)
    assert_one_complaint(Result(done.returncode, b"", done.stderr.decode()), 1)


@pytest.mark.parametrize("arguments", [["ls"], ["cat", "REF"], ["put", "-", "--scope", "t"], ["nope"]])
def test_closed_standard_streams_cause_no_traceback(
    run: Run, tmp_path: Path, arguments: list[str]
) -> None:
    ref = stored(tmp_path, "t")
    arguments = [ref if each == "REF" else each for each in arguments]

    def close_in_and_out() -> None:
        os.close(0)
        os.close(1)

    done = subprocess.run(
        command(*arguments), stderr=subprocess.PIPE, preexec_fn=close_in_and_out, check=False
    )
    assert done.returncode in (0, 1, 2)
    assert b"Traceback" not in done.stderr
    assert done.stderr.count(b"\n") <= 1


def test_names_can_be_printed_where_the_encoding_lacks_their_letters(run: Run, tmp_path: Path) -> None:
    stored(tmp_path, "t", "日本.txt")
    done = real("ls", "--tree", env={**os.environ, "PYTHONIOENCODING": "latin-1"})
    assert done.code == 0
    assert r"\u65e5\u672c.txt" in done.out


def test_the_command_without_words_prints_its_help(run: Run, place: Path) -> None:
    assert run() == run("--help") == run("-h")
    assert run().code == 0


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_command_has_a_help_and_is_listed_whole(run: Run, place: Path, verb: str) -> None:
    assert run(verb, "--help").out.startswith(f"Usage: mediakeep {verb}")
    (line,) = (line for line in run("--help").lines if line.split()[:1] == [verb])
    assert line.endswith(".") and not line.endswith("...")


def test_version_is_the_librarys(place: Path) -> None:
    assert real("--version").out == f"mediakeep, version {__version__}\n"


def test_the_whole_life_of_a_file_through_real_processes(place: Path, tmp_path: Path) -> None:
    file = file_of(tmp_path, "voice.ogg", b"ogg")
    ref = real("put", file, "--scope", "telegram:42:7", "--ttl", "2h").out.strip()
    path = Path(real("resolve", ref).out.strip())
    assert path.read_bytes() == real("cat", ref).bytes == b"ogg"
    assert real("ls", "telegram").out.startswith(ref)
    assert real("scopes").out == "telegram:42:7\n"
    assert real("release", "telegram:42", "--nested").code == 0
    assert not path.exists()
    done = real("resolve", ref)
    assert_one_complaint(done, 1)
    assert RefReleased.reason in done.err
    assert real("sweep").code == 0
    assert real("stats", "--json").json["refs"] == 0


def test_what_is_put_is_private_to_its_user(run: Run, tmp_path: Path, place: Path) -> None:
    path = run("resolve", stored(tmp_path, "t")).out.strip()
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert stat.S_IMODE(place.stat().st_mode) == 0o700


# -- the extra, and what is loaded


def test_the_library_does_not_load_click() -> None:
    assert _loaded("import mediakeep", {"click", "rich", "platformdirs"}) == []


def test_help_loads_nothing_that_only_a_command_needs() -> None:
    heavy = {"rich", "platformdirs", "sqlite3", "mediakeep.catalogs.sqlite", "mimetypes", "json"}
    assert _loaded("from mediakeep.cli import main; main(['--help'])", heavy) == []


def _loaded(script: str, modules: set[str]) -> list[str]:
    script = f"import sys; {script}; print(*(sys.modules.keys() & {modules!r}), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stderr.split()


# -- completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_the_shell(run: Run, place: Path, shell: str) -> None:
    done = run("completion", shell)
    assert done.code == 0
    assert f"_MEDIAKEEP_COMPLETE={shell}_complete" in done.out


def _offered(*words: str) -> list[str]:
    """Return what a shell would offer for the last of `words`."""
    environment = {
        **os.environ,
        "_MEDIAKEEP_COMPLETE": "zsh_complete",
        "COMP_WORDS": " ".join(("mediakeep", *words)),
        "COMP_CWORD": str(len(words)),
    }
    done = real(env=environment)
    assert done.err == ""
    return done.lines[1::3]


def test_commands_are_completed(place: Path) -> None:
    assert _offered("s") == ["show", "scopes", "sweep", "stats", "serve"]
    assert _offered("check", "--f") == ["--fix", "--force"]


@pytest.mark.parametrize(
    "words", [["ls"], ["release"], ["put", "--scope"], ["erase"], ["log"]], ids=" ".join
)
def test_scopes_are_completed(run: Run, tmp_path: Path, words: list[str]) -> None:
    for scope in ("telegram:42:7", "telegram:43", "task:1"):
        stored(tmp_path, scope)
    assert _offered(*words, "tel") == ["telegram:42:7", "telegram:43"]


@pytest.mark.parametrize("verb", ["resolve", "show", "cat", "release", "log"])
def test_refs_are_completed(run: Run, tmp_path: Path, verb: str) -> None:
    ref = stored(tmp_path, "t")
    assert _offered(verb, "media://") == [ref]


def test_completion_asks_the_store_that_the_line_names(run: Run, tmp_path: Path) -> None:
    stored(tmp_path, "here")
    run("put", "-", "--scope", "there", "--store", tmp_path / "other")
    assert _offered("--store", str(tmp_path / "other"), "ls", "") == ["there"]


def test_what_a_shell_would_run_is_never_offered(run: Run, place: Path) -> None:
    with open_store(place, fsync=False) as store:
        for scope in (
            "x$(touch pwned)",
            "x y",
            "x;y",
            "x`y`",
            "x'y",
            "x\ny",
            "x,y",
            "-x",
            "x\x1b",
            "x:ok",
        ):
            store.put(b"", scope=scope)
    assert _offered("ls", "x") == ["x:ok"]


@pytest.mark.parametrize("state", ["no store", "damaged", "no folder"])
def test_completion_never_complains(place: Path, state: str) -> None:
    if state == "damaged":
        place.mkdir()
        file_of(place, "catalog.db", b"junk")
    elif state == "no folder":
        place.write_bytes(b"")
    assert _offered("ls", "") == []
    assert _offered("show", "media://") == []


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("line", "word", "answer"),
    [
        ("mediakeep ls tele", "tele", ["telegram:42:7", "telegram:43"]),
        ("mediakeep ls telegram:4", "4", ["42:7", "43"]),
        ("mediakeep ls telegram:42:", ":", ["7"]),
        ('mediakeep ls "telegram:43', '"telegram:43', ["telegram:43"]),
        ("mediakeep sw", "sw", ["sweep"]),
        ("mediakeep ls ", "", ["telegram:42:7", "telegram:43"]),
    ],
)
def test_bash_gets_what_is_missing_after_its_last_break(
    run: Run, tmp_path: Path, line: str, word: str, answer: list[str]
) -> None:
    for scope in ("telegram:42:7", "telegram:43"):
        stored(tmp_path, scope)
    program = file_of(
        tmp_path, "program", f'#!/bin/sh\nexec {sys.executable} -m mediakeep "$@"'.encode()
    )
    program.chmod(0o755)
    script = file_of(tmp_path, "script", run("completion", "bash").bytes)
    asked = (
        'source "$1"; COMP_LINE=$2; COMP_POINT=${#2}; COMP_WORDS=(mediakeep "$3"); COMP_CWORD=1; '
        '_mediakeep_completion "$4"; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", asked, "bash", script, line, word, program],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout.split(), done.stderr) == (answer, "")


def test_a_lease_is_shown(run: Run, place: Path) -> None:
    with open_store(place, fsync=False) as store:
        ref = store.put(b"", MediaMeta("a"), "t")
        with store.lease(ref), store.lease(ref):
            assert "owned,leased" in run("ls").out
            assert run("show", ref, "--json").json["leases"] == 2
            assert ["leases", "2"] in [line.split() for line in run("show", ref).lines]
            assert ["leases", "2", "on", "1", "file"] in [line.split() for line in run("stats").lines]
            assert [run("stats", "--json").json[name] for name in ("leases", "leased")] == [2, 1]
        assert ["leases", "0"] in [line.split() for line in run("stats").lines]


def test_bytes_that_were_put_to_be_kept_are_called_borrowed(run: Run, place: Path) -> None:
    with open_store(place, fsync=False) as store:
        ref = store.put(b"", MediaMeta(cleanup_policy=CleanupPolicy.FORGET_ONLY), "t")
    assert run("show", ref, "--json").json["owned"] is False
    assert run("release", ref, "--dry-run", "--json").json["kept"][0]["why"] == "borrowed"
