"""A process dies at each step that it takes; what it leaves, the next one finds in order."""

import pytest

from crashes.apart import apart, folder_in_memory  # noqa: F401
from crashes.killing import Outcome, kill_at_every_effect, kill_at_every_system_call
from crashes.scenarios import SCENARIOS
from crashes.system_calls import can_trace

scenarios = pytest.mark.parametrize("name", SCENARIOS)


def check(outcome: Outcome) -> None:
    assert outcome.problems == []
    assert outcome.kills > 0
    if outcome.before != outcome.after:
        # Else the kills did not come where it matters.
        assert outcome.states == {outcome.before, outcome.after}


@scenarios
@apart
def test_death_at_any_effect_breaks_no_line_of_the_law(name, root):
    outcome = kill_at_every_effect(SCENARIOS[name], root)
    print(f"{name}: killed at {outcome.kills} points: {', '.join(outcome.steps)}")
    check(outcome)
    steps = iter(outcome.steps)
    missing = [step for step in SCENARIOS[name].through if f"after {step}" not in steps]
    assert not missing, f"{missing} did not come in this order in {outcome.steps}"


@scenarios
@apart
def test_death_at_any_system_call_breaks_no_line_of_the_law(name, root):
    if not can_trace():
        pytest.skip("this machine lets no process trace its child")
    outcome = kill_at_every_system_call(SCENARIOS[name], root)
    print(f"{name}: killed at {outcome.kills} system calls: {', '.join(outcome.steps)}")
    check(outcome)
