"""The page that load balancers ask."""

from fastapi import APIRouter

router = APIRouter(tags=["ops"])


@router.get("/health")
async def health() -> dict[str, str]:
    """Say that the process answers; needs no login and no database."""
    return {"status": "ok"}
