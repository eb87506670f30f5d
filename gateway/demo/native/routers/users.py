"""Users (S3): models for both directions, and no password in any answer."""

from fastapi import APIRouter

from gateway.demo.native.dependencies import Db
from gateway.demo.native.schemas import UserCreated, UserIn, UserOut
from gateway.demo.shop.users import add_user, find_user

router = APIRouter()


@router.post("", status_code=201)
def create_user(user: UserIn, db: Db) -> UserCreated:
    """Store a new user."""
    stored = add_user(db, user.name, user.email, user.password)
    return UserCreated(message="user created", id=stored.id)


@router.get("/{user_id}")
def show_user(user_id: int, db: Db) -> UserOut:
    """Show one user."""
    return UserOut.model_validate(find_user(db, user_id))
