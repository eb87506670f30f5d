"""What the demo's parts may know of each other."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import gateway.demo

DEMO = Path(gateway.demo.__file__).parent
#: The one helper that native still borrows: that it may is what the demo shows (S1).
BORROWED = {"gateway.demo.legacy.pipeline", "gateway.demo.legacy.pipeline.submit"}
FRAMEWORKS = {"flask", "werkzeug", "fastapi", "starlette"}


def imports_of(file: Path) -> set[str]:
    """List the absolute names of all modules that a file imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize(
    ("part", "frameworks", "packages"),
    [
        ("shop", FRAMEWORKS, {"gateway.demo.legacy", "gateway.demo.native"}),
        ("native", {"flask", "werkzeug"}, {"gateway.demo.legacy"}),
        ("legacy", {"fastapi", "starlette"}, {"gateway.demo.native"}),
    ],
)
def test_no_part_imports_what_it_must_not_know(
    part: str, frameworks: set[str], packages: set[str]
) -> None:
    files = sorted((DEMO / part).rglob("*.py"))
    assert files
    for file in files:
        imported = imports_of(file) - BORROWED
        assert not {name.split(".")[0] for name in imported} & frameworks, file.name
        assert not {".".join(name.split(".")[:3]) for name in imported} & packages, file.name


def test_legacy_knows_nothing_of_the_gateway_and_native_only_what_it_offers() -> None:
    """It's an example of a user's code: a user's Flask app runs without us as well."""
    for file in DEMO.rglob("*.py"):
        ours = {name for name in imports_of(file) if name.split(".")[0] == "gateway"}
        offered = "gateway.flask" if "native" in file.parts else "gateway.demo"
        assert all(name.startswith(("gateway.demo", offered)) for name in ours), file.name
