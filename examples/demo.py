"""A bot's turn as a story, on real media, with what is on disk before and after each act.

Run it with `make demo`, or `python examples/demo.py`. It works in a temporary folder that it removes.
The last act is a verdict that is computed from the disk; the exit code is 1 if anything is not as it
should be.
"""

import hashlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from rich.console import Console

from mediakeep import (
    CleanupPolicy,
    MediaMeta,
    MediaStore,
    RefExpired,
    RefReleased,
    UnknownRef,
    open_store,
)
from mediakeep.testing import FakeClock

SAMPLES = Path(__file__).resolve().parent / "media"
MAGIC = {
    "photo.jpg": (0, b"\xff\xd8\xff"),
    "voice.ogg": (0, b"OggS"),
    "invoice.pdf": (0, b"%PDF-"),
    "sticker.webp": (8, b"WEBP"),
    "clip.mp4": (4, b"ftyp"),
    "notes.docx": (0, b"PK\x03\x04"),
}

MESSAGE = "telegram:42:1001"
NEXT_MESSAGE = "telegram:42:1002"
TURN = "agent:turn:7"
ALBUM = "album:lake"
BORROWED = CleanupPolicy.FORGET_ONLY

out = Console(highlight=False, emoji=False, soft_wrap=True)


class Stage:
    """The folders of the demo, and the eye on them. It looks at the disk only, never at the store."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.downloads = root / "downloads"
        self.workspace = root / "workspace"
        self.store = root / "store"
        for folder in (self.downloads, self.workspace):
            folder.mkdir()
        self._names = {sha256(path): path.name for path in SAMPLES.iterdir()}

    def arrive(self, folder: Path, name: str) -> Path:
        """Copy a sample into one of the folders, as a channel or the user would."""
        return shutil.copyfile(SAMPLES / name, folder / name)

    def look(self) -> dict[tuple[str, str], int]:
        """Return folder, name and size of each media file; a blob's name is told from its bytes."""
        found = {}
        for folder in (self.downloads, self.workspace, self.store / "blobs"):
            for path in sorted(it for it in folder.rglob("*") if it.is_file()):
                name = path.name
                if folder.name == "blobs":
                    name = f"{path.parent.name}/{name[:4]}..  {self._names.get(sha256(path), '?')}"
                found[str(folder.relative_to(self.root)), name] = path.stat().st_size
        return found

    @contextmanager
    def act(self, number: int, title: str, *story: str) -> Iterator[None]:
        """Tell the story, let it happen, and show what it did on disk."""
        out.print(f"\n[bold]{number}. {title}[/bold]")
        for line in story:
            out.print(f"   {line}")
        before = self.look()
        yield
        self._show(before, self.look())

    def _show(self, before: dict[tuple[str, str], int], after: dict[tuple[str, str], int]) -> None:
        if before == after:
            out.print(f"   [dim]on disk: the same {len(after)} files before and after[/dim]")
            return
        out.print(f"   [dim]{'on disk, in bytes':<32}{'before':>10}{'after':>10}[/dim]")
        folders = dict.fromkeys(folder for folder, _ in sorted(before | after))
        for folder in folders:
            out.print(f"   [cyan]{folder}/[/cyan]")
            for key in sorted(before | after):
                if key[0] == folder:
                    out.print(f"     {key[1]:<30}{self._size(before, key)}{self._size(after, key)}")

    def _size(self, seen: dict[tuple[str, str], int], key: tuple[str, str]) -> str:
        return f"{seen[key]:>10,}" if key in seen else f"{'-':>10}"


class Verdict:
    """What should be so, and whether it is."""

    def __init__(self) -> None:
        self.wrong = 0

    def check(self, claim: str, holds: bool) -> None:
        """Print the claim and whether it holds."""
        self.wrong += not holds
        out.print(f"   {'[green]ok[/green]    ' if holds else '[bold red]WRONG[/bold red] '} {claim}")


def sha256(path: Path) -> str:
    """Return the digest of the bytes of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def is_sample(path: Path, name: str) -> bool:
    """Return whether `path` holds the sample `name`, byte for byte, with its format's signature."""
    offset, magic = MAGIC[name]
    start = path.read_bytes()[offset : offset + len(magic)]
    return start == magic and sha256(path) == sha256(SAMPLES / name)


def why_dead(store: MediaStore, ref: str) -> type[UnknownRef] | None:
    """Return the kind of error that looking up a dead ref raises, or None if it is live."""
    try:
        store.resolve(ref)
    except UnknownRef as error:
        return type(error)
    return None


def short(ref: str) -> str:
    """Return the ref as it fits into a line."""
    return f"{ref[:17]}.."


def main() -> int:
    """Play all acts; return the exit code."""
    root = Path(tempfile.mkdtemp(prefix="mediakeep-demo-"))
    try:
        return play(Stage(root))
    finally:
        shutil.rmtree(root)


def play(stage: Stage) -> int:
    """Play all acts on this stage; return the exit code."""
    clock = FakeClock()
    verdict = Verdict()
    refs: dict[str, str] = {}
    out.print("[bold]mediakeep: a bot's turn, on real media[/bold]")
    out.print("downloads/ is where the channel puts files, workspace/ is the user's own.")

    store = open_store(stage.store, clock=clock)

    story = (
        f"{MESSAGE}: a photo and a voice note, registered where they lie (store).",
        f"{NEXT_MESSAGE}: an invoice as a stream, whose bytes the store takes (put).",
        f"{TURN}: a tool's sticker, and a preview clip that lives 10 minutes (put).",
    )
    photo = stage.arrive(stage.downloads, "photo.jpg")
    voice = stage.arrive(stage.downloads, "voice.ogg")
    notes = stage.arrive(stage.workspace, "notes.docx")
    with stage.act(1, "Files arrive in three scopes", *story):
        refs["photo.jpg"] = store.store(photo, MediaMeta("photo.jpg", "image/jpeg", "telegram"), MESSAGE)
        refs["voice.ogg"] = store.store(voice, MediaMeta("voice.ogg", "audio/ogg", "telegram"), MESSAGE)
        with (SAMPLES / "invoice.pdf").open("rb") as stream:
            meta = MediaMeta("invoice.pdf", "application/pdf", "telegram")
            refs["invoice.pdf"] = store.put(stream, meta, NEXT_MESSAGE)
        drawn = (SAMPLES / "sticker.webp").read_bytes()
        meta = MediaMeta("sticker.webp", "image/webp", "tool:draw")
        refs["sticker.webp"] = store.put(drawn, meta, TURN)
        clip = (SAMPLES / "clip.mp4").read_bytes()
        meta = MediaMeta("clip.mp4", "video/mp4", "tool:film")
        refs["clip.mp4"] = store.put(clip, meta, TURN, ttl=timedelta(minutes=10))

    story = (
        f"The photo is shared into {ALBUM}: one file, which lives until both refs end.",
        "The user's own notes.docx is sent: borrowed (forget_only), so never deleted.",
    )
    with stage.act(2, "One is shared, one is borrowed", *story):
        refs["photo.jpg in the album"] = store.share(refs["photo.jpg"], ALBUM)
        refs["notes.docx"] = store.store(notes, MediaMeta("notes.docx", cleanup_policy=BORROWED), TURN)

    story = ("Messages carry refs. Whoever needs the bytes resolves one to a path, and reads.",)
    with stage.act(3, "Refs are resolved", *story):
        for name in MAGIC:
            path, meta = store.resolve_with_meta(refs[name])
            size = f"{path.stat().st_size:>6,} bytes, each as it was sent"
            verdict.check(f"{short(refs[name])}  {meta.filename:<13} {size}", is_sample(path, name))

    story = (
        f"{MESSAGE} is answered, so its scope is released. The voice note goes.",
        "The photo stays, because the album has a ref to it.",
    )
    with stage.act(4, "A scope is released", *story):
        store.release_all(MESSAGE)
    verdict.check("the voice note is gone from disk", not voice.exists())
    verdict.check("its ref says why: released", why_dead(store, refs["voice.ogg"]) is RefReleased)
    shared = store.resolve(refs["photo.jpg in the album"])
    verdict.check("the photo is intact", is_sample(shared, "photo.jpg"))

    story = (
        "The demo moves its own clock on by one hour; nothing has to wait for that.",
        "The sweep then ends what is past its time, and deletes the preview clip.",
    )
    with stage.act(5, "Time passes, and the sweep runs", *story):
        clock.advance(timedelta(hours=1))
        still_there = is_sample(store.resolve(refs["clip.mp4"]), "clip.mp4")
        swept = store.sweep()
        out.print(f"   sweep: {swept.expired} ref expired, {swept.deleted} file deleted")
    verdict.check("the clip was still there until the sweep", still_there)
    verdict.check("its ref says why: expired", why_dead(store, refs["clip.mp4"]) is RefExpired)

    story = ("The bot stops and starts again: the store is closed, and opened from its folder.",)
    with stage.act(6, "The store is reopened", *story):
        store.close()
        store = open_store(stage.store, clock=clock)
        for entry in store.entries():
            owned = "owned" if entry.owned else "borrowed"
            out.print(f"   {entry.scope:<18}{entry.meta.filename:<14}{short(entry.ref)}  {owned}")

    with store, stage.act(7, "Everybody is done", "All scopes that are left are released."):
        for scope in store.scopes():
            store.release_all(scope)

    out.print("\n[bold]Verdict, from what is on disk now[/bold]")
    verdict.check("the photo went with its last ref", not photo.exists())
    verdict.check("the user's own file, borrowed, is still there", is_sample(notes, "notes.docx"))
    kept = {("workspace", "notes.docx"): (SAMPLES / "notes.docx").stat().st_size}
    verdict.check("nothing else is left: no file, no blob, no leftover", stage.look() == kept)
    if verdict.wrong:
        out.print(f"[bold red]{verdict.wrong} of these are not as they should be.[/bold red]")
        return 1
    out.print("[bold green]All as it should be.[/bold green]")
    return 0


if __name__ == "__main__":
    sys.exit(main())
