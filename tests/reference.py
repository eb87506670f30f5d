"""Writes `config/REFERENCE.md` from the code: `python -m tests.reference`.

A test holds the page to the code, so that a key, flag, page or metric can't go undocumented.
"""

from __future__ import annotations

import re
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

import typer.main
from fastapi.routing import APIRoute
from pydantic import BaseModel

from gateway.admin.api import router
from gateway.cli import app
from gateway.config import Config
from gateway.migrate.prove.cases import CasesConfig, Credentials
from gateway.observe.metrics import METRICS
from gateway.routing import REASONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import click

FILE = Path(__file__).parents[1] / "config" / "REFERENCE.md"
_LABELS = {
    "gateway_decisions_total": "`route`, `method`, `backend`, `reason`",
    "gateway_requests_total": "`route`, `method`, `backend`, `status`",
    "gateway_request_duration_seconds": "`route`, `method`, `backend`",
    "gateway_config_reloads_total": "`result`",
    "gateway_loop_blocks_total": "`culprit`",
}
_HEAD = """\
# Reference

Every key of the configuration, every command, page, metric and reason code. This page is written
from the code (`python -m tests.reference`), and a test fails where the two differ.
"""


def page() -> str:
    """Return the whole page."""
    parts = [_HEAD, _config(), _cases(), _commands(), _pages(), _metrics(), _reasons()]
    return "\n".join(parts)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _flat(text: str | None) -> str:
    return re.sub(r"\s+", " ", text or "").strip()


# -- the configuration ----------------------------------------------------------------------------


def _config() -> str:
    rows = list(_keys(Config, ""))
    return "## Configuration\n\n" + _table(("key", "default", "meaning"), rows)


def _cases() -> str:
    """Describe the file of `gateway prove`, and what its `login:` callables return."""
    rows = [*_keys(CasesConfig, ""), *_keys(Credentials, "(login) ")]
    title = "## prove.yaml, the cases of `gateway prove`\n\n"
    return title + _table(("key", "default", "meaning"), rows)


def _keys(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, ...]]:
    for name, info in model.model_fields.items():
        below, is_list = _model_in(info.annotation)
        key = f"{prefix}{info.alias or name}"
        default = "" if below else "required" if info.is_required() else _written(info.default)
        yield f"`{key}`", default, _flat(info.description)
        if below is not None:
            named = get_origin(info.annotation) is dict
            yield from _keys(below, f"{key}.*." if named else f"{key}[]." if is_list else f"{key}.")


def _model_in(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """Return the model that an annotation holds, and whether there is a list of it."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    origin = get_origin(annotation)
    if origin is Literal:
        return None, False
    for each in get_args(annotation):
        found, _ = _model_in(each)
        if found is not None:
            return found, origin not in (Union, types.UnionType)
    return None, False


def _written(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{value}`"


# -- the command line -----------------------------------------------------------------------------


def _commands() -> str:
    group: Any = typer.main.get_command(app)
    parts = ["## Commands\n"]
    for name, command in sorted(group.commands.items()):
        parts.append(f"### `gateway {name}`\n\n{_flat(command.help)} {_flat(command.epilog)}\n")
        rows = [
            _parameter(each)
            for each in command.params
            if each.name != "help" and not getattr(each, "hidden", False)
        ]
        if rows:
            parts.append(_table(("option", "default", "meaning"), rows))
    return "\n".join(parts)


def _parameter(parameter: click.Parameter) -> tuple[str, ...]:
    if parameter.param_type_name == "argument":
        name = (parameter.metavar or parameter.name or "").upper()
    else:
        name = ", ".join([*parameter.opts, *parameter.secondary_opts])
    default = parameter.default if parameter.default not in (None, False, "", ()) else None
    text = getattr(parameter, "help", None)
    return f"`{name}`", _written(default), _flat(text)


# -- the rest -------------------------------------------------------------------------------------


def _pages() -> str:
    ready = (
        "200 between start-up and shutdown, else 503; open to everybody. Tells the revision, and "
        "whether the config and the store are as they should be."
    )
    rows = [
        ("GET", "`/-/healthy`", "200 while the process lives; open to everybody."),
        ("GET", "`/-/ready`", ready),
        ("GET", "`/-/openapi.json`", "The OpenAPI document of these pages."),
    ]
    for route in router.routes:
        assert isinstance(route, APIRoute)
        methods = ", ".join(sorted(route.methods or ()))
        rows.append((methods, f"`/-{route.path}`", _flat(route.endpoint.__doc__)))
    text = "`/-` is `admin.prefix`. All but the first two need `Authorization: Bearer TOKEN`.\n\n"
    return "## Pages\n\n" + text + _table(("method", "page", "what"), rows)


def _metrics() -> str:
    rows = [
        (f"`{name}`", kind, _LABELS.get(name, ""), text) for name, (kind, text) in METRICS.items()
    ]
    return "## Metrics\n\n" + _table(("metric", "type", "labels", "meaning"), rows)


def _reasons() -> str:
    rows = [(f"`{reason.value}`", text) for reason, text in REASONS.items()]
    return "## Reasons\n\n" + _table(("code", "why this side"), rows)


if __name__ == "__main__":
    FILE.write_text(page(), encoding="utf-8")
