"""The store that all processes of the assistant open, and how long what is in it lives."""

import time
from datetime import timedelta
from pathlib import Path

from mediakeep import MediaCleanerConfig, MediaStore, open_store

NET = timedelta(days=1)
"""How long media live that nobody ends: the net for what a crash, or a user, has lost."""

KEPT = timedelta(days=3650)
"""How long media live that a user wants to keep."""

LEASE_SECONDS = 3.0
"""How long a lease outlives a worker that died: short, since a reader of the demo waits for it."""

# --8<-- [start:scopes]
INBOUND = "chat"  # what came with a message
TURN = "assistant"  # what the assistant works with while it answers it
HISTORY = "history"  # what it looks back at until the user says goodbye
OUTBOUND = "outbound"  # what a reply waits with until it has been sent
KEEP = "user"  # what the user wants to keep


def scope_of(stage: str, chat: str, message: str) -> str:
    """Return the scope of what one message has at one stage."""
    return f"{stage}:{chat}:{message}"


# --8<-- [end:scopes]


def open_media(folder: Path, *, ahead: timedelta = timedelta(0)) -> MediaStore:
    """Open the store; with `ahead` as it will be after that time."""
    return open_store(
        folder / "store",
        cleaner=MediaCleanerConfig(max_age=NET, interval=timedelta(seconds=0.2)),
        lease_seconds=LEASE_SECONDS,
        clock=lambda: time.time() + ahead.total_seconds(),
    )
