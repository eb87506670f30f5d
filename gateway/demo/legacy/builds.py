"""Builds by Flask-RESTX (S6): 206 with a Content-Range, the project's fields flat."""

from __future__ import annotations

from typing import Any

from flask import request
from flask_restx import Api, Namespace, Resource

from gateway.demo.legacy import db
from gateway.demo.legacy.blueprints import builds
from gateway.demo.shop.builds import list_builds

namespace = Namespace("builds", path="/")


@namespace.route("/koji-builds")
class Builds(Resource):  # type: ignore[misc] # untyped
    """The list of builds."""

    def get(self) -> Any:
        """List one page."""
        scratch = request.args.get("scratch")
        found = list_builds(
            db.session(),
            request.args.get("page", 1, type=int),
            request.args.get("per_page", 10, type=int),
            None if scratch is None else scratch == "true",
        )
        listed = [
            {
                "id": build.id,
                "package": build.package,
                "status": build.status,
                "scratch": build.scratch,
                "project_name": build.project_name,
                "project_url": build.project_url,
            }
            for build in found.builds
        ]
        return listed, 206, {"Content-Range": found.content_range}


Api(builds, doc=False).add_namespace(namespace)
