"""Error answers, equal to legacy's: `{"error": …}` where FastAPI would say `{"detail": …}`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi.responses import JSONResponse

from gateway.demo.shop.errors import DuplicateError, NotFoundError
from gateway.demo.shop.settings import UNAUTHORIZED

if TYPE_CHECKING:
    from fastapi import FastAPI, Request


class UnauthorizedError(Exception):
    """The request carries no token, or a wrong one."""


def install(app: FastAPI) -> None:
    """Register the handlers."""
    app.add_exception_handler(UnauthorizedError, _unauthorized)
    app.add_exception_handler(NotFoundError, _not_found)
    app.add_exception_handler(DuplicateError, _duplicate)


# `async` for all three: FastAPI would run plain functions in a thread, for nothing.
async def _unauthorized(request: Request, error: Exception) -> JSONResponse:
    del request, error
    return JSONResponse({"error": UNAUTHORIZED}, 401)


async def _not_found(request: Request, error: Exception) -> JSONResponse:
    del request
    return JSONResponse({"error": str(error)}, 404)


async def _duplicate(request: Request, error: Exception) -> JSONResponse:
    del request
    return JSONResponse({"error": str(error)}, 409)
