"""Changes a cutover in the text of the config file: its value and nothing else.

The file is parsed to find the place, and the text is changed there, so that comments, order and
layout stay as they were written.
"""

from __future__ import annotations

import re
from io import StringIO
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

from gateway.exceptions import GatewayError

if TYPE_CHECKING:
    from ruamel.yaml.comments import CommentedMap

#: A plain or quoted scalar, as far as it goes.
_SCALAR = re.compile(r"""'(?:[^']|'')*'|"(?:[^"\\]|\\.)*"|[^\s#,}\]]+""")


class CannotEdit(GatewayError):
    """The file is written in a way that this can't change; the message says what to do by hand."""


def set_rule(text: str, index: int, cutover: str, weight: float | None) -> str:
    """Return the config's text with the cutover of `routes[index]` changed; weight in percent."""
    rule = _tree(text)["routes"][index]
    lines = text.splitlines(keepends=True)
    if weight is None and "weight" in rule:
        _remove(lines, rule, "weight")
        rule = _tree("".join(lines))["routes"][index]
    elif weight is not None and "weight" in rule:
        _replace(lines, rule, "weight", f"{weight:g}")
    _replace(lines, rule, "cutover", cutover)
    if weight is not None and "weight" not in rule:
        rule = _tree("".join(lines))["routes"][index]
        _insert(lines, rule, "cutover", f"weight: {weight:g}")
    return "".join(lines)


def set_kill_switch(text: str, *, on: bool) -> str:
    """Return the config's text with `defaults.kill_switch` changed."""
    tree, lines = _tree(text), text.splitlines(keepends=True)
    word = "true" if on else "false"
    defaults = tree.get("defaults")
    if not defaults:
        line, _ = tree.lc.key("version")
        lines.insert(line + 1, f"defaults: {{kill_switch: {word}}}\n")
    elif "kill_switch" in defaults:
        _replace(lines, defaults, "kill_switch", word)
    else:
        _insert(lines, defaults, next(reversed(defaults)), f"kill_switch: {word}")
    return "".join(lines)


def add_rule(text: str, rule: str) -> str:
    """Return the config's text with one more rule, `rule` being a YAML mapping in one line."""
    tree, lines = _tree(text), text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    routes = tree.get("routes")
    if not routes:
        if "routes" in tree:
            raise CannotEdit(f"`routes:` is empty; write below it:  - {rule}")
        return "".join([*lines, f"routes:\n  - {rule}\n"])
    if routes.fa.flow_style():
        raise CannotEdit(f"`routes:` is written in one line; add to it:  {rule}")
    line, column = routes.lc.item(len(routes) - 1)
    end = next((n for n in range(line + 1, len(lines)) if _ends(lines[n], column - 2)), len(lines))
    while end > line + 1 and not lines[end - 1].split("#")[0].strip():
        end -= 1
    lines.insert(end, f"\n{' ' * (column - 2)}- {rule}\n")
    return "".join(lines)


def _ends(line: str, column: int) -> bool:
    """Tell whether a line can't belong to a list whose dashes stand at `column`."""
    code = line.split("#", maxsplit=1)[0].rstrip()
    indent = len(code) - len(code.lstrip())
    return bool(code.strip()) and (
        indent < column or (indent == column and not code.lstrip().startswith("-"))
    )


def _tree(text: str) -> Any:
    return YAML(typ="rt").load(StringIO(text))


def _replace(lines: list[str], mapping: CommentedMap, key: str, value: str) -> None:
    row, column = mapping.lc.value(key)
    line = lines[row]
    found = _SCALAR.match(line, column)
    if found is None or mapping[key] is None:
        raise CannotEdit(f"line {row + 1}: write {key}: {value} by hand")
    rest = line[found.end() :]
    comment = re.match(r"( {2,})#", rest)
    if comment is not None:
        # The comment stays in its column as long as there is room for it.
        width = len(comment[1]) + len(found[0]) - len(value)
        rest = " " * max(2, width) + rest[len(comment[1]) :]
    lines[row] = line[:column] + value + rest


def _insert(lines: list[str], mapping: CommentedMap, after: str, entry: str) -> None:
    row, column = mapping.lc.value(after)
    if mapping.fa.flow_style():
        found = _SCALAR.match(lines[row], column)
        if found is None:
            raise CannotEdit(f"line {row + 1}: write {entry} by hand")
        lines[row] = f"{lines[row][: found.end()]}, {entry}{lines[row][found.end() :]}"
        return
    indent = mapping.lc.key(after)[1]
    if not lines[row].endswith("\n"):
        lines[row] += "\n"
    lines.insert(row + 1, f"{' ' * indent}{entry}\n")


def _remove(lines: list[str], mapping: CommentedMap, key: str) -> None:
    row, column = mapping.lc.value(key)
    start = mapping.lc.key(key)[1]
    found = _SCALAR.match(lines[row], column)
    if found is None:
        raise CannotEdit(f"line {row + 1}: remove {key} by hand")
    if not mapping.fa.flow_style():
        if lines[row][:start].strip():  # `- weight: 10` begins the rule
            raise CannotEdit(f"line {row + 1}: remove {key} by hand")
        del lines[row]
        return
    before, after = lines[row][:start], lines[row][found.end() :]
    if re.search(r",\s*$", before):
        before = re.sub(r",\s*$", "", before)
    else:
        after = re.sub(r"^\s*,\s*", "", after)
    lines[row] = before + after
