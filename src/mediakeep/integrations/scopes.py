"""Scopes that are made of a framework's own names."""


def scope_of(*levels: str) -> str:
    """Return the scope of these levels, which no names of others can be made to equal.

    `:` separates levels, so within one it is percent-encoded, as `%` is (RFC 3986, section 2.1).

    >>> scope_of("adk", "shop", "user:7")
    'adk:shop:user%3A7'
    """
    return ":".join(level.replace("%", "%25").replace(":", "%3A") for level in levels)
