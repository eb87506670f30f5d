"""A `dispatch_request` that isn't Flask's own runs as ever; native answers where it calls the view.

It may guard, measure or try again, so that native may not answer in its place. Native answers only
where it goes on as Flask does: where it calls what `app.ensure_sync` makes of the view of the
matched endpoint, where it asks for the automatic answer to OPTIONS, or where it lets out the
routing exception that Flask's own would raise. One that calls views by itself keeps them.
"""

from __future__ import annotations

from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

from flask import request
from werkzeug.exceptions import HTTPException

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

    from gateway.flask.inside import Passport

    Method = Callable[..., Any]
    #: Returns the passport of the current request, while that request's dispatch runs.
    Bound = Callable[[], Passport | None]


def dispatch(
    app: Flask, original: Method, passport: Passport, other: str, args: tuple[Any, ...]
) -> Any:
    """Run `original`, which `other` names; native answers where that comes to the view.

    Raises what `original` raises, and what `Passport.stand_in` does.
    """
    if passport.dispatching:  # it calls itself once more
        return original(*args)
    passport.other = other
    try:
        passport.dispatching = True
        try:
            answer = original(*args)
        finally:
            passport.dispatching = False
    except HTTPException as error:
        # Flask would call no view, and say so: whoever else dispatches has let that pass.
        if error is not request.routing_exception or not passport.stands_in:
            raise
    else:
        passport.settle(app, other)
        return answer
    response = passport.stand_in(app)
    if response is None:
        raise request.routing_exception
    return response


def ensuring(app: Flask, original: Method, bound: Bound) -> Method:
    """Return `app.ensure_sync` with native in the place of the view that is about to be called."""

    def ensure_sync(func: Method) -> Method:
        ready: Method = original(func)
        passport = bound()
        if (
            passport is None
            or func is not app.view_functions.get(request.endpoint or "")
            or not passport.stands_in
        ):
            return ready
        against: str | None = None
        if ready is not func and not iscoroutinefunction(func):
            against = "an ensure_sync of the app's own puts something around the view"

        def view(*args: Any, **arguments: Any) -> Any:
            # Flask calls a view by names alone; what is given more is somebody's own.
            if args or bound() is not passport or not passport.stands_in:
                return ready(*args, **arguments)
            response = passport.stand_in(app, arguments, against)
            return ready(**arguments) if response is None else response

        return view

    return ensure_sync


def answering_options(app: Flask, original: Method, bound: Bound) -> Method:
    """Return `app.make_default_options_response` with native in its place where Flask calls it."""

    def make_default_options_response(*args: Any) -> Any:
        passport = bound()
        automatic = (
            passport is not None
            and request.method == "OPTIONS"
            and getattr(request.url_rule, "provide_automatic_options", False)
        )
        if passport is None or not automatic or not passport.stands_in:
            return original(*args)
        response = passport.stand_in(app)
        return original(*args) if response is None else response

    return make_default_options_response
