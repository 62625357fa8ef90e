"""The description of the API (OpenAPI 3.1), generated from the operations themselves."""

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from mediakeep import __version__
from mediakeep.http.inputs import Input
from mediakeep.http.operations import LONGEST_SCOPE, Operation

_PATH_PARAMETERS = {
    "id": ("the uuid of a ref: what stands behind `media://`", {"type": "string", "format": "uuid"}),
    "scope": (
        "a scope, percent-encoded",
        {"type": "string", "minLength": 1, "maxLength": LONGEST_SCOPE},
    ),
    "lease": ("what `beginLease` returned", {"type": "string", "pattern": r"^[0-9a-f]+\.[\w.-]+$"}),
}


def describe(operations: Sequence[Operation], schemas: dict[str, Any]) -> dict[str, Any]:
    """Return the OpenAPI document of `operations`."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "mediakeep",
            "version": __version__,
            "summary": "Media that lives exactly as long as it should.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "responses": {
                "Problem": _content("What went wrong.", "Problem", "application/problem+json")
            },
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    said: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "security": [{"token": []}] if operation.right else [],
        "parameters": [
            *(_path_parameter(name) for name in re.findall(r"{(\w+)}", operation.path)),
            *(_parameter(it, "query") for it in operation.query),
            *(_parameter(it, "header") for it in operation.headers),
        ],
        "responses": _responses(operation),
    }
    if operation.right:
        said["description"] = f"The token needs the right to `{operation.right.value}`."
    if operation.body is not None:
        said["requestBody"] = {
            "required": any(it.required for it in operation.body),
            "content": {"application/json": {"schema": _members(operation.body)}},
        }
    if operation.bytes_in:
        file = {
            "type": "string",
            "format": "binary",
            "contentMediaType": "application/octet-stream",
            "description": "a file; there may be several, and their names in the form do not matter",
        }
        form = {
            "type": "object",
            "required": ["file"],
            "properties": {"file": file},
            "additionalProperties": False,
        }
        said["requestBody"] = {
            "required": True,
            "content": {"*/*": {"schema": {}}, "multipart/form-data": {"schema": form}},
        }
    return said


def _responses(operation: Operation) -> dict[str, Any]:
    problems = [*operation.problems, 400, *((401, 403, 429, 503) if operation.right else ())]
    said: dict[str, Any] = {}
    for status, result in operation.results.items():
        said[str(status)] = {"description": result.description}
        if result.schema is not None:
            said[str(status)]["content"] = {result.content_type: {"schema": result.schema}}
    for status in sorted(set(problems)):
        content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
        said[str(status)] = {"description": HTTPStatus(status).phrase, "content": content}
    return said


def _path_parameter(name: str) -> dict[str, Any]:
    description, schema = _PATH_PARAMETERS[name]
    return {"name": name, "in": "path", "required": True, "description": description, "schema": schema}


def _parameter(it: Input, where: str) -> dict[str, Any]:
    return {
        "name": it.name,
        "in": where,
        "required": it.required,
        "description": it.description,
        "schema": _schema(it),
    }


def _members(inputs: Sequence[Input]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": [it.name for it in inputs if it.required],
        "properties": {it.name: {**_schema(it), "description": it.description} for it in inputs},
        "additionalProperties": False,
    }


def _schema(it: Input) -> dict[str, Any]:
    schema = it.kind.schema()
    return schema if it.default is None or it.default == "" else {**schema, "default": it.default}


def _content(description: str, name: str, content_type: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{name}"}
    return {"description": description, "content": {content_type: {"schema": schema}}}
