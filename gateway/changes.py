"""What a command asks for → one change of the store. Pure: the same online and offline."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from gateway.blocks import AUTHOR, blocked
from gateway.exceptions import GatewayError
from gateway.overrides import (
    ALL,
    Override,
    known,
    resolve,
    rollbacks,
    rolled_back,
    said,
    shape_of,
)
from gateway.routing import AUTOMATIC, UNMOVED, Coverage
from gateway.store import Change, Entry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.blocks import Block, Proof
    from gateway.config import Config, Cutover
    from gateway.held import Held
    from gateway.routing import RouteTable

Action = Literal["set", "rollback", "clear", "accept"]
#: An override lasts no longer, in seconds (366 days); what is meant for ever has no end at all.
LONGEST_SECONDS = 366 * 86_400.0


class ChangeRefused(GatewayError):
    """A command asks for what can't be: the message says what, and what to do next."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody asks for. `route` None means all; `weight` is in percent, `seconds` lasts.

    `accept` ends a block: somebody has looked at what native lets in, and answers for it.
    """

    action: Action
    route: str | None
    cutover: Cutover = "legacy"
    weight: float | None = None
    seconds: float | None = None
    author: str = ""
    reason: str = ""
    alone: bool = False
    """The rule alone: what was set for its single routes stays."""


@dataclass(frozen=True, slots=True)
class Planned:
    """The change to carry out, the ids that it is about, and the routes that it leaves alone.

    `blocked` are routes that stay on legacy although the change would move them.
    """

    change: Change
    routes: tuple[str, ...]
    skipped: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()


def plan(wanted: Wanted, config: Config, table: RouteTable, held: Held, now: float) -> Planned:
    """Turn what is wanted into a change of what is held; `now` is in seconds since the epoch.

    Raises ChangeRefused where there is no such route, or nothing to decide for it.
    """
    _check(wanted)
    if wanted.action == "clear":
        return _clear(wanted, config, table, held, now)
    if wanted.action == "accept":
        return _accept(wanted, table, held, now)
    ids: tuple[str, ...] = (ALL,)
    if wanted.route is None:
        skipped = _only_native(table)
    else:
        found = resolve(wanted.route, table)
        if not found.ids and not found.alone:
            raise ChangeRefused(unknown(wanted.route, table))
        if not found.ids and wanted.action == "set":
            raise ChangeRefused(
                f"only one side has {', '.join(found.alone)}: there is nothing to decide"
            )
        ids, skipped = found.ids, found.alone
    before = held.by_route(now)
    stay: tuple[str, ...] = ()
    if wanted.action == "set":
        _refuse_rolled_back(ids, before, table)
        if wanted.cutover not in UNMOVED:
            stay = _refuse_blocked(ids, table, held)
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
            covers=_below(ident, table) or ((ident,) if ident != ALL else ()),
        )
        put.append(override)
        entries.append(_entry(wanted, now, ident, _now(before, ident, override), override.text))
    drop = []
    for ident in ids:
        own = [before[route] for route in _below(ident, table) if route in before]
        own = [each for each in own if each.stays or not wanted.alone]
        drop += [each.route for each in own if each.kind != "rollback"]
        skipped += tuple(each.route for each in own if each.kind == "rollback")
        reason = f"{ident} was {'rolled back' if wanted.action == 'rollback' else 'set'}"
        entries += [
            Entry(now, "drop", each.route, each.text, put[-1].text, wanted.author, reason)
            for each in own
            if each.kind != "rollback"
        ]
    return Planned(Change(put, drop, entries), ids, skipped, stay)


def _refuse_blocked(ids: tuple[str, ...], table: RouteTable, held: Held) -> tuple[str, ...]:
    """Return the blocked routes among those of `ids`; raise where none but blocked ones move."""
    stand = blocked(held.blocks, table)
    if not stand:
        return ()
    stay: dict[str, None] = {}
    for ident in ids:
        routes = [i for i in _below(ident, table) if i.partition(" ")[0] not in AUTOMATIC]
        routes = routes or [ident]
        stay |= dict.fromkeys(each for each in routes if each in stand)
        if all(each in stand for each in routes):
            raise ChangeRefused(
                f"{routes[0]} is blocked: {stand[routes[0]].what}; {way_out(routes[0])}"
            )
    return tuple(stay)


def way_out(route: str) -> str:
    """Say how a block ends."""
    return (
        f"mend native and deploy it, or `gateway diffs accept '{route}' --reason …` "
        "if that is meant"
    )


def _accept(wanted: Wanted, table: RouteTable, held: Held, now: float) -> Planned:
    """End the blocks of a ROUTE, for the releases in which it has opened."""
    if wanted.route is None:
        raise ChangeRefused("name the route whose difference is meant: one at a time")
    if not wanted.reason.strip():
        raise ChangeRefused("say why native may let in whom legacy refuses (--reason)")
    found = resolve(wanted.route, table)
    names = {*found.ids, *found.alone}
    names |= {own for ident in found.ids for own in _below(ident, table)}
    stand = blocked(held.blocks, table)
    meant = {each.route: each for ident, each in stand.items() if ident in names}
    # One whose route is gone has no other name than its own.
    meant |= {e.route: e for e in held.blocks if e.stands and e.route == wanted.route}
    if not meant and not names:
        raise ChangeRefused(unknown(wanted.route, table))
    ends = [
        replace(each, ended="accepted", at=now, author=wanted.author, reason=wanted.reason)
        for each in meant.values()
    ]
    entries = [_entry(wanted, now, each.route, "blocked", "accepted") for each in ends]
    return Planned(Change((), (), entries, blocks=ends), tuple(meant))


def opened(
    found: Sequence[tuple[Block, str | None]],
    config: Config,
    table: RouteTable,
    held: Held,
    now: float,
) -> Planned:
    """Return the change that writes blocks down, and rolls back what native serves there.

    Each comes with the rule or route to roll back, None where native serves no client.
    """
    put: dict[str, Override] = {}
    drop: list[str] = []
    entries: list[Entry] = []
    before = held.by_route(now)
    for block, ident in found:
        entries.append(Entry(now, "block", block.route, "", "blocked", AUTHOR, block.what))
        if ident is None or rolled_back(ident, before, table) is not None or ident in put:
            continue
        reason = f"opened: {block.route}: {block.what}"
        wanted = Wanted("rollback", ident, author=AUTHOR, reason=reason, alone=True)
        try:
            planned = plan(wanted, config, table, held, now)
        except ChangeRefused:
            continue  # the rule is gone; the block holds by itself
        put |= {each.route: each for each in planned.change.put}
        drop += planned.change.drop
        entries += planned.change.entries
    blocks = [block for block, _ in found]
    return Planned(Change(tuple(put.values()), drop, entries, blocks=blocks), tuple(put))


def proved(block: Block, proof: Proof, release: str, now: float) -> Change:
    """Return the change that ends a block after a new release has been compared."""
    reason = (
        f"release {release}: {proof.compared} comparisons, both refused in {proof.refused}, "
        "native let in nobody whom legacy refused"
    )
    end = replace(block, ended="proved", at=now, author="gateway", reason=reason)
    entry = Entry(now, "unblock", block.route, "blocked", "", "gateway", reason)
    return Change((), (), [entry], blocks=[end])


def _refuse_rolled_back(
    ids: tuple[str, ...], before: dict[str, Override], table: RouteTable
) -> None:
    """Raise where one of them is rolled back: that stays until somebody clears it."""
    for ident in ids:
        found = rolled_back(ident, before, table)
        if found is not None:
            by = f" by {found.author}" if found.author else ""
            why = f" ({found.reason})" if found.reason else ""
            name = "--all" if found.route == ALL else f"{found.route!r}"
            raise ChangeRefused(f"{name} was rolled back{by}{why}: clear that first")


def _check(wanted: Wanted) -> None:
    if wanted.cutover == "canary" and wanted.weight is None:
        raise ChangeRefused("a canary needs a weight, in percent (--weight 10)")
    if wanted.cutover != "canary" and wanted.weight is not None:
        raise ChangeRefused(f"a weight has no meaning with {wanted.cutover}, only with canary")
    if wanted.weight is not None and not 0 <= wanted.weight <= 100:  # noqa: PLR2004 - percent
        raise ChangeRefused(f"a weight is a percentage, 0 to 100; {wanted.weight:g} is none")
    if wanted.seconds is not None and not 0 < wanted.seconds <= LONGEST_SECONDS:
        raise ChangeRefused("an override lasts longer than no time at all, and at most 366 days")
    for text in (wanted.author, wanted.reason):
        if not text.isprintable():  # it could move a terminal's cursor where it is shown
            raise ChangeRefused("author and reason must each be one line of printable text")
    if wanted.route is None and wanted.action == "set" and wanted.cutover != "legacy":
        raise ChangeRefused("all routes can be set to legacy only (the kill switch)")


def _clear(wanted: Wanted, config: Config, table: RouteTable, held: Held, now: float) -> Planned:
    every = {each.route: each for each in held.overrides}
    routes: set[str] = set()
    ids: tuple[str, ...] = ()
    if wanted.route is None:
        # What was done to all is undone for all; what was done to one route before that stays.
        ids = (ALL,) if ALL in every else tuple(every)
    else:
        found = resolve(wanted.route, table)
        if not found.ids and not found.alone and wanted.route not in every:
            raise ChangeRefused(unknown(wanted.route, table))
        below = [own for ident in found.ids for own in _below(ident, table)]
        ids = tuple(i for i in dict.fromkeys((wanted.route, *found.ids)) if i in every)
        ids = ids or tuple(own for own in below if own in every)
        routes = {*found.ids, *below}
    entries = [_entry(wanted, now, i, every[i].text, said(i, config, table)) for i in ids]
    put: list[Override] = []
    standing = rollbacks(every, table) if routes else {}
    for rollback in {id(e): e for r, e in standing.items() if r in routes}.values():
        if rollback.route in ids:
            continue
        # It goes by another name, and its other routes stay rolled back.
        cleared = sorted(r for r in routes if standing.get(r) is rollback)
        gone = {shape_of(each, table) for each in cleared}
        left = tuple(each for each in rollback.covers if shape_of(each, table) not in gone)
        if any(route.partition(" ")[0] not in AUTOMATIC for route in left):
            put.append(replace(rollback, covers=left))
        ids += (rollback.route,)
        entries += [_entry(wanted, now, r, rollback.text, said(r, config, table)) for r in cleared]
    return Planned(Change(put, ids, entries), ids)


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


def spoken_of(wanted: str, table: RouteTable) -> frozenset[str]:
    """Return the names by which changes of a ROUTE may have been asked for; empty: no such route.

    These are its own, its rule's, its rule's routes' and that of all routes.
    """
    found = resolve(wanted, table)
    names = {*found.ids, *found.alone}
    if not names:
        return frozenset()
    for ident in tuple(names):
        names.update(_below(ident, table))
    names |= {e.rule.id for e in table.routes if e.id in names and e.rule is not None}
    return frozenset({*names, ALL})


def unknown(wanted: str, table: RouteTable) -> str:
    """Say that there is no such ROUTE, and what may have been meant."""
    close = difflib.get_close_matches(wanted, known(table), n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}?" if close else "`gateway routes` lists them"
    return f"there is no rule or route {wanted!r} ({hint})"
