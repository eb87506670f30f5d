"""The FastAPI app that every peer serves; `BENCH_ROUTES` adds 500 routes, flat or nested."""

import os
from typing import Literal, cast

from fastapi import APIRouter, FastAPI

Routes = Literal["hello", "flat", "nested"]

COUNT = 500
#: Nested: routers within routers within the app, and routes in each of the inner ones.
OUTER, INNER, LEAVES = 5, 10, 10


async def hello() -> dict[str, str]:
    return {"message": "hello"}


async def item(key: int) -> dict[str, int]:
    return {"key": key}


def flat_path(index: int) -> str:
    """Return the path of the flat route number `index`, with its parameter filled in."""
    return f"/native/r{index}/7"


def nested_path(index: int) -> str:
    """Return the path of the nested route number `index`, with its parameter filled in."""
    rest, leaf = divmod(index, LEAVES)
    outer, inner = divmod(rest, INNER)
    return f"/native/a{outer}/b{inner}/c{leaf}/7"


def create(routes: Routes) -> FastAPI:
    app = FastAPI()
    app.get("/native/hello")(hello)
    app.get("/native/only")(hello)
    if routes == "flat":
        for index in range(COUNT):
            app.get(f"/native/r{index}/{{key}}")(item)
    elif routes == "nested":
        for outer in range(OUTER):
            middle = APIRouter(prefix=f"/native/a{outer}")
            for inner in range(INNER):
                leaves = APIRouter(prefix=f"/b{inner}")
                for leaf in range(LEAVES):
                    leaves.get(f"/c{leaf}/{{key}}")(item)
                middle.include_router(leaves)
            app.include_router(middle)
    return app


app = create(cast("Routes", os.environ.get("BENCH_ROUTES", "hello")))
