"""The shop's Flask app, ten years old: `gateway.demo.legacy:create_app()`."""

from __future__ import annotations

from flask import Flask

from gateway.demo.legacy import blueprints, db, errors, login

# Nothing below names these modules, yet each registers its routes while it is imported (S8).
# Remove the line, as a linter would without the `noqa`, and the routes are gone: the app starts,
# the remaining pages work, customers get 404. It has happened; `routes.lock` catches it.
from . import api_v1, builds, files, items, orders, site, staff, users  # noqa: F401  unused?


def create_app() -> Flask:
    """Make the app. No file or connection is opened before the first request that needs one."""
    app = Flask(__name__)
    db.init_app(app)
    errors.init_app(app)
    login.init_app(app)
    for blueprint in blueprints.ALL:
        app.register_blueprint(blueprint)
    return app
