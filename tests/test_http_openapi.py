"""The description of the API is true: what it allows is taken, what it does not is refused."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("starlette")
pytest.importorskip("schemathesis")

pytest.importorskip("PIL")

from http_server import serving
from pictures import photograph, written


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("openapi"), requests_per_second=0) as served:
        served.root = served.token("*", can="read,write,release,metrics,admin")
        yield served


def test_the_description_is_openapi_and_names_all_that_it_speaks_of(served):
    answer = served.client.get("/v1/openapi.json")
    document = answer.json()
    assert document["openapi"].startswith("3.1.")
    named = set(document["components"]["schemas"])
    spoken = {it.rpartition("/")[2] for it in references(document)}
    assert spoken <= named
    assert named <= spoken, "nothing is described that is not used"
    names = [it["operationId"] for methods in document["paths"].values() for it in methods.values()]
    assert len(names) == len(set(names))
    assert "path" not in json.dumps(document["components"]["schemas"]["Entry"]["properties"])


def references(value):
    if isinstance(value, dict):
        for name, it in value.items():
            if name == "$ref":
                yield it
            yield from references(it)
    elif isinstance(value, list):
        for it in value:
            yield from references(it)


@pytest.mark.parametrize("destroying", [False, True])
def test_schemathesis_finds_no_difference(served, tmp_path, destroying):
    ask_everything(served, tmp_path, destroying, "--phases", "fuzzing", "--max-examples", "5")


@pytest.mark.soak
@pytest.mark.parametrize("destroying", [False, True])
def test_schemathesis_finds_none_in_the_long_run(served, tmp_path, destroying, request):
    if "soak" not in request.config.option.markexpr:
        pytest.skip("only with -m soak")
    ask_everything(served, tmp_path, destroying, "--phases", "coverage,fuzzing", "--max-examples", "50")


def ask_everything(served, tmp_path, destroying, *how):
    picture = written(photograph(64, 48), "PNG")
    live = served.put(picture, "here", headers=served.root, filename="a.png")
    for number in range(3):
        served.put(b"%d" % number, "here", headers=served.root)
    cursor = served.client.get("/v1/scopes/here?limit=1", headers=served.root).json()["next"]
    lease = served.client.post(f"/v1/media/{live}/leases", json={}, headers=served.root).json()["lease"]
    token = served.root["authorization"].partition(" ")[2]
    # What no schema can tell: ids, leases and cursors that are real. A ref that has ended is 410.
    (tmp_path / "schemathesis.toml").write_text(
        f"""
        [parameters]
        "query.cursor" = "{cursor}"
        "path.id" = "{live}"
        "path.lease" = "{lease}"
        [auth.openapi.token]
        bearer = "{token}"
        [checks.positive_data_acceptance]
        expected-statuses = ["2xx", "3xx", "401", "403", "404", "409", "410", "415", "416", "422", "429"]
        """
    )
    done = subprocess.run(
        [
            Path(sys.executable).with_name("schemathesis"),
            *("--config-file", tmp_path / "schemathesis.toml", "run"),
            f"{served.url}/v1/openapi.json",
            *("--include-method" if destroying else "--exclude-method", "DELETE"),
            *("--exclude-path", "/v1/events", "--seed", "1", "--no-color"),
            *("--generation-database", "none", *how),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    counted = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert counted is not None, done.stdout
    assert counted[1] == counted[2]
    assert int(counted[1]) >= (10 if destroying else 60)
