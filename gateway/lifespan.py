"""The native app's lifespan, run inside the gateway's own (ASGI, "Lifespan Protocol")."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Scope


class NestedLifespan:
    """Starts and stops one ASGI app. An app that doesn't know the protocol counts as started."""

    def __init__(self, app: ASGIApp, scope: Scope) -> None:
        self._app, self._scope = app, scope
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._outbox: asyncio.Queue[Message | None] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> str | None:
        """Run the app's startup; return the message of its failure, or None."""
        self._task = asyncio.create_task(self._run(), name="gateway-native-lifespan")
        self._inbox.put_nowait({"type": "lifespan.startup"})
        return await self._outcome("lifespan.startup.failed")

    async def stop(self) -> str | None:
        """Run the app's shutdown; return the message of its failure, or None."""
        if self._task is None or self._task.done():
            return None
        self._inbox.put_nowait({"type": "lifespan.shutdown"})
        message = await self._outcome("lifespan.shutdown.failed")
        with contextlib.suppress(Exception):  # reported by the message, which says the same
            await self._task
        return message

    async def _outcome(self, failure: str) -> str | None:
        message = await self._outbox.get()
        if message is None or message["type"] != failure:
            return None
        return str(message.get("message") or "the native app's lifespan failed")

    async def _run(self) -> None:
        try:
            await self._app(self._scope, self._inbox.get, self._outbox.put)
        except Exception:
            # As servers do: an app that raises without a word doesn't know the protocol; one that
            # has said `failed` has already told why.
            if not self._outbox.empty():
                raise
        finally:
            self._outbox.put_nowait(None)
