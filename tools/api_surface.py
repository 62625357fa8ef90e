"""What users of mediakeep may rely on, as text: every public name with its signature, and the contracts.

    python tools/api_surface.py            print how it differs from what was agreed
    python tools/api_surface.py --write    agree to what there is now

What was agreed stands in tests/data/api.txt and tests/data/contracts.txt, and tests/test_api_surface.py
holds it against the code: so a rename is a decision, and its diff says what it is. Signatures are read
from the source and not from objects, so that they are the same on every Python, with or without extras.
"""

import ast
import difflib
import sys
from collections.abc import Iterator
from pathlib import Path

from contracts import contracts

ROOT = Path(__file__).resolve().parents[1]
AGREED = ROOT / "tests" / "data"

PUBLIC = (
    "mediakeep",
    "mediakeep.aio",
    "mediakeep.blobs",
    "mediakeep.blobs.local",
    "mediakeep.blobs.objects",
    "mediakeep.blobs.temporary",
    "mediakeep.catalogs",
    "mediakeep.catalogs.memory",
    "mediakeep.catalogs.postgres",
    "mediakeep.catalogs.sqlite",
    "mediakeep.copying",
    "mediakeep.http",
    "mediakeep.images",
    "mediakeep.intake",
    "mediakeep.intake.data_urls",
    "mediakeep.intake.names",
    "mediakeep.intake.pixels",
    "mediakeep.intake.types",
    "mediakeep.integrations.adk",
    "mediakeep.integrations.agno",
    "mediakeep.integrations.langchain",
    "mediakeep.integrations.langgraph",
    "mediakeep.integrations.pydantic_ai",
    "mediakeep.mcp",
    "mediakeep.messages",
    "mediakeep.remote",
    "mediakeep.testing",
)
"""The public modules. The public names of each are those of its `__all__`."""

SPECIAL = {
    *("__init__", "__call__", "__iter__", "__next__", "__len__", "__contains__", "__getitem__"),
    *("__enter__", "__exit__", "__aenter__", "__aexit__", "__aiter__", "__anext__"),
}
"""Those methods with underscores that are part of what a class offers."""


def surface() -> list[str]:
    """Return a line for each public name and each member of a class, module by module."""
    lines: list[str] = []
    told: dict[tuple[str, str], str] = {}
    for module in PUBLIC:
        lines += ["", f"# {module}"] if lines else [f"# {module}"]
        for name in sorted(_names_in(module)):
            home = _home(module, name)
            if home is None:
                raise SystemExit(f"{module}.__all__ has {name}, which is nowhere")
            here = f"{module}.{name}"
            if home in told:
                lines.append(f"{here} = {told[home]}")
            else:
                told[home] = here
                lines += _describe(here, home)
    return lines


def differences(agreed: Path, now: list[str]) -> list[str]:
    """Return a line for each that is gone (`-`) or new (`+`), after those two that say where."""
    before = agreed.read_text().splitlines() if agreed.exists() else []
    changes = difflib.unified_diff(before, now, f"agreed: {agreed.name}", "the code", lineterm="", n=0)
    return [it for it in changes if not it.startswith("@@")]


def main(arguments: list[str]) -> int:
    """Write, or print the differences; return 1 if there are any that were not agreed to."""
    if arguments not in ([], ["--write"]):
        print(__doc__)
        return 2
    changed = False
    for name, lines in (("api.txt", surface()), ("contracts.txt", contracts())):
        for line in differences(AGREED / name, lines):
            print(line)
            changed = True
        if arguments:
            (AGREED / name).write_text("\n".join(lines) + "\n")
    return int(changed and not arguments)


# -- where things are


def _file_of(module: str) -> Path:
    place = ROOT / "src" / Path(*module.split("."))
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


_trees: dict[str, list[ast.stmt]] = {}


def _statements(module: str) -> list[ast.stmt]:
    """Return what stands in a module, also under `if` and `try`."""
    if module not in _trees:
        tree = ast.parse(_file_of(module).read_text())
        _trees[module] = list(_flat(tree.body))
    return _trees[module]


def _flat(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in body:
        if isinstance(statement, ast.If | ast.Try):
            yield from _flat(statement.body)
        else:
            yield statement


def _names_in(module: str) -> list[str]:
    for statement in _statements(module):
        if _assigned(statement) == "__all__" and isinstance(statement, ast.Assign):
            return list(ast.literal_eval(statement.value))
    raise SystemExit(f"{module} is public and has no __all__")


def _assigned(statement: ast.stmt) -> str | None:
    if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
        return statement.targets[0].id
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        return statement.target.id
    return None


def _home(module: str, name: str) -> tuple[str, str] | None:
    """Return the module that defines what is called `name` in `module`, and its name there."""
    for statement in _statements(module):
        if isinstance(statement, ast.ImportFrom):
            for alias in statement.names:
                if (alias.asname or alias.name) == name:
                    source = statement.module or ""
                    return _home(source, alias.name) if source.startswith("mediakeep") else None
        elif _name_of(statement) == name:
            return module, name
    return None


def _name_of(statement: ast.stmt) -> str | None:
    if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return statement.name
    return _assigned(statement)


# -- how they are told


def _describe(here: str, home: tuple[str, str]) -> list[str]:
    module, name = home
    found = [it for it in _statements(module) if _name_of(it) == name]
    lines: list[str] = []
    for statement in found:
        if isinstance(statement, ast.ClassDef):
            lines.append(_class_line(here, statement))
            fields: list[tuple[str, str]] = []
            methods: list[tuple[str, str]] = []
            for member, line in _members(here, module, statement):
                (methods if "(" in member else fields).append((member, line))
            # The order of fields is that of positional arguments; that of methods says nothing.
            lines += [line for _, line in (*fields, *sorted(methods))]
        elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            lines.append(_function_line(here, statement))
        else:
            lines.append(_value_line(here, statement))
    return lines


def _class_line(here: str, statement: ast.ClassDef) -> str:
    bases = [ast.unparse(it) for it in (*statement.bases, *statement.keywords)]
    said = [f"@{ast.unparse(it)}" for it in statement.decorator_list]
    return " ".join([*said, "class", here + (f"({', '.join(bases)})" if bases else "")])


def _members(here: str, module: str, cls: ast.ClassDef) -> Iterator[tuple[str, str]]:
    """Yield name and line of each public member, also of those of a base that is not public itself.

    The names of methods have brackets.
    """
    told: set[str] = set()
    for statement in _flat(cls.body):
        name = _name_of(statement)
        if name is None or not _is_offered(name) or _is_test(name):
            continue
        told.add(name)
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{name}()", _function_line(f"{here}.{name}", statement)
            if name == "__init__":
                yield from ((it, f"{here}.{it}") for it in _attributes(statement))
        elif not isinstance(statement, ast.ClassDef):
            yield name, _value_line(f"{here}.{name}", statement)
    for base in cls.bases:
        if isinstance(base, ast.Name) and not _is_public(module, base.id):
            home = _home(module, base.id)
            for parent in () if home is None else _statements(home[0]):
                if home is not None and isinstance(parent, ast.ClassDef) and parent.name == home[1]:
                    members = _members(here, home[0], parent)
                    new = [it for it in members if it[0].removesuffix("()") not in told]
                    told.update(name.removesuffix("()") for name, _ in new)
                    yield from new


def _is_offered(name: str) -> bool:
    return name in SPECIAL or not name.startswith("_")


def _is_test(name: str) -> bool:
    return name.startswith("test_")  # of a contract: what they say is the contract, not their names


def _is_public(module: str, name: str) -> bool:
    home = _home(module, name)
    return any(name in _names_in(it) and _home(it, name) == home for it in PUBLIC)


def _function_line(name: str, function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    said = [f"@{ast.unparse(it)}" for it in function.decorator_list]
    if isinstance(function, ast.AsyncFunctionDef):
        said.append("async")
    result = "" if function.returns is None else f" -> {_annotation(function.returns)}"
    return " ".join([*said, "def", f"{name}({_arguments(function.args)}){result}"])


def _arguments(arguments: ast.arguments) -> str:
    for it in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        if it.annotation is not None:
            it.annotation = ast.parse(_annotation(it.annotation), mode="eval").body
    return ast.unparse(arguments)


def _annotation(annotation: ast.expr) -> str:
    """Return it without the quotes of a name that is only imported for type checking."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return ast.unparse(ast.parse(annotation.value, mode="eval"))
    return ast.unparse(annotation)


def _attributes(init: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    """Yield the public attributes that `__init__` sets."""
    for statement in ast.walk(init):
        if isinstance(statement, ast.Assign | ast.AnnAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            for it in targets:
                name = ast.unparse(it)
                if name.startswith("self.") and not name.startswith("self._") and name.count(".") == 1:
                    yield name.removeprefix("self.")


def _value_line(name: str, statement: ast.stmt) -> str:
    kind = f": {_annotation(statement.annotation)}" if isinstance(statement, ast.AnnAssign) else ""
    value = getattr(statement, "value", None)
    if value is None:
        return name + kind
    text = ast.unparse(value)
    is_sentence = isinstance(value, ast.Constant) and " " in text  # which may be worded anew
    return f"{name}{kind} = …" if is_sentence or len(text) > 80 else f"{name}{kind} = {text}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
