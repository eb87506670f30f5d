"""The app: routers, and the answers to what the shop refuses."""

from __future__ import annotations

from fastapi import FastAPI

from gateway.demo.native import errors
from gateway.demo.native.routers import api_v2, builds, files, health, items, orders, staff, users

app = FastAPI(title="The kitchen shop", version="2.0")
errors.install(app)
app.include_router(health.router)
app.include_router(items.router, prefix="/items", tags=["catalog"])
app.include_router(users.router, prefix="/user", tags=["users"])
app.include_router(orders.router, prefix="/orders", tags=["orders"])
app.include_router(files.router, prefix="/files", tags=["files"])
app.include_router(staff.router, tags=["staff"])
app.include_router(builds.router, prefix="/api", tags=["builds"])
app.include_router(api_v2.router, prefix="/api/v2", tags=["api-v2"])
