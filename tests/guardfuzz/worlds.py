"""Random worlds. Everything comes from the seed, so that a world can be made again."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from tests.guardfuzz.native import ASKS_ROUTERS
from tests.guardfuzz.world import Guard, Handler, Layer, Rule, View, World, key_of, native_of

_AREAS = ("items", "users", "admin", "orders", "files", "api/v2/teams")
#: What may stand below an area: template, methods, options of the rule.
_SHAPES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("/", "GET POST", {}),
    ("", "GET", {}),
    ("/<int:id>", "GET PUT DELETE", {}),
    ("/<name>", "GET POST", {}),
    ("/<name>/", "GET", {}),
    ("/<path:rest>", "GET", {}),
    ("/me", "GET", {}),
    ("/<int:id>/parts/<part>", "GET DELETE", {}),
    ("/at/<float:x>", "GET", {}),
    ("/by/<uuid:u>/", "GET", {}),
    ("/c/<any(red,blue):c>", "GET", {}),
    ("/two/<string(length=2):c>", "GET", {}),
    ("/list/", "GET", {"strict_slashes": False}),
    ("/raw/<path:rest>", "GET", {"merge_slashes": False}),
    ("/v<int:v>/x", "GET", {}),
    ("/page/", "GET", {"defaults": {"page": 1}}),
    ("/page/<int:page>", "GET", {}),
)
_WIDE = tuple(shape for shape in _SHAPES if shape[0] in ("/<name>", "/<path:rest>"))
_OWN = ("/export", "/me", "/new", "/stats/all", "/export/{kind}")
_CUTOVERS = ("native",) * 13 + ("live", "live", "canary", "canary", "legacy", "shadow")
_ACCEPT = dict.fromkeys(
    ("guards-itself", "may-guard-itself", "hooks-guard-nobody", "guards-nobody"), "fuzz"
)
_CREDENTIALS = ("token", "token", "bearer", "session", "cookie", "query", "form", "json")
_REWRITES = (
    ("override_header", ""),
    ("override_query", ""),
    ("override_form", ""),
    ("strip", "/v1"),
    ("script", "/v1"),
    ("original_url", ""),
    ("lower", ""),
    ("real_host", ""),
)
HOST = "shop.test"


@dataclass(slots=True)
class _Area:
    """One part of a world: views, handlers and the rules that move them."""

    base: str
    blueprint: str
    views: list[View] = field(default_factory=list)
    handlers: list[Handler] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)


def make(seed: str) -> World:
    """Make a world from its seed."""
    return _Maker(seed).world()


class _Maker:
    def __init__(self, seed: str) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.hosts: Literal["", "host", "subdomain", "name"] = ""
        if self.chance(0.18):
            self.hosts = self.random.choice(("host", "subdomain", "name"))
        self.root_path = "/api" if self.chance(0.08) else ""
        self.basic = self.chance(0.2)
        # Only blueprints have hooks, so that requests of other routes go around Flask.
        self.still = self.chance(0.35)

    def chance(self, share: float) -> bool:
        """Say yes for a share of the questions."""
        return self.random.random() < share

    def world(self) -> World:
        areas = [
            self._area(base)
            for base in self.random.sample(_AREAS, self.random.choice((1, 2, 2, 3)))
        ]
        guards = [guard for area in areas for guard in self._guards_of(area)]
        guards += self._app_guards(areas)
        if not guards and not self.still:
            guards.append(self._guard("app", "", "always", ""))
        if self.chance(0.15):
            areas[0].handlers.append(Handler("fresh", "/fresh/{x}", ("GET", "POST")))
        if self.chance(0.05):
            areas[0].handlers.append(Handler("all", "/{rest:path}", ("GET",)))
        return World(
            seed=self.seed,
            views=tuple(view for area in areas for view in area.views),
            handlers=tuple(sorted((h for area in areas for h in area.handlers), key=_order)),
            guards=tuple(guards),
            layers=tuple(self._layers(areas)),
            rules=tuple(rule for area in areas for rule in area.rules),
            csrf=self.chance(0.1) and not self.still,
            host_matching=self.hosts == "host",
            subdomain_matching=self.hosts == "subdomain",
            server_name=HOST if self.hosts in ("subdomain", "name") else None,
            trusted_hosts=(HOST, f".{HOST}") if self.chance(0.06) else (),
            merge_slashes=self.chance(0.9),
            secret_key=self.chance(0.6) or any(g.credential == "session" for g in guards),
            root_path=self.root_path,
            cors=self.chance(0.1),
            proxy_headers=self.chance(0.2),
            kill_switch=self.chance(0.08),
            moves_by_default=self.chance(0.08),
            tester=self.chance(0.08),
            stream=self.chance(0.08),
            watched=self.chance(0.5),
        )

    # -- areas ----------------------------------------------------------------------------------

    def _area(self, name: str) -> _Area:
        local = name.rpartition("/")[2]
        blueprint = self.random.choice(("", local, local, f"{local}.deep"))
        if self.still:
            blueprint = local
        area = _Area(f"/{name}", blueprint)
        shapes = self.random.sample(_SHAPES, self.random.choice((2, 3, 3, 4)))
        wide = self.chance(0.4)
        if wide:
            shapes = [self.random.choice(_WIDE), *shapes[1:]]
        for number, (tail, methods, options) in enumerate(shapes):
            self._add_view(area, number, tail, methods.split(), options)
        if self.chance(0.3):
            self._add_odd_view(area)
        taken: set[tuple[tuple[str, ...], str]] = set()
        for view in list(area.views):
            if self.chance(0.85):
                self._add_twin(area, view, taken)
        if wide or self.chance(0.4):
            template = area.base + self.random.choice(_OWN)
            own = self.random.choice((["GET"], ["GET", "POST"], ["POST"], ["DELETE"]))
            self._add_handler(area, template, own, taken)
        if self.chance(0.15):
            tail = self.random.choice(("/ws", "/ws/{name}"))
            area.handlers.append(Handler(f"{local}-ws", area.base + tail, ()))
        self._move(area, local, wide=wide)
        return area

    def _add_view(
        self, area: _Area, number: int, tail: str, methods: list[str], given: dict[str, Any]
    ) -> None:
        options = dict(given)
        if self.hosts == "host":
            options["host"] = self.random.choice((HOST, HOST, "<sub>.shop.test", f"admin.{HOST}"))
        elif self.hosts == "subdomain" and self.chance(0.5):
            options["subdomain"] = self.random.choice(("admin", "<sub>"))
        local = area.base.rpartition("/")[2]
        # One endpoint for both, so that Flask redirects `/page/1` to the rule with the default.
        endpoint = f"{local}_page" if tail.startswith("/page/") else f"{local}_{number}"
        if area.blueprint:
            endpoint = f"{area.blueprint}.{endpoint}"
        kept = [m for m in methods if self.chance(0.8)] or methods[:1]
        self_options = tuple(sorted(options.items()))
        area.views.append(
            View(area.base + tail, endpoint, tuple(kept), area.blueprint, self_options)
        )

    def _add_odd_view(self, area: _Area) -> None:
        local = area.base.rpartition("/")[2]
        kind = self.random.choice(("any", "any", "own", "own", "socket"))
        endpoint = f"{area.blueprint}.{local}_{kind}" if area.blueprint else f"{local}_{kind}"
        options: tuple[tuple[str, Any], ...] = ()
        if self.hosts == "host":
            options = (("host", HOST),)
        methods: tuple[str, ...] | None = ("GET",)
        if kind == "any":
            methods = None
        elif kind == "own":
            methods = ("GET", "OPTIONS")
        else:
            options = (*options, ("websocket", True))
        view = View(
            f"{area.base}/{kind}", endpoint, methods, area.blueprint, options, kind == "own"
        )
        area.views.append(view)

    def _add_twin(self, area: _Area, view: View, taken: set[tuple[tuple[str, ...], str]]) -> None:
        if dict(view.options).get("websocket"):
            if self.chance(0.5):
                area.handlers.append(Handler(f"{view.endpoint}-ws", view.template, ()))
            return
        template = native_of(view.template, typed=self.chance(0.3))
        if self.chance(0.15) and template != area.base and ":path}" not in template:
            template = template.removesuffix("/") if template.endswith("/") else template + "/"
        methods = list(view.methods or ("GET", "POST", "PROPFIND", "TRACE", "OPTIONS"))
        if self.chance(0.25):
            methods += [
                m for m in ("POST", "DELETE", "PATCH") if m not in methods and self.chance(0.5)
            ]
        self._add_handler(area, template, methods, taken)

    def _add_handler(
        self,
        area: _Area,
        template: str,
        methods: list[str],
        taken: set[tuple[tuple[str, ...], str]],
    ) -> None:
        kept = [m for m in methods if (key_of(template), m) not in taken]
        if not kept:
            return
        taken.update((key_of(template), m) for m in kept)
        place: Any = self.random.choice(
            ("app",) * 13 + ("router",) * 3 + ("gated", "gated", "mount")
        )
        if place == "gated" and not ASKS_ROUTERS:
            place = "router"
        # Starlette's mounts misread paths that aren't below FastAPI's own root path.
        if place == "mount" and (self.root_path or not template.startswith(area.base + "/")):
            place = "app"
        name = f"{area.base.strip('/').replace('/', '-')}-{len(area.handlers)}"
        gives_up = self.chance(0.03)
        area.handlers.append(
            Handler(name, template, tuple(kept), place, area.base, gives_up=gives_up)
        )

    # -- rules ----------------------------------------------------------------------------------

    def _move(self, area: _Area, local: str, *, wide: bool) -> None:
        http = [h for h in area.handlers if h.methods]
        if not http:
            return
        ways = ["prefix", "prefix", "path", "path", "path", "tag"]
        if area.blueprint and not wide:
            ways += ["blueprint"] * 3
        way = self.random.choice(ways)
        paired = [h for h in http if any(v.key == h.key for v in area.views)]
        if way == "prefix":
            self._rule(area, {"prefix": area.base}, area.handlers)
        elif way == "tag":
            if all(h.place != "mount" for h in http):
                self._rule(area, {"tag": area.base.strip("/")}, http)
        elif way == "blueprint" and paired:
            self._rule(area, {"blueprint": area.blueprint}, paired)
        elif self.chance(0.15) and paired:
            view = next(v for v in area.views if v.key == paired[0].key)
            keys = {v.key for v in area.views if v.endpoint == view.endpoint}
            covers = [h for h in paired if h.key in keys]
            both = set(view.methods or covers[0].methods)
            for handler in covers:
                both &= set(handler.methods)
            alone = all(v.endpoint == view.endpoint for v in area.views if v.key in keys)
            if both and alone:
                settings = {"endpoint": view.endpoint, "methods": tuple(sorted(both))}
                self._rule(area, settings, covers)
        else:
            self._path_rules(area, http)

    def _path_rules(self, area: _Area, http: list[Handler]) -> None:
        said: set[tuple[str, ...]] = set()
        for handler in http:
            if handler.key in said or self.chance(0.1):
                continue
            said.add(handler.key)
            same = [h for h in http if h.key == handler.key]
            methods = {m for h in same for m in h.methods}
            settings: dict[str, Any] = {"path": handler.template}
            if self.chance(0.5):
                settings["methods"] = tuple(sorted(methods))
            else:
                views = [v for v in area.views if v.key == handler.key]
                legacy = {m for v in views for m in (v.methods or methods)}
                settings["methods"] = tuple(sorted(methods & legacy or methods))
            self._rule(area, settings, same)

    def _rule(self, area: _Area, settings: dict[str, Any], covers: list[Handler]) -> None:
        cutover = self.random.choice(_CUTOVERS)
        if cutover in ("live", "canary", "shadow") and not _both_sides(area, settings, covers):
            cutover = "native"
        odd = any(view.methods is None or view.own_options for view in area.views)
        shared = ("shared",) * (14 if odd else 2)
        auth = self.random.choice(("hooks",) * 12 + ("native", "none") + shared)
        settings |= {"cutover": cutover, "auth": auth, "accept": _ACCEPT}
        if cutover == "canary":
            settings["weight"] = 100
        if auth != "hooks" and self.chance(0.25):
            settings["hooks"] = "skip"
        if "path" in settings and self.chance(0.2):
            settings["on_mismatch"] = self.random.choice(("native", "native", "legacy"))
        if self.chance(0.1) and cutover != "shadow":
            settings["failover"] = True
        if auth == "native":
            for handler in covers:
                guarded = Handler(
                    handler.name, handler.template, handler.methods, handler.place, handler.base,
                    guarded=True, gives_up=handler.gives_up,
                )  # fmt: skip
                area.handlers[area.handlers.index(handler)] = guarded
        names = tuple(handler.name for handler in covers)
        whole = "prefix" in settings or "blueprint" in settings
        views = tuple(view.endpoint for view in area.views) if whole else ()
        area.rules.append(Rule(tuple(settings.items()), names, views))

    # -- guards ---------------------------------------------------------------------------------

    def _guards_of(self, area: _Area) -> list[Guard]:
        guards = []
        local = area.base.rpartition("/")[2]
        if area.blueprint and self.chance(0.8):
            names = [area.blueprint, local]
            asks = self.random.choice(("always",) * 5 + ("method", "values", "host", "scheme"))
            guards.append(self._guard("blueprint", self.random.choice(names), asks, ""))
        if not area.blueprint or (self.chance(0.25) and not self.still):
            asks = self.random.choice(("path", "path", "endpoint", "url_rule", "full_path", "url"))
            about = area.base
            if asks == "endpoint":
                about = f"{area.blueprint}." if area.blueprint else local
            place: Any = self.random.choice(("app",) * 6 + ("values", "signal", "subclass"))
            guards.append(self._guard(place, "", asks, about))
        return guards

    def _app_guards(self, areas: list[_Area]) -> list[Guard]:
        if self.still or not self.chance(0.3):
            return []
        asks = self.random.choice(("always", "known", "method", "values", "host", "scheme"))
        return [self._guard(self.random.choice(("app", "app", "values")), "", asks, "")]

    def _guard(self, place: Any, blueprint: str, asks: str, about: str) -> Guard:
        if asks == "host":
            about = f"open.{HOST}"
        credential = self.random.choice(_CREDENTIALS)
        if self.basic and credential == "bearer":
            credential = "basic"
        refusal = self.random.choice(("abort", "abort", "return", "redirect", "raise"))
        return Guard(place, blueprint, asks, about, credential, refusal)  # type: ignore[arg-type]

    def _layers(self, areas: list[_Area]) -> list[Layer]:
        layers = []
        if self.still:
            return []
        if self.chance(0.2):
            layers.append(Layer(*self.random.choice(_REWRITES)))
        area = self.random.choice(areas)
        if self.chance(0.06):
            layers.append(Layer("token", area.base))
        if self.chance(0.04):
            layers.append(Layer("mount", self.random.choice((area.base, "/elsewhere"))))
        if self.chance(0.04):
            static = [v.template for v in area.views if "<" not in v.template]
            layers += [Layer("view", template) for template in static[:1]]
        if self.chance(0.15):
            layers.append(Layer("proxyfix"))
        return layers


def _both_sides(area: _Area, settings: dict[str, Any], covers: list[Handler]) -> bool:
    """Tell whether legacy has all that a path rule names: only then can it be compared."""
    if "path" not in settings:
        return True
    keys = {(v.key, m) for v in area.views for m in (v.methods or ())}
    methods = settings.get("methods", ())
    return all((h.key, m) in keys for h in covers for m in methods)


def _order(handler: Handler) -> tuple[int, int]:
    """Put static templates first, as people do, and open ones last."""
    return (handler.template.count(":path"), handler.template.count("{"))
