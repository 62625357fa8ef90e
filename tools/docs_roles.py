"""For `make docs`: turns the roles in docstrings, such as :func:`open_store`, into links."""

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:class|func|meth):`~?(?:mediakeep\.)?([\w.]+)`")


class Roles(griffe.Extension):
    """Rewrites the docstring of every object before it is rendered."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Do so for one object."""

        def linked(role: re.Match[str]) -> str:
            name = role[1]
            first = name.partition(".")[0]
            for home in (obj.package, obj.module):
                if first in home.members:
                    return f"[`{name}`][{home.path}.{name}]"
            return f"`{name}`"

        if obj.docstring is not None:
            obj.docstring.value = _ROLE.sub(linked, obj.docstring.value)
