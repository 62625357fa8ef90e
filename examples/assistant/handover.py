"""Refs in what is passed on, and how the files that they name are passed on with it."""

import json
import re
from collections.abc import Iterable
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
def shared(tree: Tree, store: MediaStore, scope: str, *sources: str) -> Tree:
    """Return a copy of `tree` whose refs are new ones in `scope`, so that the old ones may end.

    Only those of the scopes `sources`, and of scopes below them, are handed over: texts come from users
    and models, and may name anything. A ref that is dead stays as it is: whoever reads the tree is told
    then that it is, and why.
    """
    text = json.dumps(tree)
    for old, new in handed_over(refs_in(tree), store, scope, *sources).items():
        text = text.replace(old, new)
    return cast("Tree", json.loads(text))


def handed_over(refs: Iterable[str], store: MediaStore, scope: str, *sources: str) -> dict[str, str]:
    """Share those refs into `scope` that belong to the sources; return the new ref of each."""
    new = {}
    for ref in refs:
        try:
            if belongs(store, ref, *sources):
                new[ref] = store.share(ref, scope)
        except UnknownRef:
            continue
    return new


def belongs(store: MediaStore, ref: str, *sources: str) -> bool:
    """Return whether a ref is of one of the scopes, or of one below.

    Raises:
        UnknownRef: it is not live.
    """
    scope = store.entry(ref).scope
    return any(scope == source or scope.startswith(f"{source}:") for source in sources)


# --8<-- [end:shared]
