"""The file that a user of `gateway prove` writes: who asks, and what is asked."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gateway.config import AbsolutePath, HeaderName, HostPattern  # noqa: TC001 - Pydantic reads them
from gateway.exceptions import AppImportError, ConfigError
from gateway.importing import import_callable
from gateway.loading import in_order, problems_of, read_values

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from gateway.exceptions import Problem
    from gateway.loading import Location, Source

#: The file's name, beside the config.
NAME = "prove.yaml"
#: Who must be among the identities, and what each of them is for.
REQUIRED: Mapping[str, str] = {
    "nobody": "{}",
    "wrong": "{headers: {X-Token: wrong}}",
    "expired": "{cookies: {session: an-old-one}}",
}
#: What a callable may ask for, by the names of its parameters.
_OFFERED: Mapping[str, tuple[str, ...]] = {"login": ("side", "apps"), "reset": ("apps",)}
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")

Text = dict[str, str]
IdentityName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Side = Literal["legacy", "native"]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class IdentityConfig(_Model):
    """Somebody who asks. `{}` has nothing to show."""

    headers: dict[HeaderName, str] = {}
    """Sent with every request: `{Authorization: "Bearer ${TEST_TOKEN}"}`."""
    cookies: Text = {}
    """Sent with every request."""
    login: str | None = None
    """Import string of a callable that logs in and returns a `Credentials` mapping. It may take
    `side`, `"legacy"` or `"native"`, and `apps`, which has both apps: `def ann(side, apps)`. Called
    anew before every request."""


class CsrfConfig(_Model):
    """Where a CSRF token goes in requests that write."""

    header: dict[HeaderName, str] = {}
    """As a header: `{X-CSRFToken: token}`."""
    field: Text = {}
    """As a field of a `form`: `{csrf_token: token}`."""


class Credentials(_Model):
    """What a `login:` callable returns, as a mapping."""

    headers: dict[HeaderName, str] = {}
    """Sent with every request."""
    cookies: Text = {}
    """Sent with every request."""
    csrf: CsrfConfig = CsrfConfig()
    """Sent with requests that write."""


class RouteCase(_Model):
    """What one route is asked. What is missing gets a sample value."""

    values: dict[str, str | int | float] = {}
    """The path's parameters, by their names: `{id: 1}`. They should name something that exists.
    Default: 1."""
    query: str = ""
    """The query: `?full=1`."""
    host: HostPattern | None = None
    """The Host header. Default: the rule's, else localhost."""
    headers: dict[HeaderName, str] = {}
    """More headers; an identity's own count before them."""
    json_: Any = Field(default=None, alias="json")
    """The body, sent as JSON."""
    form: Text | None = None
    """The body, sent as a form."""
    body: str | None = None
    """The body as it is; its type goes into `headers`."""

    @model_validator(mode="after")
    def _one_body(self) -> RouteCase:
        given = [
            name
            for name, value in (("json", self.json_), ("form", self.form), ("body", self.body))
            if value is not None
        ]
        if len(given) > 1:
            message = f"a request has one body; found {' and '.join(given)}"
            raise ValueError(message)
        return self


class CasesConfig(_Model):
    """The whole of `prove.yaml`."""

    version: Literal[1]
    """Version of this format."""
    reset: str | None = None
    """Import string of a callable that puts the test data back: called before each write. It may
    take `apps`. Without it a write is asked only within its rule's `writes.rollback`."""
    identities: dict[IdentityName, IdentityConfig]
    """Who asks, by name. `nobody`, `wrong` and `expired` must be among them, and somebody whom
    legacy lets in. Where the app checks CSRF tokens each of them needs one that is right, by
    `login:`: else CSRF's refusal hides what else would refuse them."""
    routes: dict[str, RouteCase] = {}
    """What to ask, by the route as `gateway routes` prints it: `GET /users/{id}`."""
    login: tuple[AbsolutePath, ...] | None = None
    """Paths of login pages. Default: `auth.login` of the config, else Flask-Login's
    `login_view`."""


@dataclass(frozen=True, slots=True)
class Apps:
    """Both apps, for `login:` and `reset:`."""

    legacy: Any
    native: Any


@dataclass(frozen=True, slots=True)
class Cases:
    """A valid file, its callables imported."""

    config: CasesConfig
    source: Source
    reset: Callable[..., Any] | None
    logins: Mapping[str, Callable[..., Any]]


def load_cases(path: Path, environ: Mapping[str, str]) -> Cases:
    """Read the file, put `${NAME}` in from the environment, validate and import.

    Raises ConfigError with every problem found.
    """
    data, source, _ = read_values(path, str(path), hint="write one (gateway prove --help)")
    problems: list[Problem] = []
    data = {key: _filled(value, (key,), environ, source, problems) for key, value in data.items()}
    try:
        config = CasesConfig.model_validate(data)
    except ValidationError as invalid:
        raise ConfigError(
            in_order([*problems, *problems_of(invalid, source, CasesConfig)])
        ) from None
    problems += [
        source.problem(
            "missing-identity",
            ("identities",),
            f"{name!r} must be among them",
            f"add it, as for instance `{name}: {example}`",
        )
        for name, example in REQUIRED.items()
        if name not in config.identities
    ]
    reset = _callable(config.reset, "reset", ("reset",), source, problems)
    logins = {
        name: found
        for name, each in config.identities.items()
        if (
            found := _callable(each.login, "login", ("identities", name, "login"), source, problems)
        )
    }
    if problems:
        raise ConfigError(in_order(problems))
    return Cases(config, source, reset, logins)


def offered(call: Callable[..., Any], **values: Any) -> dict[str, Any]:
    """Return those of the values that a callable asks for by the names of its parameters."""
    return {name: values[name] for name in inspect.signature(call).parameters if name in values}


def _filled(
    value: Any,
    location: Location,
    environ: Mapping[str, str],
    source: Source,
    problems: list[Problem],
) -> Any:
    """Put the environment's values in the place of `${NAME}`, in a value and all below it."""
    if isinstance(value, dict):
        return {
            key: _filled(each, (*location, key), environ, source, problems)
            for key, each in value.items()
        }
    if isinstance(value, list):
        return [
            _filled(each, (*location, index), environ, source, problems)
            for index, each in enumerate(value)
        ]
    if not isinstance(value, str):
        return value
    for name in _VARIABLE.findall(value):
        if name not in environ:
            what = f"the environment variable {name} is not set"
            problems.append(source.problem("missing-variable", location, what, "set it"))
    return _VARIABLE.sub(lambda found: environ.get(found[1], ""), value)


def _callable(
    string: str | None, kind: str, location: Location, source: Source, problems: list[Problem]
) -> Callable[..., Any] | None:
    if string is None:
        return None
    try:
        found: Callable[..., Any] = import_callable(string, f"a {kind}")
    except AppImportError as error:
        problems.append(source.problem("app-import", location, str(error)))
        return None
    names = _OFFERED[kind]
    try:
        inspect.signature(found).bind(**offered(found, **dict.fromkeys(names)))
    except (TypeError, ValueError) as error:
        what = f"{string} can't be called: {error}"
        hint = f"it may take {' and '.join(names)}, by these names"
        problems.append(source.problem("bad-callable", location, what, hint))
        return None
    return found
