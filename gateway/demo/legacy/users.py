"""Users (S3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import jsonify, request

from gateway.demo.legacy import db
from gateway.demo.legacy.blueprints import users
from gateway.demo.legacy.errors import BadInputError
from gateway.demo.shop.users import add_user, find_user

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

    from gateway.demo.shop.models import User


@users.post("/user")
def create_user() -> ResponseReturnValue:
    """Store a new user."""
    payload = request.get_json()
    if not isinstance(payload, dict):
        raise BadInputError("this is no user")
    missing = [key for key in ("name", "email", "password") if not payload.get(key)]
    if missing:
        raise BadInputError(f"{missing[0]} is required")
    if not all(isinstance(payload[key], str) for key in ("name", "email", "password")):
        raise BadInputError("this is no user")
    user = add_user(db.session(), payload["name"], payload["email"], payload["password"])
    return jsonify(message="user created", id=user.id), 201


@users.get("/user/<int:user_id>")
def show_user(user_id: int) -> ResponseReturnValue:
    """Show one user.

    INTENDED FLAW (S3): the whole record goes out, the password's hash included. That is what the
    systems of our users do; the native handler doesn't. Don't copy this, and don't mend it here.
    """
    return jsonify(record(find_user(db.session(), user_id)))


def record(user: User) -> dict[str, Any]:
    """Return every column there is. New columns show up by themselves, and that is the flaw."""
    values = {column.name: getattr(user, column.name) for column in user.__table__.columns}
    return values | {"created_at": user.created_at.isoformat()}
