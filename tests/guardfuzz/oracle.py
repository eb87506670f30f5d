"""May this native handler have run? Decided by what bare Flask did with the same bytes.

Nothing here asks the gateway. `Seen` is what bare Flask made of a request; `judge` compares it with
what ran.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from flask import Flask, request
from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import Map
from werkzeug.routing import Rule as WerkzeugRule

from gateway.routing import Reason
from tests.guardfuzz.legacy import WORD
from tests.guardfuzz.world import fits, key_of, names_of, native_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from gateway.cutover import Decision
    from tests.guardfuzz.native import Ran
    from tests.guardfuzz.world import Handler, Rule, View, World

MOVED = ("native", "live", "canary")
SAID = ("shared", "native", "none")
#: Werkzeug 2.2.0 reads `/5;x` as `/<int:id>` with 5: no part of a path is held to its whole.
_WHOLE = not Map([WerkzeugRule("/<int:id>", endpoint="x")]).bind("localhost").test("/5;x")
_BEARER = f"Bearer {WORD}".encode()


@dataclass(slots=True)
class Seen:
    """One request as bare Flask took it.

    `number` is the id that it carries. `endpoint` is what its url_map has matched, `trouble` what
    it raised instead. `dispatched`: the hooks have let it through. `called`: the views that were
    called, in the end or on the way.
    """

    number: str
    method: str
    path: str
    endpoint: str
    values: Mapping[str, Any]
    trouble: type[BaseException] | None
    dispatched: bool = False
    called: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Failure:
    """A native handler that ran and may not have; `kind` is what two failures are told apart by."""

    kind: str
    handler: str
    text: str


def watch(app: Flask, seen: list[Seen]) -> None:
    """Have a bare Flask app write down what it makes of each request."""
    preprocess: Callable[..., Any] = app.preprocess_request
    dispatch: Callable[..., Any] = app.dispatch_request

    def preprocessed(*args: Any) -> Any:
        seen.append(_now())
        return preprocess(*args)

    def dispatched(*args: Any) -> Any:
        seen[-1].dispatched = True
        return dispatch(*args)

    app.preprocess_request = preprocessed  # type: ignore[method-assign]
    app.dispatch_request = dispatched  # type: ignore[method-assign]
    for endpoint, function in list(app.view_functions.items()):
        app.view_functions[endpoint] = _watched(endpoint, function, seen)


def _watched(endpoint: str, function: Callable[..., Any], seen: list[Seen]) -> Callable[..., Any]:
    def view(**values: Any) -> Any:
        if not seen or seen[-1].endpoint != endpoint or not seen[-1].dispatched:
            seen.append(_now())  # middleware calls it by itself
        seen[-1].called.append(endpoint)
        return function(**values)

    return view


def _now() -> Seen:
    trouble = request.routing_exception
    return Seen(
        number=request.headers.get("X-Fuzz-Id", ""),
        method=request.method,
        path=request.path,
        endpoint=request.endpoint or "",
        values=dict(request.view_args or {}),
        trouble=type(trouble) if trouble is not None else None,
    )


class Oracle:
    """Knows a world's pairs, as the templates tell them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.handlers = {each.name: each for each in world.handlers}
        self._views: dict[str, list[View]] = {}
        for view in world.views:
            self._views.setdefault(view.endpoint, []).append(view)

    def judge(
        self, ran: Sequence[Ran], bare: Sequence[Seen], stripped: Sequence[Seen] | None
    ) -> list[Failure]:
        """List the handlers that may not have run.

        `bare` is what bare Flask saw, `stripped` the same app without guards and middleware: it
        counts where a rule says `hooks: skip`.
        """
        found = []
        for run in ran:
            handler = self.handlers[run.handler]
            rule = self.world.rule_of(handler.name)
            if not handler.methods:
                failure = self._socket(run, handler, rule)
            else:
                every = bare
                if _skips(rule):
                    # It goes by what Flask matches, before or after its middleware.
                    every = [*map(_matched, bare), *(stripped or ())]
                same = [seen for seen in every if not run.number or seen.number == run.number]
                failure = self._http(run, handler, rule, same)
            if failure is not None:
                found.append(failure)
        return found

    def judge_views(self, answer: bytes, raw: bytes) -> list[Failure]:
        """List the legacy views that answered without the shared guard in front of them."""
        if _BEARER in raw:
            return []
        return [
            Failure("shared, legacy", "", f"{view} answered without the shared guard before it")
            for rule in self.world.rules
            if rule.get("auth") == "shared"
            for view in rule.views
            if f"view:{view};".encode() in answer and not self._is_beside(rule, view)
        ]

    def _is_beside(self, rule: Rule, name: str) -> bool:
        """Tell whether a view is bound to a host that the rule doesn't name."""
        named = rule.get("endpoint") or rule.get("blueprint")
        return not named and any(
            {"host", "subdomain"} & set(dict(view.options)) for view in self._views.get(name, ())
        )

    def believe(
        self, told: Decision, bare: Sequence[Seen], *, entered: bool | None
    ) -> list[Failure]:
        """Hold what the gateway says of a request against what happened.

        `entered` tells whether the native app was asked at all; None where nobody knows.
        """
        # CORSMiddleware stands in front of what notes that the native app was asked.
        answered = told.reason is Reason.PREFLIGHT and self.world.cors
        if told.side == "native" and entered is False and not answered:
            text = f"the gateway says that native answered ({told.reason}), but it was not asked"
            return [Failure("report (native)", "", text)]
        if told.reason is Reason.HOOKS and not bare:
            text = "the gateway says that one of Flask's hooks answered, but middleware did"
            return [Failure("report (hooks)", "", text)]
        return []

    def needs_stripped(self, ran: Iterable[Ran]) -> bool:
        """Tell whether a handler has run whose rule skips Flask's hooks."""
        return any(_skips(self.world.rule_of(run.handler)) for run in ran)

    # -- HTTP -----------------------------------------------------------------------------------

    def _http(
        self, run: Ran, handler: Handler, rule: Rule | None, bare: Sequence[Seen]
    ) -> Failure | None:
        def fail(kind: str, text: str) -> Failure:
            return Failure(kind, handler.name, f"{handler.methods} {handler.template}: {text}")

        if rule is not None and rule.get("auth") == "shared" and not run.authorized:
            return fail("shared", "the shared guard did not stand before it")
        if handler.place == "gated" and not run.gate:
            return fail("router", "its router refuses requests without X-Gate")
        allowing = next((s for s in bare if self._allows(s, run, handler, rule)), None)
        if allowing is None:
            why, text = _told(bare)
            if not self._is_answered(handler.template):
                why += ", native only"
            return fail(f"opened ({why})", f"bare Flask {text}")
        if allowing.called:
            if not self._is_moved(rule):
                return fail("unmoved", "no rule and no default has moved it")
            if self.world.kill_switch:
                return fail("kill switch", f"it is on, and legacy has {allowing.called[-1]}")
            pairs = self._pairs(handler, run.native.method)
            names = names_of(handler.template) if pairs and _WHOLE else ()
            if _values(allowing.values, run.params, names):
                return fail("values", f"hooks saw {allowing.values}, native {dict(run.params)}")
        if run.inside is not None and not _skips(rule):
            seen, native = run.inside, run.native
            # In a view's place its parameters tell more than the path, which may be spelled anew.
            paired = allowing.called and self._pairs(handler, native.method)
            for name in ("method", "scheme", "host") + (() if paired else ("path",)):
                one, two = getattr(seen, name), getattr(native, name)
                if one != two and not (name == "method" and (one, two) == ("HEAD", "GET")):
                    return fail(f"two {name}s", f"hooks saw {one!r}, native {two!r}")
        return None

    def _allows(self, seen: Seen, run: Ran, handler: Handler, rule: Rule | None) -> bool:
        """Tell whether what bare Flask did with a request lets this handler run."""
        method = run.native.method
        if seen.called:
            if seen.method != method and (seen.method, method) != ("HEAD", "GET"):
                return False
            pairs = self._pairs(handler, method)
            if any(view.endpoint == seen.called[-1] for view in pairs):
                return True
            # A native path inside a wider view: that view's hooks guard it.
            return not pairs and fits(handler.template, seen.path)
        if not seen.dispatched:
            return False
        named = _names(rule, method) and rule is not None and rule.get("auth") in SAID
        if seen.trouble is NotFound:
            if not self._pairs(handler, method):
                return fits(handler.template, run.native.path)
            return named and rule is not None and rule.get("on_mismatch") == "native"
        return seen.trouble is MethodNotAllowed and named

    def _is_moved(self, rule: Rule | None) -> bool:
        """Tell whether native may answer in a view's place, as the config says it (generously)."""
        if self.world.tester and rule is not None:
            return True
        if rule is not None:
            return rule.get("cutover") in (*MOVED, "shadow")
        return self.world.moves_by_default

    def _pairs(self, handler: Handler, method: str) -> list[View]:
        """List the views that a handler stands in for.

        Flask's `/` on a subdomain is not the native `/`, unless a rule names the view itself.
        """
        rule = self.world.rule_of(handler.name)
        named = rule is not None and (rule.get("endpoint") or rule.get("blueprint"))
        return [
            view
            for view in self.world.views
            if view.key == key_of(handler.template)
            and view.serves(method)
            and (named or not {"host", "subdomain"} & set(dict(view.options)))
        ]

    # -- WebSockets -------------------------------------------------------------------------------

    def _socket(self, run: Ran, handler: Handler, rule: Rule | None) -> Failure | None:
        """Hold a WebSocket to what its rule says: Flask's hooks never run for it."""
        said = rule.get("auth") if rule is not None else None
        if said in ("native", "none") or (said == "shared" and run.authorized):
            return None
        if rule is None and not self._is_answered(handler.template):
            return None
        text = f"{handler.template}: a WebSocket that no `auth:` lets in (rule says {said})"
        return Failure("websocket", handler.name, text)

    def _is_answered(self, template: str) -> bool:
        """Tell whether Flask has a view, of any method, for a native template's paths."""
        views = [native_of(view.template, typed=False) for view in self.world.views]
        return any(key_of(view) == key_of(template) or fits(view, template) for view in views)


def _matched(seen: Seen) -> Seen:
    """Return what would have become of a request without hooks."""
    called = [seen.endpoint] if seen.endpoint else []
    return replace(seen, dispatched=True, called=called)


def _skips(rule: Rule | None) -> bool:
    return rule is not None and rule.get("hooks") == "skip"


def _names(rule: Rule | None, method: str) -> bool:
    """Tell whether a rule names a path and this very method."""
    if rule is None or rule.get("path") is None:
        return False
    return method in rule.get("methods", ())


def _told(bare: Sequence[Seen]) -> tuple[str, str]:
    """Say what bare Flask did: in a word or two, and in a sentence."""
    if not bare:
        return "not asked", "was not asked, or its middleware answered"
    seen = bare[-1]
    where = f"{seen.method} {seen.path!r}"
    what = seen.trouble.__name__ if seen.trouble is not None else seen.endpoint or "nothing"
    if seen.called:
        return "another view", f"called {seen.called[-1]} for {where}"
    if not seen.dispatched:
        return "refused", f"refused it in a hook: {where}, matched {what}"
    return what if seen.trouble is not None else "answered", f"answered {what}: {where}"


def _values(one: Mapping[str, Any], two: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """Name the parameters that both sides have and read differently."""
    return [n for n in names if n in one and n in two and _plain(one[n]) != _plain(two[n])]


def _plain(value: Any) -> Any:
    try:
        return float(str(value))
    except ValueError:
        return str(value).lower()
