"""The contracts of mediakeep that are no Python: command line, HTTP, environment, metrics, MCP, schemas.

They are asked of the code itself, so this needs all extras; `tools/api_surface.py` holds them against
what was agreed.
"""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from mediakeep.addresses import BUCKETS, POSTGRES, SERVERS
from mediakeep.catalogs import postgres_schema, sqlite_schema
from mediakeep.cli import DONE, INTERRUPTED, REFUSED, USAGE
from mediakeep.cli.commands import command_line
from mediakeep.cli.mcp import SERVER_TOKEN_VARIABLE, TOKEN_VARIABLE
from mediakeep.http.api import SCHEMAS, operations
from mediakeep.http.config import PREFIX, TOKENS, ServerConfig
from mediakeep.http.metrics import Metrics
from mediakeep.http.openapi import describe
from mediakeep.http.problems import TITLES, TYPE
from mediakeep.http.tokens import VERSION as TOKENS_VERSION
from mediakeep.mcp.resources import list_templates
from mediakeep.mcp.tools import _OFFERS as TOOLS
from mediakeep.model import Stats, SweepReport

ROOT = Path(__file__).resolve().parents[1]


def contracts() -> list[str]:
    """Return a line for each thing that somebody outside of Python may have written down."""
    parts = {
        "packaging": _packaging(),
        "addresses of stores": [f"store {it}" for it in ("memory:", *POSTGRES, *SERVERS)],
        "addresses of bytes": [f"blobs {it}" for it in BUCKETS],
        "command line": [*_commands(), *_exit_codes()],
        "environment": _environment(),
        "HTTP": _http(),
        "problems": [f"problem {TYPE}{name}" for name in sorted(TITLES)],
        "metrics": _metrics(),
        "MCP": _mcp(),
        "schemas": _schemas(),
    }
    lines: list[str] = []
    for heading, said in parts.items():
        lines += [*([""] if lines else []), f"# {heading}", *said]
    return lines


def _packaging() -> Iterator[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    yield f"python {project['requires-python']}"
    for name in sorted(project["optional-dependencies"]):
        yield f"extra {name}"
    for name, target in project["scripts"].items():
        yield f"script {name} = {target}"


# -- the command line


def _commands() -> Iterator[str]:
    yield from _command("mediakeep", command_line)


def _command(path: str, command: click.Command) -> Iterator[str]:
    yield f"command {path}"
    for parameter in sorted(command.params, key=lambda it: (it.param_type_name, it.opts)):
        yield f"command {path} {_spelled(parameter)}"
    if isinstance(command, click.Group):
        for name in sorted(command.commands):
            yield from _command(f"{path} {name}", command.commands[name])


def _spelled(parameter: click.Parameter) -> str:
    if isinstance(parameter, click.Argument):
        name = (parameter.metavar or parameter.name or "").strip("[].").upper()
        spelled = name + ("..." if parameter.nargs == -1 else "")
        return spelled if parameter.required else f"[{spelled}]"
    assert isinstance(parameter, click.Option)  # noqa: S101  there are no others
    said = ["/".join([*parameter.opts, *parameter.secondary_opts])]
    if isinstance(parameter.type, click.Choice):
        said.append("|".join(str(it) for it in parameter.type.choices))
    elif not parameter.is_flag:
        said.append("VALUE")
    notes = {"required": parameter.required, "repeatable": parameter.multiple}
    return " ".join([*said, *(f"({note})" for note, holds in notes.items() if holds)])


def _exit_codes() -> Iterator[str]:
    codes = {"done": DONE, "refused": REFUSED, "usage": USAGE, "interrupted": INTERRUPTED}
    return (f"exit {code} {name}" for name, code in codes.items())


def _environment() -> list[str]:
    found = {TOKEN_VARIABLE, SERVER_TOKEN_VARIABLE}
    found |= {f"{PREFIX}{it.name.upper()}" for it in fields(ServerConfig)}
    for command in _all_commands(command_line):
        for parameter in command.params:
            if isinstance(parameter.envvar, str):
                found.add(parameter.envvar)
    return [f"variable {it}" for it in sorted(found)]


def _all_commands(command: click.Command) -> Iterator[click.Command]:
    yield command
    if isinstance(command, click.Group):
        for it in command.commands.values():
            yield from _all_commands(it)


# -- the server


def _http() -> Iterator[str]:
    document = describe(operations(ServerConfig()), SCHEMAS)
    for path, methods in sorted(document["paths"].items()):
        for method, operation in sorted(methods.items()):
            yield from _operation(f"{method.upper()} {path}", operation)
    for name, schema in sorted(document["components"]["schemas"].items()):
        for member in sorted(schema.get("properties", {})):
            must = " (always)" if member in schema.get("required", ()) else ""
            yield f"schema {name}.{member}{must}"


def _operation(path: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f"{path} {operation['operationId']}"
    for it in sorted(operation["parameters"], key=lambda it: (it["in"], it["name"])):
        if it["in"] != "path":
            yield f"{path} {it['in']} {it['name']}" + (" (required)" if it["required"] else "")
    for content_type, body in sorted(operation.get("requestBody", {}).get("content", {}).items()):
        yield f"{path} takes {content_type}"
        for name in sorted(body["schema"].get("properties", {})):
            must = " (required)" if name in body["schema"].get("required", ()) else ""
            yield f"{path} member {name}{must}"
    yield f"{path} answers {' '.join(sorted(operation['responses']))}"


def _metrics() -> Iterator[str]:
    metrics = Metrics()
    metrics.answered("GET", "/", 200, 0.1, 1)  # a series of labels shows once it has been counted
    metrics.swept(SweepReport(), 0.1)
    text = metrics.text(Stats()).decode()
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE):
        if name.endswith("_created"):
            continue
        labels = {
            label
            for said in re.findall(rf"^{name}(?:_bucket)?{{(.*)}} ", text, re.MULTILINE)
            for label in re.findall(r'(\w+)="', said)
        }
        yield f"{kind} {name}" + (f" by {', '.join(sorted(labels - {'le'}))}" if labels - {"le"} else "")


# -- MCP, and what is kept


def _mcp() -> Iterator[str]:
    for template in list_templates().resource_templates:
        yield f"resource {template.uri_template}"
    for tool in TOOLS:
        schema = tool.described().input_schema
        yield f"tool {tool.name}"
        for name in sorted(schema.get("properties", {})):
            yield f"tool {tool.name} {name}" + (
                " (required)" if name in schema.get("required", ()) else ""
            )


def _schemas() -> Iterator[str]:
    yield f"catalog.db version {sqlite_schema.VERSION}"
    yield f"PostgreSQL version {postgres_schema.VERSION}"
    yield f"PostgreSQL server {postgres_schema.OLDEST_SERVER // 10_000} or newer"
    yield f"{TOKENS} version {TOKENS_VERSION}"
