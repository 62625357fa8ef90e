"""Make the screenshots of the dashboard in docs/img, of a demo store, with Debian's Chromium.

    PYTHONPATH=src .venv/bin/python tools/screenshots.py

The pictures in it are drawn here; sound, video and documents are those of examples/media.
"""

import asyncio
import colorsys
import io
import math
import random
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import uvicorn
from PIL import Image, ImageDraw, ImageFilter
from playwright.sync_api import Page, sync_playwright

from mediakeep import Entry, MediaMeta, MediaStore, open_store
from mediakeep.catalogs import Use
from mediakeep.http import ServerConfig, Tokens, create_app
from mediakeep.http.connection import options
from mediakeep.http.dashboard import breakdowns, samples
from mediakeep.http.dashboard.breakdowns import EVERY_SECONDS, SLOTS, Breakdowns
from mediakeep.http.dashboard.samples import MINUTES, Samples

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "img"
MEDIA = ROOT / "examples" / "media"
MOST_BYTES = 300_000
CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
DAY = 86_400.0
IS_WHOLE = """[...document.images].every(
    (it) => it.complete || it.getBoundingClientRect().top > innerHeight || !it.offsetParent
)"""


def main() -> None:
    """Serve a demo store and take the pictures."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES
    with tempfile.TemporaryDirectory() as folder, open_store(f"{folder}/store", fsync=False) as store:
        config = ServerConfig(store=f"{folder}/store", sweep_seconds=0)
        state = Path(config.store, "server")
        fill(store)
        token, _ = Tokens(state / "tokens.json").create(["*"], ["read", "write", "release"], name="demo")
        listener = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(create_app(store, config), **options(config)))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
        thread.start()
        held = next(it for it in store.entries("telegram:42:7") if it.meta.filename == "harbour.jpg")
        try:
            with store.lease(held.ref):
                address = f"http://127.0.0.1:{listener.getsockname()[1]}"

                def warmed() -> None:
                    remember(Samples(state / samples.FILE), store._catalog.use())
                    remember_parts(Breakdowns(state / breakdowns.FILE), list(store.entries()))

                take(address, token, held.ref, target, warmed)
        finally:
            server.should_exit = True
            thread.join()


def take(address: str, token: str, ref: str, target: Path, warmed: Callable[[], None]) -> None:
    """Take a picture of each page: light, dark, and as on a phone."""
    media = f"/media/{ref.removeprefix('media://')}"
    shots = {
        "overview": ("/", "light", (1280, 860)),
        "overview-dark": ("/", "dark", (1280, 860)),
        "gallery": ("/gallery?scope=telegram", "light", (1280, 860)),
        "gallery-dark": ("/gallery", "dark", (1280, 860)),
        "media": (media, "light", (1280, 860)),
        "media-dark": (media, "dark", (1280, 860)),
        "upload": ("/upload?scope=telegram:42:7", "light", (1280, 700)),
        "login": ("/login", "light", (1280, 700)),
        "phone-overview": ("/", "light", (390, 844)),
        "phone-gallery": ("/gallery", "light", (390, 844)),
        "phone-media": (media, "dark", (390, 844)),
    }
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as profile:
        browser = playwright.chromium.launch_persistent_context(
            profile, executable_path=CHROMIUM, args=FLAGS
        )
        page = browser.pages[0]
        page.goto(f"{address}/login")
        snap(page, target / "dashboard-login.png", shots["login"])
        page.fill("#token", token)
        page.click("button[type=submit]")
        # Thumbnails are files, too: once they are there the store no longer grows while it is looked at.
        for where in ("/gallery", media, "/"):
            page.set_viewport_size({"width": 1280, "height": 4000})
            page.goto(address + where)
            settle(page)
        warmed()
        for name, shot in shots.items():
            if name == "login":
                continue
            page.emulate_media(color_scheme=shot[1])
            page.set_viewport_size({"width": shot[2][0], "height": shot[2][1]})
            page.goto(address + shot[0])
            snap(page, target / f"dashboard-{name}.png", shot)
        browser.close()


def snap(page: Page, path: Path, shot: tuple[str, str, tuple[int, int]]) -> None:
    """Write what the page shows, once it is all there."""
    page.set_viewport_size({"width": shot[2][0], "height": shot[2][1]})
    settle(page)
    data = page.screenshot()
    image = Image.open(io.BytesIO(data)).convert("RGB")
    kept = io.BytesIO()
    image.save(kept, "PNG", optimize=True)
    if kept.tell() >= MOST_BYTES:
        kept = io.BytesIO()
        image.quantize(256).save(kept, "PNG", optimize=True)
    path.write_bytes(kept.getvalue())
    print(path.name, f"{path.stat().st_size // 1000} kB")


def settle(page: Page) -> None:
    """Wait until all pictures that can be seen are there."""
    until = time.monotonic() + 10
    while time.monotonic() < until and not page.evaluate(IS_WHOLE):
        page.wait_for_timeout(50)
    page.wait_for_timeout(500)


# -- the demo store


def fill(store: MediaStore) -> None:
    """Put what two bots and some tools might have."""
    chance = random.Random(11)
    names = ["harbour.jpg", "dunes.jpg", "north-ridge.jpg", "evening.jpg", "lake.jpg", "first-snow.jpg"]
    for number, name in enumerate(names):
        ttl = [5_400, 2 * DAY, None, 7 * DAY, 600, None][number]
        ref = store.put(
            landscape(number), MediaMeta(name, "image/jpeg", "telegram"), "telegram:42:7", ttl=ttl
        )
        if number == 0:
            store.share(ref, "agent:turn:118")
            store.share(ref, "tool:image-gen")
    for number in range(6, 22):
        scope = chance.choice(["telegram:42:8", "telegram:77:3", "discord:lab:12", "tool:image-gen"])
        name = f"sketch-{number:02}.jpg" if scope.startswith("tool") else f"photo_{number:04}.jpg"
        ttl = chance.choice([None, DAY, 3 * DAY])
        store.put(landscape(number), MediaMeta(name, "image/jpeg", scope.split(":")[0]), scope, ttl=ttl)
    kinds = {
        "voice.ogg": ("audio/ogg", "telegram:42:7"),
        "jingle.mp3": ("audio/mpeg", "discord:lab:12"),
        "clip.mp4": ("video/mp4", "telegram:42:8"),
        "invoice.pdf": ("application/pdf", "email:inbox:9"),
        "notes.docx": ("", "email:inbox:9"),
        "wave.gif": ("image/gif", "telegram:77:3"),
        "diagram.png": ("image/png", "tool:image-gen"),
    }
    for name, (kind, scope) in kinds.items():
        data = (MEDIA / name).read_bytes()
        store.put(
            data, MediaMeta(name, kind, scope.split(":")[0]), scope, ttl=chance.choice([None, 5 * DAY])
        )
    store.put(
        b"Ferries at 9:40 and 17:05.\n",
        MediaMeta("notes.txt", "text/plain", "tool:web"),
        "agent:turn:118",
    )
    ref = store.put(b"day,visits\n", MediaMeta("export.csv", "text/csv"), "agent:turn:90")
    stuck = store.resolve(ref)
    stuck.unlink()
    (stuck / "in the way").mkdir(parents=True)
    store.release(ref)


def remember(kept: Samples, use: Use) -> None:
    """Make up a week: busy days, quiet nights, and sweeps."""
    chance = random.Random(4)
    now, level, levels = time.time(), 0.5, []
    for back in range(MINUTES - 1, -1, -1):
        hour = (now - back * 60) % DAY / 3600
        level += max(0.0, math.sin((hour - 6) / 24 * 2 * math.pi)) * chance.random() * 0.0011
        if back % 360 == 200:
            level *= 0.87
        levels.append(level)
    for back, level in zip(range(MINUTES - 1, -1, -1), levels, strict=True):
        kept._clock = lambda back=back: now - back * 60
        part = level / levels[-1]
        kept.add(Use(round(use.files * part), round(use.size * part)))


def remember_parts(kept: Breakdowns, entries: list[Entry]) -> None:
    """Make up the same week by scope and by type: each has busy hours of its own."""
    now = time.time()
    levels: dict[str, tuple[int, int]] = {}
    sorts: dict[str, tuple[int, int]] = {}
    for it in entries:
        parts = (levels, it.scope.partition(":")[0]), (sorts, it.meta.content_type.partition("/")[0])
        for of, name in parts:
            refs, size = of.get(name, (0, 0))
            of[name] = (refs + 1, size + it.size)

    def once(parts: dict[str, tuple[int, int]], days: float) -> dict[str, tuple[int, int]]:
        then = {}
        for number, (name, (refs, size)) in enumerate(sorted(parts.items())):
            phase = number * 1.3 + 1
            turn = 2 * math.pi * days * (1 + number % 3 / 4)
            part = max(0.0, 1 + 0.6 * (math.sin(phase - turn) - math.sin(phase)))
            then[name] = (round(refs * part), round(size * part))
        return then

    for back in range(SLOTS - 1, -1, -1):
        kept._clock = lambda back=back: now - back * EVERY_SECONDS
        days = back * EVERY_SECONDS / DAY
        kept.add(once(levels, days), once(sorts, days))


def landscape(number: int, width: int = 1200, height: int = 900) -> bytes:
    """Draw a sky, a sun and hills, each time others."""
    chance = random.Random(number * 7919 + 3)
    hue = chance.choice((0.02, 0.06, 0.55, 0.58, 0.6, 0.63, 0.9, 0.95)) + chance.uniform(-0.02, 0.02)
    sky = Image.new("RGB", (1, 64))
    for y in range(64):
        part = y / 63
        colour = colorsys.hsv_to_rgb((hue + 0.05 * part) % 1, 0.5 - 0.36 * part, 0.75 + 0.22 * part)
        sky.putpixel((0, y), tuple(round(it * 255) for it in colour))
    image = sky.resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    x, y, r = (
        chance.uniform(0.2, 0.8) * width,
        chance.uniform(0.2, 0.45) * height,
        chance.uniform(40, 90),
    )
    draw.ellipse((x - r, y - r, x + r, y + r), fill=(255, 246, 222))
    image = image.filter(ImageFilter.GaussianBlur(2))
    draw = ImageDraw.Draw(image)
    layers = chance.randint(4, 6)
    for layer in range(layers):
        depth = (layer + 1) / layers
        base = height * (0.45 + 0.45 * depth)
        waves = [
            (
                chance.uniform(0.6, 4),
                chance.uniform(0, 6.28),
                chance.uniform(18, 90) * (1.2 - depth * 0.6),
            )
            for _ in range(4)
        ]
        ridge = [
            (at, base - sum(a * math.sin(f * at / width * 6.28 + p) for f, p, a in waves))
            for at in range(0, width + 8, 8)
        ]
        colour = colorsys.hsv_to_rgb(
            0.56 + 0.16 * (hue % 0.3) + 0.01 * layer, 0.18 + 0.34 * depth, 0.74 - 0.58 * depth
        )
        fill_with = tuple(round(it * 255) for it in colour)
        draw.polygon([*ridge, (width, height), (0, height)], fill=fill_with)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=88)
    return file.getvalue()


if __name__ == "__main__":
    main()
