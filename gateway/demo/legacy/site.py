"""The home page, and the page that load balancers ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import jsonify, render_template

from gateway.demo.legacy import db
from gateway.demo.legacy.blueprints import site
from gateway.demo.shop.catalog import list_items

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue


@site.get("/")
def home() -> ResponseReturnValue:
    """Show some of what there is to buy."""
    return render_template("home.html", page=list_items(db.session(), page=1, per_page=8))


@site.get("/health")
def health() -> ResponseReturnValue:
    """Say that the process answers; needs no login and no database."""
    return jsonify(status="ok")
