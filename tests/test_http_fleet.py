"""The server on a store that is no folder: books in PostgreSQL, bytes in a bucket."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

pytest.importorskip("starlette")
pytest.importorskip("click")
pytest.importorskip("psycopg")
pytest.importorskip("obstore")

import httpx2
import psycopg

from http_server import DEADLINE, bearer, running
from mediakeep import open_store
from mediakeep.cli import main
from mediakeep.http.config import ServerConfig, load_config
from postgres_server import PostgresServer

SECRET = "s3cret"


@pytest.fixture
def place(fleet: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Options that name a store of this test's own; its database is named with a password."""
    for name in ("MEDIAKEEP_STORE", "MEDIAKEEP_BLOBS", "MEDIAKEEP_SCHEMA"):
        monkeypatch.delenv(name, raising=False)
    for name, key in (
        ("AWS_ENDPOINT_URL", "endpoint"),
        ("AWS_ACCESS_KEY_ID", "access_key_id"),
        ("AWS_SECRET_ACCESS_KEY", "secret_access_key"),
        ("AWS_REGION", "region"),
    ):
        monkeypatch.setenv(name, fleet["blob_options"][key])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    url = fleet["where"].replace("keeper@", f"keeper:{SECRET}@")
    return ["--store", url, "--blobs", fleet["blobs"], "--schema", fleet["catalog_options"]["schema"]]


def asking(url: str, headers: Mapping[str, str] | None = None) -> httpx2.Client:
    return httpx2.Client(base_url=url, timeout=DEADLINE, trust_env=False, headers=headers or {})


def test_a_bucket_is_served(place, fleet, tmp_path):
    state = tmp_path / "state"
    made = ["token", "create", *place, "--state", str(state), "--scope", "a", "--can"]
    assert main([*made, "read,write,release"]) == 0
    with running(*place, "--state", state, "--workers", "2") as server:
        from mediakeep.http import Tokens

        token, _ = Tokens(state / "tokens.json").create(["a"], ["read", "write", "release"])
        data = os.urandom(900_000)
        with asking(server.url, bearer(token)) as client:
            for body in (b"small", data):
                media_id = client.post("/v1/media?scope=a", content=body).json()["id"]
                answer = client.get(f"/v1/media/{media_id}")
                assert answer.content == body
                known = {"if-none-match": answer.headers["etag"]}
                assert client.get(f"/v1/media/{media_id}", headers=known).status_code == 304
                ranged = client.get(f"/v1/media/{media_id}", headers={"range": "bytes=2-4"})
                assert ranged.content == body[2:5]
            link = client.post(f"/v1/media/{media_id}/link").json()["url"]
        for _ in range(8):  # a connection of its own each time: either worker knows the key
            with asking(server.url) as client:
                assert client.get(link).content == data
        with open_store(**fleet) as store:
            assert len(list(store.entries())) == 2, "it is the store that the options name"
        with asking(server.url, bearer(token)) as client:
            assert client.delete("/v1/scopes/a").json()["refs"] == 2
            assert client.get(f"/v1/media/{media_id}").json()["error"] == "RefReleased"
        log = server.stop()
    assert SECRET not in log
    with open_store(**fleet) as store:
        assert list(store._blobs.scan()) == []


def test_the_environment_and_a_file_name_a_store_too(place, fleet, tmp_path):
    _, url, _, blobs, _, schema = place
    file = tmp_path / "server.toml"
    file.write_text(f'blobs = "{blobs}"\nschema = "{schema}"\nstore = "postgresql://nobody@nowhere/x"\n')
    with running("--config", file, MEDIAKEEP_STORE=url) as server, asking(server.url) as client:
        assert client.post("/v1/media?scope=a", content=b"hello").status_code == 201
        server.stop()
    with open_store(**fleet) as store:
        assert [it.scope for it in store.entries()] == ["a"]


def test_to_check_the_settings_makes_no_tables(place, postgres: PostgresServer, capsys):
    assert main(["serve", *place, "--check-config"]) == 0
    assert capsys.readouterr().out == "the settings can be used\n"
    with psycopg.connect(postgres.url) as connection:
        sql = "SELECT count(*) FROM pg_tables WHERE schemaname = %s"
        assert connection.execute(sql, [place[-1]]).fetchone() == (0,)


def test_workers_without_a_folder_for_their_keys_are_refused(place, capsys):
    assert main(["serve", *place, "--check-config", "--workers", "2"]) == 1
    assert "--state names a folder" in capsys.readouterr().err


def test_tokens_of_a_database_are_in_a_folder_that_is_named(place, capsys):
    assert main(["token", "list", *place]) == 2
    told = capsys.readouterr().err
    assert "name it with --state" in told
    assert SECRET not in told


@pytest.mark.parametrize("way", ["option", "environment", "file"])
@pytest.mark.parametrize(
    ("store", "blobs"),
    [
        (f"postgresql://keeper:{SECRET}@127.0.0.1:1/x", "blobs"),
        (f"postgresql://keeper:{SECRET}@127.0.0.1:1/x", ""),
        (f"postgresql://keeper:a/{SECRET}@127.0.0.1:1/x", "blobs"),
        (f"postgresql://keeper:a@{SECRET}@127.0.0.1:1/x", "blobs"),
        (f"postgresq://keeper:{SECRET}@127.0.0.1:1/x", "blobs"),
        ("store", f"s3://key:{SECRET}@bucket/x"),
        ("store", f"ftp://key:{SECRET}@bucket/x"),
    ],
)
def test_a_password_is_never_shown(tmp_path, monkeypatch, capfd, way, store, blobs):
    monkeypatch.chdir(tmp_path)
    arguments = ["serve", "--check-config"]
    for name, value in (("store", store), ("blobs", blobs)):
        monkeypatch.delenv(f"MEDIAKEEP_{name.upper()}", raising=False)
        if value and way == "option":
            arguments += [f"--{name}", value]
        elif value and way == "environment":
            monkeypatch.setenv(f"MEDIAKEEP_{name.upper()}", value)
    if way == "file":
        (tmp_path / "server.toml").write_text(f'store = "{store}"\nblobs = "{blobs}"\n')
        arguments += ["--config", "server.toml"]
    assert main(arguments) in (1, 2) or store == "store"
    told = "".join(capfd.readouterr())
    assert SECRET not in told
    assert len(told.splitlines()) == 1, "one line tells what is wrong"
    assert SECRET not in repr(ServerConfig(store=store, blobs=blobs))


@pytest.mark.parametrize(
    ("flags", "environ", "file", "found"),
    [
        ({}, {}, {}, ("", "", "")),
        ({"store": "f"}, {}, {"store": "g", "blobs": "b"}, ("f", "", "")),
        ({"store": "f"}, {}, {"blobs": "b"}, ("f", "b", "")),
        ({"store": "f"}, {"STORE": "g", "BLOBS": "s3://b"}, {"blobs": "s3://c"}, ("f", "", "")),
        ({"store": "f", "blobs": "h"}, {"STORE": "g", "BLOBS": "s3://b"}, {}, ("f", "h", "")),
        ({}, {"BLOBS": "s3://b", "SCHEMA": "x"}, {"store": "f"}, ("f", "", "")),
        ({}, {"BLOBS": "s3://b"}, {"store": "postgresql://d"}, ("postgresql://d", "s3://b", "")),
        ({}, {"STORE": "g", "BLOBS": "b"}, {"store": "f", "schema": "s"}, ("g", "b", "")),
        ({}, {"STORE": "f"}, {"store": "f", "blobs": "b"}, ("f", "b", "")),
        ({}, {"SERVER_BLOBS": "c"}, {"store": "f", "blobs": "b"}, ("f", "c", "")),
        ({}, {"SERVER_STORE": "f", "STORE": "g", "BLOBS": "b"}, {}, ("f", "", "")),
        ({"store": "postgresql://d"}, {"BLOBS": "b"}, {"schema": "s"}, ("postgresql://d", "b", "s")),
        ({"blobs": "c"}, {"STORE": "postgresql://d", "BLOBS": "b"}, {}, ("postgresql://d", "c", "")),
    ],
)
def test_who_names_a_folder_says_where_its_bytes_are(tmp_path, flags, environ, file, found):
    path = tmp_path / "server.toml"
    path.write_text("".join(f'{name} = "{value}"\n' for name, value in file.items()))
    config = load_config(flags, {f"MEDIAKEEP_{it}": value for it, value in environ.items()}, path)
    assert (config.store, config.blobs, config.schema) == found


def test_a_schema_goes_with_a_database():
    with pytest.raises(ValueError, match="schema goes with"):
        ServerConfig(store="folder", schema="x")
