"""What the extras bring is under licences that are allowed, for a reason, and on the page about it."""

import sys
from importlib.metadata import Distribution
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[1] / "tools"
sys.path.insert(0, str(TOOLS))
import dependencies  # noqa: E402
import licences  # noqa: E402

sys.path.remove(str(TOOLS))

MIT = "Classifier: License :: OSI Approved :: MIT License"


def test_all_that_comes_with_an_extra_is_under_a_licence_that_is_allowed_and_on_the_page():
    assert list(dependencies.faults()) == []


def test_what_is_needed_in_turn_is_looked_at_too():
    brought = dependencies.closures()
    assert brought["markupsafe"] == {"server"}
    assert {"aio", "server", "mcp"} <= brought["anyio"]
    assert "pytest" not in brought


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        ("MIT", True),
        ("GPL-3.0-only", False),
        ("MIT OR GPL-3.0-only", True),
        ("GPL-3.0-only OR MIT", True),
        ("MIT AND GPL-3.0-only", False),
        ("MPL-2.0 AND (Apache-2.0 OR MIT)", False),
        ("(GPL-2.0-only OR MIT) AND BSD-3-Clause", True),
        ("MIT AND Apache-2.0 WITH LLVM-exception", True),
        ("GPL-2.0-only WITH Classpath-exception-2.0", False),
        ("MIT AND", False),
        ("(MIT", False),
        ("MIT MIT", False),
        ("MIT/GPL-3.0-only", False),
        ("", False),
    ],
)
def test_an_expression_is_allowed_if_its_parts_are(expression, allowed):
    assert licences.is_allowed(expression) is allowed


@pytest.mark.parametrize(
    ("said", "expression"),
    [
        ("License-Expression: MIT", "MIT"),
        ("License: apache-2.0", "Apache-2.0"),
        ("License: Apache License, Version 2.0", "Apache-2.0"),
        ("License: Proprietary", None),
        ("License: BSD\nClassifier: License :: OSI Approved :: BSD License", None),
        (MIT, "MIT"),
        (f"{MIT}\nClassifier: License :: OSI Approved :: GNU General Public License v3 (GPLv3)", None),
        ("Summary: it says nothing of a licence", None),
    ],
)
def test_a_licence_is_told_from_metadata_or_not_at_all(tmp_path, monkeypatch, said, expression):
    folder = tmp_path / "thing-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.4\nName: thing\nVersion: 1\n{said}\n")
    monkeypatch.setattr(licences, "distribution", lambda _: Distribution.at(folder))
    assert licences.licence_of("thing") == expression


def test_a_page_that_tells_of_other_versions_is_out_of_date(tmp_path, monkeypatch):
    old = tmp_path / "dependencies.md"
    old.write_text(dependencies.PAGE.read_text().replace("| click | 8.1.7 |", "| click | 7.0 |"))
    monkeypatch.setattr(dependencies, "PAGE", old)
    assert [it.partition(":")[0] for it in dependencies.faults()] == [
        "docs/dependencies.md is out of date"
    ]


def test_an_exception_that_nothing_needs_any_more_is_told(monkeypatch):
    monkeypatch.setitem(licences.EXCEPTIONS, "gone", "once needed")
    assert "gone is an exception, and not needed" in list(dependencies.faults())


def test_a_package_under_a_licence_that_is_not_allowed_is_told(monkeypatch):
    monkeypatch.delitem(licences.EXCEPTIONS, "psycopg")
    monkeypatch.setattr(licences, "ALLOWED", licences.ALLOWED - {"MIT-CMU"})
    told = [it for it in dependencies.faults() if "not allowed" in it]
    assert [it.split()[0] for it in told] == ["pillow", "psycopg"]
