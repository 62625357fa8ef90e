"""How much is read of a file to find the picture in it."""

MAX_PICTURE_BYTES = 16 * 2**20
"""A larger picture is not taken out of its file."""

MAX_DIRECTORY_BYTES = 4 * 2**20
"""An archive with a longer list of members is not looked into: about fifty thousand."""

MAX_MARKUP_BYTES = 2 * 2**20
"""Longer XML is not parsed."""

MAX_ELEMENTS = 20_000
"""XML with more elements is not parsed to its end."""

MAX_STEPS = 4096
"""How many boxes, blocks or frames of a track are looked at."""
