"""How a team undoes what a mirrored request has written, and the proof that it works."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.importing import import_callable

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.config import WritesConfig


@dataclass(frozen=True, slots=True)
class Undo:
    """`rollback` makes a context manager at whose end nothing has happened.

    `probe` makes a generator: it writes, yields, and yields once more whether a second connection
    still finds what was written.
    """

    rollback: Callable[[], Any]
    probe: Callable[[], Any]

    @classmethod
    def of(cls, config: WritesConfig) -> Undo:
        """Import both. Raises AppImportError."""
        return cls(
            import_callable(config.rollback, "a context manager"),
            import_callable(config.probe, "a generator function"),
        )

    async def enter(self, stack: AsyncExitStack) -> None:
        """Enter the context manager, in the running context: it may set context variables."""
        manager = self.rollback()
        if hasattr(manager, "__aenter__"):
            await stack.enter_async_context(manager)
        else:
            stack.enter_context(manager)

    def prove(self) -> tuple[str, str] | None:
        """Write, undo, and look; return what is wrong and what next, None where nothing survived.

        Blocks, and runs a loop of its own: call it on a thread.
        """
        try:
            return asyncio.run(self._prove())
        except Exception as error:  # noqa: BLE001 - it is the team's code, and may raise anything
            told = str(error).strip().partition("\n")[0]
            hint = "mend it: rollback and probe run outside of any request and app context"
            return f"the probe failed: {type(error).__name__}: {told}", hint

    async def _prove(self) -> tuple[str, str] | None:
        probe = self.probe()
        async with AsyncExitStack() as stack:
            await self.enter(stack)
            next(probe)
        survived = next(probe, None)
        if survived is None:
            wrong = "the probe yields once"
            return wrong, "yield after it has written, and then whether that survived"
        if not survived:
            return None
        hint = "a mirrored write would last: mend the rollback, or leave out writes"
        return "what the probe wrote was still there afterwards", hint
