"""The native app's lifespan, run inside the gateway's own (ASGI, "Lifespan Protocol")."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Scope

#: How long after `failed` the app may take to raise what it has failed by.
_RAISES_WITHIN_SECONDS = 5.0


class NestedLifespan:
    """Starts and stops one ASGI app. An app that doesn't know the protocol counts as started."""

    def __init__(self, app: ASGIApp, scope: Scope) -> None:
        self._app, self._scope = app, scope
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._outbox: asyncio.Queue[Message | None] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._over = False
        self.error: Exception | None = None
        """What the app has raised after saying that it failed; whoever runs it hears of both."""

    async def start(self) -> str | None:
        """Run the app's startup; return the message of its failure, or None."""
        self._task = asyncio.create_task(self._run(), name="gateway-native-lifespan")
        self._inbox.put_nowait({"type": "lifespan.startup"})
        return await self._outcome("lifespan.startup.failed")

    async def stop(self) -> str | None:
        """Run the app's shutdown; return the message of its failure, or None."""
        if self._task is None or self._over:
            return None
        self._inbox.put_nowait({"type": "lifespan.shutdown"})
        return await self._outcome("lifespan.shutdown.failed")

    async def _outcome(self, failure: str) -> str | None:
        message = await self._outbox.get()
        self._over = message is None
        if message is None or message["type"] != failure:
            return None
        if self._task is not None:
            # What it raises next belongs to the message.
            await asyncio.wait({self._task}, timeout=_RAISES_WITHIN_SECONDS)
        return str(message.get("message") or "the native app's lifespan failed")

    async def _run(self) -> None:
        said: list[str] = []

        async def send(message: Message) -> None:
            said.append(message["type"])
            await self._outbox.put(message)

        try:
            await self._app(self._scope, self._inbox.get, send)
        except Exception as error:  # noqa: BLE001 - any app's own
            # As servers do: an app that raises without a word doesn't know the protocol.
            self.error = error
            if said == ["lifespan.startup.complete"]:
                why = f"{type(error).__name__}: {error}"
                await send({"type": "lifespan.shutdown.failed", "message": why})
        finally:
            self._outbox.put_nowait(None)
