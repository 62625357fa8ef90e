"""The play: the story is told, workers are killed in the middle, and what came of it is judged."""

import sys
import time
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from examples.assistant.channel import receive
from examples.assistant.crew import Crew
from examples.assistant.media import INBOUND, open_media, scope_of
from examples.assistant.outside import Outside, Shown
from examples.assistant.queues import Queues
from examples.assistant.story import LOST, ROUND, SAMPLES, Saying
from examples.assistant.timeline import Tell, tell_timeline
from examples.assistant.verdict import judge
from examples.assistant.watcher import Watcher

from mediakeep import MediaStore

DEADLINE_SECONDS = 90.0
"""How long a round may take. It takes about two seconds where nothing is wrong."""


@dataclass(slots=True)
class Played:
    """What was said, and what came of it; the verdict is about this."""

    folder: Path
    sayings: dict[str, Saying] = field(default_factory=dict)
    shown: dict[str, Shown] = field(default_factory=dict)
    told_twice: int = 0


def play(folder: Path, rounds: int, tell: Tell) -> int:
    """Play so many rounds in a folder; return the exit code."""
    played = Played(folder)
    with open_media(folder) as store, Queues(folder) as queues:
        crew = Crew(folder, store)
        watcher = Watcher(folder, store)
        with Outside(crew.kill) as outside:
            played.shown = outside.shown
            crew.port = outside.port
            watcher.start()
            try:
                crew.start()
                _lose(store, queues)
                first = 0.0
                for _ in range(rounds):
                    _tell_story(played, store, queues, outside)
                    _wait(queues, crew)
                    first = first or time.time()
                _let_lapse(store, crew)
            finally:
                crew.stop()
                watcher.stop()
        tell("")
        tell(("What happened", "bold"), "" if rounds == 1 else f" in the first of {rounds} rounds")
        tell_timeline(tell, queues.notes(), store, crew.names, first)
        return judge(tell, played, store, queues, crew, watcher, outside)


def _lose(store: MediaStore, queues: Queues) -> None:
    """Upload a file whose message never comes."""
    chat, name = LOST
    # Its time is short, so that nobody has to wait a day for it.
    store.put(SAMPLES / name, scope=scope_of(INBOUND, chat, "upload"), ttl=timedelta(seconds=1))
    queues.note(chat, f"uploads {name}, and is never heard of again")


def _tell_story(played: Played, store: MediaStore, queues: Queues, outside: Outside) -> None:
    """Have everybody say all at once: messages wait, which is when files are deleted too early."""
    for saying in ROUND:
        message = str(1001 + len(played.sayings))
        played.sayings[message] = saying
        if saying.killed:
            outside.blows.add((message, saying.killed))
        files = [SAMPLES / name for name in saying.files]
        queues.note(saying.chat, " ".join([f"{message}:", saying.text, *saying.files]))
        for _ in range(2 if saying.twice else 1):
            is_new = receive(store, queues, saying.chat, message, saying.text, files)
            played.told_twice += not is_new


def _wait(queues: Queues, crew: Crew) -> None:
    """Wait until all is answered and sent, and start workers again that die meanwhile."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while queues.open_messages():
        if time.monotonic() > deadline:
            print(f"not all is answered after {DEADLINE_SECONDS:g} s", file=sys.stderr)
            return
        crew.wait(0.02)
        crew.start()


def _let_lapse(store: MediaStore, crew: Crew) -> None:
    """Wait until the sweepers have ended what is past its time: leases of the dead, a lost upload."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    lost = scope_of(INBOUND, LOST[0], "upload")
    while time.monotonic() < deadline:
        stats = store.stats()
        if not stats.leases and not stats.condemned and lost not in store.scopes():
            return
        crew.wait(0.02)
