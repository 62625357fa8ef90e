"""Operations: what can be asked, with which right; declared once, for server and description."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Receive, Scope, Send

from mediakeep.http.access import authenticate, authenticate_link
from mediakeep.http.answers import Answer
from mediakeep.http.grants import Right
from mediakeep.http.inputs import Input, query_pairs, read_json, read_query
from mediakeep.http.links import PARAMETERS
from mediakeep.http.problems import Problem, bad_request
from mediakeep.http.service import Call, Service

LONGEST_SCOPE = 2000
"""In characters: a longer one would not fit into the head of a request, spelled in percents."""

Handler = Callable[[Call], Awaitable[Answer | None]]
"""Answers a call, or has sent its answer by itself."""


@dataclass(frozen=True, slots=True)
class Result:
    """One way in which an operation ends."""

    description: str
    schema: Mapping[str, Any] | None = None
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path.

    `right` is what a token must be allowed; None means that nobody has to show one. `body` are the
    members of a JSON object, None where there is no such body. An operation with `bytes_in` reads its
    body itself.
    """

    name: str
    method: str
    path: str
    summary: str
    handler: Handler
    right: Right | None
    results: Mapping[int, Result]
    query: Sequence[Input] = ()
    body: Sequence[Input] | None = None
    bytes_in: bool = False
    takes_links: bool = False
    problems: Sequence[int] = ()
    headers: Sequence[Input] = field(default=())
    """Header fields that the description tells of; the handler reads them."""


class Resource:
    """All operations of one path, as an ASGI application."""

    __slots__ = ("_allow", "_operations", "_service", "path")

    def __init__(self, service: Service, path: str, operations: Sequence[Operation]) -> None:
        self._service = service
        self.path = path
        self._operations = {it.method: it for it in operations}
        methods = {*self._operations, *(["HEAD"] if "GET" in self._operations else [])}
        self._allow = ", ".join(sorted(methods)).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have the operation of the request's method answer it."""
        scope["mediakeep.route"] = self.path
        method = scope["method"]
        operation = self._operations.get("GET" if method == "HEAD" else method)
        if operation is None:
            raise Problem(
                405,
                "MethodNotAllowed",
                f"{self.path} has no such method: there are {self._allow.decode()}",
                [(b"allow", self._allow)],
            )
        call = Call(self._service, scope, receive, send, grant=None, route=self.path)  # type: ignore[arg-type]
        scope["mediakeep.call"] = call
        call.path = scope.get("path_params", {})
        if len(call.path.get("scope", "")) > LONGEST_SCOPE:
            raise bad_request(f"a scope has at most {LONGEST_SCOPE} characters here")
        query = scope["query_string"]
        if operation.takes_links and b"signature=" in query:
            pairs = query_pairs(query)
            call.grant = authenticate_link(self._service, call, pairs)
            call.query = {it.name: it.default for it in operation.query if it.name not in PARAMETERS}
            call.query["download"] = pairs["disposition"] == "attachment"
            call.by_link = True
        else:
            call.grant = authenticate(self._service, call, operation.right)
            call.query = read_query(query, operation.query)
        if operation.right is not None:
            self._service.throttles.admit(call.grant, by_link=call.by_link)
            call.require(operation.right)
        if operation.body is not None:
            body = await call.read_body()
            kind = call.headers.get("content-type", "").partition(";")[0].strip().lower()
            if body and kind != "application/json":
                raise Problem(415, "TypeNotAllowed", "the body must be application/json")
            call.body = read_json(body, operation.body)
        answer = await operation.handler(call)
        if answer is not None:
            await answer.send(send, head=method == "HEAD")
