"""`routes.lock`: the committed list of both apps' routes, one line each, made for diffs.

An import that a linter removes takes its routes with it, silently. A locked route that is no
longer there is an error at start-up and in `gateway check`; a new one only a warning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.exceptions import LockError, Problem
from gateway.folders import refuse_planted
from gateway.moving import accepted_as
from gateway.routing import AUTOMATIC

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from gateway.loading import Loaded
    from gateway.routing import RouteTable

_ACCEPT = "accept "
HEADER = "# Both apps' routes, written by `gateway lock`. Commit this file; don't edit it.\n"


def lock_path(loaded: Loaded) -> Path:
    """Return where the lock of this config lives."""
    return loaded.folder / loaded.config.lock


def lock_lines(table: RouteTable) -> tuple[str, ...]:
    """Describe every route of both apps, sorted: side, method, template, endpoint.

    Then what rules accept of `gateway check`: code, method, template, endpoint.
    """
    lines: set[str] = set()
    for endpoint in table.legacy.endpoints():
        for method in endpoint.methods - AUTOMATIC:
            host = f" host={endpoint.host}" if endpoint.host else ""
            lines.add(f"legacy {method} {endpoint.template.source} {endpoint.endpoint}{host}")
    for native in table.native.endpoints():
        for method in sorted((native.methods or {"*"}) - AUTOMATIC) or ["*"]:
            kind = "WEBSOCKET" if native.kind == "websocket" else method
            lines.add(f"native {kind} {native.path} {native.name}".rstrip())
    return tuple(sorted({*lines, *_accepted(table)}))


def _accepted(table: RouteTable) -> Iterator[str]:
    """Describe what rules accept, route by route: `accept` holds for these, and for no new ones."""
    sockets = (match.route for unit in table.sockets.values() for match in unit.matches)
    for route in (*table.routes, *sockets):
        if route is not None and route.rule is not None:
            found = {*route.accepted, *(each.code for each in route.findings)}
            for code in found & route.rule.config.accept.keys():
                yield f"{_ACCEPT}{accepted_as(code, route)}"


def accepted_in(loaded: Loaded) -> frozenset[str] | None:
    """Return what the lock says is accepted; None without a lock, nothing where it's unreadable."""
    path = lock_path(loaded)
    if not path.exists():
        return None
    try:
        locked = read_lock(path)
    except LockError:
        return frozenset()
    return frozenset(line.removeprefix(_ACCEPT) for _, line in locked if line.startswith(_ACCEPT))


def write_lock(loaded: Loaded, table: RouteTable) -> Path:
    """Write the lock; raise LockError where the file can't be written."""
    path = lock_path(loaded)
    text = HEADER + "".join(f"{line}\n" for line in lock_lines(table))
    try:
        refuse_planted(path)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise LockError(f"{path}: can't be written: {error.strerror}") from error
    return path


def read_lock(path: Path) -> tuple[tuple[int, str], ...]:
    """Return the locked lines with their numbers; raise LockError where they can't be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LockError(f"{path}: can't be read: {error}") from error
    return tuple(
        (number, line.strip())
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not line.startswith("#")
    )


def _missing(loaded: Loaded, path: Path) -> Iterator[Problem]:
    if "lock" in loaded.config.model_fields_set:
        yield loaded.source.problem(
            "lock-missing", ("lock",), f"there is no {path.name}", "write it: gateway lock"
        )
        return
    accepting = [n for n, rule in enumerate(loaded.config.routes) if rule.accept]
    if accepting and loaded.file is not None:  # there is no command that locks a mapping
        yield loaded.source.problem(
            "lock-missing",
            ("routes", accepting[0], "accept"),
            f"there is no {path.name} that says for which routes this was written, so that it "
            "holds for every route that the rule will ever match",
            f"run: gateway lock {loaded.file.name}, and commit what it writes",
            warning=True,
        )


def verify_lock(loaded: Loaded, table: RouteTable) -> Iterable[Problem]:
    """Compare the lock with the apps: what vanished is an error, what is new a warning."""
    path = lock_path(loaded)
    if not path.exists():
        yield from _missing(loaded, path)
        return
    try:
        locked = read_lock(path)
    except LockError as error:
        yield loaded.source.problem("lock-unreadable", ("lock",), str(error), "gateway lock")
        return
    current = set(lock_lines(table))
    for number, line in locked:
        if line not in current and not line.startswith(_ACCEPT):
            yield Problem(
                "route-vanished",
                f"{loaded.config.lock}:{number}",
                "",
                f"{line} is locked but no longer there",
                "an import removed? if it was meant, run: gateway lock",
            )
    new = sum(not line.startswith(_ACCEPT) for line in current - {line for _, line in locked})
    if new:
        yield Problem(
            "lock-stale",
            loaded.config.lock,
            "",
            f"{new} route{'s are' if new > 1 else ' is'} not in the lock yet",
            "run: gateway lock",
            warning=True,
        )
