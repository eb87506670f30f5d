"""The demo's two apps without the gateway, each behind a real server: they agree where they must.

`test_demo_sides.py` holds every answer to the table. Here both bare apps are asked over sockets,
and their answers to the cases that no client should tell apart are held against each other.
"""

from __future__ import annotations

import contextlib
import json
import threading
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from werkzeug.serving import make_server

from gateway.demo.legacy import create_app
from gateway.demo.native import app as native_app
from tests.functional.demo_cases import CASES, Answer, Case
from tests.functional.servers import serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.network

EQUAL = [case for case in CASES if case.legacy is case.native]


@contextlib.contextmanager
def flask_server() -> Iterator[str]:
    """Serve the Flask app as its developers do, by Werkzeug."""
    server = make_server("127.0.0.1", 0, create_app(), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def native_server() -> contextlib.AbstractContextManager[str]:
    return serve(native_app)


SERVERS: dict[str, Callable[[], contextlib.AbstractContextManager[str]]] = {
    "legacy": flask_server,
    "native": native_server,
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Answer]]:
    """Both sides' answers by the case's name; each side has a database of its own."""
    found: dict[str, dict[str, Answer]] = {}
    for side, server in SERVERS.items():
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("GATEWAY_DEMO_TOKEN", raising=False)
            patch.setenv("GATEWAY_DEMO_DB", str(tmp_path_factory.mktemp(side) / "shop.db"))
            with (
                server() as base_url,
                httpx.Client(base_url=base_url, trust_env=False) as client,
            ):
                found[side] = {case.name: ask(client, case) for case in CASES}
    return found


def ask(client: httpx.Client, case: Case) -> Answer:
    response = client.request(case.method, case.path, headers=case.headers, content=case.body)
    return Answer(response.status_code, dict(response.headers), response.content)


def timeless(answer: Answer) -> Any:
    """Return the body without the one field that says when it was written (S4)."""
    body = json.loads(answer.body)
    body.pop("generated_at", None)
    return body


@pytest.mark.parametrize("side", SERVERS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_a_bare_app_answers_as_the_table_says(
    answers: dict[str, dict[str, Answer]], side: str, case: Case
) -> None:
    expected = case.legacy if side == "legacy" else case.native
    expected.hold(answers[side][case.name])


@pytest.mark.parametrize("case", EQUAL, ids=lambda case: case.name.replace(" ", "-"))
def test_no_client_can_tell_the_sides_apart(
    answers: dict[str, dict[str, Answer]], case: Case
) -> None:
    legacy, native = (answers[side][case.name] for side in ("legacy", "native"))
    assert legacy.status == native.status
    assert legacy.headers["content-type"] == native.headers["content-type"]
    assert timeless(legacy) == timeless(native)


def test_the_password_is_the_only_difference_of_a_user(
    answers: dict[str, dict[str, Answer]],
) -> None:
    legacy, native = (json.loads(answers[side]["show a user"].body) for side in SERVERS)
    assert legacy.pop("password")
    assert legacy == native
