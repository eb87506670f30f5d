"""Server-side sessions and a login (S5): Flask-Session and Flask-Login.

Sessions are files below the demo's folder, or in Redis where GATEWAY_DEMO_REDIS names one.
"""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING, Any

from cachelib import BaseCache, FileSystemCache
from flask_login import LoginManager, UserMixin
from flask_session import Session

from gateway.demo.shop.database import folder

if TYPE_CHECKING:
    from datetime import timedelta

    from flask import Flask


class _Files(BaseCache):
    """cachelib's files, their folder made when the first session needs it and not before."""

    @cached_property
    def _files(self) -> FileSystemCache:
        sessions = folder() / "sessions"
        sessions.mkdir(mode=0o700, parents=True, exist_ok=True)
        if sessions.is_symlink() or sessions.stat().st_uid != os.geteuid():
            # They are pickles: whoever can put one there can run code here.
            message = f"{sessions} was made by somebody else: remove it, or set GATEWAY_DEMO_DB"
            raise PermissionError(message)
        return FileSystemCache(str(sessions))

    def get(self, key: str) -> Any:
        """Return a session's data, or None."""
        return self._files.get(key)

    def set(self, key: str, value: Any, timeout: int | timedelta | None = None) -> bool | None:
        """Keep a session's data for `timeout` seconds."""
        return self._files.set(key, value, timeout)

    def delete(self, key: str) -> bool:
        """Forget a session."""
        return self._files.delete(key)


class Clerk(UserMixin):  # type: ignore[misc] # untyped
    """Somebody of the staff; the name is the id."""

    def __init__(self, name: str) -> None:
        self.id = name


def init_app(app: Flask) -> None:
    """Set both up. Nothing is opened before the first request that has a session."""
    app.secret_key = os.environ.get("GATEWAY_DEMO_SECRET", "demo-secret")
    redis_url = os.environ.get("GATEWAY_DEMO_REDIS")
    if redis_url:
        from redis import Redis  # noqa: PLC0415 - only who uses it needs it

        app.config.update(SESSION_TYPE="redis", SESSION_REDIS=Redis.from_url(redis_url))
    else:
        app.config.update(SESSION_TYPE="cachelib", SESSION_CACHELIB=_Files())
    Session(app)
    LoginManager(app).user_loader(Clerk)
