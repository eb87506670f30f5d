"""A view reads alike whether its app has served requests or not."""

from __future__ import annotations

from gateway.demo.legacy import create_app
from gateway.flask.routes import FlaskRoutes


def test_a_view_reads_the_same_once_its_database_is_open() -> None:
    app = create_app()

    def reading() -> object:
        routes = FlaskRoutes(app)
        view = next(each for each in routes.endpoints() if each.template.source == "/items/")
        return routes.guards(view, "POST").view

    before = reading()
    answer = app.test_client().get("/items/", headers={"X-Token": "demo-token"})
    assert answer.status_code == 200
    assert reading() == before
