"""The staff's corner: who am I (S1), concurrent work (S2), login and a note in the session (S5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncer import syncify
from flask import jsonify, request, session
from flask_login import current_user, login_required, login_user, logout_user

from gateway.demo.legacy.blueprints import staff
from gateway.demo.legacy.errors import BadInputError
from gateway.demo.legacy.login import Clerk
from gateway.demo.shop.audit import actor, signature
from gateway.demo.shop.process import process_all

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue


@staff.before_request
def name_actor() -> None:
    """Note who acts, for utilities that don't know Flask."""
    actor.set(request.headers.get("X-Account", "nobody"))


@staff.get("/whoami")
def whoami() -> ResponseReturnValue:
    """Show the signature of whoever asks."""
    return jsonify(signature=signature())


@staff.post("/process/")
def process() -> ResponseReturnValue:
    """Process pairs of group and item side by side, by the coroutine that native awaits."""
    try:
        pairs = [(int(group), int(item)) for group, item in request.get_json()]
    except (TypeError, ValueError):
        raise BadInputError("pairs of group and item, please") from None
    done = syncify(process_all, raise_sync_error=False)(pairs)
    return jsonify(processed=done)


@staff.post("/login")
def login() -> ResponseReturnValue:
    """Log in; a single sign-on has already checked who it is."""
    name = str((request.get_json(silent=True) or {}).get("name", ""))
    if not name:
        raise BadInputError("name is required")
    login_user(Clerk(name))
    session["notes"] = []
    return jsonify(user=name)


@staff.post("/logout")
@login_required  # type: ignore[untyped-decorator]
def logout() -> ResponseReturnValue:
    """Log out, and forget the notes."""
    logout_user()
    session.clear()
    return jsonify(user=None)


@staff.get("/notes")
@login_required  # type: ignore[untyped-decorator]
def notes() -> ResponseReturnValue:
    """Show the notes of whoever is logged in."""
    return jsonify(user=current_user.id, notes=session.get("notes", []))


@staff.post("/notes")
@login_required  # type: ignore[untyped-decorator]
def add_note() -> ResponseReturnValue:
    """Add a note."""
    session["notes"] = [*session.get("notes", []), str(request.get_json()["text"])]
    return jsonify(user=current_user.id, notes=session["notes"]), 201
