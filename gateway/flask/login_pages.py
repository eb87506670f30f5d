"""Where Flask-Login sends a caller whom it turns away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from flask import Flask

_READY = ("/", "http://", "https://")


def login_pages(app: Flask) -> frozenset[str]:
    """Return the paths of the app's login pages, of all its blueprints; empty without Flask-Login.

    `login_manager` is where Flask-Login's documentation has every app find it.
    """
    manager: Any = getattr(app, "login_manager", None)
    views = [getattr(manager, "login_view", None)]
    views += (getattr(manager, "blueprint_login_views", None) or {}).values()
    return frozenset(path for view in views if view and (path := _path(app, str(view))))


def _path(app: Flask, view: str) -> str:
    """Return the path of a view's rule, or of a URL as it is; empty where there is none."""
    if view.startswith(_READY):
        return urlsplit(view).path
    # A login page has no parameters; what hosts and prefixes come before it differs by request.
    rules = [each for each in app.url_map.iter_rules() if each.endpoint == view]
    return next((each.rule for each in rules if not each.arguments), "")
