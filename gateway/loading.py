"""From a file and the environment to a `Config`, or to all problems at once.

YAML 1.2, so that `off` and `on` are words. `GATEWAY_LEGACY__THREADS=40` overrides a scalar.
"""

from __future__ import annotations

import difflib
import hashlib
import os
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from gateway.config import Config
from gateway.exceptions import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

Location = tuple[str | int, ...]

DEFAULT_PATH = "config/gateway.yaml"
ENV_PREFIX = "GATEWAY_"
_MAX_DEPTH = 40
#: Names with the prefix that are no settings.
_NOT_SETTINGS = frozenset({"GATEWAY_CONFIG", "GATEWAY_URL"})


@dataclass(frozen=True, slots=True)
class Source:
    """Where each part of the configuration was written, for messages."""

    name: str
    lines: dict[Location, int] = field(default_factory=dict)
    variables: dict[Location, str] = field(default_factory=dict)

    def where(self, location: Location) -> str:
        """Return `file:line` (lines from 1) or the variable, of the nearest known ancestor."""
        for end in range(len(location), -1, -1):
            known = location[:end]
            if known in self.variables:
                return self.variables[known]
            if known in self.lines:
                return f"{self.name}:{self.lines[known]}"
        return self.name

    def problem(
        self, code: str, location: Location, what: str, next_: str = "", *, warning: bool = False
    ) -> Problem:
        """Make a Problem that points at `location`."""
        return Problem(code, self.where(location), dotted(location), what, next_, warning)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A valid configuration, where it came from, and the folder its paths are relative to.

    `file` and the `digest` of its content are None where it wasn't read from one.
    """

    config: Config
    source: Source
    folder: Path
    file: Path | None = None
    digest: bytes | None = None


def dotted(location: Location) -> str:
    """Write `("routes", 3, "weight")` as `routes[3].weight`."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def default_path() -> Path:
    """Return the file that a command without a path means: GATEWAY_CONFIG, else the default."""
    return Path(os.environ.get("GATEWAY_CONFIG") or DEFAULT_PATH)


def load(
    path: str | os.PathLike[str],
    environ: Mapping[str, str] = os.environ,
    *,
    text: str | None = None,
) -> Loaded:
    """Read the file at `path`, apply the environment, and validate.

    `text` is read in the file's place, to see what would come of writing it. Raises ConfigError
    with every problem found.
    """
    file = Path(path)
    digest = digest_of_file(file)  # before the reading: what changes in between is seen later
    data, lines = _read(file, text)
    # Not through symbolic links: Kubernetes mounts a ConfigMap's file as one, and its target moves.
    absolute = file.absolute()
    loaded = _validate(data, Source(str(path), lines), environ, absolute.parent)
    return replace(loaded, file=absolute, digest=digest)


def digest_of_file(file: Path) -> bytes | None:
    """Return what tells one content of a file from another; None where it can't be read."""
    try:
        return hashlib.blake2b(file.read_bytes()).digest()
    except OSError:
        return None


def load_mapping(data: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> Loaded:
    """Validate a configuration given as plain values; paths are relative to the working folder.

    Raises ConfigError with every problem found.
    """
    return _validate(_plain(dict(data), (), {}, 0), Source("<mapping>"), environ, Path.cwd())


def _read(file: Path, text: str | None) -> tuple[Any, dict[Location, int]]:
    def fail(code: str, what: str, next_: str, line: int = 0) -> ConfigError:
        where = f"{file}:{line}" if line else str(file)
        return ConfigError([Problem(code, where, "", what, next_)])

    try:
        text = file.read_text(encoding="utf-8") if text is None else text
    except FileNotFoundError:
        raise fail("missing-file", "no such file", "name the file, or set GATEWAY_CONFIG") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise fail("unreadable-file", f"can't be read: {reason}", "check the file") from None
    try:
        tree = YAML(typ="rt").load(StringIO(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        # Only the key of a duplicate: its value could be a secret.
        what = " ".join((error.problem or "not valid YAML").partition(" with value ")[0].split())
        line = mark.line + 1 if mark else 0
        hint = "keep one of them" if "duplicate" in what else "is the file complete?"
        raise fail("yaml-syntax", what, hint, line) from None
    except (YAMLError, ValueError) as error:
        what = " ".join(str(error).split()) or "not valid YAML"
        raise fail("yaml-syntax", what, "is the file complete?") from None
    if tree is None:
        raise fail("empty-file", "the file is empty", "at least `version: 1` is needed")
    if not isinstance(tree, CommentedMap):
        raise fail("yaml-syntax", "the file is no mapping of keys", "start with `version: 1`", 1)
    lines: dict[Location, int] = {}
    try:
        return _plain(tree, (), lines, 0), lines
    except RecursionError:
        raise fail("yaml-syntax", "nested too deeply", "an alias that holds itself?") from None


def _plain(node: Any, location: Location, lines: dict[Location, int], depth: int) -> Any:
    """Copy `node` to plain values, noting in `lines` where each key stands (from 1)."""
    if depth > _MAX_DEPTH:
        raise RecursionError
    if isinstance(node, dict):
        result: dict[str, Any] = {}
        marks = getattr(getattr(node, "lc", None), "data", None) or {}
        for key, value in node.items():
            here = (*location, str(key))
            if key in marks:
                lines[here] = marks[key][0] + 1
            result[str(key)] = _plain(value, here, lines, depth + 1)
        return result
    if isinstance(node, list | tuple):
        marks = node.lc.data or {} if isinstance(node, CommentedSeq) else {}
        items: list[Any] = []
        for index, value in enumerate(node):
            here = (*location, index)
            if index in marks:
                lines[here] = marks[index][0] + 1
            items.append(_plain(value, here, lines, depth + 1))
        return items
    for plain in (bool, int, float, str):
        if isinstance(node, plain):
            # ruamel's scalars remember how they were written; the models want plain ones.
            return plain(node)
    return node


def _validate(
    data: dict[str, Any], source: Source, environ: Mapping[str, str], folder: Path
) -> Loaded:
    problems = _apply_environment(data, source, environ)
    try:
        config = Config.model_validate(data)
    except ValidationError as invalid:
        refused = {problem.key for problem in problems}
        problems.extend(
            problem
            for error in invalid.errors(include_url=False)
            if (problem := _translate(error, source)).key not in refused
            and not (error["type"] == "too_short" and error["input"])
        )
        raise ConfigError(in_order(problems)) from None
    if problems:
        raise ConfigError(in_order(problems))
    return Loaded(config, source, folder)


def in_order(problems: list[Problem]) -> list[Problem]:
    """Sort problems by where they stand: variables first, then by line."""

    def line(problem: Problem) -> tuple[int, str]:
        number = problem.where.rpartition(":")[2]
        return (int(number) if number.isdigit() else 0, problem.key)

    return sorted(problems, key=line)


def _apply_environment(
    data: dict[str, Any], source: Source, environ: Mapping[str, str]
) -> list[Problem]:
    """Put `GATEWAY_SECTION__KEY` values into `data`; return the names that mean nothing."""
    names = {name.upper(): name for name in environ if name.upper().startswith(ENV_PREFIX)}
    problems: list[Problem] = []
    for upper, name in names.items():
        parts = tuple(part.lower() for part in upper.removeprefix(ENV_PREFIX).split("__"))
        if upper in _NOT_SETTINGS or (len(parts) == 1 and parts[0] not in Config.model_fields):
            continue
        known = Config.model_fields.get(parts[0])
        section = known.annotation if known is not None else None
        fields = _fields_of(section)
        if len(parts) == 1 and not fields and parts[0] != "routes":
            data[parts[0]] = environ[name]
        elif len(parts) == 2 and parts[1] in fields:  # noqa: PLR2004 - section and key
            below = data.setdefault(parts[0], {})
            if not isinstance(below, dict):
                continue
            below[parts[1]] = environ[name]
        else:
            known_names = [
                f"{ENV_PREFIX}{top.upper()}__{key.upper()}"
                for top, info in Config.model_fields.items()
                for key in _fields_of(info.annotation)
            ]
            hint = _did_you_mean(upper, known_names) or "a variable can set scalars, not lists"
            problems.append(Problem("unknown-key", name, "", "names no setting", hint))
            continue
        source.variables[parts] = name
        if parts == ("version",):
            data["version"] = int(environ[name]) if environ[name].isdigit() else environ[name]
    return problems


def _fields_of(annotation: Any) -> dict[str, Any]:
    for candidate in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return dict(candidate.model_fields)
    return {}


def _did_you_mean(word: str, choices: list[str]) -> str:
    close = difflib.get_close_matches(word, choices, n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else ""


def _keys_at(location: Location) -> list[str]:
    """Return the keys that the model knows at `location`."""
    fields: dict[str, Any] = dict(Config.model_fields)
    for part in location:
        if isinstance(part, str):
            info = fields.get(part)
            fields = _fields_of(info.annotation) if info is not None else {}
    return sorted(fields)


def _translate(error: Any, source: Source) -> Problem:
    """Turn one Pydantic error into a Problem in the words of this product."""
    location: Location = tuple(error["loc"])
    value, context = error.get("input"), error.get("ctx", {})
    match error["type"]:
        case "extra_forbidden":
            keys = _keys_at(location[:-1])
            hint = _did_you_mean(str(location[-1]), keys) or f"known: {', '.join(keys)}"
            return source.problem("unknown-key", location, "unknown key", hint)
        case "missing":
            return source.problem("missing-key", location, "is missing", "add it")
        case "less_than_equal":
            what, hint = f"{value} is above {context['le']:g}", f"use at most {context['le']:g}"
            return source.problem("out-of-range", location, what, hint)
        case "greater_than_equal":
            what, hint = f"{value} is below {context['ge']:g}", f"use at least {context['ge']:g}"
            return source.problem("out-of-range", location, what, hint)
        case "greater_than":
            what = f"{value} is not above {context['gt']:g}"
            return source.problem("out-of-range", location, what, "use a larger value")
        case "literal_error":
            what, hint = f"{value!r} is none of the choices", f"use {context['expected']}"
            return source.problem("bad-value", location, what, hint)
        case "byte_size" | "byte_size_unit":
            what = f"{value!r} is no size"
            return source.problem("bad-value", location, what, "write for instance 100MB or 64KiB")
        case "value_error":
            return source.problem("bad-value", location, str(context["error"]))
        case "model_type" | "dict_type":
            hint = "write `key: value` lines below it"
            return source.problem("bad-value", location, "must hold keys", hint)
        case "tuple_type" | "list_type":
            return source.problem("bad-value", location, "must be a list", "write [a, b]")
        case _:
            what = f"{value!r}: {error['msg'][:1].lower()}{error['msg'][1:]}"
            return source.problem("bad-value", location, what)
