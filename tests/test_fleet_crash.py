"""A worker of a fleet dies at each request that it makes; the next sweep finds all in order."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from fleet.children import Workers
from fleet.deeds import DEEDS
from fleet.killing import Killing


@pytest.fixture(scope="module")
def outcomes(request, postgres, seaweed, tmp_path_factory):
    """The outcomes of the deeds that are tested, by their names; two are under way at a time."""
    everywhere = "soak" in request.config.option.markexpr
    wanted = [it.callspec.params["name"] for it in request.session.items if it.module is request.module]
    root = tmp_path_factory.mktemp("caches")
    with Workers() as workers, ThreadPoolExecutor(2) as pool:
        yield {
            name: pool.submit(
                Killing(name, postgres, seaweed, workers, root / name, everywhere=everywhere).outcome
            )
            for name in wanted
        }


@pytest.mark.soak  # takes more points
@pytest.mark.parametrize("name", DEEDS)
def test_death_at_any_request_breaks_no_line_of_the_law(name, outcomes):
    outcome = outcomes[name].result()
    print(f"{name}: killed at {outcome.kills} points: {', '.join(outcome.steps)}")
    assert outcome.problems == []
    assert outcome.kills > 0
    # Else the kills did not come where it matters.
    assert outcome.states == {outcome.before, outcome.after}
    steps = iter(outcome.steps)
    missing = [it for it in DEEDS[name].through if it not in steps]
    assert not missing, f"{missing} did not come in this order in {outcome.steps}"
