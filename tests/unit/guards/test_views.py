"""Every way in which a view may guard itself, and what is none: the reading of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gateway.guards.frame import Facts
from gateway.guards.hooks import guard
from gateway.guards.reader import Reader
from gateway.guards.values import Known
from tests.unit.guards import views

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.inventory import Guard

READER = Reader(views.app())
FACTS = Facts("x", None, "/x", "GET", Known("/x"), given=True)


def reading(view: Callable[..., Any]) -> Guard:
    return guard("view", "view", READER.read(view, FACTS).findings)


def name(view: Any) -> str:
    return str(getattr(view, "__name__", type(view).__name__))


@pytest.mark.parametrize("view", views.REFUSES, ids=name)
def test_a_view_that_refuses(view: Callable[..., Any]) -> None:
    assert reading(view).does == "refuses"


@pytest.mark.parametrize("view", views.PERHAPS, ids=name)
def test_a_view_that_may_refuse(view: Callable[..., Any]) -> None:
    assert reading(view).does == "perhaps"


@pytest.mark.parametrize("view", views.IDENTIFIES, ids=name)
def test_a_view_that_only_asks_who_is_calling(view: Callable[..., Any]) -> None:
    assert reading(view).does == "identifies"


@pytest.mark.parametrize("view", views.NOTHING, ids=name)
def test_a_view_that_turns_nobody_away(view: Callable[..., Any]) -> None:
    found = reading(view)
    assert (found.does, found.evidence) == ("nothing", ())
