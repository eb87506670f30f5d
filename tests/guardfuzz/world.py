"""What a world is made of, as frozen values: they can be printed, compared and cut down."""

from __future__ import annotations

import io
import re
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ruamel.yaml import YAML

Key = tuple[str, ...]
_PARAMETER = re.compile(
    r"<(?:(?P<kind>\w+)(?:\([^)]*\))?:)?(?P<name>\w+)>|{(?P<native>\w+)(?::(?P<convertor>\w+))?}"
)


@dataclass(frozen=True, slots=True)
class View:
    """One rule of Flask's url_map. `methods` is None for a Werkzeug rule without a list.

    `options` go to the rule as they are; `own_options`: the view answers OPTIONS itself.
    """

    template: str
    endpoint: str
    methods: tuple[str, ...] | None
    blueprint: str = ""
    options: tuple[tuple[str, Any], ...] = ()
    own_options: bool = False

    @property
    def key(self) -> Key:
        """What two templates that pair have in common."""
        return key_of(self.template)

    def serves(self, method: str) -> bool:
        """Tell whether Flask calls this view for a method (HEAD comes with GET)."""
        if self.methods is None or method in self.methods:
            return True
        return method == "HEAD" and "GET" in self.methods


@dataclass(frozen=True, slots=True)
class Handler:
    """One native route. `methods` is empty for a WebSocket.

    `place`: directly on the app, on an included router, on one whose class refuses requests
    without the header X-Gate (`gated`), or in a mounted app below `base`. `guarded`: it has a
    dependency that wants X-Native.
    """

    name: str
    template: str
    methods: tuple[str, ...]
    place: Literal["app", "router", "gated", "mount"] = "app"
    base: str = ""
    guarded: bool = False
    gives_up: bool = False
    """It raises UseLegacy for some of its requests."""

    @property
    def key(self) -> Key:
        """What two templates that pair have in common."""
        return key_of(self.template)


@dataclass(frozen=True, slots=True)
class Guard:
    """One hook of Flask's: where it is registered, what it asks about, what lets a caller in."""

    place: Literal["app", "blueprint", "values", "signal", "subclass"]
    blueprint: str
    asks: str
    about: str
    credential: str
    refusal: Literal["abort", "return", "redirect", "raise"]


@dataclass(frozen=True, slots=True)
class Layer:
    """One WSGI middleware around the Flask app; the first one is the innermost."""

    kind: str
    about: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the config, and the handlers that it is about.

    `views` are those that it is about with all their methods.
    """

    settings: tuple[tuple[str, Any], ...]
    covers: tuple[str, ...]
    views: tuple[str, ...] = ()

    def get(self, key: str, default: Any = None) -> Any:
        """Return what the rule says under a key."""
        return dict(self.settings).get(key, default)


@dataclass(frozen=True, slots=True)
class World:
    """A legacy app, a native app, a config and a server; everything else follows from it."""

    seed: str
    views: tuple[View, ...]
    handlers: tuple[Handler, ...]
    guards: tuple[Guard, ...]
    layers: tuple[Layer, ...]
    rules: tuple[Rule, ...]
    csrf: bool = False
    host_matching: bool = False
    subdomain_matching: bool = False
    server_name: str | None = None
    trusted_hosts: tuple[str, ...] = ()
    merge_slashes: bool = True
    secret_key: bool = True
    root_path: str = ""
    """FastAPI's own."""
    cors: bool = False
    """The native app has CORSMiddleware."""
    proxy_headers: bool = False
    """The server believes X-Forwarded-*."""
    kill_switch: bool = False
    moves_by_default: bool = False
    """`defaults.cutover` is native."""
    tester: bool = False
    stream: bool = False
    """`legacy.body` is stream."""
    watched: bool = False
    """The native app has middleware that writes down what it is asked."""

    def rule_of(self, handler: str) -> Rule | None:
        """Return the rule that is about a handler; there is one at most."""
        return next((rule for rule in self.rules if handler in rule.covers), None)

    def config(self) -> dict[str, Any]:
        """Return the gateway's configuration."""
        defaults: dict[str, Any] = {"kill_switch": self.kill_switch}
        if self.moves_by_default:
            defaults.update(cutover="native", auth="hooks")
        config: dict[str, Any] = {
            "version": 1,
            "legacy": {"threads": 4, "body": "stream" if self.stream else "spool"},
            "defaults": defaults,
            "routes": [_plain(dict(rule.settings)) for rule in self.rules],
        }
        if any(rule.get("auth") == "shared" for rule in self.rules):
            config["auth"] = {"dependency": "tests.guardfuzz.native:shared_guard"}
        if self.tester:
            config["tester"] = {"secret_env": "GUARDFUZZ_SECRET"}
        return config

    def text(self) -> str:
        """Render the world for people: what differs from the defaults, and the config as YAML."""
        lines = [f"world {self.seed}"]
        for kind in ("views", "handlers", "guards", "layers"):
            for each in getattr(self, kind):
                shown = {k: v for k, v in asdict(each).items() if v not in ("", (), False)}
                lines.append(
                    f"  {kind[:-1]:8} " + ", ".join(f"{k}={v!r}" for k, v in shown.items())
                )
        listed = ("seed", "views", "handlers", "guards", "layers", "rules")
        plain = World(self.seed, (), (), (), (), ())
        for name, value in asdict(self).items():
            if name not in listed and value != getattr(plain, name):
                lines.append(f"  {name} = {value!r}")
        target = io.StringIO()
        yaml = YAML()
        yaml.default_flow_style = None  # a rule is one line, or a few
        yaml.width = 100
        yaml.dump(self.config(), target)
        return "\n".join(lines) + "\n" + target.getvalue()


@dataclass(frozen=True, slots=True)
class Request:
    """One request as bytes, still in parts. `more` follows it on the same connection."""

    method: bytes
    target: bytes
    version: bytes = b"HTTP/1.1"
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    more: bytes = b""
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def raw(self) -> bytes:
        """Return the bytes that go over the wire."""
        head = b" ".join((self.method, self.target, self.version)) + b"\r\n"
        lines = b"".join(b"%s: %s\r\n" % header for header in self.headers)
        return head + lines + b"\r\n" + self.body + self.more


def key_of(template: str) -> Key:
    """Name what two templates have in common when they pair; an oracle's own reading."""

    def flat(found: re.Match[str]) -> str:
        return "**" if "path" in (found["kind"], found["convertor"]) else "*"

    return tuple(_PARAMETER.sub(flat, template).strip("/").split("/"))


def fits(template: str, path: str) -> bool:
    """Tell whether a native template could be what answers a path, read generously."""
    pattern, end = "", 0
    for found in _PARAMETER.finditer(template):
        pattern += re.escape(template[end : found.start()])
        pattern += ".+" if found["convertor"] == "path" else "[^/]+"
        end = found.end()
    pattern += re.escape(template[end:])
    path = re.sub("/+", "/", path.removesuffix("\n"))  # Starlette's patterns end in `$`
    return re.fullmatch(pattern.rstrip("/") + "/?", path, re.DOTALL) is not None


def names_of(template: str) -> tuple[str, ...]:
    """List a template's parameters."""
    return tuple(f["name"] or f["native"] for f in _PARAMETER.finditer(template))


def native_of(template: str, *, typed: bool) -> str:
    """Write a Flask template as FastAPI has it; `typed` keeps the converters that it knows."""

    def convert(found: re.Match[str]) -> str:
        kind, name = found["kind"], found["name"]
        known = kind == "path" or (typed and kind in ("int", "float", "uuid"))
        return f"{{{name}:{kind}}}" if known else f"{{{name}}}"

    return _PARAMETER.sub(convert, template)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return value
