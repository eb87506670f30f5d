"""An ASGI app asked without a socket, for tests to which the network makes no difference."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import ASGIApp

BASE = "http://testserver"


class Client:
    """Sends requests, one at a time; `raises` lets through what the app raises to its server."""

    def __init__(self, runner: asyncio.Runner, app: ASGIApp, *, raises: bool) -> None:
        self._runner, self._app, self._raises = runner, app, raises

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Ask for a path, spelled as it is given."""
        return self._runner.run(self._request(method, path, more))

    async def _request(self, method: str, path: str, more: dict[str, Any]) -> httpx.Response:
        peer = more.pop("peer", "127.0.0.1")
        transport = httpx.ASGITransport(
            self._app, raise_app_exceptions=self._raises, client=(peer, 123)
        )
        async with httpx.AsyncClient(transport=transport) as client:
            return await client.request(method, BASE + path, **more)

    def get(self, path: str, **more: Any) -> httpx.Response:
        """Ask for a path by GET."""
        return self.request("GET", path, **more)

    def wait(self, seconds: float) -> None:
        """Let the app's own tasks go on."""
        self._runner.run(asyncio.sleep(seconds))


@contextlib.contextmanager
def asking(app: ASGIApp, *, raises: bool = False) -> Iterator[Client]:
    """Run the app's lifespan around the test; raises what its startup raises."""
    with asyncio.Runner() as runner:
        to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        from_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

        async def lifespan() -> None:
            await app({"type": "lifespan", "asgi": {}, "state": {}}, to_app.get, from_app.put)  # type: ignore[arg-type]

        async def start() -> asyncio.Task[None]:
            return asyncio.create_task(lifespan())

        async def step(event: str, running: asyncio.Task[None]) -> None:
            await to_app.put({"type": f"lifespan.{event}"})
            told = asyncio.ensure_future(from_app.get())
            await asyncio.wait({told, running}, return_when=asyncio.FIRST_COMPLETED)
            answer = await told if told.done() else {"type": "", "message": running.exception()}
            if answer["type"] != f"lifespan.{event}.complete":
                raise RuntimeError(answer.get("message"))

        running = runner.run(start())
        runner.run(step("startup", running))
        try:
            yield Client(runner, app, raises=raises)
        finally:
            runner.run(step("shutdown", running))
