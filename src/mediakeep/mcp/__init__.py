"""An MCP server over a store: resources and tools for one scope, over stdio and streamable HTTP.

It speaks the Model Context Protocol (modelcontextprotocol.io) through its official SDK, in the versions
that this knows: with a handshake (2024-11-05 to 2025-11-25), and without (2026-07-28).
"""

try:
    from mcp.server.subscriptions import ListenHandler as _ListenHandler
except ImportError as error:
    raise ImportError(
        'mediakeep.mcp needs the MCP SDK, version 2: pip install "mediakeep[mcp]"'
    ) from error

from mediakeep.mcp.bounds import Bounds
from mediakeep.mcp.links import Links
from mediakeep.mcp.server import create_server
from mediakeep.mcp.serving import check_reach, http_app, serve_http, serve_stdio
from mediakeep.mcp.uploads import Uploads

del _ListenHandler

__all__ = (
    "Bounds",
    "Links",
    "Uploads",
    "check_reach",
    "create_server",
    "http_app",
    "serve_http",
    "serve_stdio",
)
