"""A worker of a fleet dies at each request that it makes; the next sweep finds all in order."""

import pytest

from fleet.children import Workers
from fleet.deeds import DEEDS
from fleet.killing import Killing


@pytest.fixture(scope="module")
def workers():
    with Workers() as workers:
        yield workers


@pytest.mark.soak  # takes more points
@pytest.mark.parametrize("name", DEEDS)
def test_death_at_any_request_breaks_no_line_of_the_law(
    name, postgres, seaweed, workers, tmp_path, request
):
    everywhere = "soak" in request.config.option.markexpr
    outcome = Killing(name, postgres, seaweed, workers, tmp_path, everywhere=everywhere).outcome()
    print(f"{name}: killed at {outcome.kills} points: {', '.join(outcome.steps)}")
    assert outcome.problems == []
    assert outcome.kills > 0
    # Else the kills did not come where it matters.
    assert outcome.states == {outcome.before, outcome.after}
    steps = iter(outcome.steps)
    missing = [it for it in DEEDS[name].through if it not in steps]
    assert not missing, f"{missing} did not come in this order in {outcome.steps}"
