"""Error answers: JSON for the API and for what the shop refuses, Flask's own pages elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Flask, Response, jsonify, request

from gateway.demo.shop.errors import DuplicateError, NotFoundError

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue
    from werkzeug.exceptions import HTTPException


class BadInputError(Exception):
    """The client's JSON lacks something."""


def init_app(app: Flask) -> None:
    """Register the handlers."""
    app.register_error_handler(404, _http_error)
    app.register_error_handler(405, _http_error)
    app.register_error_handler(NotFoundError, lambda error: _refuse(error, 404))
    app.register_error_handler(DuplicateError, lambda error: _refuse(error, 409))
    app.register_error_handler(BadInputError, lambda error: _refuse(error, 400))


def _http_error(error: HTTPException) -> ResponseReturnValue:
    # An unknown URL belongs to no blueprint, so the path has to tell what the client expects.
    if not request.path.startswith("/api/"):
        return error
    response = Response.force_type(error.get_response(), request.environ)
    # The headers stay: a 405 without its Allow would be wrong.
    response.set_data(jsonify(error=error.name, status=error.code).get_data())
    response.mimetype = "application/json"
    return response


def _refuse(error: Exception, status: int) -> ResponseReturnValue:
    return jsonify(error=str(error)), status
