"""Files (S4): the tag is a query parameter, the time comes from a dependency."""

from fastapi import APIRouter

from gateway.demo.native.dependencies import Db, Now
from gateway.demo.native.schemas import FileOut
from gateway.demo.shop.files import UNIDENTIFIED, find_file, report

router = APIRouter()


@router.get("/{name:path}")
def show_file(name: str, db: Db, now: Now, tag: str = UNIDENTIFIED) -> FileOut:
    """Show what the shop knows of a file."""
    return FileOut.model_validate(report(find_file(db, name), tag, now))
