"""Pages: what is asked of one becomes HTML, also where something goes wrong."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.types import Receive, Scope, Send

from mediakeep import __version__
from mediakeep.errors import MediaError
from mediakeep.http.access import NOBODY, authenticate, is_open
from mediakeep.http.answers import Headers
from mediakeep.http.dashboard import words
from mediakeep.http.entries import id_of
from mediakeep.http.grants import Right
from mediakeep.http.problems import TITLES, Problem, problem_of
from mediakeep.http.service import Call, Service
from mediakeep.images.posters import may_have_poster

if TYPE_CHECKING:
    from mediakeep.http.dashboard.breakdowns import Breakdowns
    from mediakeep.http.dashboard.census import Census
    from mediakeep.http.dashboard.samples import Samples

Handler = Callable[["Window", Call], Awaitable["Page"]]

CSP = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; "
    b"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Nothing stands in a page that could run: not even what slipped through the escaping."""

_ALWAYS: Headers = [
    (b"content-type", b"text/html; charset=utf-8"),
    (b"content-security-policy", CSP),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
    (b"cache-control", b"no-store"),
]

_TYPES = {
    ".svg": b"image/svg+xml",
    ".css": b"text/css; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
}


@dataclass(slots=True)
class Page:
    """A template with its values, or with an empty name a redirection by `headers`."""

    template: str
    values: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200
    headers: Headers = field(default_factory=list)


def redirect(where: str, *headers: tuple[bytes, bytes]) -> Page:
    """Return the page that leads to another one of the server's."""
    return Page("", {}, 303, [(b"location", where.encode()), *headers])


class Window:
    """What all pages share."""

    def __init__(
        self, service: Service, census: "Census", samples: "Samples", breakdowns: "Breakdowns"
    ) -> None:
        self.service = service
        self.census = census
        self.samples = samples
        self.breakdowns = breakdowns
        folder = files("mediakeep.http.dashboard") / "static"
        self.assets = {it.name: it.read_bytes() for it in folder.iterdir() if it.is_file()}
        digest = hashlib.sha256(b"".join(self.assets[name] for name in sorted(self.assets)))
        self.version = digest.hexdigest()[:12]
        self._templates = Environment(
            loader=PackageLoader("mediakeep.http.dashboard"),
            autoescape=True,
            undefined=StrictUndefined,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {
            name.removesuffix("_words"): getattr(words, name)
            for name in vars(words)
            if name.endswith("_words")
        } | {
            "id": id_of,
            "kind": words.kind_of,
            "has_poster": may_have_poster,
            "query": urlencode,
        }
        self._templates.globals |= {"version": __version__, "FAMILIES": words.FAMILIES, "Right": Right}

    def html(self, call: Call, page: Page) -> bytes:
        """Return a page as it is sent."""
        root = call.scope.get("root_path", "")
        text = self._templates.get_template(page.template).render(
            root=root,
            assets=f"{root}/static/{self.version}",
            grant=call.grant,
            is_open=is_open(self.service),
            path=call.scope["path"].removeprefix(root),
            **page.values,
        )
        return text.encode(errors="replace")


class Resource:
    """One path of the window, as an ASGI application; `guarded` ones need a token or session."""

    __slots__ = ("_guarded", "_handlers", "_path", "_window")

    def __init__(
        self, window: Window, path: str, handlers: Mapping[str, Handler], *, guarded: bool = True
    ) -> None:
        self._window = window
        self._path = path
        self._handlers = handlers
        self._guarded = guarded

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the page, or one that says why there is none."""
        scope["mediakeep.route"] = self._path
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        service = self._window.service
        call = Call(service, scope, receive, send, NOBODY, self._path, scope.get("path_params", {}))
        scope["mediakeep.call"] = call
        handler = self._handlers.get(method)
        if handler is None:
            allow = ", ".join(self._handlers).encode()
            raise Problem(405, "MethodNotAllowed", "go back to the page before", [(b"allow", allow)])
        try:
            if self._guarded:
                call.grant = authenticate(service, call, Right.READ)
                service.throttles.admit(call.grant)
                call.require(Right.READ)
            page = await handler(self._window, call)
        except Problem as problem:
            if method == "POST" and not call.received:
                raise  # the edge knows what to do about a body that is still coming
            page = _refusal(call, problem)
        except MediaError as error:
            page = _refusal(call, problem_of(error, call.grant))
        body = self._window.html(call, page) if page.template else b""
        headers = [*_ALWAYS, *page.headers, (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": page.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


class Static:
    """Style sheets and modules, as an ASGI application; their address changes when one of them does."""

    __slots__ = ("_window",)

    def __init__(self, window: Window) -> None:
        self._window = window

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send one."""
        scope["mediakeep.route"] = "/static/{version}/{name}"
        asked = scope["path_params"]
        name = asked["name"]
        data = self._window.assets.get(name) if asked["version"] == self._window.version else None
        if data is None:
            raise Problem(404, "NotFound", "load the page again: it names what it needs")
        headers = [
            (b"content-type", _TYPES[name[name.rindex(".") :]]),
            (b"content-length", b"%d" % len(data)),
            (b"cache-control", b"public, max-age=31536000, immutable"),
            (b"x-content-type-options", b"nosniff"),
            (b"cross-origin-resource-policy", b"same-origin"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        body = b"" if scope["method"] == "HEAD" else data
        await send({"type": "http.response.body", "body": body})


def _refusal(call: Call, problem: Problem) -> Page:
    headers = call.headers
    comes_from_elsewhere = headers.get("sec-fetch-site", "none") in ("cross-site", "same-site")
    if (
        problem.status in (401, 403)
        and comes_from_elsewhere
        and headers.get("sec-fetch-mode") == "navigate"
        and call.scope["method"] == "GET"
    ):
        # Who follows a link of another site comes without his session. From a page of ours he has it.
        return Page("arriving.html")
    if problem.status == 401 and call.scope["method"] in ("GET", "HEAD"):
        return redirect(f"{call.scope.get('root_path', '')}/login?{urlencode({'next': _asked(call)})}")
    values = {
        "title": TITLES[problem.error],
        "detail": problem.detail,
        "status": problem.status,
        "error": problem.error,
        "history": (),
    }
    return Page("problem.html", values, problem.status, list(problem.headers))


def _asked(call: Call) -> str:
    query: bytes = call.scope["query_string"]
    path = quote(call.scope["path"].removeprefix(call.scope.get("root_path", "")), safe="/:")
    return f"{path}?{query.decode('latin-1')}" if query else path
