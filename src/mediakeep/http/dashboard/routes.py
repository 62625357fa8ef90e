"""Where the window's pages are, and what they do while nobody looks."""

import asyncio
import logging
import time
from functools import partial

from starlette.routing import BaseRoute, Route

from mediakeep.errors import MediaError
from mediakeep.http.config import ServerConfig
from mediakeep.http.dashboard import breakdowns, samples
from mediakeep.http.dashboard.breakdowns import Breakdowns
from mediakeep.http.dashboard.census import Census
from mediakeep.http.dashboard.gallery import show_gallery, show_upload
from mediakeep.http.dashboard.login import log_in, log_out, show_login
from mediakeep.http.dashboard.media import show_media
from mediakeep.http.dashboard.overview import parts_of, show_overview
from mediakeep.http.dashboard.pages import Resource, Static, Window
from mediakeep.http.dashboard.samples import Samples
from mediakeep.http.grants import EVERYTHING
from mediakeep.http.service import Service

logger = logging.getLogger("mediakeep.http")

SAMPLE_SECONDS = 60.0
LEAST_SECONDS = 240.0
SHARE = 60
"""Parts are counted so many times as rarely as it takes, and every LEAST_SECONDS at most."""


def make_window(service: Service, config: ServerConfig) -> Window:
    """Return the window of one worker."""
    state = config.state_folder()
    return Window(
        service,
        Census(service),
        Samples(None if state is None else state / samples.FILE),
        Breakdowns(None if state is None else state / breakdowns.FILE),
    )


def routes(window: Window) -> list[BaseRoute]:
    """Return where its pages are."""
    guarded = {
        "/": {"GET": show_overview},
        "/gallery": {"GET": show_gallery},
        "/upload": {"GET": show_upload},
        "/media/{id}": {"GET": show_media},
    }
    others = {"/login": {"GET": show_login, "POST": log_in}, "/logout": {"POST": log_out}}
    return [
        *(Route(path, Resource(window, path, them)) for path, them in guarded.items()),
        *(Route(path, Resource(window, path, them, guarded=False)) for path, them in others.items()),
        Route("/static/{version}/{name}", Static(window)),
    ]


async def keep_samples(window: Window) -> None:
    """Write down every minute how much the store has, until cancelled; now and then also by parts."""
    service = window.service

    def sample() -> None:
        window.samples.add(service.store._catalog.use())

    counted_at, took = time.monotonic(), 0.0
    while True:
        try:
            await service.read(sample)
            # That costs in proportion to what there is: the more, the less often.
            if time.monotonic() - counted_at > max(LEAST_SECONDS, SHARE * took):
                if await service.read(window.breakdowns.is_due):
                    count = await window.census.count(EVERYTHING)
                    if count is not None:
                        took = count.took
                        await service.read(partial(window.breakdowns.add, *parts_of(count)))
                counted_at = time.monotonic()
        except Exception as error:  # the next minute is another one
            quiet = isinstance(error, MediaError | OSError)
            logger.warning(
                "how much the store has could not be written down: %s",
                error,
                exc_info=None if quiet else error,
            )
        # A little after the minute begins, so that none is left out.
        await asyncio.sleep(SAMPLE_SECONDS - time.time() % SAMPLE_SECONDS + 1)
