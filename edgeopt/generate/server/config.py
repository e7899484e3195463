"""Options of the server."""

from __future__ import annotations

from pydantic import Field

from edgeopt.config import Options


class ServeConfig(Options):
    """Where the server listens, and its limits."""

    host: str = "127.0.0.1"
    """Address to listen on; the default is reachable from this machine alone."""
    port: int = Field(default=8000, ge=0, le=65535)
    """Port to listen on; 0: any free one."""
    api_key: str | None = None
    """Key that clients must send as ``Authorization: Bearer KEY``; none: every client that reaches the port may ask."""
    name: str | None = None
    """Name of the model in ``/v1/models``; default: its folder's."""
    streams: int = Field(default=8, ge=1, le=256)
    """Requests that are decoded as one batch."""
    queue: int = Field(default=64, ge=0)
    """Requests that may wait; more are refused with 429."""
    max_prompt_tokens: int | None = Field(default=None, ge=1)
    """Longest prompt; default: the model's context."""
    max_tokens: int = Field(default=1024, ge=1)
    """Longest answer, and its length where a request does not say."""
    time_limit_s: float = Field(default=300.0, gt=0)
    """Seconds after which an answer ends, the wait in the queue included."""
    grace_s: float = Field(default=30.0, ge=0)
    """Seconds that running requests get when the server is told to stop."""
    max_body_bytes: int = Field(default=4 << 20, ge=1024)
    """Largest request."""
    speculate: bool = False
    """Guess tokens from repeated words, for a request that is alone (n-gram speculation)."""
    temperature: float = Field(default=0.0, ge=0, le=100)
    """Temperature of requests that name none."""
