"""The WSGI environ of a request, for what is asked of Flask outside of its own serving of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import HTTPException
from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from gateway.exceptions import BadRequest
from gateway.guards import middleware
from gateway.legacy import EnvironBuilder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_builder = EnvironBuilder()


def environ_of(app: Flask, scope: Mapping[str, Any]) -> dict[str, Any]:
    """Return the environ that the app would see of an HTTP request: all of it but the body.

    ProxyFix is applied as the app has it. What other middleware changes is not seen here: that
    runs once per request, around the app. Raises HTTPException 400 where the headers mean two
    things at once, as legacy would answer.
    """
    try:
        environ = _builder.build(dict(scope))
    except BadRequest as error:
        raise HTTPException(400, str(error)) from error
    if "wsgi_app" in vars(app) or type(app) is not Flask:
        for each in middleware(app):
            if isinstance(each, ProxyFix):
                environ = _fixed(each, environ)
    return environ


def _fixed(fix: ProxyFix, environ: dict[str, Any]) -> dict[str, Any]:
    seen: list[dict[str, Any]] = []

    def keep(environ: dict[str, Any], _: object) -> Iterable[bytes]:
        seen.append(environ)
        return ()

    again = ProxyFix(
        keep,
        x_for=fix.x_for,
        x_proto=fix.x_proto,
        x_host=fix.x_host,
        x_port=fix.x_port,
        x_prefix=fix.x_prefix,
    )
    again(environ, _no_answer)
    return seen[0]


def _no_answer(*_: object) -> Any:
    """Start no response: nothing is answered here."""
