"""The tools that models may call: what they are, and how a call is checked and answered."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, CallToolResult, TextContent, Tool, ToolAnnotations
from pydantic import ValidationError

from mediakeep.errors import MediaError
from mediakeep.mcp.arguments import (
    Arguments,
    Exporting,
    Linking,
    Listing,
    Looking,
    OneRef,
    Saving,
    Sharing,
    Uploading,
)
from mediakeep.mcp.desk import Desk
from mediakeep.mcp.finding import describe_media, link_media, list_media, look_at_media
from mediakeep.mcp.giving import (
    export_media,
    make_upload_link,
    release_media,
    save_media,
    share_media,
)
from mediakeep.mcp.telling import Refused, clean, quoted, refusal


@dataclass(frozen=True, slots=True)
class _Offer:
    """One tool, and where it is offered."""

    name: str
    words: str
    arguments: type[Arguments]
    call: Callable[[Desk, Any], Awaitable[CallToolResult]]
    reads_only: bool = False
    destroys: bool = False
    here: Callable[[Desk], bool] = lambda _: True

    def described(self) -> Tool:
        hints = ToolAnnotations(
            read_only_hint=self.reads_only,
            destructive_hint=self.destroys,
            idempotent_hint=self.reads_only or self.destroys,
            open_world_hint=False,
        )
        schema = self.arguments.model_json_schema()
        schema.pop("description", None)  # of the model, for those who read its code
        return Tool(name=self.name, description=self.words, input_schema=schema, annotations=hints)


_OFFERS = (
    _Offer(
        "list_media",
        "List the media of this conversation, by scope and then by age: names, types, sizes, refs.",
        Listing,
        list_media,
        reads_only=True,
    ),
    _Offer(
        "describe_media",
        "Tell what is known of one medium: name, type, size, scope, when it was stored and expires.",
        OneRef,
        describe_media,
        reads_only=True,
    ),
    _Offer(
        "look_at_media",
        "See a picture: it comes as an image, made small enough. Choose the smallest size that will do.",
        Looking,
        look_at_media,
        reads_only=True,
    ),
    _Offer(
        "save_media",
        "Keep a file, from a data URL or from a path in this server's folders, and get its ref. A file "
        "at a path is copied, and stays. For more than a few kilobytes prefer a path, or "
        "make_upload_link if there is one.",
        Saving,
        save_media,
    ),
    _Offer(
        "make_upload_link",
        "Get a URL that takes one file by HTTP PUT, so that its bytes need not pass through a message.",
        Uploading,
        make_upload_link,
        here=lambda desk: desk.uploads is not None,
    ),
    _Offer(
        "link_media",
        "Get a URL from which anybody who has it can download the file for a while.",
        Linking,
        link_media,
        reads_only=True,
        here=lambda desk: desk.links is not None,
    ),
    _Offer(
        "share_media",
        "Make another ref of the same file in another scope, so that it lives until both have ended.",
        Sharing,
        share_media,
    ),
    _Offer(
        "export_media",
        "Copy the file into a folder under a name for people, and get its path. Nothing is overwritten.",
        Exporting,
        export_media,
    ),
    _Offer(
        "release_media",
        "End a ref for good. Its file is deleted when nothing else refers to it.",
        OneRef,
        release_media,
        destroys=True,
        here=lambda desk: desk.bounds.allow_release,
    ),
)


def tools(desk: Desk) -> list[Tool]:
    """Return the tools that are offered."""
    return [it.described() for it in _OFFERS if it.here(desk)]


async def call(desk: Desk, name: str, arguments: dict[str, Any]) -> CallToolResult:
    """Return what a tool answers; what it refuses is an answer too, which the model can mend.

    Raises:
        MCPError: there is no such tool here.
    """
    offer = next((it for it in _OFFERS if it.name == name and it.here(desk)), None)
    if offer is None:
        raise MCPError(INVALID_PARAMS, f"there is no tool {quoted(name[:100])}")
    try:
        return await offer.call(desk, offer.arguments.model_validate(arguments))
    except ValidationError as error:
        words = "; ".join(f"{'.'.join(map(str, it['loc']))}: {it['msg']}" for it in error.errors())
        return _failed(f"these arguments cannot be used: {clean(words)[:1000]}")
    except (MediaError, Refused, OSError, ValueError) as error:
        return _failed(refusal(error))


def _failed(words: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(text=words)], is_error=True)
