"""What all adapters have in common: the media of a scope by their hash."""

import subprocess
import sys

import pytest

from mediakeep import FileMediaStore, MediaMeta
from mediakeep.integrations.contents import Contents
from mediakeep.integrations.notes import note, noted
from mediakeep.integrations.scopes import scope_of

META = MediaMeta(source=note("ours"))


def test_mediakeep_itself_imports_no_framework():
    code = (
        "import sys, mediakeep.integrations, mediakeep.store, mediakeep.messages; "
        "print([it for it in ('pydantic', 'anyio', 'agno', 'google.adk', 'langchain_core') "
        "if it in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr


@pytest.fixture
def memory():
    with FileMediaStore() as store:
        yield store


def test_no_names_of_one_scope_make_another():
    assert scope_of("adk", "a:b", "c") != scope_of("adk", "a", "b:c") != scope_of("adk", "a", "b", "c")
    assert scope_of("a%3Ab") != scope_of("a:b")


@pytest.mark.parametrize("source", ["", "telegram", "ours2 {}", "ours [1]", "ours {", "ours \u0000"])
def test_a_source_of_somebody_else_is_no_note(source):
    assert noted("ours", source) is None


def test_bytes_are_kept_again_when_their_ref_has_ended(memory):
    contents = Contents(memory, "chat", "ours")
    first = contents.keep(b"x", META)
    assert contents.keep(b"x", META) == first
    memory.release(first)
    second = contents.keep(b"x", META)
    assert second != first
    assert memory.read_bytes(second) == b"x"


def test_what_another_writer_keeps_is_found_without_asking_twice(memory):
    here, there = Contents(memory, "chat", "ours"), Contents(memory, "chat", "ours")
    assert here.keep(b"x", META) == there.keep(b"x", META)
    assert there.keep(b"y", META) == here.keep(b"y", META)


def test_scopes_below_and_beside_are_others(memory):
    kept = {Contents(memory, it, "ours").keep(b"x", META) for it in ("chat", "chat:1", "cha")}
    assert len(kept) == 3
