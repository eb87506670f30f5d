"""`--write`: a change goes into the config file, only if the whole is right with it."""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING, Any

from gateway.app import Gateway
from gateway.changes import ChangeRefused, plan
from gateway.cli.files import alone, replace_bytes
from gateway.cli.output import fail, report
from gateway.editing import CannotEdit, add_rule, set_kill_switch, set_rule
from gateway.exceptions import ConfigError
from gateway.held import Held
from gateway.loading import digest_of_file, load
from gateway.overrides import ALL, said, written
from gateway.reading import read_bytes
from gateway.routing import AUTOMATIC, UNMOVED

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gateway.changes import Wanted
    from gateway.config import Auth
    from gateway.routing import RouteTable, Rule

_BOM = "\ufeff"


def write(wanted: Wanted, path: Path, auth: Auth | None = None) -> dict[str, Any]:
    """Change the file; return its name, the rules and routes that it is about, those left alone.

    `auth` is written, too, where it is given. Ends the command where that can't be done; then the
    file is as it was.
    """
    try:
        load(path)  # the problems of a file that can't be read are told before anything else
        target = path.resolve()
        with alone(target.parent):
            return _changed(wanted, path, target, auth)
    except OSError as error:
        fail(f"{path} is unchanged: it can't be written ({error.strerror or error})")


def _changed(wanted: Wanted, path: Path, target: Path, auth: Auth | None) -> dict[str, Any]:
    before = read_bytes(target)
    loaded = load(path)
    table = Gateway(config=loaded, verify_lock=False).table
    weight = wanted.weight if wanted.cutover == "canary" else None
    try:
        planned = plan(wanted, loaded.config, table, Held(), time.time())
        text = before.decode()
        says = {"cutover": wanted.cutover, "weight": weight, "auth": auth}
        body = _edited(text.removeprefix(_BOM), planned.routes, says, table)
    except (ChangeRefused, CannotEdit) as error:
        fail(f"{path} is unchanged: {error}", 1)
    fresh = _BOM * text.startswith(_BOM) + body
    _prove(path, fresh, planned.routes, wanted)
    if fresh != text:
        if digest_of_file(target) != loaded.digest:
            fail(f"{path} is unchanged: somebody else has just changed it; try again", 1)
        replace_bytes(target, fresh.encode())
    return {
        "file": str(path),
        "routes": list(planned.routes),
        "skipped": list(planned.skipped),
        **says,
    }


def _edited(text: str, idents: Sequence[str], says: dict[str, Any], table: RouteTable) -> str:
    if idents == (ALL,):
        return set_kill_switch(text, on=True)
    rules, alone_ = _places(idents, table)
    for rule in rules:
        text = set_rule(text, rule.index, **says)
    said = {key: value for key, value in says.items() if value is not None}
    for label, methods in alone_.items():
        text = add_rule(text, {"path": label, "methods": methods, **said})
    return text


def _places(idents: Sequence[str], table: RouteTable) -> tuple[list[Rule], dict[str, list[str]]]:
    """Sort out which rules to change, and which routes need a rule of their own: methods by path.

    Raises ChangeRefused where a rule governs other routes besides.
    """
    named = {rule.id: rule for rule in table.rules}
    rules: dict[str, Rule] = {}
    new: dict[str, list[str]] = {}
    for ident in idents:
        if ident in named:
            rules[ident] = named[ident]
            continue
        for route in (each for each in table.routes if each.id == ident):
            if route.rule is not None:
                _own(ident, route.rule, idents, table)
                rules[route.rule.id] = route.rule
            elif route.method != "HEAD" or f"GET {route.label}" not in idents:  # GET includes it
                methods = new.setdefault(route.label, [])
                methods += [] if route.method in methods else [route.method]
    return list(rules.values()), new


def _own(ident: str, rule: Rule, idents: Sequence[str], table: RouteTable) -> None:
    """Hold that a rule governs nothing but what is asked for."""
    others = sorted(
        {each.id for each in table.routes if each.rule is rule and each.method not in AUTOMATIC}
        - {*idents}
    )
    if others:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        raise ChangeRefused(
            f"the rule {rule.id!r} ({rule.key}, {rule.selector}) owns {ident}, and also "
            f"{others[0]}{more}: change the whole rule by its name, or write a rule for "
            f"{ident} into the file, with what this one says of auth and hooks"
        )


def _prove(path: Path, text: str, idents: Sequence[str], wanted: Wanted) -> None:
    """Build everything from the new text: it must be right, and say what was asked for."""
    try:
        loaded = load(path, text=text)
        table = Gateway(config=loaded).table
    except ConfigError as error:
        report(error.problems)
        fail(f"{path} is unchanged: the config would be wrong", 1)
    for route in table.routes:
        mine = route.id in idents or (route.rule is not None and route.rule.id in idents)
        if mine and route.findings and route.cutover not in UNMOVED:
            first = route.findings[0]
            told = f"{path} is unchanged: {route.id}: {first}"
            if first.auth is not None:
                told += f"\n  to write it, too: {_command(wanted, path, first.auth)}"
            fail(told, 1)
    says = written(wanted.cutover, wanted.weight if wanted.cutover == "canary" else None)
    for ident in idents:
        found = said(ident, loaded.config, table)
        if found != ("kill_switch true" if ident == ALL else says):
            fail(
                f"{path} is unchanged: {ident} would still be at {found!r}; another rule or a "
                "variable of the environment says so",
                1,
            )


def _command(wanted: Wanted, path: Path, auth: Auth) -> str:
    """Write the command that says who guards the route as well."""
    words = ["gateway", "set", wanted.route or "", wanted.cutover]
    if wanted.weight is not None:
        words += ["--weight", f"{wanted.weight:g}"]
    return shlex.join([*words, "--write", "--auth", auth, "--config", str(path)])
