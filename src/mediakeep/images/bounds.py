"""How much one picture may cost."""

MAX_PIXELS = 100_000_000
"""A picture whose header claims more is not decoded."""

MAX_FILE_BYTES = 256 * 2**20
"""A larger file is not decoded."""

MAX_SECONDS = 20.0
"""How long one picture may take, and how much of a processor's time."""

MAX_MEMORY_BYTES = 2**30
"""How much memory one picture may take (address space; kept to on Linux)."""

MAX_SCANS = 100
"""A JPEG with more scans is not decoded: each costs a pass over all of it. Real ones have about ten."""
