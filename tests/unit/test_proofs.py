"""The committed file of proofs: what is written is read again, and what isn't true isn't taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.proofs import HEADER, Proof, ProofError, guard_text, proved, write_proofs

if TYPE_CHECKING:
    from pathlib import Path

ONE = Proof("1a2b", "3c4d", "hooks,inherit", ("admin",), ("nobody", "wrong", "expired"))
TWO = Proof("5e6f", "7a8b", "shared,inherit,items:read", ("admin", "ann"), ("nobody",))


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "routes.proof"
    proofs = {"POST /items/": TWO, "GET /users/{id}": ONE, "GET /a b/{x:path}": ONE}
    write_proofs(file, proofs)
    assert proved(file) == proofs
    assert file.read_text() == HEADER + (
        "GET /a b/{x:path} legacy=1a2b native=3c4d guard=hooks,inherit"
        " in=admin out=nobody,wrong,expired\n"
        "POST /items/ legacy=5e6f native=7a8b guard=shared,inherit,items:read"
        " in=admin,ann out=nobody\n"
        "GET /users/{id} legacy=1a2b native=3c4d guard=hooks,inherit"
        " in=admin out=nobody,wrong,expired\n"
    )


def test_without_a_file_nothing_is_proved(tmp_path: Path) -> None:
    assert proved(tmp_path / "routes.proof") == {}


@pytest.mark.parametrize(
    "line",
    [
        "GET /x",
        "GET /x legacy=a native=b guard=hooks,inherit in= out=nobody",
        "GET /x legacy=a native=b guard=hooks,inherit in=admin out=",
        "/x legacy=a native=b guard=hooks,inherit in=admin out=nobody",
        "<<<<<<< HEAD",
    ],
)
def test_a_line_that_is_no_proof_is_an_error_with_its_number(tmp_path: Path, line: str) -> None:
    file = tmp_path / "routes.proof"
    file.write_text(f"{HEADER}{line}\n")
    with pytest.raises(ProofError, match=r"routes\.proof:2: this line is no proof"):
        proved(file)


def test_two_proofs_of_one_route_are_an_error(tmp_path: Path) -> None:
    file = tmp_path / "routes.proof"
    line = "GET /x legacy=a native=b guard=hooks,inherit in=admin out=nobody\n"
    file.write_text(line * 2)
    with pytest.raises(ProofError, match="twice"):
        proved(file)


def test_what_is_no_text_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "routes.proof"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ProofError, match="can't be read"):
        proved(file)


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ProofError, match="can't be written"):
        write_proofs(tmp_path, {})


def test_a_proof_holds_for_its_code_and_its_guard_only() -> None:
    assert ONE.holds("1a2b", "3c4d", "hooks,inherit")
    assert not ONE.holds("ffff", "3c4d", "hooks,inherit")
    assert not ONE.holds("1a2b", "ffff", "hooks,inherit")
    assert not ONE.holds("1a2b", "3c4d", "hooks,skip")


def test_a_guard_is_written_with_all_that_decides_who_is_refused() -> None:
    assert guard_text("shared", "inherit", {"b", "a"}) == "shared,inherit,a,b"
    assert guard_text(None, "skip", ()) == "unsaid,skip"
