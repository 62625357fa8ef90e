"""The server as a process: what it refuses, how it ends, what it logs, and who cannot hold it up."""

import contextlib
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

pytest.importorskip("starlette")
pytest.importorskip("click")

import httpx2

from http_server import DEADLINE, bearer, running, serving
from mediakeep import MediaError, open_store
from mediakeep.cli import main
from mediakeep.http import ServerConfig
from mediakeep.http.config import load_config
from mediakeep.http.running import check


def client(server) -> httpx2.Client:
    return httpx2.Client(base_url=server.url, timeout=DEADLINE, trust_env=False)


# -- settings


def test_flags_go_before_the_environment_and_that_before_the_file(tmp_path):
    file = tmp_path / "server.toml"
    file.write_text(
        'store = "file"\nport = 1\nhost = "::1"\nmax_uploads = 3\nbody_seconds = 5\n'
        'cors_origins = ["https://app.example"]\n[limits]\nmax_file_bytes = 100\n'
    )
    environ = {
        "MEDIAKEEP_SERVER_PORT": "2",
        "MEDIAKEEP_SERVER_HOST": "localhost",
        "MEDIAKEEP_SERVER_OPEN_METRICS": "true",
        "MEDIAKEEP_SERVER_TRUSTED_PROXIES": "10.0.0.1, 10.0.0.2",
    }
    config = load_config({"port": 3, "host": None}, environ, file)
    assert (config.port, config.host, config.store, config.max_uploads) == (3, "localhost", "file", 3)
    assert config.body_seconds == 5.0
    assert config.open_metrics is True
    assert config.trusted_proxies == ("10.0.0.1", "10.0.0.2")
    assert config.cors_origins == ("https://app.example",)
    assert config.limits is not None
    assert config.limits.max_file_bytes == 100


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("prot = 1", "'prot' is no setting"),
        ("port = '1'", "port must be a int"),
        ("port = 99999", "port must be at most"),
        ("workers = 0", "workers must be 1 or more"),
        ("workers = true", "workers must be a int"),
        ("host = ", "no TOML"),
        ("log = 'xml'", "log must be"),
        ("public_url = 'example.org'", "public_url must begin"),
        ('public_url = "https://a.example\\r\\nX: y"', "public_url must begin"),
        ("cors_origins = ['https://a.example/x']", "no origin"),
        ("body_seconds = nan", "body_seconds must be"),
        ("[limits]\nmax_bytes = 1", "max_bytes"),
        ("[limits]\nmax_file_bytes = -1", "max_file_bytes"),
    ],
)
def test_a_setting_that_cannot_be_is_named(tmp_path, text, words):
    file = tmp_path / "server.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match=re.escape(words)):
        load_config({}, {}, file)


def test_an_environment_that_cannot_be_is_named():
    for variable, value in (("PORT", "x"), ("OPEN_METRICS", "yes"), ("PROT", "1"), ("LIMITS", "1")):
        with pytest.raises(ValueError, match=f"MEDIAKEEP_SERVER_{variable}"):
            load_config({}, {f"MEDIAKEEP_SERVER_{variable}": value})


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "media.example"])
def test_nobody_else_is_served_without_tokens(tmp_path, host):
    config = ServerConfig(store=str(tmp_path / "store"), host=host)
    with pytest.raises(MediaError, match="there are no tokens"):
        check(config)
    with pytest.raises(MediaError, match="there are no tokens"):
        check(ServerConfig(store="memory:", host=host))
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost"])
def test_this_machine_is_served_without_tokens(tmp_path, host):
    check(ServerConfig(store=str(tmp_path / "store"), host=host))
    assert not (tmp_path / "store").exists(), "to check makes nothing"


def test_the_command_checks_the_settings_only(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("MEDIAKEEP_STORE", raising=False)
    file = tmp_path / "server.toml"
    file.write_text(f'store = "{tmp_path / "store"}"\nhost = "0.0.0.0"\n')
    arguments = ["serve", "--config", str(file), "--check-config"]
    assert main(arguments) == 1
    assert "there are no tokens" in capsys.readouterr().err
    assert main([*arguments, "--host", "127.0.0.1"]) == 0
    assert capsys.readouterr().out == "the settings can be used\n"
    file.write_text("prot = 1")
    assert main(arguments) == 1
    assert "'prot' is no setting" in capsys.readouterr().err


def test_tokens_are_made_listed_and_revoked_by_the_command(tmp_path, capsys):
    place = tmp_path / "store"
    open_store(place).close()

    def run(*arguments):
        code = main(["token", *arguments, "--store", str(place)])
        return code, capsys.readouterr()

    code, told = run("create", "--scope", "telegram:*", "--scope", "x", "--can", "read,write",
                     "--ttl", "30d", "--name", "bot\x1b[2J", "--rate", "5")  # fmt: skip
    assert code == 0
    token = told.out.strip()
    assert re.fullmatch(r"mk_[0-9a-f]{8}_[\w-]{43}", token)
    code, told = run("list")
    number = token[3:11]
    assert number in told.out
    assert "telegram:* x" in told.out
    assert "\x1b" not in told.out
    assert token[12:] not in told.out
    code, told = run("list", "--json")
    (said,) = json.loads(told.out)
    assert said["can"] == ["read", "write"]
    assert said["requests_per_second"] == 5
    assert run("revoke", number)[0] == 0
    assert run("revoke", number)[0] == 1
    assert run("list")[1].out == ""
    for wrong in (
        ["--scope", "a*", "--can", "read"],
        ["--scope", "a", "--can", "fly"],
        ["--can", "read"],
    ):
        assert run("create", *wrong)[0] == 2
    assert run("rotate-links")[0] == 0


def test_tokens_are_made_for_stores_that_are_there(tmp_path, capsys):
    arguments = ["--store", str(tmp_path / "none"), "--scope", "a", "--can", "read"]
    assert main(["token", "create", *arguments]) == 1
    assert "no store at" in capsys.readouterr().err
    assert main(["token", "create", *arguments, "--state", str(tmp_path / "state")]) == 0
    assert (tmp_path / "state" / "tokens.json").exists()


# -- a process


def test_told_to_stop_it_finishes_what_is_under_way(tmp_path):
    data = os.urandom(30_000_000)
    with running("--store", tmp_path / "store") as server, client(server) as asking:
        media_id = asking.post("/v1/media?scope=a", content=data).json()["id"]
        with asking.stream("GET", f"/v1/media/{media_id}") as answer:
            chunks = answer.iter_raw(65536)
            got = next(chunks)
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: refuses(server.port))
            got += b"".join(chunks)
        assert got == data
        server.process.wait(DEADLINE)
        log = server.stop()
    with open_store(tmp_path / "store") as store:
        assert store.stats().leases == 0
    lines = [json.loads(line) for line in log.splitlines()]
    assert any(line.get("route") == "/v1/media/{id}" and line["complete"] for line in lines)


def refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_transfer_that_never_ends_does_not_keep_it_from_stopping(tmp_path):
    (tmp_path / "server.toml").write_text("shutdown_seconds = 1\n")
    with running("--store", tmp_path / "store", "--config", tmp_path / "server.toml") as server:
        with client(server) as asking:
            media_id = asking.post("/v1/media?scope=a", content=bytes(30_000_000)).json()["id"]
        with socket.create_connection(("127.0.0.1", server.port)) as stalled:
            stalled.sendall(f"GET /v1/media/{media_id} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            stalled.recv(1000)
            server.process.send_signal(signal.SIGTERM)
            server.process.wait(DEADLINE)
    with open_store(tmp_path / "store") as store:
        assert store.stats().leases == 0


def test_the_log_is_json_and_tells_no_secret(tmp_path):
    place = tmp_path / "store"
    open_store(place).close()
    from mediakeep.http import Tokens

    text, token = Tokens(place / "server" / "tokens.json").create(["*"], ["read", "write"])
    headers = {"authorization": f"Bearer {text}"}
    with running("--store", place) as server:
        with client(server) as asking:
            made = asking.post(
                "/v1/media?scope=secret:scope&filename=secret.txt", content=b"x", headers=headers
            )
            path = f"/v1/media/{made.json()['id']}"
            link = asking.post(f"{path}/link", json={}, headers=headers).json()["url"]
            assert asking.get(link).status_code == 200
            asking.get(path, headers={"authorization": "Bearer wrong-secret-token"})
            asking.get("/v1/scopes/secret:scope?cursor=secret", headers=headers)
            asking.get("/nowhere/secret%0a{}")
        log = server.stop()
    lines = [json.loads(line) for line in log.splitlines()]
    asked = [line for line in lines if line["logger"] == "mediakeep.http.access"]
    assert [(line["method"], line["route"], line["status"]) for line in asked] == [
        ("POST", "/v1/media", 201),
        ("POST", "/v1/media/{id}/link", 201),
        ("GET", "/v1/media/{id}", 200),
        ("GET", "/v1/media/{id}", 401),
        ("GET", "/v1/scopes/{scope}", 400),
        ("GET", "none", 404),
    ]
    assert [line["token"] for line in asked] == [token.id, token.id, token.id, "", token.id, ""]
    for secret in ("secret", text, text[12:], made.json()["id"], link.rpartition("=")[2]):
        assert secret not in log


def test_workers_share_a_store_and_one_of_them_sweeps(tmp_path):
    place = tmp_path / "store"
    (tmp_path / "server.toml").write_text("sweep_seconds = 0.2\n")
    with running("--store", place, "--config", tmp_path / "server.toml", "--workers", "2") as server:
        with client(server) as asking:
            wait_until(lambda: answers(asking))
            ids = [
                asking.post("/v1/media?scope=a&ttl=0.3", content=b"%d" % n).json()["id"]
                for n in range(4)
            ]

            def gone() -> bool:
                # A connection of its own each time, so that both workers are asked.
                with client(server) as other:
                    return all(other.get(f"/v1/media/{it}").status_code == 410 for it in ids)

            wait_until(gone)

        def sweepers() -> set[int]:
            return {
                pid
                for pid in children(server.process.pid)
                if any(
                    os.path.realpath(fd) == str(place / "server" / "sweeper.lock")
                    for fd in Path(f"/proc/{pid}/fd").iterdir()
                )
            }

        wait_until(lambda: len(sweepers()) == 1)  # the other one has it open while it asks for it
        server.stop()


def answers(asking) -> bool:
    with contextlib.suppress(httpx2.TransportError):
        return asking.get("/readyz").status_code == 200
    return False


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(it) for it in found]


def test_two_servers_may_serve_one_store(tmp_path):
    with running("--store", tmp_path / "store") as one, running("--store", tmp_path / "store") as other:
        with client(one) as here, client(other) as there:
            media_id = here.post("/v1/media?scope=a", content=b"shared").json()["id"]
            assert there.get(f"/v1/media/{media_id}").content == b"shared"
            assert there.delete(f"/v1/media/{media_id}").status_code == 200
            assert here.get(f"/v1/media/{media_id}").status_code == 410
        one.stop()
        other.stop()


def test_an_address_that_is_taken_is_one_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-m", "mediakeep", "serve", "--store", tmp_path / "store", "--port", port],
            capture_output=True,
            timeout=DEADLINE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "in use" in done.stderr


def test_a_store_in_postgresql_is_served_too(tmp_path):
    pytest.importorskip("psycopg")
    from postgres_server import PostgresServer

    database = PostgresServer()
    try:
        settings = {"blobs": str(tmp_path / "blobs"), "state": str(tmp_path / "state")}
        with serving(tmp_path, where=database.url, **settings) as served:
            headers = bearer(served.tokens.create(["a"], ["read", "write", "release"])[0])
            data = os.urandom(600_000)
            for body in (b"small", data):
                media_id = served.put(body, "a", headers=headers)
                answer = served.get(media_id, headers)
                assert answer.content == body
                known = {**headers, "if-none-match": answer.headers["etag"]}
                assert served.get(media_id, known).status_code == 304
                ranged = served.get(media_id, {**headers, "range": "bytes=1-3"})
                assert ranged.content == body[1:4]
            assert len(served.client.get("/v1/scopes/a", headers=headers).json()["entries"]) == 2
            assert served.client.delete("/v1/scopes/a", headers=headers).json()["refs"] == 2
            assert served.get(media_id, headers).json()["error"] == "RefReleased"
            database.stop()
            answer = served.get(media_id, headers)
            assert (answer.status_code, answer.json()["error"]) == (503, "CatalogError")
            assert "postgres" not in answer.text
    finally:
        database.close()


# -- clients that hold it up


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """A server that waits for nobody: also not for a test that pauses, so only for those about that."""
    with serving(tmp_path_factory.mktemp("quick"), head_seconds=0.4, write_seconds=0.4) as served:
        yield served


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("served"), max_head_bytes=2048) as served:
        yield served


@pytest.mark.parametrize("sent", [b"", b"GET /hea", b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Slow: "])
def test_a_head_that_does_not_come_ends_the_connection(quick, sent):
    with quick.connect() as connection:
        connection.sendall(sent)
        began = time.monotonic()
        assert connection.recv(100) == b""
        assert time.monotonic() - began < ServerConfig().head_seconds


def test_a_head_that_trickles_ends_the_connection(quick):
    began = time.monotonic()
    with quick.connect() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
        with pytest.raises(OSError):
            while time.monotonic() < began + DEADLINE:
                connection.sendall(b"X-A: b\r\n")
                time.sleep(0.05)
    assert time.monotonic() - began < ServerConfig().head_seconds


def test_a_second_head_that_does_not_come_ends_the_connection(quick):
    with quick.connect() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /he")
        answer = b""
        while part := connection.recv(65536):
            answer += part
    assert answer.count(b"HTTP/1.1 200") == 1


@pytest.mark.parametrize(
    "head",
    [
        b"X: " + b"a" * 5000,
        b"\r\n".join(b"X-%d: a" % n for n in range(1000)),
        b"X: " + b"a" * 500_000,
    ],
)
def test_a_head_that_is_too_large_is_refused(served, head):
    with served.connect() as connection:
        with contextlib.suppress(OSError):
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + head + b"\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(65536).startswith(b"HTTP/1.1 431 ")
    with served.connect() as connection:
        connection.sendall(b"GET /" + b"a" * 5000)
        assert connection.recv(65536).startswith(b"HTTP/1.1 431 ")


def test_what_is_no_http_is_refused(served):
    for sent in (
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"CONNECT a.example:443 HTTP/1.1\r\nHost: a\r\n\r\n",
    ):
        with served.connect() as connection:
            connection.sendall(sent)
            assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")


def test_two_lengths_are_one_too_many(served):
    with served.connect() as connection:
        connection.sendall(
            b"POST /v1/media?scope=a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        )
        assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")


def test_a_client_that_takes_nothing_is_cut_off(quick):
    media_id = quick.put(bytes(40_000_000), "stalled")
    with socket.socket() as connection:
        connection.settimeout(DEADLINE)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", quick.port))
        connection.sendall(f"GET /v1/media/{media_id} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
        wait_until(lambda: quick.store.entry(f"media://{media_id}").leases == 0)
        got = 0
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(1 << 20):
                got += len(part)
        assert got < 40_000_000, "nobody waited for it to be taken"


def test_a_slow_client_that_goes_on_taking_is_served(quick):
    data = os.urandom(20_000_000)
    media_id = quick.put(data, "slow")
    for _ in range(20):
        got, took, longest = taken_slowly(quick, media_id)
        if longest < quick.config.write_seconds / 2:  # else this machine had it pause
            break
    assert got.endswith(data)
    assert took > 2 * quick.config.write_seconds


def taken_slowly(served, media_id: str) -> tuple[bytes, float, float]:
    """Return what came, how long it took, and the longest time in which nothing was taken."""
    asked = f"GET /v1/media/{media_id} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    got = bytearray()
    with served.connect() as connection:
        connection.sendall(asked.encode())
        times = [time.monotonic()]
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(250_000):
                got += part
                times.append(time.monotonic())
                time.sleep(0.01)
    return got, times[-1] - times[0], max(b - a for a, b in itertools.pairwise(times))


# -- what else it answers


def test_a_head_and_a_small_body_come_in_one_packet(served):
    media_id = served.put(b"hello")
    with served.connect() as connection:
        for _ in range(20):
            connection.sendall(f"GET /v1/media/{media_id} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            got = connection.recv(65536)
            assert got.startswith(b"HTTP/1.1 200 ")
            assert got.endswith(b"\r\n\r\nhello")


def test_requests_that_are_sent_ahead_are_answered_in_their_order(served):
    ids = [served.put(b"%d" % number * 500) for number in range(4)]
    asked = [f"GET /v1/media/{it} HTTP/1.1\r\nHost: localhost\r\n" for it in ids]
    asked[1] = asked[1].replace("GET", "HEAD")
    asked[-1] += "Connection: close\r\n"
    with served.connect() as connection:
        connection.sendall("".join(f"{it}\r\n" for it in asked).encode())
        got = b"".join(iter(lambda: connection.recv(65536), b""))
    assert re.findall(rb"([0-9])\1{499}", got) == [b"0", b"2", b"3"]
    assert got.count(b"HTTP/1.1 200 ") == 4


def test_what_is_not_there_is_a_problem(served):
    for path in ("/v1", "/v1/media/", "/v1/medias", "/v1/media/a/b/c/d", "/healthz/", "//healthz"):
        answer = served.client.get(f"{served.url}{path}")
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["error"] in ("NotFound", "UnknownRef")


def test_a_method_that_is_not_there_tells_which_are(served):
    answer = served.client.put("/v1/media/x", content=b"x")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "DELETE, GET, HEAD"
    assert answer.json()["error"] == "MethodNotAllowed"
    assert served.client.request("TRACE", "/v1/media").headers["allow"] == "GET, HEAD, POST"


def test_it_is_ready_while_catalog_and_blobs_answer(tmp_path):
    with serving(tmp_path) as served:
        assert served.client.get("/readyz").json() == {"status": "ok"}
        served.store._catalog.close()
        wait_until(lambda: served.client.get("/readyz").status_code == 503)
        answer = served.client.get("/readyz")
        assert answer.json()["error"] == "NotReady"
        assert str(tmp_path) not in answer.text
        assert served.client.get("/healthz").status_code == 200
        assert served.client.get("/v1/scopes").json()["error"] == "CatalogError"


def test_metrics_grow_with_nothing_that_clients_name(served):
    names = [f"scope-{n}" for n in range(5)]
    for name in names:
        media_id = served.put(b"x", name, filename=f"{name}.txt")
        served.get(media_id)
        served.client.get(f"/{name}")
        served.client.put("/v1/media")
    text = served.client.get("/metrics").text
    assert not any(name in text for name in names)
    assert media_id not in text
    assert 'mediakeep_http_requests_total{method="GET",route="/v1/media/{id}",status="200"}' in text
    assert re.search(r"^mediakeep_refs \d", text, re.MULTILINE)
    assert 'method="other",route="/v1/media",status="405"' in text


def test_requests_are_counted_with_their_times_and_bytes(tmp_path):
    with serving(tmp_path) as served:
        media_id = served.put(b"x" * 300)
        for _ in range(3):
            served.get(media_id)
        found = {
            (it.name, *sorted(it.labels.items())): it.value
            for family in text_string_to_metric_families(served.client.get("/metrics").text)
            for it in family.samples
        }
    route = ("route", "/v1/media/{id}")
    asked = ("mediakeep_http_requests_total", ("method", "GET"), route, ("status", "200"))
    assert found[asked] == 3
    name = "mediakeep_http_request_seconds"
    buckets = [found[key] for key in found if key[0] == f"{name}_bucket" and route in key]
    assert buckets == sorted(buckets)
    assert found[f"{name}_bucket", ("le", "+Inf"), route] == found[f"{name}_count", route] == 3
    assert 0 < found[f"{name}_sum", route] < 60
    assert found[("mediakeep_http_sent_bytes_total",)] >= 900


def test_the_log_has_a_line_for_each_request_only_if_wanted(tmp_path):
    (tmp_path / "server.toml").write_text("access_log = false\n")
    with running("--store", tmp_path / "store", "--config", tmp_path / "server.toml") as server:
        with client(server) as asking:
            assert asking.get("/v1/scopes").status_code == 200
        log = server.stop()
    assert log and "mediakeep.http.access" not in log


def test_pages_of_other_origins_may_ask_only_if_that_is_set(tmp_path):
    settings = {"cors_origins": ("https://app.example",)}
    with serving(tmp_path, **settings) as served:
        headers = served.token("*")
        here = {**headers, "origin": "https://app.example"}
        answer = served.client.get("/v1/scopes", headers=here)
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        refused = served.client.get("/v1/scopes", headers={"origin": "https://app.example"})
        assert refused.status_code == 401
        assert refused.headers["access-control-allow-origin"] == "https://app.example"
        preflight = {"origin": "https://app.example", "access-control-request-method": "DELETE"}
        assert served.client.options("/v1/media/x", headers=preflight).status_code == 200
        other = served.client.get("/v1/scopes", headers={**headers, "origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers


def test_without_that_no_page_may(served):
    answer = served.client.options(
        "/v1/media", headers={"origin": "https://a.example", "access-control-request-method": "GET"}
    )
    assert answer.status_code == 405
    assert "access-control-allow-origin" not in answer.headers


def test_many_at_once_are_served(served):
    media_id = served.put(os.urandom(300_000), "many")
    wrong = []

    def ask():
        with httpx2.Client(base_url=served.url, timeout=DEADLINE, trust_env=False) as asking:
            for _ in range(10):
                answer = asking.get(f"/v1/media/{media_id}")
                if len(answer.content) != 300_000:
                    wrong.append(answer.status_code)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert wrong == []
    wait_until(lambda: served.store.entry(f"media://{media_id}").leases == 0)


def wait_until(true, seconds: float = 60.0) -> None:
    """Wait for what another thread or process does."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.02)
