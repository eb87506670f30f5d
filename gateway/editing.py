"""Changes a cutover in the text of the config file: its value and nothing else.

The text is changed where the value stands, so that comments, order, line ends and layout stay as
they were written. Then both texts are read and compared: where more than the wanted value would
differ (an alias, a merge key), nothing is changed.
"""

from __future__ import annotations

import json
import re
from io import StringIO
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from gateway.exceptions import GatewayError
from gateway.spans import Kind, Node, spans

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: Text that needs no quotes, anywhere in YAML.
_PLAIN = re.compile(r"(?!(?:true|false|null)$)[A-Za-z][A-Za-z0-9_.-]*", re.IGNORECASE)
_DOCUMENT_END = re.compile(r"^\.\.\.", re.MULTILINE)


class CannotEdit(GatewayError):
    """The file is written in a way that this can't change; the message says what to do by hand."""


def set_rule(
    text: str, index: int, cutover: str, weight: float | None, auth: str | None = None
) -> str:
    """Return the config's text with the cutover of `routes[index]` changed; weight in percent.

    `auth` stays as it is where none is given. Raises CannotEdit.
    """

    def rule(whole: str) -> Node:
        return _rule(whole, index)

    wanted = _values(text)
    changed = wanted["routes"][index]
    before = {**changed}
    changed["cutover"], changed["weight"] = cutover, weight
    line = rule(text).line
    if weight is None and rule(text).entry("weight") is not None:
        text = _remove(text, rule(text), "weight")
    text = _put(text, rule, "cutover", cutover)
    if weight is not None:
        text = _put(text, rule, "weight", weight, after="cutover")
    elif before.get("weight") is not None and _same_weight(text, index, before["weight"]):
        # A merge key brings it.
        text = _put(text, rule, "weight", None, after="cutover")
    if auth is not None:
        changed["auth"] = auth
        text = _put(text, rule, "auth", auth, after="weight" if weight is not None else "cutover")
    return _checked(text, wanted, f"line {line}: routes[{index}]", index)


def set_kill_switch(text: str, *, on: bool) -> str:
    """Return the config's text with `defaults.kill_switch` changed. Raises CannotEdit."""
    wanted, root = _values(text), _root(text)
    wanted["defaults"] = {**wanted.get("defaults", {}), "kill_switch": on}
    entry = root.entry("defaults")
    if entry is None:
        text = _insert(text, root, "defaults", {"kill_switch": on}, after="version")
        return _checked(text, wanted, "defaults")
    if entry[1].kind is not Kind.MAPPING:
        raise CannotEdit(f"line {entry[0].line}: write defaults.kill_switch by hand")

    def defaults(whole: str) -> Node:
        found = _root(whole).entry("defaults")
        return found[1] if found is not None else _root(whole)

    text = _put(text, defaults, "kill_switch", on)
    return _checked(text, wanted, f"line {entry[0].line}: defaults")


def add_rule(text: str, rule: Mapping[str, Any]) -> str:
    """Return the config's text with one more rule, of plain values. Raises CannotEdit."""
    wanted, root = _values(text), _root(text)
    wanted["routes"] = [*wanted.get("routes", []), dict(rule)]
    entry = root.entry("routes")
    code = _flow(rule, quoted=_is_quoted(text, root))
    if entry is None and root.block:
        tail = _DOCUMENT_END.search(text, root.end)
        at = tail.start() if tail is not None else len(text)
        text = _spliced(text, at, f"routes:{_eol(text)}  - {code}{_eol(text)}")
    elif entry is None:
        text = _insert(text, root, "routes", [rule], after=None)
    elif entry[1].kind is not Kind.LIST:
        raise CannotEdit(f"line {entry[0].line}: add to `routes:` by hand:  - {code}")
    else:
        text = _appended(text, entry[1], code)
    return _checked(text, wanted, "routes")


def _appended(text: str, routes: Node, code: str) -> str:
    """Put one more item behind the last one of a list."""
    if routes.block:
        at = _line_end(text, routes.end)
        blank = _eol(text) if _are_apart(text, routes) else ""
        return _spliced(text, at, f"{blank}{' ' * routes.column}- {code}{_eol(text)}")
    if not routes.items:
        return text[: routes.start + 1] + code + text[routes.start + 1 :]
    last = routes.items[-1]
    return f"{text[: last.end]},{_gap(text, last.start)}{code}{text[last.end :]}"


def _are_apart(text: str, routes: Node) -> bool:
    """Tell whether a blank line stands between the last two items of a block list."""
    if len(routes.items) < 2:  # noqa: PLR2004
        return False
    between = text[routes.items[-2].end : routes.items[-1].start]
    return any(not line.strip() for line in between.splitlines()[1:-1])


# -- finding ----------------------------------------------------------------------------------


def _values(text: str) -> Any:
    return _unshared(YAML(typ="safe", pure=True).load(StringIO(text)))


def _unshared(value: Any) -> Any:
    """Copy what aliases share, so that one place can be changed alone."""
    if isinstance(value, dict):
        return {key: _unshared(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_unshared(each) for each in value]
    return value


def _root(text: str) -> Node:
    root = spans(text)
    if root is None or root.kind is not Kind.MAPPING:
        raise CannotEdit("the file holds no keys")
    return root


def _rule(text: str, index: int) -> Node:
    entry = _root(text).entry("routes")
    if entry is None or entry[1].kind is not Kind.LIST:
        raise CannotEdit("`routes:` is an alias: write its rules out, then try again")
    rule = entry[1].items[index]
    if rule.kind is not Kind.MAPPING:
        raise CannotEdit(
            f"line {rule.line}: the rule is an alias of another: write it out, then try again"
        )
    return rule


def _same_weight(text: str, index: int, weight: float) -> bool:
    return bool(_values(text)["routes"][index].get("weight") == weight)


def _is_quoted(text: str, mapping: Node) -> bool:
    """Tell whether keys are written as in JSON."""
    return any(text.startswith('"', key.start) for key, _ in mapping.entries)


# -- changing ---------------------------------------------------------------------------------


def _put(
    text: str, find: Callable[[str], Node], key: str, value: Any, after: str | None = None
) -> str:
    """Change a mapping's own entry, or give it one."""
    mapping = find(text)
    entry = mapping.entry(key)
    if entry is None:
        return _insert(text, mapping, key, value, after)
    return _replace(text, entry, value)


def _replace(text: str, entry: tuple[Node, Node], value: Any) -> str:
    key, node = entry
    old, code = text[node.start : node.end], _flow(value)
    if node.kind not in (Kind.SCALAR, Kind.ALIAS) or node.block or not old:
        raise CannotEdit(f"line {key.line}: write {key.value}: {code} by hand")
    if isinstance(value, str) and old[0] in "'\"":
        code = f"{old[0]}{value}{old[0]}"
    rest = text[node.end :]
    comment = re.match(r"( {2,})#", rest)
    if comment is not None:
        # The comment stays in its column as long as there is room for it.
        rest = " " * max(2, len(comment[1]) + len(old) - len(code)) + rest[len(comment[1]) :]
    return text[: node.start] + code + rest


def _insert(text: str, mapping: Node, key: str, value: Any, after: str | None) -> str:
    """Add an entry behind `after`, or behind the last one."""
    quoted = _is_quoted(text, mapping)
    code = f"{_flow(key, quoted=quoted)}: {_flow(value, quoted=quoted)}"
    known = mapping.entry(after) if after is not None else None
    if known is None and mapping.entries:
        known = mapping.entries[-1]
    if known is None:
        return text[: mapping.start + 1] + code + text[mapping.start + 1 :]
    if mapping.block:
        indent = " " * mapping.entries[0][0].column
        return _spliced(text, _line_end(text, known[1].end), f"{indent}{code}{_eol(text)}")
    end = known[1].end
    return f"{text[:end]},{_gap(text, known[0].start)}{code}{text[end:]}"


def _remove(text: str, mapping: Node, key: str) -> str:
    place = next(n for n, each in enumerate(mapping.entries) if each[0].value == key)
    found, value = mapping.entries[place]
    start, end = found.start, value.end
    if not mapping.block:
        if place:
            start = mapping.entries[place - 1][1].end
        elif len(mapping.entries) > 1:
            end = mapping.entries[1][0].start
        if "#" in text[start:end]:
            raise CannotEdit(f"line {found.line}: remove {key} by hand")
        return text[:start] + text[end:]
    begin = _line_start(text, start)
    if not text[begin:start].strip():
        return text[:begin] + text[_line_end(text, end) :]
    # `- weight: 10` begins the rule: the next key comes in its place.
    following = mapping.entries[place + 1][0].start if place + 1 < len(mapping.entries) else end
    if text[_line_end(text, end) : following].strip():
        raise CannotEdit(f"line {found.line}: remove {key} by hand")
    return text[:start] + text[following:]


def _flow(value: Any, *, quoted: bool = False) -> str:
    """Write a plain value in one line; `quoted` as JSON does."""
    if isinstance(value, str):
        bare = not quoted and _PLAIN.fullmatch(value)
        return value if bare else json.dumps(value, ensure_ascii=False)
    if isinstance(value, float | int) and not isinstance(value, bool):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_flow(each, quoted=quoted) for each in value)}]"
    if isinstance(value, dict):
        pairs = (
            f"{_flow(key, quoted=quoted)}: {_flow(each, quoted=quoted)}"
            for key, each in value.items()
        )
        return f"{{{', '.join(pairs)}}}"
    return json.dumps(value)


def _spliced(text: str, at: int, lines: str) -> str:
    """Put whole lines where a line begins, or at the end of a text without a last line end."""
    missing = _eol(text) if at and text[at - 1] not in "\r\n" else ""
    return text[:at] + missing + lines + text[at:]


def _eol(text: str) -> str:
    return next((each for each in ("\r\n", "\n", "\r") if each in text), "\n")


def _line_start(text: str, at: int) -> int:
    return max(text.rfind("\n", 0, at), text.rfind("\r", 0, at)) + 1


def _line_end(text: str, at: int) -> int:
    """Return where the next line begins."""
    found = re.compile(r"\r\n|\r|\n").search(text, at)
    return found.end() if found is not None else len(text)


def _gap(text: str, start: int) -> str:
    """Return what stands before something in a flow collection: a blank, or a line of its own."""
    begin = _line_start(text, start)
    before = text[begin:start]
    return f"{_eol(text)}{before}" if begin and not before.strip() else " "


# -- checking ---------------------------------------------------------------------------------


def _checked(text: str, wanted: Any, where: str, index: int | None = None) -> str:
    """Return the text if it says just what is wanted; else raise CannotEdit."""
    try:
        found = _values(text)
    except YAMLError:
        raise CannotEdit(f"{where}: is written in a way that only you can change") from None
    if _without_nulls(found, index) == _without_nulls(wanted, index):
        return text
    for number, rule in enumerate(found.get("routes", ())):
        if number != index and rule != wanted["routes"][number]:
            name = rule.get("name") or f"routes[{number}]"
            raise CannotEdit(
                f"{where}: {name} shares this value by an alias or a merge key and would change, "
                "too: give each its own line, then try again"
            )
    raise CannotEdit(f"{where}: other keys share this value by an alias: change it by hand")


def _without_nulls(values: Any, index: int | None) -> Any:
    """Leave out a weight that is none, of the one rule that is changed."""
    if index is None:
        return values
    rules = [*values["routes"]]
    rules[index] = {k: v for k, v in rules[index].items() if k != "weight" or v is not None}
    return {**values, "routes": rules}
