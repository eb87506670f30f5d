"""One database session per request, in `g`, closed when the application context ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from flask import Flask, g

from gateway.demo.shop.database import database

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


def init_app(app: Flask) -> None:
    """Close the session of every request."""
    app.teardown_appcontext(_close)


def session() -> Session:
    """Return this request's session; the first call opens it."""
    if "db" not in g:
        g.db = database().session()
    return cast("Session", g.db)


def _close(error: BaseException | None) -> None:
    del error
    opened = g.pop("db", None)
    if opened is not None:
        opened.close()
