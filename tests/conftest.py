"""What holds for every test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True, scope="session")
def state_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the overrides of whoever develops here out of the tests, and theirs out of his."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GATEWAY_STATE", f"sqlite:///{tmp_path_factory.mktemp('state')}/state.db")
        yield


@pytest.fixture(autouse=True)
def state_of_this_test(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Give each test a store of its own; servers of a whole module share the session's."""
    folder = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("GATEWAY_STATE", f"sqlite:///{folder}/state.db")


@pytest.fixture
def never_suspended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mirror whatever blocks: a machine that is busy with other tests is taken for a handler."""
    monkeypatch.setattr("gateway.shadow.mirror.BLOCK_SECONDS", float("inf"))
    monkeypatch.setattr("gateway.shadow.mirror.Mirrors.blocked", lambda *_: None)
