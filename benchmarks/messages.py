"""Messages full of media: how fast they leave, and what it saves that pictures are changed once."""

import base64
import json
import random
import time
from collections.abc import Callable
from io import BytesIO

from PIL import Image

from benchmarks.measure import Line, Scale, interleaved, per_call, scratch
from mediakeep import open_store
from mediakeep.messages import externalize, inline

TREE_BYTES = 20_000_000
PICTURE_BYTES = 375_000
PHOTOS = 8


def history(pictures: list[bytes], content_type: str = "image/png") -> list[dict]:
    """Return a conversation that has a picture in every second message."""
    messages: list[dict] = []
    for n, data in enumerate(pictures):
        url = f"data:{content_type};base64,{base64.b64encode(data).decode()}"
        text = {"type": "text", "text": f"Picture {n}: what is in it? " * 10}
        image = {"type": "image_url", "image_url": {"url": url}}
        messages.append({"role": "user", "content": [text, image]})
        messages.append({"role": "assistant", "content": "It is a picture of noise. " * 20})
    return messages


def decode(text: str) -> int:
    """Do what nobody could do less: read the JSON, and decode the base64 of each picture."""
    size = 0
    for message in json.loads(text):
        for part in message["content"]:
            if type(part) is dict and part["type"] == "image_url":
                size += len(base64.b64decode(part["image_url"]["url"].partition(",")[2]))
    return size


def leaving(scale: Scale) -> Line:
    noise = random.Random(8)
    pictures = [noise.randbytes(PICTURE_BYTES) for _ in range(TREE_BYTES * 3 // 4 // PICTURE_BYTES)]
    messages = history(pictures)
    text = json.dumps(messages)
    with scratch() as folder, open_store(folder / "store", fsync=False, dedupe=False) as store:

        def ours() -> float:
            taken = per_call(lambda: externalize(messages, store, "chat"), 1)
            store.release_all("chat")
            return taken

        return Line(
            f"messages: `externalize` of a tree of {len(text) / 1e6:.0f} MB, fsync off, against "
            "`json.loads` and base64 decoding of the same",
            3.0,
            *interleaved(ours, lambda: per_call(lambda: decode(text), 1), scale.rounds),
            how=f"{len(pictures)} pictures of {PICTURE_BYTES:,} bytes in OpenAI's shape into a folder "
            "store: hashed and written to disk, too, which the other side does not do",
            scale=1e3,
            unit="ms",
        )


def again(scale: Scale) -> Line:
    """Measure the first `inline` of a history, and then the second one of the same."""
    first, second = [], []
    with scratch() as folder:
        for n in range(scale.long_rounds):
            photos = [_photo(n * PHOTOS + seed) for seed in range(PHOTOS)]
            with open_store(folder / str(n), fsync=False) as store:
                kept = externalize(history(photos, "image/bmp"), store, "chat")
                for times in (first, second):
                    start = time.perf_counter()
                    inline(kept, store, provider="anthropic")
                    times.append(time.perf_counter() - start)
    return Line(
        f"messages: a second `inline` of {PHOTOS} pictures that have to be converted, against the first",
        0.1,
        tuple(second),
        tuple(first),
        how="BMP of 3 megapixels for Anthropic, which takes none; the second time they are there",
        scale=1e3,
        unit="ms",
    )


def _photo(seed: int) -> bytes:
    """Return a picture with some detail, as a BMP."""
    small = Image.frombytes("RGB", (64, 48), random.Random(seed).randbytes(64 * 48 * 3))
    file = BytesIO()
    small.resize((2048, 1536), Image.Resampling.BICUBIC).save(file, "BMP")
    return file.getvalue()


LINES: dict[str, Callable[[Scale], Line | None]] = {
    "messages.externalize": leaving,
    "messages.inline_again": again,
}
