"""From a file and the environment to a `Config`, or to all problems at once.

YAML 1.2, so that `off` and `on` are words. `GATEWAY_LEGACY__THREADS=40` overrides a scalar.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from ruamel.yaml.comments import CommentedMap, CommentedSeq, TaggedScalar

from gateway.config import Config
from gateway.exceptions import ConfigError, Problem
from gateway.reading import MAX_DEPTH, NotYaml, parse, read_bytes

Location = tuple[str | int, ...]

_VERSION = re.compile("[0-9]{1,9}")
#: Where a configuration is looked for, in order; the last one is named where none is there.
DEFAULT_PATHS = ("gateway.yaml", "config/gateway.yaml")
ENV_PREFIX = "GATEWAY_"
#: A config's values, each alias with all that it stands for; ten thousand rules have half.
_MAX_VALUES = 250_000
#: Whatever is counted here is less, and Python can write it (it refuses 4,300 digits).
_LARGEST = 2**63
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
        self,
        code: str,
        location: Location,
        what: str,
        next_: str = "",
        *,
        warning: bool = False,
        finding: bool = False,
    ) -> Problem:
        """Make a Problem that points at `location`."""
        return Problem(code, self.where(location), dotted(location), what, next_, warning, finding)


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
    """Return the file that a command without a path means: GATEWAY_CONFIG, else a default."""
    named = os.environ.get("GATEWAY_CONFIG")
    found = [Path(each) for each in DEFAULT_PATHS]
    return Path(named) if named else next((each for each in found if each.is_file()), found[-1])


def load(
    path: str | os.PathLike[str],
    environ: Mapping[str, str] = os.environ,
    *,
    text: str | None = None,
    only_legacy: bool = False,
) -> Loaded:
    """Read the file at `path`, apply the environment, and validate.

    `text` is read in the file's place, to see what would come of writing it. `only_legacy` leaves
    out whatever isn't needed to serve the legacy app as it is, right or wrong; such a config is
    read once, and doesn't follow the file. Raises ConfigError with every problem found.
    """
    file = Path(path)
    data, source, content = read_values(file, str(path), text=text)
    # Not through symbolic links: Kubernetes mounts a ConfigMap's file as one, and its target moves.
    absolute = file.absolute()
    if only_legacy:
        data = {key: data[key] for key in _LEGACY_KEYS & data.keys()} | {"version": 1}
        environ = {key: each for key, each in environ.items() if _is_about_legacy(key)}
        return _validate(data, source, environ, absolute.parent)
    loaded = _validate(data, source, environ, absolute.parent)
    return replace(loaded, file=absolute, digest=_digest(content))


def read_values(
    file: Path, name: str, *, text: str | None = None, hint: str = "set GATEWAY_CONFIG"
) -> tuple[dict[str, Any], Source, bytes]:
    """Return a YAML file's values, where each of them stands, and the file's content.

    `name` is the file in messages. `text` is read in the file's place; `hint` is what else to do
    where there is none. Raises ConfigError.
    """
    try:
        content = read_bytes(file)
        text = content.decode("utf-8") if text is None else text
        tree = parse(text)
    except FileNotFoundError:
        raise _refused("missing-file", file, "no such file", f"name the file, or {hint}") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        what = f"can't be read: {reason}"
        raise _refused("unreadable-file", file, what, "check the file") from None
    except NotYaml as error:
        raise _refused("yaml-syntax", file, str(error), error.next, error.line) from None
    if tree is None:
        raise _refused("empty-file", file, "the file is empty", "at least `version: 1` is needed")
    if not isinstance(tree, CommentedMap):
        what = "the file is no mapping of keys"
        raise _refused("yaml-syntax", file, what, "start with `version: 1`", 1)
    source = Source(name)
    return _plain_values(tree, source), source, content


def _is_about_legacy(variable: str) -> bool:
    section = variable.upper().removeprefix(ENV_PREFIX).partition("__")[0].lower()
    return not variable.upper().startswith(ENV_PREFIX) or section in _LEGACY_KEYS


def _refused(code: str, file: Path, what: str, next_: str, line: int = 0) -> ConfigError:
    where = f"{file}:{line}" if line else str(file)
    return ConfigError([Problem(code, where, "", what, next_)])


def digest_of_file(file: Path) -> bytes | None:
    """Return what tells one content of a file from another; None where it can't be read."""
    try:
        return _digest(read_bytes(file))
    except OSError:
        return None


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content).digest()


def load_mapping(data: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> Loaded:
    """Validate a configuration given as plain values; paths are relative to the working folder.

    Raises ConfigError with every problem found.
    """
    source = Source("<mapping>")
    return _validate(_plain_values(data, source), source, environ, Path.cwd())


#: What the legacy app alone is served by.
_LEGACY_KEYS = frozenset({"legacy", "admin", "observe", "served_by"})


class _Unfit(Exception):
    """A value that no config can hold."""

    def __init__(self, location: Location, what: str, next_: str) -> None:
        super().__init__(what)
        self.location, self.what, self.next = location, what, next_


def _plain_values(tree: Mapping[Any, Any], source: Source) -> dict[str, Any]:
    """Copy `tree` to plain values, noting in `source` where each key stands (from 1)."""
    copy = _Copy(source.lines)
    try:
        return copy.mapping(tree, (), 0)
    except _Unfit as unfit:
        raise ConfigError(
            [Problem("bad-value", source.where(unfit.location), "", unfit.what, unfit.next)]
        ) from None


class _Copy:
    """Copies what ruamel gives to plain values, within bounds: aliases multiply what they name."""

    def __init__(self, lines: dict[Location, int]) -> None:
        self._lines = lines
        self._count = 0

    def mapping(self, node: Mapping[Any, Any], location: Location, depth: int) -> dict[str, Any]:
        """Copy a mapping. Raises _Unfit."""
        result: dict[str, Any] = {}
        marks = getattr(getattr(node, "lc", None), "data", None) or {}
        for key, value in node.items():
            wrong = _wrong(key)
            here = (*location, str(key) if wrong is None else "")
            if key in marks:
                self._lines[here] = marks[key][0] + 1
            if wrong is not None:
                raise _Unfit(here, *wrong)
            result[str(key)] = self._value(value, here, depth + 1)
        return result

    def _value(self, node: Any, location: Location, depth: int) -> Any:
        self._count += 1
        if self._count > _MAX_VALUES:
            raise _Unfit(location, "there are too many values", "an alias of many aliases?")
        if depth > MAX_DEPTH:
            raise _Unfit(location, "nested too deeply", "an alias that holds itself?")
        if isinstance(node, dict):
            return self.mapping(node, location, depth)
        if isinstance(node, list | tuple):
            marks = node.lc.data or {} if isinstance(node, CommentedSeq) else {}
            items: list[Any] = []
            for index, value in enumerate(node):
                here = (*location, index)
                if index in marks:
                    self._lines[here] = marks[index][0] + 1
                items.append(self._value(value, here, depth + 1))
            return items
        if isinstance(node, TaggedScalar):
            node = node.value
        wrong = _wrong(node)
        if wrong is not None:
            raise _Unfit(location, *wrong)
        for plain in (bool, int, float, str):
            if isinstance(node, plain):
                # ruamel's scalars remember how they were written; the models want plain ones.
                return plain(node)
        return node


def _wrong(scalar: Any) -> tuple[str, str] | None:
    """Say what is wrong with a scalar, and what to do; None where nothing is."""
    if isinstance(scalar, str) and not _is_text(scalar):
        return "half a surrogate pair is no text", "write the character itself"
    if isinstance(scalar, str) and "\0" in scalar:
        return "NUL is no character of a text", "remove it"
    if isinstance(scalar, int) and abs(scalar) > _LARGEST:
        return "the number is too large", f"use at most {_LARGEST:,}"
    if isinstance(scalar, TaggedScalar | Mapping | Sequence) and not isinstance(
        scalar, str | bytes
    ):
        return "only plain text can be a key", "write a name"
    return None


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


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
            for problem in problems_of(invalid, source, Config)
            if problem.key not in refused
        )
        raise ConfigError(in_order(problems)) from None
    if problems:
        raise ConfigError(in_order(problems))
    return Loaded(config, source, folder)


def problems_of(invalid: ValidationError, source: Source, model: type[BaseModel]) -> list[Problem]:
    """Say in the words of this product what is wrong with values that are no `model`."""
    return [
        _translate(error, source, model)
        for error in invalid.errors(include_url=False)
        if not (error["type"] == "too_short" and error["input"])
    ]


def in_order(problems: list[Problem]) -> list[Problem]:
    """Sort problems by where they stand: variables first, then by file and line."""

    def place(problem: Problem) -> tuple[str, int, str]:
        file, _, number = problem.where.rpartition(":")
        return (file, int(number), problem.key) if number.isdigit() else ("", 0, problem.key)

    return sorted(problems, key=place)


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
            number = _VERSION.fullmatch(environ[name])
            data["version"] = int(number[0]) if number is not None else environ[name]
    return problems


def _fields_of(annotation: Any) -> dict[str, Any]:
    for candidate in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return {each.alias or name: each for name, each in candidate.model_fields.items()}
    return {}


def _did_you_mean(word: str, choices: list[str]) -> str:
    close = difflib.get_close_matches(word, choices, n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else ""


def _keys_at(location: Location, model: type[BaseModel]) -> list[str]:
    """Return the keys that the model knows at `location`."""
    fields: dict[str, Any] = dict(model.model_fields)
    named = False  # the next part is a name of the user's own
    for part in location:
        if named or isinstance(part, int):
            named = False
            continue
        info = fields.get(part)
        fields = _fields_of(info.annotation) if info is not None else {}
        named = info is not None and getattr(info.annotation, "__origin__", None) is dict
    return sorted(fields)


def _translate(error: Any, source: Source, model: type[BaseModel]) -> Problem:
    """Turn one Pydantic error into a Problem in the words of this product."""
    location: Location = tuple(error["loc"])
    value, context = error.get("input"), error.get("ctx", {})
    match error["type"]:
        case "extra_forbidden":
            keys = _keys_at(location[:-1], model)
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
