"""The cloud's HTTP services: tokens, permissions, quotas, images, logs, and pages of jobs.

POST /token                                                     OAuth 2.0 for the service account
GET  /v3/projects/ID, POST /v3/projects/ID:testIamPermissions   Resource Manager
GET  /v1/projects/ID/locations/global/services/S/quotaInfos     Cloud Quotas
HEAD /v2/REPOSITORY/manifests/REFERENCE                         an image registry
POST /v2/entries:list                                           Cloud Logging: the output of a job's replicas
GET  /jobs, /jobs/ID                                            pages, in place of the console
POST /faults                                                    inject a fault: {"fault": "lose", "method": "..."}
"""

from __future__ import annotations

import html
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.cloud.aiplatform_v1.types import CustomJob
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from emulators.vertex.certificate import Keys
from emulators.vertex.faults import Faults
from emulators.vertex.jobs import Jobs
from emulators.vertex.runner import Runner

_FAULTS = ("lose", "refuse", "hold", "release", "lag", "fail", "preempt", "clear")
_SECONDS = 3600


@dataclass
class Project:
    """The only project of this cloud; its fields may be changed.

    Attributes:
        quotas: by metric and region.
        permissions: of the service account; none for all.
        images: digests by REPOSITORY@DIGEST or REPOSITORY:TAG; none if every digest exists.
    """

    name: str
    quotas: dict[tuple[str, str], int] = field(default_factory=dict)
    permissions: frozenset[str] | None = None
    images: dict[str, str] | None = None


@dataclass
class HttpApi:
    """State and routes of the HTTP services."""

    project: Project
    keys: Keys
    faults: Faults
    jobs: Jobs
    runner: Runner
    issued: set[str] = field(default_factory=set)

    def accepts_token(self, token: str) -> bool:
        """Whether a bearer token was issued here or signed by the service account."""
        return token in self.issued or self.keys.accepts_token(token)

    def app(self) -> Starlette:
        """Return the ASGI application."""
        project = "/v3/projects/{project}"
        quotas = "/v1/projects/{project}/locations/global/services/{service}/quotaInfos"
        return Starlette(
            routes=[
                Route("/healthz", lambda _: PlainTextResponse("ok")),
                Route("/token", self._token, methods=["POST"]),
                Route(f"{project}:testIamPermissions", self._permissions, methods=["POST"]),
                Route(project, self._project),
                Route(quotas, self._quotas),
                Route("/v2/{repository:path}/manifests/{reference}", self._manifest, methods=["HEAD", "GET"]),
                Route("/v2/entries:list", self._entries, methods=["POST"]),
                Route("/faults", self._inject, methods=["POST"]),
                Route("/jobs", self._list),
                Route("/jobs/{job}", self._job),
            ]
        )

    async def _token(self, request: Request) -> Response:
        form = await request.form()
        injected = self.faults.take_error("token")
        if injected is not None or not self.keys.accepts_token(str(form.get("assertion", ""))):
            return JSONResponse({"error": "invalid_grant", "error_description": "Invalid JWT Signature."}, 400)
        token = f"emulated.{secrets.token_urlsafe(24)}"
        self.issued.add(token)
        return JSONResponse({"access_token": token, "token_type": "Bearer", "expires_in": _SECONDS})

    def _unauthorized(self, request: Request) -> Response | None:
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not self.accepts_token(bearer):
            return _error(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
        if request.path_params.get("project", self.project.name) != self.project.name:
            return _error(403, "PERMISSION_DENIED", "The caller does not have permission, or there is no such project.")
        return None

    async def _project(self, request: Request) -> Response:
        name = self.project.name
        return self._unauthorized(request) or JSONResponse(
            {"name": "projects/1", "projectId": name, "state": "ACTIVE", "displayName": name}
        )

    async def _permissions(self, request: Request) -> Response:
        if error := self._unauthorized(request):
            return error
        asked = (await request.json()).get("permissions", [])
        granted = self.project.permissions
        return JSONResponse({"permissions": [one for one in asked if granted is None or one in granted]})

    async def _quotas(self, request: Request) -> Response:
        if error := self._unauthorized(request):
            return error
        infos = [
            {
                "metric": f"aiplatform.googleapis.com/{metric}",
                "dimensionsInfos": [
                    {
                        "dimensions": {"region": region},
                        "details": {"value": str(value)},
                        "applicableLocations": [region],
                    }
                ],
            }
            for (metric, region), value in self.project.quotas.items()
        ]
        return JSONResponse({"quotaInfos": infos})

    async def _manifest(self, request: Request) -> Response:
        if error := self._unauthorized(request):
            return error
        repository, reference = request.path_params["repository"], request.path_params["reference"]
        known = self.project.images
        name = f"{repository}{'@' if reference.startswith('sha256:') else ':'}{reference}"
        digest = reference if known is None else known.get(name)
        if digest is None:
            return JSONResponse({"errors": [{"code": "MANIFEST_UNKNOWN"}]}, 404)
        return Response(
            headers={"Docker-Content-Digest": digest}, media_type="application/vnd.oci.image.manifest.v1+json"
        )

    async def _entries(self, request: Request) -> Response:
        if error := self._unauthorized(request):
            return error
        asked: dict[str, Any] = await request.json()
        match = re.search(r'resource\.labels\.job_id="(\w+)"', str(asked.get("filter", "")))
        logs = sorted(self.runner.logs(f"/{match[1]}").glob("*.log")) if match else []
        lines = [line for path in logs for line in path.read_text(errors="replace").splitlines()]
        newest_first = lines[::-1][: int(asked.get("pageSize", 50))]
        return JSONResponse({"entries": [{"jsonPayload": {"message": line}} for line in newest_first]})

    async def _inject(self, request: Request) -> Response:
        arguments: dict[str, Any] = await request.json()
        name = arguments.pop("fault", "")
        if name not in _FAULTS:
            return JSONResponse({"error": f"fault must be one of {', '.join(_FAULTS)}"}, 400)
        try:
            getattr(self.faults, name)(**arguments)
        except (TypeError, KeyError) as error:
            return JSONResponse({"error": f"{name}: {error}"}, 400)
        return JSONResponse({})

    async def _list(self, request: Request) -> Response:
        del request
        rows = "".join(
            f'<tr><td><a href="/jobs/{_id(job)}">{_id(job)}</a><td>{html.escape(job.display_name)}'
            f"<td>{job.state.name.removeprefix('JOB_STATE_').lower()}<td>{job.create_time:%Y-%m-%d %H:%M:%S}"
            for job in reversed(self.jobs.all())
        )
        return _page("Custom jobs", f"<table><tr><th>Job<th>Name<th>State<th>Created (UTC){rows}</table>")

    async def _job(self, request: Request) -> Response:
        wanted = request.path_params["job"]
        job = next((job for job in self.jobs.all() if _id(job) == wanted), None)
        if job is None:
            return PlainTextResponse("There is no such job.", 404)
        logs = "".join(
            f"<h2>{path.stem}</h2><pre>{html.escape(path.read_text(errors='replace')[-20000:])}</pre>"
            for path in sorted(self.runner.logs(job.name).glob("*.log"))
        )
        shown = json.dumps(json.loads(CustomJob.to_json(job, use_integers_for_enums=False)), indent=2)
        return _page(job.display_name, f"{logs}<h2>Job</h2><pre>{html.escape(shown)}</pre>")


def _id(job: CustomJob) -> str:
    return str(job.name.rpartition("/")[2])


def _error(code: int, status: str, message: str) -> Response:
    return JSONResponse({"error": {"code": code, "status": status, "message": message}}, code)


_STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .35rem .8rem .35rem 0; border-bottom: 1px solid #8884; }
pre { overflow-x: auto; padding: .8rem; border: 1px solid #8884; border-radius: .4rem; font-size: 13px; }
"""


def _page(title: str, body: str) -> Response:
    title = html.escape(title)
    meta = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    head = f"<!doctype html>{meta}<title>{title}</title>"
    return HTMLResponse(f"{head}<style>{_STYLE}</style><h1>{title}</h1>{body}")


def quotas_of(accelerators: Mapping[str, int], regions: Sequence[str]) -> dict[tuple[str, str], int]:
    """Return Vertex AI's quotas on accelerators for training, by metric and region, on demand and Spot."""
    return {
        (f"custom_model_training_{kind}{name}_gpus", region): count
        for name, count in accelerators.items()
        for kind in ("", "preemptible_")
        for region in regions
    }
