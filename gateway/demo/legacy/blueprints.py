"""All blueprints in one place, so that the modules with the views can import them freely."""

from __future__ import annotations

from flask import Blueprint

site = Blueprint("site", __name__)
items = Blueprint("items", __name__, url_prefix="/items")
users = Blueprint("users", __name__)
orders = Blueprint("orders", __name__, url_prefix="/orders")
files = Blueprint("files", __name__, url_prefix="/files")
staff = Blueprint("staff", __name__)
builds = Blueprint("builds", __name__, url_prefix="/api")
api_v1 = Blueprint("api_v1", __name__, url_prefix="/api/v1")

ALL = (site, items, users, orders, files, staff, builds, api_v1)
