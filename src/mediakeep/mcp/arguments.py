"""What tools take, as models: they check it, and their schema is what clients are shown."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from mediakeep.mcp.links import MAX_SECONDS
from mediakeep.mcp.telling import UUID

Ref = Annotated[str, Field(pattern=f"^media://{UUID}$", description="The ref: media:// and a UUID.")]
Scope = Annotated[
    str | None,
    Field(max_length=1024, description="This server's scope, which is the default, or one below it."),
]
Ttl = Annotated[
    float | None,
    Field(
        gt=0, le=36_525 * 86_400, description="Seconds that the ref lives; else until its scope ends."
    ),
]
Filename = Annotated[str, Field(max_length=1024, description="A name for people.")]
ContentType = Annotated[
    str, Field(max_length=255, description="What it is, such as image/png; what the bytes show counts.")
]
Path = Annotated[
    str, Field(max_length=4096, description="A path in this server's folders, or relative to the first.")
]


class Arguments(BaseModel):
    """What all of them have in common: nothing that is not known is taken."""

    model_config = ConfigDict(extra="forbid")


class Listing(Arguments):
    """Which media to list."""

    scope: Scope = None
    type: Annotated[
        str | None, Field(max_length=255, description="Only this content type: image/png, or image/*.")
    ] = None
    name: Annotated[
        str | None, Field(max_length=255, description="Only names that have this in them, in any case.")
    ] = None
    limit: Annotated[int, Field(ge=1, le=200, description="How many at most.")] = 50
    cursor: Annotated[str | None, Field(max_length=8192, description="`next` of the page before.")] = (
        None
    )


class OneRef(Arguments):
    """One medium."""

    ref: Ref


class Looking(OneRef):
    """A picture, and how much of it."""

    size: Annotated[
        Literal[256, 512, 1024, 1568], Field(description="Pixels along its longer side, at most.")
    ] = 1024


class Saving(Arguments):
    """What to save: a data URL or a path, and what is said of it."""

    data_url: Annotated[str | None, Field(description="The bytes as a data: URL (RFC 2397).")] = None
    path: Annotated[Path | None, Field(description="The file to copy.")] = None
    filename: Filename = ""
    content_type: ContentType = ""
    scope: Scope = None
    ttl_seconds: Ttl = None


class Uploading(Arguments):
    """What is going to be uploaded."""

    filename: Filename = ""
    content_type: ContentType = ""
    scope: Scope = None
    ttl_seconds: Ttl = None


class Sharing(OneRef):
    """Where the new ref belongs."""

    scope: Annotated[str, Field(min_length=1, max_length=1024, description="Where the new ref belongs.")]
    ttl_seconds: Ttl = None


class Exporting(OneRef):
    """Where the copy goes."""

    directory: Annotated[Path, Field(description="A folder that exists.")] = "."


class Linking(OneRef):
    """How long the link lasts."""

    seconds: Annotated[int, Field(ge=1, le=MAX_SECONDS, description="How long it lasts.")] = 3600
