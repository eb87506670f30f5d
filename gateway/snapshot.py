"""Everything that one request is served by, as one immutable value, swapped as one reference."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from gateway.blocks import blocked
from gateway.exceptions import GatewayError
from gateway.routing import UNMOVED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.blocks import Block
    from gateway.config import Config
    from gateway.cutover import Policy
    from gateway.exceptions import Problem
    from gateway.overrides import Override
    from gateway.routing import RouteTable


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Config, table and policy of one revision. `warnings` are what `check` would report.

    `revision` is the config's digest and the overrides' mark: `1f0c…-17.a3f9c012`. `overrides` are
    those in force, by the id that they go by; `ignored` those that the apps or the config no
    longer bear, by the same ids, with the reason. `blocks` are the blocks that stand, by the ids of
    the routes that legacy serves because of them.
    """

    config: Config
    table: RouteTable
    policy: Policy
    revision: str
    warnings: tuple[Problem, ...] = ()
    overrides: Mapping[str, Override] = field(default_factory=dict)
    ignored: Mapping[str, str] = field(default_factory=dict)
    cautions: tuple[Problem, ...] = ()
    blocks: Mapping[str, Block] = field(default_factory=dict)

    @property
    def refused(self) -> tuple[str, ...]:
        """The ids of moved routes that legacy serves, as `check` refuses their move."""
        return tuple(
            dict.fromkeys(
                route.id
                for route in self.table.routes
                if route.findings and route.cutover not in UNMOVED
            )
        )


def with_blocks(snapshot: Snapshot, blocks: Iterable[Block]) -> Snapshot:
    """Return a snapshot in which these blocks are in force, and no others."""
    found = blocked(blocks, snapshot.table)
    if found == snapshot.blocks:
        return snapshot
    policy = replace(snapshot.policy, blocked=frozenset(found))
    return replace(snapshot, policy=policy, blocks=found)


class RevisionConflict(GatewayError):
    """The snapshot to be replaced is no longer the current one."""


class SnapshotStore:
    """Holds the current Snapshot. Readers take `current` once per request and need no lock."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.current = snapshot
        self._lock = threading.Lock()

    def swap(self, expected: str, snapshot: Snapshot) -> None:
        """Replace the snapshot of revision `expected`; raise RevisionConflict if it has changed."""
        with self._lock:
            if self.current.revision != expected:
                raise RevisionConflict(
                    f"revision {expected} is no longer current ({self.current.revision} is)"
                )
            self.current = snapshot
