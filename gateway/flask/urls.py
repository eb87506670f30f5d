"""`url_for` across both sides: a page that links to a moved one need not know that it moved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import has_request_context, request

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

    NativeUrl = Callable[[str, dict[str, Any]], str | None]

_MARK = "_gateway_urls"


def install(app: Flask, native_url: NativeUrl) -> None:
    """Let `flask.url_for` find native routes by name, where Flask has no such endpoint.

    Through `url_build_error_handlers`, as Flask documents for endpoints of another app.
    """
    if _MARK in vars(app):
        return

    def build(error: Exception, endpoint: str, values: dict[str, Any]) -> str:
        path = native_url(endpoint, {k: v for k, v in values.items() if not k.startswith("_")})
        if path is None:
            raise error
        root = request.root_path if has_request_context() else ""
        anchor = values.get("_anchor")
        whole = root + path + (f"#{anchor}" if anchor else "")
        if values.get("_external") and has_request_context():
            return request.host_url.rstrip("/") + whole
        return whole

    setattr(app, _MARK, True)
    app.url_build_error_handlers.append(build)
