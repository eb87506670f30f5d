"""A template may call what the app gives it, and that may refuse as the view's own code does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from flask import (
    Blueprint,
    Flask,
    abort,
    render_template,
    render_template_string,
    request,
    stream_template,
)

from gateway.flask.routes import FlaskRoutes

if TYPE_CHECKING:
    from collections.abc import Callable


def need(*_: Any) -> str:
    if request.headers.get("X-Role") != "admin":
        abort(403)
    return ""


def processor(app: Flask) -> None:
    @app.context_processor
    def inject() -> dict[str, Any]:
        need()
        return {}


def given_by_a_processor(app: Flask) -> None:
    app.context_processor(lambda: {"need": need})


def template_global(app: Flask) -> None:
    app.add_template_global(need)


def in_the_environment(app: Flask) -> None:
    app.jinja_env.globals["need"] = need


def template_filter(app: Flask) -> None:
    app.add_template_filter(need)


def template_test(app: Flask) -> None:
    app.add_template_test(lambda *_: bool(need()), "needed")


def by_the_blueprint(app: Flask) -> None:
    app.template_context_processors["pages"].append(lambda: {"role": need()})


def nothing(app: Flask) -> None:
    """Leave the app as it is."""


def harmless(app: Flask) -> None:
    app.context_processor(lambda: {"year": 2026, "title": "shop"})
    app.add_template_filter(lambda text: text.upper(), "shout")
    app.add_template_global(lambda number: f"{number:.2f}", "price")


def another_blueprint(app: Flask) -> None:
    other = Blueprint("other", "other")
    other.context_processor(lambda: {"role": need()})
    app.register_blueprint(other)


def page() -> str:
    return render_template("page.html", number=3)


def text() -> str:
    return render_template_string("{{ number }}", number=3)


def stream() -> Any:
    return stream_template("page.html")


def plain() -> str:
    return "page"


def does(given: Callable[[Flask], None], view: Callable[[], Any]) -> str:
    app = Flask("legacy")
    pages = Blueprint("pages", "pages")
    pages.add_url_rule("/page", "page", view)
    app.register_blueprint(pages)
    given(app)
    routes = FlaskRoutes(app)
    endpoint = next(each for each in routes.endpoints() if each.endpoint == "pages.page")
    found = routes.guards(endpoint, "GET").view
    assert found is not None
    return found.does


@pytest.mark.parametrize("view", [page, text, stream])
@pytest.mark.parametrize(
    "given",
    [
        processor, given_by_a_processor, template_global, in_the_environment, template_filter,
        template_test,
    ],
)  # fmt: skip
def test_what_a_template_may_call_refuses_for_the_view(
    given: Callable[[Flask], None], view: Callable[[], Any]
) -> None:
    assert does(given, view) == "refuses"
    assert does(given, plain) == "nothing"


def test_a_blueprint_s_processor_is_for_its_own_views() -> None:
    assert does(by_the_blueprint, page) == "refuses"
    assert does(another_blueprint, page) == "nothing"


@pytest.mark.parametrize("view", [page, text, stream])
@pytest.mark.parametrize("given", [nothing, harmless])
def test_what_only_writes_texts_is_no_guard(
    given: Callable[[Flask], None], view: Callable[[], Any]
) -> None:
    assert does(given, view) == "nothing"
