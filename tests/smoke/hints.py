"""What is said where the packages of an extra are missing."""

import io
import logging
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path

MEDIA = Path(__file__).parents[2] / "examples" / "media"
HEIC = Path(__file__).parents[1] / "data" / "pictures" / "turned.heic"

EXTRAS: dict[str, tuple[str, ...]] = {
    "adk": ("anyio", "google.adk"),
    "agno": ("agno", "anyio"),
    "aio": ("anyio",),
    "cli": ("click", "platformdirs", "rich"),
    "client": ("httpcore2",),
    "documents": ("PIL", "pypdfium2"),
    "download": ("httpcore2", "httpx2"),
    "images": ("PIL", "pi_heif"),
    "langchain": ("anyio", "langchain_core", "langgraph"),
    "mcp": ("mcp",),
    "objects": ("botocore", "obstore"),
    "otel": ("opentelemetry",),
    "postgres": ("psycopg", "psycopg_pool"),
    "pydantic-ai": ("anyio", "pydantic_ai", "pydantic_ai_harness"),
    "server": (
        "anyio",
        "httptools",
        "jinja2",
        "prometheus_client",
        "python_multipart",
        "starlette",
        "uvicorn",
        "uvloop",
    ),
}
"""Each extra and what it lets one import."""

SILENT = {("otel", "opentelemetry"), ("server", "uvloop")}
"""What is used where it is, and not missed where it is not: nobody is to be told of it."""


@dataclass(frozen=True)
class Probe:
    """Does something that needs an extra, and takes what is said of it."""

    extra: str
    name: str
    say: Callable[[], str]
    modules: tuple[str, ...]
    """Which of them it needs, each."""
    beside: tuple[str, ...] = ()
    """What it needs of other extras to get there."""
    hint: str = ""
    """The extra that is named, if it is another one that brings the same module."""

    def check(self) -> None:
        """Raise if the extra is not named."""
        said = self.say()
        assert f'pip install "mediakeep[{self.hint or self.extra}]"' in said, f"said: {said}"

    def __str__(self) -> str:
        return f"{self.extra}: {self.name}"


def is_there(module: str) -> bool:
    """Return whether a module can be imported."""
    try:
        return find_spec(module) is not None
    except ImportError:
        return False


class Without(MetaPathFinder):
    """Finds what other finders find, but not `module` and what is in it."""

    def __init__(self, module: str, others: list[MetaPathFinder]) -> None:
        self.module = module
        self.others = others

    def find_spec(self, name, path=None, target=None):
        if f"{name}.".startswith(f"{self.module}."):
            return None
        found = (it.find_spec(name, path, target) for it in self.others)
        return next((spec for spec in found if spec is not None), None)

    def find_distributions(self, *context):
        return PathFinder.find_distributions(*context)


def hide(module: str) -> None:
    """Have it, from now on, not be installed in this process."""
    assert not any(f"{it}.".startswith(f"{module}.") for it in sys.modules), (
        f"{module} is imported already"
    )
    sys.meta_path[:] = [Without(module, list(sys.meta_path))]


def silently() -> None:
    """Keep logs and telemetry of frameworks out of what is read here."""
    os.environ |= {"AGNO_TELEMETRY": "false", "LANGSMITH_TRACING": "false"}
    logging.basicConfig(level=logging.ERROR)


# -- what can be said


def raised(work: Callable[[], object]) -> str:
    """Return the words of the ImportError, or of mediakeep's own error, that `work` raises."""
    from mediakeep.errors import MediaError

    try:
        work()
    except (ImportError, MediaError) as error:
        # What lacks a module of an extra must say so itself, and not leave it to Python.
        return f"{type(error).__name__}: {error}"
    return "nothing"


def imported(module: str) -> Callable[[], str]:
    return lambda: raised(lambda: import_module(module))


def commanded(*arguments: str) -> Callable[[], str]:
    """Return what the command says, which must be one line and no traceback."""

    def say() -> str:
        from mediakeep.cli import main

        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = main(arguments)
        assert code == 1, f"exit code {code}: {out.getvalue()} {err.getvalue()}"
        assert err.getvalue().count("\n") == 1, err.getvalue()
        return err.getvalue()

    return say


def _open(*where: str, **options: object) -> Callable[[], str]:
    def work() -> None:
        from mediakeep import open_store

        open_store(*where, **options).close()

    return lambda: raised(work)


def _download() -> str:
    from mediakeep import open_store
    from mediakeep.intake import download

    with open_store("memory:", blobs="bytes") as store:
        return raised(lambda: download("http://127.0.0.1:9/", store))


def _thumbnail(picture: Path) -> Callable[[], str]:
    def work() -> None:
        from mediakeep.images import thumbnail

        thumbnail(picture, 16)

    return lambda: raised(work)


def _poster(document: Path) -> Callable[[], str]:
    def work() -> None:
        from mediakeep.images import poster

        poster(document, 16)

    return lambda: raised(work)


def _inline() -> str:
    from mediakeep import open_store
    from mediakeep.messages import inline

    with open_store("memory:", blobs="bytes") as store:
        ref = store.put(HEIC, scope="a")
        message = {"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": ref}}]}
        said = str(inline([message], store, provider="anthropic"))
    # In a text for a model brackets are what the note itself stands in.
    return said.replace("mediakeep(images)", "mediakeep[images]")


def _create_app() -> str:
    def work() -> None:
        from mediakeep import open_store
        from mediakeep.http import create_app

        create_app(open_store("memory:", blobs="bytes"))

    return raised(work)


def _serve() -> str:
    def work() -> None:
        from mediakeep.http import serve

        assert callable(serve)

    return raised(work)


def _progress() -> str:
    """Begin a bar, as for a large file on a terminal."""
    from mediakeep.cli import _explain
    from mediakeep.cli.incoming import _progress

    try:
        with _progress(1, 1):
            return "nothing"
    except ImportError as error:
        return _explain(error)[1]


def _uploads_cut_off() -> str:
    """Look for uploads that were cut off; where that cannot be done the log says what to install."""
    from obstore.store import S3Store

    from mediakeep.blobs.uploads import unfinished

    class Remote:
        store = S3Store("bucket", region="us-east-1", skip_signature=True)
        url = "s3://bucket"

    said = io.StringIO()
    logger = logging.getLogger("mediakeep")
    logger.setLevel(logging.WARNING)
    logger.addHandler(logging.StreamHandler(said))
    logger.propagate = False
    assert list(unfinished(Remote())) == []
    return said.getvalue()


CLI = ("click", "platformdirs")
SERVER = (
    "anyio",
    "jinja2",
    "prometheus_client",
    "python_multipart",
    "starlette",
    "httptools",
    "uvicorn",
)
NOWHERE = "postgresql://nobody@127.0.0.1:9/none"

PROBES = (
    Probe("cli", "--version", commanded("--version"), ("click",)),
    Probe("cli", "the default store", commanded("ls"), ("click", "platformdirs")),
    Probe("cli", "a bar", _progress, ("rich",), CLI),
    Probe("client", "open_store(http://…)", _open("http://127.0.0.1:9"), ("httpcore2",)),
    Probe("client", "mediakeep.remote", imported("mediakeep.remote"), ("httpcore2",)),
    Probe("download", "download", _download, ("httpcore2", "httpx2")),
    Probe("aio", "mediakeep.aio", imported("mediakeep.aio"), ("anyio",)),
    Probe("images", "a JPEG", _thumbnail(MEDIA / "photo.jpg"), ("PIL",)),
    Probe("images", "a HEIC", _thumbnail(HEIC), ("PIL", "pi_heif")),
    Probe("images", "a HEIC for a model", _inline, ("PIL", "pi_heif")),
    Probe("documents", "a PDF", _poster(MEDIA / "invoice.pdf"), ("pypdfium2", "PIL")),
    Probe("postgres", "open_store(postgresql://…)", _open(NOWHERE, blobs="bytes"),
          ("psycopg", "psycopg_pool")),
    Probe("postgres", "the catalog", imported("mediakeep.catalogs.postgres"),
          ("psycopg", "psycopg_pool")),
    Probe("postgres", "mediakeep ls", commanded("ls", "--store", NOWHERE, "--blobs", "bytes"),
          ("psycopg", "psycopg_pool"), CLI),
    Probe("postgres", "mediakeep migrate", commanded("migrate", "--store", NOWHERE),
          ("psycopg", "psycopg_pool"), CLI),
    Probe("postgres", "mediakeep copy",
          commanded("copy", "--from", NOWHERE, "--from-blobs", "x", "--to", "y"),
          ("psycopg", "psycopg_pool"), CLI),
    Probe("objects", "open_store(blobs=s3://…)", _open("store", blobs="s3://bucket/a"), ("obstore",)),
    Probe("objects", "ObjectBlobs", imported("mediakeep.blobs.objects"), ("obstore",)),
    Probe("objects", "uploads cut off", _uploads_cut_off, ("botocore",), ("obstore",)),
    Probe("objects", "mediakeep put",
          commanded("put", str(MEDIA / "photo.jpg"), "--scope", "a", "--store", "s", "--blobs", "s3://b/p"),
          ("obstore",), CLI),
    Probe("server", "create_app", _create_app, SERVER[:-2]),
    Probe("server", "serve", _serve, SERVER[-2:]),
    Probe("server", "mediakeep serve", commanded("serve", "--store", "s", "--check-config"),
          SERVER, CLI),
    Probe("mcp", "mediakeep.mcp", imported("mediakeep.mcp"), ("mcp",)),
    Probe("mcp", "mediakeep mcp", commanded("mcp", "--scope", "a", "--store", "s"), ("mcp",), CLI),
    Probe("pydantic-ai", "the adapter", imported("mediakeep.integrations.pydantic_ai"),
          ("anyio", "pydantic_ai", "pydantic_ai_harness")),
    Probe("agno", "the adapter", imported("mediakeep.integrations.agno"), ("agno",)),
    Probe("agno", "its threads", imported("mediakeep.integrations.agno"), ("anyio",), ("agno",),
          hint="aio"),
    Probe("adk", "the adapter", imported("mediakeep.integrations.adk"), ("anyio", "google.adk")),
    Probe("langchain", "messages", imported("mediakeep.integrations.langchain"), ("langchain_core",)),
    Probe("langchain", "checkpoints", imported("mediakeep.integrations.langgraph"),
          ("anyio", "langchain_core", "langgraph")),
)  # fmt: skip
