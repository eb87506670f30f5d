"""The admin API: an OpenAPI of its own, behind the Door.

Nothing here is written by GET. Whoever sends `If-Match` with a revision changes nothing that
somebody else has changed since (RFC 9110, section 13.1.1).
"""

import asyncio
import re
import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from gateway.admin import diffs as found
from gateway.admin import views
from gateway.admin.rendering import Json
from gateway.changes import LONGEST_SECONDS, ChangeRefused, Wanted
from gateway.config import Percent
from gateway.control import Changed, Control, RevisionMismatch
from gateway.exceptions import ConfigError
from gateway.guardrail import Guardrail
from gateway.observe.metrics import CONTENT_TYPE, Part, render
from gateway.observe.telemetry import Telemetry
from gateway.overrides import as_cutover
from gateway.snapshot import Snapshot
from gateway.store import StoreConflict, StoreDown
from gateway.units import Duration


def _printable(text: str) -> str:
    """Refuse what could move a terminal's cursor where the text is shown."""
    if not text.isprintable():
        message = "must be one line of printable text"
        raise ValueError(message)
    return text


Author = Annotated[str, Field(max_length=100), AfterValidator(_printable)]
Reason = Annotated[str, Field(max_length=500), AfterValidator(_printable)]
RouteName = Annotated[str, Field(max_length=2000), AfterValidator(_printable)]


class _Body(BaseModel):
    """What every change may say. One of `route` and `all`."""

    model_config = ConfigDict(extra="forbid")

    route: RouteName | None = None
    """A rule's name, `GET /items/{id}`, or a path for all its methods."""
    all: bool = False
    """Every route: the kill switch."""
    author: Author = ""
    """Who asks."""
    reason: Reason = ""
    """Why, for the audit trail."""

    @model_validator(mode="after")
    def _one(self) -> "_Body":
        if self.all == (self.route is not None):
            message = "name a route, or say all"
            raise ValueError(message)
        return self


class SetBody(_Body):
    """A cutover to set."""

    cutover: Annotated[str, AfterValidator(as_cutover)]
    """`legacy`, `shadow`, `canary`, `live` or `native`; with `all` only `legacy`."""
    weight: Percent | None = None
    """Percent of identities for native; only with `canary`."""
    seconds: Annotated[Duration, Field(le=LONGEST_SECONDS)] | None = None
    """How long it holds, 366 days at most; default until it is cleared or its line changes."""


class RollbackBody(_Body):
    """A route to put back on legacy, until somebody clears it."""


class AcceptBody(BaseModel):
    """A block to end: somebody answers for what native lets in."""

    model_config = ConfigDict(extra="forbid")

    route: RouteName
    """A rule's name, `GET /items/{id}`, or a path for all its methods."""
    reason: Annotated[Reason, Field(min_length=1)]
    """Why native may let in whom legacy refuses, for the audit trail."""
    author: Author = ""
    """Who accepts it."""


class ClearBody(_Body):
    """An override to drop."""


router = APIRouter()


def _control(request: Request) -> Control:
    control: Control = request.app.state.control
    return control


def _telemetry(request: Request) -> Telemetry:
    telemetry: Telemetry = request.app.state.telemetry
    return telemetry


def _snapshot(request: Request) -> Snapshot:
    return _control(request).snapshots.current


_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"|([^\s",]+)')


def _if_match(request: Request) -> frozenset[str] | None:
    """Return the revisions that the caller would change, None where any will do.

    All lines count, and each may be a list (RFC 9110, section 13.1.1); a weak tag matches nothing
    (section 8.8.3.2). A revision without its quotes is understood.
    """
    text = ",".join(request.headers.getlist("if-match"))
    if not request.headers.getlist("if-match") or text.strip() == "*":
        return None
    found = _TAG.finditer(text)
    return frozenset(tag[2] or tag[3] or "" for tag in found if not tag[1]) - {"", "*"}


def _guardrail(request: Request) -> Guardrail:
    guardrail: Guardrail = request.app.state.guardrail
    return guardrail


InForce = Annotated[Control, Depends(_control)]
Walks = Annotated[Guardrail, Depends(_guardrail)]
Numbers = Annotated[Telemetry, Depends(_telemetry)]
Current = Annotated[Snapshot, Depends(_snapshot)]
Known = Annotated[frozenset[str] | None, Depends(_if_match)]


def _tagged(response: Response, revision: str) -> None:
    response.headers["etag"] = f'"{revision}"'


@router.get("/routes")
async def routes(snapshot: Current, response: Response) -> dict[str, Any]:
    """List every route: who has it, which rule governs it, what holds for it."""
    _tagged(response, snapshot.revision)
    return {
        "revision": snapshot.revision,
        "routes": [views.route_row(route) for route in views.listed(snapshot)],
    }


@router.get("/status")
async def status(snapshot: Current, numbers: Numbers, control: InForce, walks: Walks) -> Json:
    """Tell how each route does: rates, errors and durations of both sides, and what is wrong.

    `walks` are the canaries that the guardrail looks after, by their rules.
    """
    parts = await numbers.parts()
    more = {"walks": await walks.walks(), "health": control.health()}
    # On another thread: with a thousand routes it takes longer than the event loop has.
    return await asyncio.to_thread(
        lambda: Json({**views.status(snapshot, parts, time.time()), **more})
    )


@router.get("/config")
async def config(snapshot: Current, control: InForce) -> dict[str, Any]:
    """Show the config in force, without secrets."""
    waiting = control.outcome.restart_required
    return views.config(snapshot, control.loaded.source.name, waiting)


@router.get("/overrides")
async def overrides(snapshot: Current) -> Json:
    """List what beats the file just now."""
    answer = Json(views.overrides(snapshot))
    _tagged(answer, snapshot.revision)
    return answer


@router.post("/overrides")
async def set_override(
    body: SetBody, control: InForce, known: Known, response: Response
) -> dict[str, Any]:
    """Set a route's cutover until it is cleared, its time is over, or its line changes."""
    wanted = Wanted(
        "set", body.route, as_cutover(body.cutover), body.weight, body.seconds,
        body.author, body.reason,
    )  # fmt: skip
    return _told(await control.change(wanted, known), response)


@router.post("/rollback")
async def rollback(
    body: RollbackBody, control: InForce, known: Known, response: Response
) -> dict[str, Any]:
    """Put a route, or all, back on legacy; a rollback stays until it is cleared."""
    wanted = Wanted("rollback", body.route, author=body.author, reason=body.reason)
    return _told(await control.change(wanted, known), response)


@router.post("/clear")
async def clear(
    body: ClearBody, control: InForce, known: Known, response: Response
) -> dict[str, Any]:
    """Drop an override, or all: the file has the last word again."""
    wanted = Wanted("clear", body.route, author=body.author, reason=body.reason)
    return _told(await control.change(wanted, known), response)


@router.post("/diffs/accept")
async def accept(
    body: AcceptBody, control: InForce, known: Known, response: Response
) -> dict[str, Any]:
    """End a route's block, for the releases in which native let in a caller whom legacy refused."""
    wanted = Wanted("accept", body.route, author=body.author, reason=body.reason)
    return _told(await control.change(wanted, known), response)


@router.post("/reload")
async def reload(control: InForce, response: Response) -> dict[str, Any]:
    """Read the config file again; 409 with every problem where the last good one stays."""
    outcome = await control.reload("the admin API")
    if not outcome.ok:
        response.status_code = 409
    return {
        "ok": outcome.ok,
        "revision": outcome.revision,
        "problems": [str(problem) for problem in outcome.problems],
        "restart_required": list(outcome.restart_required),
    }


@router.get("/audit")
async def audit(
    control: InForce,
    route: RouteName | None = None,
    limit: Annotated[int, Field(ge=1, le=1000)] = 100,
) -> dict[str, Any]:
    """List what was changed, by whom and why, the newest first; and what rules accept."""
    entries = await control.audit(limit, route)
    return views.trail(entries, control.snapshots.current)


@router.get("/diffs", response_class=Response)
async def diffs(
    snapshot: Current,
    control: InForce,
    numbers: Numbers,
    route: RouteName | None = None,
    limit: Annotated[int, Field(ge=1, le=1000)] = 100,
    since: Annotated[Duration, Field(le=LONGEST_SECONDS)] | None = None,
) -> Response:
    """Tell what mirrors have found: counts by route, samples of both answers, learned noise.

    With `since` only samples of the last so many seconds; counts begin with each worker.
    """
    only = found.wanted(route, snapshot.table)
    parts = await numbers.parts()
    samples, noise, store = await found.look(control)

    def written() -> Json:
        now = time.time()
        kept = samples if since is None else found.newer(samples, now - since)
        said = found.page(snapshot, parts, kept, noise, only, limit, now)
        begun = min((e["started"] for e in parts if e.get("alive", True)), default=None)
        return Json({**said, "store": store, "workers": _alive(parts), "counted_since": begun})

    return await asyncio.to_thread(written)


def _alive(parts: list[Part]) -> int:
    return sum(1 for part in parts if part.get("alive", True))


@router.get("/metrics", response_class=Response)
async def metrics(numbers: Numbers) -> Response:
    """Give everything that is counted as Prometheus' text, for all workers of this server."""
    text = await asyncio.to_thread(render, await numbers.parts())
    return Response(text, headers={"content-type": CONTENT_TYPE})


def _told(changed: Changed, response: Response) -> dict[str, Any]:
    _tagged(response, changed.revision)
    return {
        "routes": list(changed.routes),
        "skipped": list(changed.skipped),
        "blocked": list(changed.blocked),
        "revision": changed.revision,
        "warnings": list(changed.warnings),
    }


async def _refused(_: Request, error: Exception) -> Json:
    return Json({"detail": str(error)}, 422)


async def _malformed(_: Request, error: Exception) -> Response:
    """Say what is wrong with a request, without repeating it: it may be no text at all."""
    wrong = error.errors() if isinstance(error, RequestValidationError) else ()
    detail = [{"loc": e["loc"], "msg": e["msg"], "type": e["type"]} for e in wrong]
    return Json({"detail": detail}, 422)


async def _forbidden(_: Request, error: Exception) -> Json:
    problems = [str(each) for each in getattr(error, "problems", ())]
    return Json({"detail": "the config forbids it", "problems": problems}, 409)


async def _mismatch(_: Request, error: Exception) -> Json:
    return Json({"detail": str(error)}, 412)


async def _conflict(_: Request, error: Exception) -> Json:
    return Json({"detail": str(error)}, 409)


async def _down(_: Request, error: Exception) -> Json:
    return Json({"detail": f"the store is down: {error}"}, 503)


def make_api(control: Control, telemetry: Telemetry, guardrail: Guardrail) -> FastAPI:
    """Make the app, for whoever stands behind the Door."""
    app = FastAPI(
        title="Gateway",
        summary="Routes, cutovers and overrides of a running gateway.",
        openapi_url="/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        default_response_class=Json,
    )
    app.state.control, app.state.telemetry = control, telemetry
    app.state.guardrail = guardrail
    app.include_router(router)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(ChangeRefused, _refused)
    app.add_exception_handler(ConfigError, _forbidden)
    app.add_exception_handler(RevisionMismatch, _mismatch)
    app.add_exception_handler(StoreConflict, _conflict)
    app.add_exception_handler(StoreDown, _down)
    return app
