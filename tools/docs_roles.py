"""For `make docs`: makes of docstrings what the pages need.

Roles, such as :func:`open_store`, become links, and examples become blocks of code.
"""

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:class|func|meth):`~?(?:mediakeep\.)?([\w.]+)`")
_EXAMPLE = re.compile(r"^>>> .*(?:\n(?!\s*$).*)*", re.MULTILINE)


class Roles(griffe.Extension):
    """Rewrites the docstring of every object before it is rendered."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Do so for one object."""

        def linked(role: re.Match[str]) -> str:
            name = role[1]
            first = name.partition(".")[0]
            for home in (obj.package, obj.module):
                member = home.members.get(first)
                if member is not None:
                    # What a module imports is described where it comes from.
                    path = member.target_path if member.is_alias else member.path
                    return f"[`{name}`][{path}{name.removeprefix(first)}]"
            return f"`{name}`"

        if obj.docstring is not None:
            text = _ROLE.sub(linked, obj.docstring.value)
            obj.docstring.value = _EXAMPLE.sub(r"```pycon\n\g<0>\n```", text)
