"""The way in and out: a token in a form, or a one-time link, becomes a session."""

from functools import partial
from urllib.parse import parse_qs

from mediakeep.http.access import is_open
from mediakeep.http.dashboard.once import use_login
from mediakeep.http.dashboard.pages import Page, Window, redirect
from mediakeep.http.dashboard.sessions import begin_session, end_session, is_own_page, session_grant
from mediakeep.http.grants import Right
from mediakeep.http.problems import Problem
from mediakeep.http.service import Call

MAX_FORM_BYTES = 4096


async def show_login(window: Window, call: Call) -> Page:
    """Show the form, unless who comes is in already, or brings a one-time link."""
    service, root = window.service, call.scope.get("root_path", "")
    asked = parse_qs(call.scope["query_string"].decode("latin-1"))
    aim = _aim(asked.get("next", ["/"])[0])
    if is_open(service) or session_grant(service, call) is not None:
        return redirect(root + aim)
    if "once" in asked:
        state = service.config.state_folder()
        if state is None or service.tokens is None:
            return _form(aim, _USED, 403)
        used = partial(use_login, state, service.tokens, asked["once"][0])
        holder = await service.writes._offload.run(used)
        if holder is None:
            return _form(aim, _USED, 403)
        return redirect(f"{root}/", (b"set-cookie", begin_session(service, call, holder)))
    return _form(aim)


async def log_in(window: Window, call: Call) -> Page:
    """Begin a session, if the form has a token that is valid."""
    service = window.service
    _require_own_page(window, call)
    asked = parse_qs((await call.read_body(MAX_FORM_BYTES)).decode("utf-8", "replace"))
    aim = _aim(asked.get("next", ["/"])[0])
    if is_open(service) or service.tokens is None:
        return redirect(call.scope.get("root_path", "") + aim)
    grant = service.tokens.allow(asked.get("token", [""])[0].strip())
    if grant is None:
        return _form(aim, "That token is not valid here: it is mistyped, revoked, or has expired.", 401)
    if not grant.can(Right.READ):
        return _form(aim, "That token may not read, and these pages are for reading.", 403)
    cookie = begin_session(service, call, grant.holder)
    return redirect(call.scope.get("root_path", "") + aim, (b"set-cookie", cookie))


async def log_out(window: Window, call: Call) -> Page:
    """End the session of this browser."""
    _require_own_page(window, call)
    cookie = end_session(window.service, call)
    return redirect(
        f"{call.scope.get('root_path', '')}/login",
        (b"set-cookie", cookie),
        (b"clear-site-data", b'"cache"'),
    )


_USED = "That link has been used or is older than ten minutes. Sign in with a token, or serve again."


def _form(aim: str, error: str = "", status: int = 200) -> Page:
    return Page("login.html", {"next": aim, "error": error}, status)


def _require_own_page(window: Window, call: Call) -> None:
    if not is_own_page(window.service, call):
        raise Problem(403, "Forbidden", "a page of elsewhere may not do this: open the login page")


def _aim(asked: str) -> str:
    """Return the path of this server to go to; anything else than one is `/`."""
    plain = asked.isascii() and asked.isprintable() and "\\" not in asked and " " not in asked
    if plain and asked.startswith("/") and not asked.startswith("//"):
        return asked
    return "/"
