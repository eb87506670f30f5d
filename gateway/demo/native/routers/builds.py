"""Builds (S6): the same status, header and pages as legacy; the project is an object of its own."""

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict

from gateway.demo.native.dependencies import Db
from gateway.demo.shop.builds import list_builds

router = APIRouter()


class Project(BaseModel):
    """Whom a build is for."""

    name: str
    url: str


class BuildOut(BaseModel):
    """A build; `project` is null for one that nobody has asked for."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    package: str
    status: str
    scratch: bool
    project: Project | None = None


@router.get("/koji-builds", status_code=206)
def index(
    response: Response, db: Db, page: int = 1, per_page: int = 10, scratch: bool | None = None
) -> list[BuildOut]:
    """List one page."""
    found = list_builds(db, page, per_page, scratch)
    response.headers["Content-Range"] = found.content_range
    listed = []
    for build in found.builds:
        shown = BuildOut.model_validate(build)
        if build.project_name and build.project_url:
            shown.project = Project(name=build.project_name, url=build.project_url)
        listed.append(shown)
    return listed
