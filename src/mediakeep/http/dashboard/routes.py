"""Where the window's pages are, and what they do while nobody looks."""

import asyncio
import logging
import time

from starlette.routing import BaseRoute, Route

from mediakeep.errors import MediaError
from mediakeep.http.config import ServerConfig
from mediakeep.http.dashboard.census import Census
from mediakeep.http.dashboard.gallery import show_gallery, show_upload
from mediakeep.http.dashboard.login import log_in, log_out, show_login
from mediakeep.http.dashboard.media import show_media
from mediakeep.http.dashboard.overview import show_overview
from mediakeep.http.dashboard.pages import Resource, Static, Window
from mediakeep.http.dashboard.samples import FILE, Samples
from mediakeep.http.service import Service

logger = logging.getLogger("mediakeep.http")

SAMPLE_SECONDS = 60.0


def make_window(service: Service, config: ServerConfig) -> Window:
    """Return the window of one worker."""
    state = config.state_folder()
    return Window(service, Census(service), Samples(None if state is None else state / FILE))


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
    """Write down every minute how much the store has, until cancelled."""
    service = window.service

    def sample() -> None:
        window.samples.add(service.store._catalog.use())

    while True:
        try:
            await service.read(sample)
        except Exception as error:  # the next minute is another one
            quiet = isinstance(error, MediaError | OSError)
            logger.warning(
                "how much the store has could not be written down: %s",
                error,
                exc_info=None if quiet else error,
            )
        # A little after the minute begins, so that none is left out.
        await asyncio.sleep(SAMPLE_SECONDS - time.time() % SAMPLE_SECONDS + 1)
