"""Refs in what is passed on, and how the files that they name are passed on with it."""

import json
import re
from typing import TypeVar, cast

from mediakeep import MediaStore, UnknownRef

Tree = TypeVar("Tree")

REF = re.compile(r"media://[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

SHOWN = re.compile(rf"!\[([^\]]*)\]\({REF.pattern}\)")


def refs_in(tree: object) -> list[str]:
    """Return the refs that are anywhere in a tree of JSON, each once, in order."""
    return list(dict.fromkeys(REF.findall(json.dumps(tree))))


def without_refs(words: str) -> str:
    """Return what a user reads: the names of media, where refs to them were."""
    return SHOWN.sub(r"[\1]", words)


# --8<-- [start:shared]
def shared(tree: Tree, store: MediaStore, scope: str) -> Tree:
    """Return a copy of `tree` whose refs are new ones in `scope`, so that the old ones may end.

    A ref that is dead stays as it is: whoever reads the tree is told then that it is, and why.
    """
    text = json.dumps(tree)
    for ref in refs_in(tree):
        try:
            text = text.replace(ref, store.share(ref, scope))
        except UnknownRef:
            continue
    return cast("Tree", json.loads(text))


# --8<-- [end:shared]
