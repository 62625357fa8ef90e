"""Scripts: by their shebang, or by what only JavaScript and batch files begin with."""

import re
from typing import Final

from mediakeep.intake.markup import past_space

_COMMENTS = 4
"""How many comments are passed over."""
_CODE_CHARACTERS = 300
"""How much of a text is looked at behind its comments."""
_SHEBANG: Final = re.compile(r"#![ \t]*+(/\S++)(?:[ \t]++(?:-S[ \t]++)?(\S++))?")
_INTERPRETERS: Final = (
    (("sh", "bash", "dash", "zsh", "ksh", "ash", "fish", "csh", "tcsh"), "text/x-shellscript"),
    (("python", "pypy"), "text/x-python"),
    (("perl",), "text/x-perl"),
    (("ruby",), "text/x-ruby"),
    (("php",), "text/x-php"),
    (("node", "nodejs", "deno", "bun"), "text/javascript"),
)
_JAVASCRIPT: Final = re.compile(
    r"""
      ["']use[ ]strict["']\s*+(?:;|\Z|\n)
    | (?:[;!+(~]\s*+){1,4}+(?:async\s++)?function\b\s*+[\w$]*+\s*+\([\w$,\s]{0,200}+\)\s*+\{
    | ;?\(\s*+(?:async\s*+)?\([\w$,\s]{0,200}+\)\s*+=>
    | (?:export\s++(?:default\s++)?)?async\s++function\b\s*+[\w$]*+\s*+\(
    | import\b[\w\s$*{},]{1,200}?\bfrom\s*+(?:"[^"\s]++"|'[^'\s]++')\s*+(?:;|\Z|\n)
    | export\s++(?:default\s++)?
        (?:[{*]|const\s++[\w$]++\s*+=|function\b[\s*]*+[\w$]*+\s*+\(|class\b[^\n{;]{0,99}\{)
    | (?:const|let|var)\s++[\w$]++\s*+=\s*+
        (?:require\(|function\b|\([\w$,\s]{0,200}+\)\s*+=>|async\b|new\s|document\.|window\.|await\s)
    | (?:const|let|var)\s++[\w$]++\s*+=[^\n;]{1,200}+;[ \t]*+(?:[\r\n]|\Z)
    | (?:window|document|globalThis|location|navigator|localStorage|console|module|exports|process)
        (?:\.[\w$]{1,40}+){1,4}+\s*+[(=\[]
    | (?:alert|eval|setTimeout|setInterval|fetch|jQuery|importScripts|require|define|\$)
        \(\s*+(?:function\b|document\b|["'`(\[])
    | (?:alert|eval)\([^\n]{1,200}\)\s*+(?:;|\Z|\n)
    """,
    re.VERBOSE,
)
_LINE_COMMENTS: Final = re.compile(r"(?://[^\n]*+(?:\s++|\Z)){1,60}+")
_FUNCTION: Final = re.compile(r"function\s++[\w$]++\s*+\([\w$,\s]{0,200}+\)\s*+\{")
_STATEMENT: Final = re.compile(r"\b(?:return|var|let|const|this|document|window|console)\b")


def script_type(text: str) -> tuple[str, bool] | None:
    """Return what language the script is in that `text` begins, or None if it is not seen to be one."""
    if text.startswith("#!"):
        return _by_shebang(text)
    if text[:9].lower() == "@echo off":
        return "text/x-msdos-batch", True
    code = _past_comments(text)
    end = code + _CODE_CHARACTERS
    if _JAVASCRIPT.match(text, code, end):
        return "text/javascript", True
    function = _FUNCTION.match(text, code, end)  # a shell has the same, with other words in it
    if function and _STATEMENT.search(text, function.end(), end):
        return "text/javascript", True
    return None


def _by_shebang(text: str) -> tuple[str, bool] | None:
    said = _SHEBANG.match(text)
    if not said:
        return None
    name = said[1].rpartition("/")[2]
    if name == "env" and said[2]:
        name = said[2].rpartition("/")[2]
    name = name.rstrip("0123456789.")
    for names, kind in _INTERPRETERS:
        if name in names:
            return kind, True
    return "text/x-script", True


def _past_comments(text: str) -> int:
    """Return where the first thing stands that is neither white space nor a comment of JavaScript's."""
    at = 0
    for _ in range(_COMMENTS):
        at = past_space(text, at)
        lines = _LINE_COMMENTS.match(text, at)
        if lines:
            end = lines.end()
        elif text.startswith("/*", at):
            end = text.find("*/", at + 2)
            end += 2 if end >= 0 else 0
        else:
            return at
        if end < 0:
            return len(text)
        at = end
    return at
