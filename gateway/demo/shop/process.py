"""Concurrent work (S2): one coroutine that both sides call; no monkey-patching anywhere."""

from __future__ import annotations

import time

from asyncer import asyncify, create_task_group

Pair = tuple[int, int]

#: Seconds that one item takes: a slow supplier's API.
SECONDS = 0.05


def process_item(group_id: int, item_id: int) -> str:
    """Process one item; blocks, as the supplier's client does."""
    time.sleep(SECONDS)
    return f"{group_id}:{item_id}"


async def process_all(pairs: list[Pair]) -> list[str]:
    """Process all items side by side; the results are in the order of `pairs`."""
    async with create_task_group() as group:
        found = [group.soonify(asyncify(process_item))(*pair) for pair in pairs]
    return [each.value for each in found]
