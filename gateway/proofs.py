"""`routes.proof`: the committed list of what `gateway prove` has proved, made for diffs.

A proof holds for the code that it was made with, and for who guarded the route then. Once either
changes it counts for nothing, and `gateway prove` has to be run again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.exceptions import GatewayError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

#: The file's name, beside the config.
NAME = "routes.proof"
HEADER = "# What `gateway prove` has proved, written by it. Commit this file; don't edit it.\n"
_LINE = re.compile(
    r"(?P<route>\S+ /.*) legacy=(?P<legacy>\S+) native=(?P<native>\S+) guard=(?P<guard>\S+)"
    r" in=(?P<let_in>\S+) out=(?P<refused>\S+)"
)


class ProofError(GatewayError):
    """`routes.proof` can't be read or written; the message says where and what to do."""


@dataclass(frozen=True, slots=True)
class Proof:
    """That both sides turn the same callers away from one route, as the code was.

    The fingerprints are those of view and hooks, and of the native handler. `guard` is what the
    rule said, as `guard_text` writes it; the names are those of the identities.
    """

    legacy: str
    native: str
    guard: str
    let_in: tuple[str, ...]
    refused: tuple[str, ...]

    def holds(self, legacy: str, native: str, guard: str) -> bool:
        """Tell whether the proof is about this code and this rule."""
        return (self.legacy, self.native, self.guard) == (legacy, native, guard)


def guard_text(auth: str | None, hooks: str, requires: Iterable[str]) -> str:
    """Write who guards a route: `hooks,inherit`, `shared,inherit,items:read`."""
    return ",".join((auth or "unsaid", hooks, *sorted(requires)))


def proved(path: Path) -> dict[str, Proof]:
    """Return the proofs by the routes' ids; none where there is no file. Raises ProofError."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ProofError(f"{path}: can't be read: {error}") from error
    found: dict[str, Proof] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        form = _LINE.fullmatch(line.strip())
        if form is None or form["route"] in found:
            what = "stands there twice" if form is not None else "is no proof"
            raise ProofError(
                f"{path}:{number}: this line {what} (delete it, and run: gateway prove)"
            )
        found[form["route"]] = Proof(
            form["legacy"],
            form["native"],
            form["guard"],
            tuple(form["let_in"].split(",")),
            tuple(form["refused"].split(",")),
        )
    return found


def write_proofs(path: Path, proofs: Mapping[str, Proof]) -> None:
    """Write the proofs, sorted by route. Raises ProofError."""
    lines = [
        f"{route} legacy={each.legacy} native={each.native} guard={each.guard}"
        f" in={','.join(each.let_in)} out={','.join(each.refused)}\n"
        for route, each in sorted(proofs.items(), key=lambda item: _by_path(item[0]))
    ]
    try:
        path.write_text(HEADER + "".join(lines), encoding="utf-8")
    except OSError as error:
        raise ProofError(f"{path}: can't be written: {error.strerror or error}") from error


def _by_path(route: str) -> tuple[str, str]:
    method, _, path = route.partition(" ")
    return path, method
