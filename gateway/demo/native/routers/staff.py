"""The staff's corner: context variables (S1), a task group (S2), Flask's session and user (S5)."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, HTTPException, Request
from pydantic import BaseModel

from gateway.demo.native.dependencies import first
from gateway.demo.shop.audit import actor, signature
from gateway.demo.shop.process import process_all
from gateway.flask import CurrentFlaskUser, FlaskSession, ReadOnlyFlaskSession, flask_user

router = APIRouter()


class Note(BaseModel):
    """A line for oneself."""

    text: str


async def name_actor(x_account: Annotated[str, Header()] = "nobody") -> None:
    """Note who acts. `async`: a plain `def` would set the variable in a thread, and lose it."""
    actor.set(x_account)


async def clerk(user: CurrentFlaskUser) -> Any:
    """Return who is logged in by Flask; raise 401."""
    if user is None:
        raise HTTPException(401, "log in first")
    return user


Clerk = Annotated[Any, Depends(clerk)]


async def _check(request: Request) -> None:
    await clerk(await flask_user(request))


guarded = APIRouter(route_class=first(_check))


@router.get("/whoami", dependencies=[Depends(name_actor)])
async def whoami() -> dict[str, str]:
    """Show the signature of whoever asks."""
    return {"signature": signature()}


@router.post("/process/")
async def process(pairs: list[tuple[int, int]]) -> dict[str, list[str]]:
    """Process pairs of group and item side by side."""
    return {"processed": await process_all(pairs)}


@guarded.get("/notes")
async def notes(user: Clerk, held: ReadOnlyFlaskSession) -> dict[str, Any]:
    """Show the notes of whoever is logged in."""
    return {"user": user.id, "notes": held.get("notes", [])}


@guarded.post("/notes", status_code=201)
async def add_note(note: Note, user: Clerk, held: FlaskSession) -> dict[str, Any]:
    """Add a note; the session is Flask's own."""
    held["notes"] = [*held.get("notes", []), note.text]
    return {"user": user.id, "notes": held["notes"]}


router.include_router(guarded)
