"""What a command asks for → one change of the store. Pure: the same online and offline."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gateway.exceptions import GatewayError
from gateway.overrides import ALL, Held, Override, known, resolve, said
from gateway.routing import AUTOMATIC, Coverage
from gateway.store import Change, Entry

if TYPE_CHECKING:
    from gateway.config import Config, Cutover
    from gateway.routing import RouteTable

Action = Literal["set", "rollback", "clear"]


class ChangeRefused(GatewayError):
    """A command asks for what can't be: the message says what, and what to do next."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody asks for. `route` None means all; `weight` is in percent, `seconds` lasts."""

    action: Action
    route: str | None
    cutover: Cutover = "legacy"
    weight: float | None = None
    seconds: float | None = None
    author: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Planned:
    """The change to carry out, the ids that it is about, and the routes that it leaves alone."""

    change: Change
    routes: tuple[str, ...]
    skipped: tuple[str, ...] = ()


def plan(wanted: Wanted, config: Config, table: RouteTable, held: Held, now: float) -> Planned:
    """Turn what is wanted into a change of what is held; `now` is in seconds since the epoch.

    Raises ChangeRefused where there is no such route, or nothing to decide for it.
    """
    _check(wanted)
    if wanted.action == "clear":
        return _clear(wanted, config, table, held, now)
    ids: tuple[str, ...] = (ALL,)
    if wanted.route is None:
        skipped = _only_native(table)
    else:
        found = resolve(wanted.route, table)
        if not found.ids and not found.alone:
            raise ChangeRefused(_unknown(wanted.route, table))
        if not found.ids and wanted.action == "set":
            raise ChangeRefused(
                f"only one side has {', '.join(found.alone)}: there is nothing to decide"
            )
        ids, skipped = found.ids, found.alone
    before = held.by_route(now)
    put, entries = [], []
    for ident in ids:
        override = Override(
            route=ident,
            cutover="legacy" if wanted.action == "rollback" else wanted.cutover,
            weight=wanted.weight if wanted.cutover == "canary" else None,
            kind=wanted.action if wanted.action == "rollback" else "set",
            author=wanted.author,
            reason=wanted.reason,
            since=now,
            expires=now + wanted.seconds if wanted.seconds is not None else None,
            replaced=said(ident, config, table),
            covers=_below(ident, table),
        )
        put.append(override)
        entries.append(_entry(wanted, now, ident, _now(before, ident, override), override.text))
    drop = [own for ident in ids for own in _below(ident, table) if own in before]
    return Planned(Change(put, drop, entries), ids, skipped)


def _check(wanted: Wanted) -> None:
    if wanted.cutover == "canary" and wanted.weight is None:
        raise ChangeRefused("a canary needs a weight, in percent (--weight 10)")
    if wanted.cutover != "canary" and wanted.weight is not None:
        raise ChangeRefused(f"a weight has no meaning with {wanted.cutover}, only with canary")
    if wanted.weight is not None and not 0 <= wanted.weight <= 100:  # noqa: PLR2004 - percent
        raise ChangeRefused(f"a weight is a percentage, 0 to 100; {wanted.weight:g} is none")
    if wanted.seconds is not None and wanted.seconds <= 0:
        raise ChangeRefused("an override must last longer than no time at all")
    if wanted.route is None and wanted.action == "set" and wanted.cutover != "legacy":
        raise ChangeRefused("all routes can be set to legacy only (the kill switch)")


def _clear(wanted: Wanted, config: Config, table: RouteTable, held: Held, now: float) -> Planned:
    every = {each.route: each for each in held.overrides}
    if wanted.route is None:
        ids = tuple(every)
    elif wanted.route in every:
        ids = (wanted.route,)
    else:
        found = resolve(wanted.route, table)
        if not found.ids and not found.alone:
            raise ChangeRefused(_unknown(wanted.route, table))
        below = (own for ident in found.ids for own in (ident, *_below(ident, table)))
        ids = tuple(dict.fromkeys(own for own in below if own in every))
    entries = [_entry(wanted, now, i, every[i].text, said(i, config, table)) for i in ids]
    return Planned(Change((), ids, entries), ids)


def _below(ident: str, table: RouteTable) -> tuple[str, ...]:
    """Return the ids of a rule's routes, whose own overrides would otherwise beat the rule's."""
    return tuple(
        dict.fromkeys(e.id for e in table.routes if e.rule is not None and e.rule.id == ident)
    )


def _only_native(table: RouteTable) -> tuple[str, ...]:
    return tuple(
        dict.fromkeys(
            each.id
            for each in table.routes
            if each.coverage is Coverage.ONLY_NATIVE and each.method not in AUTOMATIC
        )
    )


def _now(before: dict[str, Override], ident: str, override: Override) -> str:
    found = before.get(ident)
    return found.text if found is not None else override.replaced


def _entry(wanted: Wanted, now: float, route: str, before: str, after: str) -> Entry:
    return Entry(now, wanted.action, route, before, after, wanted.author, wanted.reason)


def ended(held: Held, now: float) -> Change | None:
    """Return the change that removes what has expired, None where nothing has."""
    gone = [each for each in held.overrides if each.expires is not None and each.expires <= now]
    return _dropped(gone, "expire", now, "its time was over") if gone else None


def outlived(overrides: list[Override], now: float) -> Change:
    """Return the change that removes overrides whose line in the file has changed."""
    return _dropped(overrides, "drop", now, "the file says something else now")


def _dropped(overrides: list[Override], action: str, now: float, reason: str) -> Change:
    return Change(
        (),
        [each.route for each in overrides],
        [Entry(now, action, e.route, e.text, "", "gateway", reason) for e in overrides],
    )


def _unknown(wanted: str, table: RouteTable) -> str:
    close = difflib.get_close_matches(wanted, known(table), n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}?" if close else "`gateway routes` lists them"
    return f"there is no rule or route {wanted!r} ({hint})"
