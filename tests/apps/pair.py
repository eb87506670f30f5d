"""A small pair of apps that the configurations under `tests/configs` are about."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI
from flask import Blueprint, Flask, abort, session

legacy = Flask("pair")
billing = Blueprint("billing", __name__, url_prefix="/billing")


@legacy.get("/items/")
def list_items() -> str:
    return "items"


@legacy.post("/items/")
def create_item() -> str:
    return "created"


@legacy.get("/users/<int:user_id>")
def show_user(user_id: int) -> str:
    return f"user {user_id}"


@billing.get("/invoices")
def invoices() -> str:
    return "invoices"


@billing.get("/totals")
def totals() -> str:
    return "totals"


legacy.register_blueprint(billing)

native = FastAPI()
router = APIRouter(tags=["v2"])


@router.get("/items/")
def native_items() -> str:
    return "items"


@router.get("/users/{user_id}")
def native_user(user_id: int) -> str:
    return f"user {user_id}"


@router.get("/billing/invoices")
def native_invoices() -> str:
    return "invoices"


@router.get("/only-native")
def only_native() -> str:
    return "native"


native.include_router(router)


def make_legacy() -> Flask:
    """Return the legacy app, as a factory does."""
    return legacy


def make_with_arguments(settings: dict[str, str]) -> Flask:
    """Need what no import string can give."""
    raise AssertionError(settings)


def make_broken() -> Flask:
    """Fail as a factory that misses its settings does."""
    settings: dict[str, str] = {}
    return Flask(settings["DATABASE_URL"])


self_guarding = Flask(__name__)


def guarded(**_: Any) -> str:
    if session.get("user") is None:
        abort(401)
    return "yours"


self_guarding.add_url_rule("/items/", "items", guarded)
self_guarding.add_url_rule("/users/<int:user_id>", "user", guarded)
