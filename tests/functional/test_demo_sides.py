"""The demo's cases against the bare Flask app, the bare native app, and the gateway."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from gateway import Gateway
from gateway.demo.legacy import create_app
from gateway.demo.native import app as native_app
from tests.functional.demo_cases import CASES, Answer, Case
from tests.functional.servers import serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Ask = Callable[[Case], Answer]

pytestmark = pytest.mark.network

CONFIG = Path(__file__).parents[2] / "config" / "gateway.yaml"
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))


# -- the sides ------------------------------------------------------------------------------------


@contextlib.contextmanager
def bare_flask() -> Iterator[Ask]:
    client = create_app().test_client()

    def ask(case: Case) -> Answer:
        with client.open(
            case.path, method=case.method, headers=dict(case.headers), data=case.body
        ) as response:
            headers = {name.lower(): value for name, value in response.headers}
            return Answer(response.status_code, headers, response.get_data())

    yield ask


@contextlib.contextmanager
def bare_native() -> Iterator[Ask]:
    async def send(case: Case) -> Answer:
        transport = httpx.ASGITransport(native_app)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            return _answer(
                await client.request(
                    case.method, case.path, headers=case.headers, content=case.body
                )
            )

    yield lambda case: asyncio.run(send(case))


@contextlib.contextmanager
def mounted() -> Iterator[Ask]:
    with (
        serve(Gateway(config=CONFIG)) as base_url,
        httpx.Client(base_url=base_url, trust_env=False) as client,
    ):
        yield lambda case: _answer(
            client.request(case.method, case.path, headers=case.headers, content=case.body)
        )


def _answer(response: httpx.Response) -> Answer:
    return Answer(response.status_code, dict(response.headers), response.content)


# -- what they say --------------------------------------------------------------------------------


def flask_expects(case: Case, answer: Answer) -> None:
    case.legacy.hold(answer)


def native_expects(case: Case, answer: Answer) -> None:
    case.native.hold(answer)


def gateway_expects(case: Case, answer: Answer) -> None:
    side = answer.headers["x-served-by"]
    assert side == case.served or (case.served == "canary" and side in ("legacy", "native"))
    case.expected(side).hold(answer)


def killed_expects(case: Case, answer: Answer) -> None:
    """With the kill switch on, native keeps only what legacy never had."""
    side = "native" if case.path.startswith("/api/v2/") else "legacy"
    side = "guard" if case.served == "guard" else side
    assert answer.headers["x-served-by"] == side
    case.expected(side).hold(answer)


SIDES = {
    "flask": (bare_flask, flask_expects),
    "native": (bare_native, native_expects),
    "gateway": (mounted, gateway_expects),
    "kill-switch": (mounted, killed_expects),
}


@pytest.fixture(scope="module", params=SIDES)
def check(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Case], None]]:
    """One running side with a database of its own; sends a case and holds the answer to it."""
    start, expects = SIDES[request.param]
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("GATEWAY_DEMO_TOKEN", raising=False)
        patch.setenv("GATEWAY_DEMO_DB", str(tmp_path_factory.mktemp("shop") / "shop.db"))
        if request.param == "kill-switch":
            patch.setenv("GATEWAY_DEFAULTS__KILL_SWITCH", "true")
        with start() as ask:
            yield lambda case: expects(case, ask(case))


@each_case
def test_every_side_answers_as_the_table_says(check: Callable[[Case], None], case: Case) -> None:
    check(case)
