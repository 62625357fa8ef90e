"""The command on stores that are no folder: books in PostgreSQL, bytes in a bucket; and moving."""

import itertools
import os
import secrets
import socket
import time
from pathlib import Path

import psycopg
import pytest

from mediakeep import MediaMeta, MediaStore, open_store
from postgres_server import PostgresServer
from seaweed_server import BUCKET, Seaweed
from test_cli import (
    Run,
    assert_one_complaint,
    file_of,
    fixture_place,  # noqa: F401
    fixture_run,  # noqa: F401
    fixture_tmp_path,  # noqa: F401
    on_terminal,
    real,
)

schemas = itertools.count()
SECRET = "s3cret"


@pytest.fixture
def fleet(
    place: Path, postgres: PostgresServer, seaweed: Seaweed, monkeypatch: pytest.MonkeyPatch
) -> dict[str, object]:
    """The environment names a store in PostgreSQL and a bucket; this opens the same one."""
    schema = f"cli_{os.getpid()}_{next(schemas)}"
    blobs = f"s3://{BUCKET}/{secrets.token_hex(8)}"
    for name, value in {
        "MEDIAKEEP_STORE": postgres.url,
        "MEDIAKEEP_BLOBS": blobs,
        "MEDIAKEEP_SCHEMA": schema,
        "AWS_ENDPOINT_URL": seaweed.endpoint,
        "AWS_ACCESS_KEY_ID": seaweed.options["access_key_id"],
        "AWS_SECRET_ACCESS_KEY": seaweed.options["secret_access_key"],
        "AWS_REGION": seaweed.options["region"],
        "XDG_CACHE_HOME": str(place.parent / "cache"),
    }.items():
        monkeypatch.setenv(name, value)
    return {
        "where": postgres.url,
        "blobs": blobs,
        "catalog_options": {"schema": schema},
        "blob_options": {**seaweed.options, "cache": place.parent / "cache"},
    }


def tables_in(postgres: PostgresServer, schema: object) -> int:
    with psycopg.connect(postgres.url) as connection:
        sql = "SELECT count(*) FROM pg_tables WHERE schemaname = %s"
        return connection.execute(sql, [schema]).fetchone()[0]


# -- every command, on any store


def test_a_file_goes_in_and_comes_out(run: Run, fleet: dict[str, object], tmp_path: Path) -> None:
    ref = run("put", file_of(tmp_path, "cat.txt", b"meow"), "--scope", "chat:1").out.strip()
    assert run("cat", ref).bytes == b"meow"
    path = Path(run("resolve", ref).out.strip())
    assert path.read_bytes() == b"meow"
    assert path.is_relative_to(tmp_path / "cache")
    (tmp_path / "out").mkdir()
    assert Path(run("export", ref, tmp_path / "out").out.strip()).read_bytes() == b"meow"
    assert run("scopes").lines == ["chat:1"]
    assert run("check").code == 0
    assert run("log", ref).code == 0
    assert run("release", "chat:1").code == 0
    with open_store(**fleet) as store:
        assert list(store._blobs.scan()) == []


def test_what_is_in_a_bucket_has_a_key_and_no_path(
    run: Run, fleet: dict[str, object], tmp_path: Path
) -> None:
    done = run("put", file_of(tmp_path, "cat.txt", b"meow"), "--scope", "chat:1", "--json")
    (entry,) = done.json["stored"]
    key = entry["location"]
    assert entry["path"] is None
    assert run("show", entry["ref"], "--json").json["location"] == key
    (path,) = [it for it in run("show", entry["ref"]).lines if it.startswith("path ")]
    assert key in path
    assert f"its file is in the bucket as {key}" in run("log", entry["ref"]).out
    dry = run("release", "chat:1", "--dry-run")
    assert f"would delete  {key}" in dry.out
    (doomed,) = run("release", "chat:1", "--dry-run", "--json").json["deleted"]
    assert (doomed["path"], doomed["location"]) == (None, key)
    for shown in (run("ls"), run("ls", "--tree"), run("erase", "chat:1", "--dry-run"), dry):
        assert shown.code == 0
        assert "None" not in shown.out


def test_options_say_the_same_as_the_environment(
    run: Run, fleet: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = []
    for name in ("store", "blobs", "schema"):
        said += [f"--{name}", os.environ[f"MEDIAKEEP_{name.upper()}"]]
        monkeypatch.delenv(f"MEDIAKEEP_{name.upper()}")
    ref = run("put", file_of(tmp_path, "a"), "--scope", "s", *said).out.strip()
    assert run(*said, "show", ref).code == 0
    with open_store(**fleet) as store:
        assert store.read_bytes(ref) == b"hello\n"


def test_bytes_may_be_in_a_folder_that_machines_share(
    run: Run, fleet: dict[str, object], tmp_path: Path
) -> None:
    shared = ("--blobs", tmp_path / "shared")
    ref = run("put", file_of(tmp_path, "a"), "--scope", "s", *shared).out.strip()
    path = run("resolve", ref, *shared).out.strip()
    assert Path(path).is_relative_to(tmp_path / "shared")
    assert run("show", ref, "--json", *shared).json["path"] == path


def test_the_environments_bucket_is_not_that_of_a_folder_on_the_line(
    run: Run, fleet: dict[str, object], tmp_path: Path
) -> None:
    ref = run("--store", tmp_path / "mine", "put", file_of(tmp_path, "a"), "--scope", "s").out.strip()
    with open_store(tmp_path / "mine") as store:
        assert store.resolve(ref).is_relative_to(tmp_path / "mine")
    numbers = run("stats", "--json", "--store", tmp_path / "mine").json
    assert numbers["store"] == str(tmp_path / "mine")
    assert numbers["blobs"] == str(tmp_path / "mine" / "blobs")


def test_looking_makes_no_store(run: Run, fleet: dict[str, object], postgres: PostgresServer) -> None:
    done = run("ls")
    assert_one_complaint(done, 1)
    assert "no store at postgresql://" in done.err
    assert tables_in(postgres, os.environ["MEDIAKEEP_SCHEMA"]) == 0


def test_a_file_of_another_host_is_shown_as_one(
    run: Run, fleet: dict[str, object], tmp_path: Path
) -> None:
    options = {**fleet["catalog_options"], "host": "elsewhere"}
    with open_store(**{**fleet, "catalog_options": options}) as store:
        ref = store.store(file_of(tmp_path, "there"), MediaMeta(), "s")
    assert "on another host" in run("show", ref).out
    assert "on another host" in run("log", ref).out
    assert "elsewhere" in run("resolve", ref).err


@pytest.mark.parametrize(
    ("code", "arguments", "words"),
    [
        (2, ["ls", "--store", "postgresql://db/media"], "--blobs"),
        (2, ["ls", "--store", "mysql://db/media"], "no store"),
        (2, ["ls", "--store", "store", "--blobs", "ftp://host/x"], "no place for bytes"),
        (2, ["ls", "--store", "store", "--schema", "x"], "schema"),
        (2, ["ls", "--store", ""], "no store"),
        (
            1,
            ["ls", "--store", "postgresql://a@127.0.0.1:1/x", "--blobs", "b", "--schema", "Å"],
            "schema",
        ),
    ],
)
def test_what_is_no_store_is_refused(run: Run, code: int, arguments: list[str], words: str) -> None:
    done = run(*arguments)
    assert_one_complaint(done, code)
    assert words in done.err


@pytest.mark.parametrize("verb", ["ls", "stats", "migrate", "copy"])
def test_a_password_is_never_shown(
    run: Run, fleet: dict[str, object], tmp_path: Path, verb: str
) -> None:
    host = os.environ["MEDIAKEEP_STORE"].removeprefix("postgresql://keeper@")
    schema = os.environ["MEDIAKEEP_SCHEMA"]
    for address, is_one in (
        (f"postgresql://keeper:{SECRET}@{host}", True),
        (f"postgresql://keeper@{host}?sslpassword={SECRET}", True),
        (f"postgresql://keeper:{SECRET}/@{host}", False),
        (f"postgresql://keeper:a@{SECRET}@{host}", False),
        (f"postgresql://keeper:a:{SECRET}/{SECRET}@{host}", False),
        (f"postgresql://keeper:%zz{SECRET}@{host}", False),
        (f"postgresq://keeper:{SECRET}@{host}", False),
    ):
        blobs = str(tmp_path / "shared")
        if verb == "copy":
            to = ("--to", tmp_path / "new")
            dones = [
                run("copy", "--from", address, "--from-blobs", blobs, "--from-schema", schema, *to),
                run("copy", "--from", address, "--from-blobs", f"http://{SECRET}:b@c/x", *to),
                run("copy", "--from", tmp_path, "--to", address, "--to-blobs", f"s3://a:{SECRET}@b/c"),
            ]
        else:
            dones = [
                run(verb, "--store", address, "--blobs", blobs),
                run(verb, "--store", address, "--blobs", f"s3://key:{SECRET}@bucket/x"),
                run("--json", verb, "--store", address, "--blobs", f"ftp://key:{SECRET}@bucket/x"),
            ]
            assert is_one or all(it.code for it in dones)
        for done in dones:
            assert SECRET not in done.out + done.err
            assert "a bug" not in done.err
        if verb == "migrate" and is_one:
            assert "postgresql://keeper@" in dones[0].out


def test_completion_does_not_wait_for_a_server_that_does_not_answer(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        # By itself it would be given up after a minute and more, and not after the usual ten seconds.
        address = f"postgresql://a@127.0.0.1:{silent.getsockname()[1]}/x?connect_timeout=100"
        line = f"mediakeep --store {address} --blobs b ls t"
        began = time.monotonic()
        done = real(
            env={
                **os.environ,
                "_MEDIAKEEP_COMPLETE": "bash_complete",
                "COMP_LINE": line,
                "COMP_POINT": str(len(line)),
            }
        )
        assert time.monotonic() - began < 40
    assert (done.out.strip(), done.err) == ("", "")


def test_completion_asks_the_database(run: Run, fleet: dict[str, object], tmp_path: Path) -> None:
    run("put", file_of(tmp_path, "a"), "--scope", "telegram:1")
    line = "mediakeep ls tele"
    environment = {"_MEDIAKEEP_COMPLETE": "bash_complete", "COMP_LINE": line, "COMP_POINT": "17"}
    for _ in range(20):  # it gives up where an answer takes long, as on a busy machine
        done = real(env={**os.environ, **environment})
        if done.out.strip():
            break
    assert done.lines == ["plain,telegram:1"]


def test_a_database_that_is_not_there_is_told_of_once() -> None:
    done = real("ls", "--store", "postgresql://keeper:geheim@127.0.0.1:1/x", "--blobs", "blobs")
    assert_one_complaint(done, 1)
    assert "Connection refused" in done.err
    assert "geheim" not in done.err


# -- migrate


def test_migrate_makes_the_tables_once(
    run: Run, fleet: dict[str, object], postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MEDIAKEEP_BLOBS")
    schema = os.environ["MEDIAKEEP_SCHEMA"]
    first = run("migrate", "--json")
    assert first.code == 0
    assert (first.json["from"], first.json["migrated"], first.json["schema"]) == (0, True, schema)
    assert tables_in(postgres, schema) > 0
    again = run("migrate", "--json").json
    assert (again["from"], again["migrated"]) == (first.json["to"], False)
    assert "nothing to do" in run("migrate").out


def test_migrate_leaves_newer_tables_as_they_are(
    run: Run, fleet: dict[str, object], postgres: PostgresServer
) -> None:
    run("migrate")
    with psycopg.connect(postgres.url) as connection:
        connection.execute(f"UPDATE {os.environ['MEDIAKEEP_SCHEMA']}.about SET version = 99")
    done = run("migrate")
    assert_one_complaint(done, 1)
    assert "newer mediakeep" in done.err


def test_a_folder_needs_no_migration(run: Run, place: Path) -> None:
    assert_one_complaint(run("migrate"), 1)
    open_store(place).close()
    assert "by itself" in run("migrate").out
    assert run("migrate", "--json").json["migrated"] is False


# -- copy


def filled(place: Path) -> MediaStore:
    store = open_store(place, fsync=False)
    for number in range(30):
        store.put(f"file {number}".encode(), MediaMeta(f"{number}.txt"), "chat:1")
    return store


def to_fleet() -> list[str]:
    return [
        *("--to", os.environ["MEDIAKEEP_STORE"], "--to-blobs", os.environ["MEDIAKEEP_BLOBS"]),
        *("--to-schema", os.environ["MEDIAKEEP_SCHEMA"]),
    ]


def test_copy_moves_a_folder_to_a_fleet(run: Run, fleet: dict[str, object], place: Path) -> None:
    with filled(place) as old:
        refs = [it.ref for it in old.entries()]
        done = run("copy", "--from", place, *to_fleet())
        assert done.out == "copied 30 refs with 30 files (200 B): 0 there already, 0 ended, 0 failed\n"
        assert (done.code, done.err) == (0, "")
        old.release(refs[0])
        again = run("copy", "--from", place, *to_fleet(), "--json").json
        assert (again["refs"], again["there"], again["ended"]) == (0, 29, 1)
        assert again["to"].startswith("postgresql://")
    with open_store(**fleet) as new:
        assert [it.ref for it in new.entries()] == refs[1:]


def test_copy_names_what_could_not_be_copied(run: Run, place: Path, tmp_path: Path) -> None:
    with filled(place) as old:
        ref = next(old.entries()).ref
        old.resolve(ref).unlink()
    done = run("copy", "--from", place, "--to", tmp_path / "new")
    assert_one_complaint(done, 1)
    assert ref in done.err
    assert "29 refs" in done.out


def test_a_dry_copy_makes_no_store(run: Run, place: Path, tmp_path: Path) -> None:
    filled(place).close()
    open_store(tmp_path / "new").close()
    done = run("copy", "--from", place, "--to", tmp_path / "new", "--dry-run")
    assert done.out.startswith("would copy 30 refs with 30 files")
    assert run("--store", tmp_path / "new", "ls").out == ""
    assert run("copy", "--from", place, "--to", tmp_path / "newer", "--dry-run").out == done.out
    assert not (tmp_path / "newer").exists()


def test_copy_needs_a_source_that_is_there(run: Run, tmp_path: Path) -> None:
    assert_one_complaint(run("copy", "--from", tmp_path / "none", "--to", tmp_path / "new"), 1)
    assert not (tmp_path / "new").exists()
    assert_one_complaint(run("copy", "--from", tmp_path / "none"), 2)


def test_copy_shows_a_bar_on_a_terminal(place: Path, tmp_path: Path) -> None:
    filled(place).close()
    shown = on_terminal("copy", "--from", place, "--to", tmp_path / "new", only_stderr=True)
    assert shown.code == 0
    assert "copying refs" in shown.err
    assert shown.out.startswith("copied 30 refs")
