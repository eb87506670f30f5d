"""Where commands that change things go: to a running gateway, or to the store that it shares."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar
from urllib.parse import SplitResult, quote, urlsplit, urlunsplit

from gateway.admin import diffs, views
from gateway.app import Gateway
from gateway.cli.answers import Diffs, Done, Status, StrangeAnswer, Trail, held
from gateway.cli.output import fail, report
from gateway.exceptions import ConfigError, GatewayError
from gateway.loading import load

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from pydantic import BaseModel

    from gateway.changes import Wanted
    from gateway.control import Changed, Control

T = TypeVar("T")

DEFAULT_TOKEN_ENV = "GATEWAY_ADMIN_TOKEN"  # noqa: S105 - a variable's name
_TIMEOUT_SECONDS = 15.0
_PAGES = {
    "set": "/overrides",
    "rollback": "/rollback",
    "clear": "/clear",
    "accept": "/diffs/accept",
}
#: What the API's fields are called on the command line.
_OPTIONS = {"seconds": "--for", "weight": "--weight", "reason": "--reason", "route": "ROUTE"}
_WRAPPED = re.compile(r"override: (.*\[[a-z-]+\]) \[refused\]", re.DOTALL)


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the admin token is for the host that was named."""

    def redirect_request(self, *_: Any) -> None:
        """Refuse, so that the redirect is an error."""


_OPENER = urllib.request.build_opener(_Stay)


class Place(Protocol):
    """Somewhere to send a change to, and to ask how things are."""

    def change(self, wanted: Wanted, revision: str | None) -> dict[str, Any]:
        """Carry out a change; return its routes, those skipped, and the revision."""
        ...

    def status(self) -> dict[str, Any]:
        """Return what `/-/status` says."""
        ...

    def audit(self, limit: int, route: str | None) -> dict[str, Any]:
        """Return the last entries of the audit trail, and what the file accepts."""
        ...

    def diffs(self, limit: int, route: str | None, since: float | None) -> dict[str, Any]:
        """Return what `/-/diffs` says; whatever goes wrong ends the command with 2.

        With `since` only samples of the last so many seconds.
        """
        ...


def place(url: str | None, config: Path | None, chosen: Path) -> Place:
    """Return the running gateway at `url` (or GATEWAY_URL), else the store of the config."""
    if url is not None:
        return Remote(url, chosen)
    named = os.environ.get("GATEWAY_URL") if config is None else None
    return Remote(named, chosen) if named else Local(chosen)


class Remote:
    """A running gateway, asked over its admin API."""

    def __init__(self, url: str, config: Path) -> None:
        parts = _parts(url)
        prefix, variable, self._aside = _named(config)
        base = urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))
        self._base = base if parts.path.strip("/") else base + prefix
        # A file or a secret store often ends it with a line end.
        self._token = os.environ.get(variable, "").strip()
        self._variable = variable
        if not self._token:
            fail(f"the admin token is missing: set {variable}{self._aside}")
        if not (self._token.isascii() and self._token.isprintable()):
            fail(f"{variable} holds characters that no header can carry: is it the whole token?")

    def change(self, wanted: Wanted, revision: str | None) -> dict[str, Any]:
        """Ask the admin API to change something."""
        page = _PAGES[wanted.action]
        body: dict[str, Any] = {"author": wanted.author, "reason": wanted.reason}
        if wanted.route is None:
            body["all"] = True
        else:
            body["route"] = wanted.route
        if wanted.action == "set":
            body |= {"cutover": wanted.cutover, "weight": wanted.weight, "seconds": wanted.seconds}
        return self._ask(Done, "POST", page, body, revision)

    def status(self) -> dict[str, Any]:
        """Ask for the status."""
        return self._ask(Status, "GET", "/status")

    def audit(self, limit: int, route: str | None) -> dict[str, Any]:
        """Ask for the audit trail."""
        return self._ask(Trail, "GET", f"/audit{_query(limit, route)}")

    def diffs(self, limit: int, route: str | None, since: float | None) -> dict[str, Any]:
        """Ask what mirrors have found."""
        query = _query(limit, route) + (f"&since={since:f}" if since is not None else "")
        return self._ask(Diffs, "GET", f"/diffs{query}", refused=2)

    def _ask(
        self,
        model: type[BaseModel],
        method: str,
        page: str,
        body: Any = None,
        revision: str | None = None,
        refused: int = 1,
    ) -> dict[str, Any]:
        """Ask a page; `refused` is the exit code where the gateway says no."""
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body).encode()
        if revision is not None:
            headers["If-Match"] = f'"{revision}"'
        request = urllib.request.Request(  # noqa: S310 - the scheme was looked at
            self._base + page, data, headers, method=method
        )
        try:
            with _OPENER.open(request, timeout=_TIMEOUT_SECONDS) as answer:
                said = answer.read()
        except urllib.error.HTTPError as error:
            self._explain(error, refused)
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            fail(
                f"can't reach a gateway at {self._base}: {reason} "
                "(--config FILE speaks to the store that the file names)"
            )
        try:
            return held(model, json.loads(said))
        except (ValueError, RecursionError):
            fail(f"{self._base} answers something else than JSON: is a gateway there?")
        except StrangeAnswer as error:
            fail(f"{self._base} answers as no gateway of this version does ({error})")

    def _explain(self, error: urllib.error.HTTPError, refused: int) -> NoReturn:
        said = _body(error)
        if error.code in (401, 403):
            fail(f"the gateway refused the token in {self._variable}{self._aside}")
        if error.code == 404:  # noqa: PLR2004
            what = said.get("detail", "there is no admin API")
            fail(f"{self._base}: {what} (is a token configured there?){self._aside}")
        problems = said.get("problems")
        report(tidy(str(each)) for each in (problems if isinstance(problems, list) else ()))
        detail = said.get("detail", f"{self._base} answers HTTP {error.code}")
        if isinstance(detail, list):
            detail = "; ".join(_wrong(each) for each in detail)
        fail(str(detail), refused)


def _query(limit: int, route: str | None) -> str:
    return f"?limit={limit}" + (f"&route={quote(route)}" if route else "")


def _parts(url: str) -> SplitResult:
    """Take a gateway's URL apart; never show it where it may hold a password."""
    hint = "write http://host:port"
    try:
        parts = urlsplit(url.strip())
        whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        whole = False
    if "@" in url:
        fail(f"the URL of a gateway has neither user nor password: {hint}")
    if not whole:
        fail(f"{url!r} is no URL of a gateway: {hint}")
    if parts.query or parts.fragment:
        fail(f"the URL of a gateway has neither query nor fragment: {hint}")
    return parts


def _body(error: urllib.error.HTTPError) -> dict[str, Any]:
    """Read what came with an error; nothing where it isn't what a gateway says."""
    try:
        said = json.loads(error.read())
    except (OSError, ValueError, RecursionError, http.client.HTTPException):
        return {}
    return said if isinstance(said, dict) else {}


def _wrong(error: Any) -> str:
    """Say what the API says of a value, in the words of the command line."""
    if not isinstance(error, dict):
        return str(error)
    location = error.get("loc") or [""]
    name = str(location[-1]) if isinstance(location, list) else str(location)
    message = str(error.get("msg", "is wrong")).removeprefix("Value error, ")
    if name in ("", "body"):
        return message
    return f"{_OPTIONS.get(name, name)}: {message[:1].lower()}{message[1:]}"


def tidy(problem: str) -> str:
    """Take off the second code of a problem that is told as another's reason."""
    found = _WRAPPED.fullmatch(problem)
    return found[1] if found is not None else problem


def _named(config: Path) -> tuple[str, str, str]:
    """Return the prefix and the token's variable that the config names, else the defaults.

    A file that is broken just now must not keep anybody from a rollback: then the third value says
    that it wasn't read.
    """
    aside = ""
    if config.exists():
        try:
            admin = load(config).config.admin
        except ConfigError:
            aside = f" ({config} is broken just now, so that the defaults were taken)"
        else:
            return admin.prefix.rstrip("/"), admin.token_env or DEFAULT_TOKEN_ENV, ""
    return "/-", DEFAULT_TOKEN_ENV, aside


class Local:
    """The store that the config names: running gateways that share it follow within a second."""

    def __init__(self, config: Path) -> None:
        self._gateway = Gateway(config=load(config))

    def change(self, wanted: Wanted, revision: str | None) -> dict[str, Any]:
        """Write to the store."""

        async def ask(control: Control) -> Changed:
            return await control.change(wanted, None if revision is None else [revision])

        try:
            changed = self._run(ask)
        except ConfigError as error:
            report(tidy(str(each)) for each in error.problems)
            fail("the config forbids it", 1)
        return {
            "routes": list(changed.routes),
            "skipped": list(changed.skipped),
            "blocked": list(changed.blocked),
            "revision": changed.revision,
            "warnings": list(changed.warnings),
        }

    def status(self) -> dict[str, Any]:
        """Tell what holds; nothing is counted without a running gateway."""

        async def ask(control: Control) -> dict[str, Any]:
            said = views.status(control.snapshots.current, [], time.time())
            return {**said, "health": control.health()}

        return self._run(ask)

    def audit(self, limit: int, route: str | None) -> dict[str, Any]:
        """Read the audit trail."""

        async def ask(control: Control) -> dict[str, Any]:
            entries = await control.audit(limit, route)
            return views.trail(entries, control.snapshots.current)

        return self._run(ask)

    def diffs(self, limit: int, route: str | None, since: float | None) -> dict[str, Any]:
        """Read samples and noise; nothing is counted without a running gateway."""

        async def ask(control: Control) -> dict[str, Any]:
            snapshot = control.snapshots.current
            only = diffs.wanted(route, snapshot.table)
            samples, noise, store = await diffs.look(control)
            now = time.time()
            kept = samples if since is None else diffs.newer(samples, now - since)
            said = diffs.page(snapshot, [], kept, noise, only, limit, now)
            return {**said, "store": store, "workers": 0}

        return self._run(ask, 2)

    def _run(self, ask: Callable[[Control], Coroutine[Any, Any, T]], refused: int = 1) -> T:
        control = self._gateway.control

        async def go() -> T:
            await control.open()
            try:
                return await ask(control)
            finally:
                await control.stop()

        try:
            return asyncio.run(go())
        except ConfigError:
            raise
        except GatewayError as error:
            fail(str(error), refused)
