"""The report of differences, in a real browser: inert, whole, and without anything else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gateway.admin.report import html
from tests.functional.services import required

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

playwright = pytest.importorskip("playwright.sync_api", reason="it is one of the dev tools")

pytestmark = pytest.mark.network

HOSTILE = (
    '"><script>window.hit=1</script><img src=x onerror=window.hit=2>'
    "</pre></style><style>body{display:none}</style>\x00\x1b[2J\u202e\ud800{{ 7*7 }}"
    "<iframe src=http://localhost:1/></iframe><a href=javascript:window.hit=3>x</a>"
)


def answer(**more: Any) -> dict[str, Any]:
    return {"status": 200, "bytes": 12, "error": None, **more}


def sample(number: int, text: str = "x") -> dict[str, Any]:
    kinds = ("changed", "type", "missing", "added")
    return {
        "route": "GET /items/{id}", "at": 1_790_000_000.0 + number, "method": "GET",
        "path": f"/items/{text}", "query": f"q={text}", "more": number == 1,
        "legacy": answer(), "native": answer(status=0, error=f"Traceback\n  {text}\nError: {text}"),
        "differences": [
            {"path": f"$.{text}", "field": "$.x", "legacy": text, "native": {text: [text]},
             "kind": kinds[number % 4], "note": text},
        ],
    }  # fmt: skip


def row(route: str, text: str = "x", **more: Any) -> dict[str, Any]:
    return {
        "route": route, "verdicts": {"equal": 1198, "expected": 12, "noise": 20, "different": 10},
        "outcomes": {"compared": 1240, "busy": 3}, "fields": [[f"$.{text}", 7], ["status", 3]],
        "noise": [{"path": f"$.{text}", "flap": "absent", "first": 1, "last": 2, "count": 3}],
        "suspended": text, **more,
    }  # fmt: skip


def data(text: str = "x", **more: Any) -> dict[str, Any]:
    quiet = row("GET /quiet", verdicts={"equal": 3}, fields=[], noise=[], suspended=None)
    return {
        "routes": [quiet, row("GET /items/{id}", text)],
        "samples": [sample(n, text) for n in range(5)],
        "more_samples": 4, "store": "ok", "workers": 2, **more,
    }  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    program = required("chromium")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield running
        running.close()


def opened(browser: Any, folder: Path, text: str, **options: Any) -> tuple[Any, list[str]]:
    """Open a report, and take note of everything that it asks for or complains of."""
    file = folder / "report.html"
    file.write_text(text, encoding="utf-8", errors="backslashreplace")
    page = browser.new_page(**options)
    seen: list[str] = []
    page.on("request", lambda asked: seen.append(asked.url))
    page.on("console", lambda message: seen.append(message.text))
    page.on("dialog", lambda dialog: seen.append(dialog.message))
    page.goto(file.as_uri())
    assert seen.pop(0) == file.as_uri()
    return page, seen


def test_hostile_content_is_inert_text(browser: Any, tmp_path: Path) -> None:
    page, seen = opened(browser, tmp_path, html(data(HOSTILE)))
    page.wait_for_timeout(200)
    assert seen == [], "nothing is loaded, nothing is said"
    assert page.evaluate("window.hit") is None
    for tag in ("script", "img", "iframe", "a", "object", "svg"):
        assert page.locator(tag).count() == 0, tag
    assert page.locator("style").count() == 1
    assert page.locator("body").is_visible()
    text = page.locator("body").inner_text()
    assert "<script>window.hit=1</script>" in text
    assert "{{ 7*7 }}" in text
    assert "\\x1b[2J\\u202e\\ud800" in text
    assert not {"\x00", "\x1b", "\u202e"} & set(text)
    assert [*page.evaluate("document.title")] == [*"Legacy and native, compared"]


def test_it_tells_everything_without_javascript(browser: Any, tmp_path: Path) -> None:
    page, _ = opened(browser, tmp_path, html(data()), java_script_enabled=False)
    text = page.locator("body").inner_text()
    for said in ("20 of", "1,198 equal", "10 different", "busy", "comes and goes", "4 older"):
        assert said.replace("20 of", "10 of 1,243") in text
    assert page.locator("section").first.locator("h2").inner_text() == "GET /items/{id}"
    assert page.locator("details").count() == 5
    assert page.locator("details[open]").count() == 3
    last = page.locator("details").last
    assert not last.locator("table").is_visible()
    last.locator("summary").click()
    assert last.locator("table").is_visible()
    assert page.locator("td.l", has_text="nothing").count() == 1
    assert page.locator("td.n", has_text="nothing").count() == 1


@pytest.mark.parametrize("width", [1200, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_on_every_screen(
    browser: Any, tmp_path: Path, width: int, scheme: str
) -> None:
    options = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
    page, _ = opened(browser, tmp_path, html(data("long" * 200)), **options)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    light = page.evaluate("getComputedStyle(document.body).backgroundColor").endswith("249)")
    assert light is (scheme == "light")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"routes": [], "samples": [], "more_samples": 0}, "Nothing is mirrored"),
        ({"workers": 0}, "No running gateway was asked"),
        ({"store": "down"}, "The store is down"),
    ],
)
def test_what_is_missing_is_said(more: dict[str, Any], said: str) -> None:
    assert said in html(data(**more))
