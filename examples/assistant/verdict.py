"""The verdict: what should be so at the end, and whether it is. It looks at the disk, too."""

import io
import wave
from textwrap import shorten
from typing import TYPE_CHECKING

from examples.assistant.crew import Crew
from examples.assistant.media import KEEP, NET, open_media
from examples.assistant.outside import SENDING, Outside, Shown
from examples.assistant.queues import Queues
from examples.assistant.story import SAMPLES, Saying
from examples.assistant.timeline import Tell
from examples.assistant.watcher import Watcher

from mediakeep import Entry, MediaStore, RefReleased, SweepReport

if TYPE_CHECKING:
    from examples.assistant.play import Played

LONGEST = 20_000
"""More than any history of the story has as text, and less than one of its pictures has in base64."""


class Verdict:
    """What should be so, and whether it is."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self.wrong = 0

    def check(self, claim: str, holds: bool, found: object = "") -> None:
        """Print the claim and whether it holds; if not, with what was found instead."""
        self.wrong += not holds
        mark = ("  ok     ", "green") if holds else ("  WRONG  ", "bold red")
        self._tell(mark, claim, "" if holds or not found else f": {shorten(str(found), 300)}")


def judge(
    tell: Tell,
    played: "Played",
    store: MediaStore,
    queues: Queues,
    crew: Crew,
    watcher: Watcher,
    outside: Outside,
) -> int:
    """Print the verdict; return the exit code."""
    verdict = Verdict(tell)
    tell("")
    tell(("Verdict", "bold"))
    _judge_answers(verdict, played, queues, outside)
    claim = f"messages and histories hold refs and no bytes: the longest has {watcher.longest:,} letters"
    verdict.check(claim, 0 < watcher.longest < LONGEST)
    _judge_crashes(verdict, store, queues, crew, played, outside)
    claim = f"nothing was deleted early: {watcher.looks:,} looks at what messages and histories name"
    verdict.check(claim, watcher.looks > 0 and watcher.ended and not watcher.early, watcher.early)
    _judge_what_is_left(verdict, store, played)
    if verdict.wrong:
        tell((f"{verdict.wrong} of these are not as they should be.", "bold red"))
        return 1
    tell(("All as it should be.", "bold green"))
    return 0


def _judge_answers(verdict: Verdict, played: "Played", queues: Queues, outside: Outside) -> None:
    replies = {f"{message}:reply": saying for message, saying in played.sayings.items()}
    open_messages = queues.open_messages()
    verdict.check(
        f"each of {len(replies)} messages was answered, and nothing waits in a queue",
        set(played.shown) == set(replies) and not open_messages,
        f"{len(played.shown)} answers, {open_messages} messages wait",
    )
    bad = [key for key, saying in replies.items() if not _is_as_expected(played.shown.get(key), saying)]
    sent = sum(len(shown.media) for shown in played.shown.values())
    verdict.check(
        f"the answers came with their {sent} pictures and voice notes, all whole", not bad, bad
    )
    verdict.check(
        f"in {outside.requests} requests the model was sent each picture ({outside.pictures}) and voice "
        f"note ({outside.voices}) that it was told of",
        not outside.wrong,
        outside.wrong,
    )


def _judge_crashes(
    verdict: Verdict,
    store: MediaStore,
    queues: Queues,
    crew: Crew,
    played: "Played",
    outside: Outside,
) -> None:
    meant = sorted(saying.killed for saying in played.sayings.values() if saying.killed)
    verdict.check(
        f"{len(meant)} workers were killed in the middle, with leases held, and none died otherwise",
        sorted(death.where for death in crew.deaths) == meant
        and all(death.leases > 0 and death.exit_code == -9 for death in crew.deaths)
        and not crew.crashes,
        [*crew.deaths, *crew.crashes],
    )
    again = queues.delivered_again()
    verdict.check(
        f"what they had in hand was delivered again ({again}); of {outside.sends} replies that were "
        f"sent {len(played.shown)} are shown, one for each message",
        again == len(meant)
        and outside.sends - len(played.shown) == meant.count(SENDING)
        and played.told_twice > 0,
    )
    half_done = [ref for death in crew.deaths for ref in death.refs]
    alive = [ref for ref in half_done if not _is_released(store, ref)]
    verdict.check(
        f"nothing is left of what was half done: {len(half_done)} refs are released", not alive, alive
    )


def _judge_what_is_left(verdict: Verdict, store: MediaStore, played: "Played") -> None:
    keeps = sum(saying.keeps for saying in played.sayings.values())
    kept = [entry for entry in store.entries() if entry.scope.startswith(f"{KEEP}:")]
    rest = [scope for scope in store.scopes() if not scope.startswith(f"{KEEP}:")]
    verdict.check(
        f"every scope but {KEEP}:… has ended, also that of the upload that nobody came back for",
        not rest,
        rest,
    )
    stats = store.stats()
    verdict.check(
        "no lease is left, and nothing waits to be deleted",
        stats.leases == 0 and stats.condemned == 0 and not stats.failed,
        stats,
    )
    verdict.check(f"what was to be kept is there, each once: {keeps} files", len(kept) == keeps, kept)
    with open_media(played.folder, ahead=2 * NET) as later:
        swept = later.sweep()
        there = {entry.ref for entry in later.entries()}
        verdict.check(
            "two days later a sweep finds nothing to do, and what was kept is there and whole",
            swept == SweepReport()
            and there == {entry.ref for entry in kept}
            and all(_is_kept(entry, later.read_bytes(entry.ref)) for entry in kept),
            swept,
        )
        report = later.reconcile(deep=True)
        verdict.check("the books and the disk agree, byte for byte", report.clean, report.findings)
    named = {entry.path for entry in kept}
    on_disk = {path for path in (played.folder / "store" / "blobs").rglob("*") if path.is_file()}
    verdict.check(
        f"nothing else is on disk: {len(on_disk)} files",
        on_disk == named,
        sorted(map(str, on_disk - named)),
    )


def _is_as_expected(shown: Shown | None, saying: Saying) -> bool:
    return (
        shown is not None
        and shown.chat == saying.chat
        and saying.hears in shown.text
        and "media://" not in shown.text
        and tuple(kind for kind, _ in shown.media) == saying.gets
        and all(_opens(kind, data) for kind, data in shown.media)
    )


def _is_kept(entry: Entry, data: bytes) -> bool:
    """Return whether it is what its user wanted to keep: bob his sticker, and ann her card."""
    if entry.scope.startswith(f"{KEEP}:bob:"):
        return data == (SAMPLES / "sticker.webp").read_bytes()
    return entry.meta.source == "tool:draw" and _opens("image/png", data)


def _opens(content_type: str, data: bytes) -> bool:
    """Return whether bytes are a picture, or a voice note that one hears."""
    if content_type == "image/png":
        from PIL import Image

        with Image.open(io.BytesIO(data)) as picture:
            picture.load()
            return picture.format == "PNG"
    with wave.open(io.BytesIO(data)) as voice:
        return voice.getnframes() > voice.getframerate() // 2


def _is_released(store: MediaStore, ref: str) -> bool:
    try:
        store.resolve(ref)
    except RefReleased:
        return True
    return False
