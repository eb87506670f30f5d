"""Which build is served: the same code is the same release, and other code another."""

from __future__ import annotations

import re
import shutil
import sys
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from gateway.release import named, of_code

if TYPE_CHECKING:
    from pathlib import Path


def package(folder: Path, name: str, **files: str) -> ModuleType:
    """Make a package as the interpreter would have loaded it."""
    place = folder / name
    place.mkdir(parents=True)
    for each, text in {"__init__": "", **files}.items():
        (place / f"{each}.py").write_text(text)
    module = ModuleType(name)
    module.__file__, module.__path__ = str(place / "__init__.py"), [str(place)]
    return module


def single(folder: Path, name: str, text: str) -> ModuleType:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.py").write_text(text)
    module = ModuleType(name)
    module.__file__ = str(folder / f"{name}.py")
    return module


@pytest.mark.parametrize(
    ("text", "release"),
    [("", None), ("  ", None), ("v1.2", "v1.2"), (" 4f3a91c ", "4f3a91c"), ("é", "é")],
)
def test_the_environment_names_it(text: str, release: str | None) -> None:
    assert named({"GATEWAY_RELEASE": text}) == release
    assert named({}) is None


@pytest.mark.parametrize("text", ["a\nb", "x" * 101, "\x1b[31m", "a\udcffb"])
def test_what_fits_into_no_line_is_named_by_its_digest(text: str) -> None:
    found = named({"GATEWAY_RELEASE": text})
    assert found is not None
    assert re.fullmatch("[0-9a-f]{12}", found)
    assert found != named({"GATEWAY_RELEASE": f"{text}\n\t!"})


def test_the_same_code_elsewhere_is_the_same_release(tmp_path: Path) -> None:
    one = package(tmp_path / "one", "shop", views="def a(): ...", auth="def guard(): ...")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    two = ModuleType("shop")
    two.__path__ = [str(tmp_path / "two" / "shop")]
    assert of_code(["shop.views"], {"shop": one}) == of_code(["shop"], {"shop": two})


@pytest.mark.parametrize("file", ["views.py", "auth.py", "deep/er.py"])
def test_any_change_below_the_package_is_another_release(tmp_path: Path, file: str) -> None:
    shop = package(tmp_path, "shop", views="a", auth="b")
    before = of_code(["shop.views"], {"shop": shop})
    (tmp_path / "shop" / file).parent.mkdir(exist_ok=True)
    (tmp_path / "shop" / file).write_text("changed")
    assert of_code(["shop.views"], {"shop": shop}) != before


def test_moving_text_from_one_file_to_the_next_is_another_release(tmp_path: Path) -> None:
    one = package(tmp_path / "1", "shop", a="xy", b="z")
    two = package(tmp_path / "2", "shop", a="x", b="yz")
    assert of_code(["shop"], {"shop": one}) != of_code(["shop"], {"shop": two})


def test_a_module_by_itself_counts_with_those_beside_it(tmp_path: Path) -> None:
    """They import each other, and no package holds them together."""
    app = single(tmp_path, "app", "import auth")
    before = of_code(["app"], {"app": app})
    single(tmp_path, "auth", "def guard(): ...")
    assert of_code(["app"], {"app": app}) != before


def test_what_no_app_is_written_in_counts_unless_it_is_installed(tmp_path: Path) -> None:
    app = single(tmp_path, "app", "")
    helper = package(tmp_path / "lib", "helper", guard="a")
    other = package(tmp_path / "site-packages", "other", guard="a")
    loaded = {"app": app, "helper": helper, "other": other}
    before = of_code(["app"], loaded)
    (tmp_path / "site-packages" / "other" / "guard.py").write_text("b")
    assert of_code(["app"], loaded) == before
    assert of_code(["app", "other.guard"], loaded) != before
    (tmp_path / "lib" / "helper" / "guard.py").write_text("b")
    assert of_code(["app"], loaded) != before


def test_compiled_files_and_other_peoples_code_below_don_t_count(tmp_path: Path) -> None:
    shop = package(tmp_path, "shop", views="a")
    before = of_code(["shop"], {"shop": shop})
    for place in ("__pycache__", ".venv", "node_modules", "site-packages"):
        (tmp_path / "shop" / place).mkdir()
        (tmp_path / "shop" / place / "x.py").write_text("x")
    (tmp_path / "shop" / "data.json").write_text("{}")
    assert of_code(["shop"], {"shop": shop}) == before


def test_what_a_module_says_of_itself_may_be_nonsense(tmp_path: Path) -> None:
    strange = ModuleType("strange")
    strange.__path__ = 7  # type: ignore[assignment]
    lost = ModuleType("lost")
    lost.__file__ = str(tmp_path / "gone" / "lost.py")
    found = of_code(["strange.x", "lost", "never", "functools"], {"strange": strange, "lost": lost})
    assert re.fullmatch("[0-9a-f]{12}", found)


def test_the_interpreter_s_own_modules_are_read_by_default() -> None:
    assert of_code(["flask"]) == of_code(["flask.app"], dict(sys.modules))
