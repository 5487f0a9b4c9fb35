"""Checks of a Google Cloud project: whether it is ready for training, what is missing, and how to correct it.

The checks rent and change nothing, except that they write an object of a few bytes to the bucket and delete it.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from google.api_core import exceptions as google
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import AuthorizedSession, Request
from requests.exceptions import RequestException

from conceptry.check import Check
from conceptry.errors import SettingsError
from conceptry.vertex_settings import VertexSettings

_SECONDS = 30.0
_PERMISSIONS = tuple(f"aiplatform.customJobs.{verb}" for verb in ("create", "get", "list", "cancel", "delete"))
_ACCEPT = (
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json"
)
_IMAGE = re.compile(
    r"(?P<host>[a-z0-9.:-]+)/(?P<path>[a-z0-9._/-]+?)(?::(?P<tag>[\w.-]+)|@(?P<digest>sha256:[0-9a-f]{64}))"
)


@dataclass(frozen=True)
class Access:
    """Settings and clients of the checks.

    Args:
        settings: Settings of training on Vertex AI.
        credentials: Credentials of google-auth.
        jobs: JobService client.
        storage: Client of google-cloud-storage.
        bucket: Name of the bucket.
    """

    settings: VertexSettings
    credentials: Any
    jobs: Any
    storage: Any
    bucket: str

    @property
    def account(self) -> str:
        """Account of the credentials."""
        return str(getattr(self.credentials, "service_account_email", None) or "your account")


def check_all(access: Access) -> Iterator[Check]:
    """Run all checks one after the other; a failed check does not stop the next one."""
    checks: tuple[tuple[str, Callable[[Access], Check]], ...] = (
        ("credentials", _credentials),
        ("project", _project),
        ("permissions", _permissions),
        ("region", _region),
        ("quota", _quota),
        ("bucket", _bucket),
        ("image", _image),
    )
    for title, check in checks:
        try:
            yield check(access)
        except GoogleAuthError as error:
            yield Check(
                title, False, _line(error), "register valid credentials: `conceptry setup gcp --credentials FILE`"
            )
        except (google.GoogleAPIError, RequestException) as error:
            yield Check(
                title, False, f"the check failed: {_line(error)}", "try again, or see https://status.cloud.google.com"
            )


def resolve_image(credentials: Any, image: str, google_apis: str | None) -> str:
    """Resolve HOST/PATH:TAG to HOST/PATH@sha256:DIGEST in the registry; an image by digest is looked up as well.

    Raises:
        SettingsError: the image is not of that form, or the registry has no such image.
    """
    match = _IMAGE.fullmatch(image)
    if match is None:
        raise SettingsError(f"{image!r} is not HOST/PATH:TAG", next_step="set CONCEPTRY_VERTEX_IMAGE")
    base = google_apis or f"https://{match['host']}"
    reference = match["digest"] or match["tag"]
    session = AuthorizedSession(credentials)
    try:
        answer = session.head(
            f"{base}/v2/{match['path']}/manifests/{reference}", headers={"Accept": _ACCEPT}, timeout=_SECONDS
        )
    finally:
        session.close()
    digest = answer.headers.get("Docker-Content-Digest") or match["digest"]
    if answer.status_code != 200 or not digest:
        raise SettingsError(
            f"the registry has no image {image} (it responds with {answer.status_code})",
            next_step="build and push it: `gcloud builds submit --config cloudbuild.yaml`",
        )
    return f"{match['host']}/{match['path']}@{digest}"


def _credentials(access: Access) -> Check:
    access.credentials.refresh(Request())
    return Check("credentials", True, access.account)


def _project(access: Access) -> Check:
    project = access.settings.project
    status, answer = _get(access, "cloudresourcemanager", f"v3/projects/{project}")
    if status == 200 and answer.get("state") == "ACTIVE":
        return Check("project", True, project)
    next_step = f"check that `gcloud projects describe {project}` works, and set CONCEPTRY_VERTEX_PROJECT"
    return Check("project", False, f"{project}: {_message(status, answer)}", next_step)


def _permissions(access: Access) -> Check:
    required = [*_PERMISSIONS, *(["iam.serviceAccounts.actAs"] if access.settings.service_account else [])]
    path = f"v3/projects/{access.settings.project}:testIamPermissions"
    status, answer = _get(access, "cloudresourcemanager", path, {"permissions": required})
    if status != 200:
        return Check("permissions", False, _message(status, answer), "enable cloudresourcemanager.googleapis.com")
    missing = [one for one in required if one not in answer.get("permissions", [])]
    if not missing:
        return Check("permissions", True, f"{access.account} may create, watch and cancel jobs")
    role = "roles/iam.serviceAccountUser" if missing == ["iam.serviceAccounts.actAs"] else "roles/aiplatform.user"
    next_step = (
        f"gcloud projects add-iam-policy-binding {access.settings.project} "
        f"--member serviceAccount:{access.account} --role {role}"
    )
    return Check("permissions", False, f"{access.account} lacks {', '.join(missing)}", next_step)


def _region(access: Access) -> Check:
    settings = access.settings
    try:
        access.jobs.get_location({"name": settings.parent}, timeout=_SECONDS)
        next(iter(access.jobs.list_custom_jobs(parent=settings.parent, timeout=_SECONDS)), None)
    except (google.NotFound, google.InvalidArgument) as error:
        return Check("region", False, f"{settings.region}: {_line(error)}", "set CONCEPTRY_VERTEX_REGION")
    except google.PermissionDenied as error:
        next_step = f"gcloud services enable aiplatform.googleapis.com --project {settings.project}"
        return Check("region", False, _line(error), next_step)
    return Check("region", True, f"Vertex AI responds in {settings.region}")


def _quota(access: Access) -> Check:
    settings = access.settings
    if not settings.accelerator_type:
        return Check("quota", True, "no accelerator is configured")
    metric = quota_metric(settings.accelerator_type, spot=settings.provisioning == "spot")
    path = f"v1/projects/{settings.project}/locations/global/services/aiplatform.googleapis.com/quotaInfos"
    infos: list[Any] = []
    token = ""
    while True:
        status, answer = _get(access, "cloudquotas", f"{path}?pageSize=500&pageToken={token}")
        if status != 200:
            return Check("quota", False, _message(status, answer), "gcloud services enable cloudquotas.googleapis.com")
        infos += [info for info in answer.get("quotaInfos", ()) if info.get("metric") == metric]
        token = answer.get("nextPageToken", "")
        if not token:
            break
    limits = [
        _limit(detail) for info in infos for detail in info["dimensionsInfos"] if _is_here(detail, settings.region)
    ]
    required = settings.accelerator_count * settings.replicas * settings.max_jobs
    found = f"{max(limits, default=0)} x {settings.accelerator_type} in {settings.region}, {required} required"
    if max(limits, default=0) >= required:
        return Check("quota", True, found)
    page = f"https://console.cloud.google.com/iam-admin/quotas?project={settings.project}"
    return Check("quota", False, found, f"request an increase of {metric}: {page}")


def _bucket(access: Access) -> Check:
    uri, probe = f"gs://{access.bucket}", "conceptry/.setup"
    try:
        bucket = access.storage.get_bucket(access.bucket, timeout=_SECONDS)
        blob = bucket.blob(probe)
        blob.upload_from_string(b"write check", timeout=_SECONDS)
        blob.download_as_bytes(timeout=_SECONDS)
        blob.delete(timeout=_SECONDS)
    except google.NotFound:
        where = f"--project {access.settings.project} --location {access.settings.region}"
        next_step = f"gcloud storage buckets create {uri} {where}"
        return Check("bucket", False, f"{uri} does not exist", next_step)
    except google.Forbidden as error:
        grant = f"--member serviceAccount:{access.account} --role roles/storage.objectAdmin"
        next_step = f"gcloud storage buckets add-iam-policy-binding {uri} {grant}"
        return Check("bucket", False, f"{uri}: {_line(error)}", next_step)
    where = str(bucket.location or "").lower()
    far = where and where != access.settings.region and "-" in where
    note = f" (it is in {where}: reading it from {access.settings.region} costs time and money)" if far else ""
    return Check("bucket", True, f"{uri} can be read and written{note}")


def _image(access: Access) -> Check:
    try:
        found = resolve_image(access.credentials, access.settings.image, access.settings.google_apis)
    except SettingsError as error:
        return Check("image", False, error.what, error.next_step or "")
    return Check("image", True, found)


def quota_metric(accelerator: str, *, spot: bool) -> str:
    """Return the metric of Vertex AI's quota for training with an accelerator."""
    name = accelerator.lower().removeprefix("nvidia_").removeprefix("tesla_")
    name = {"h100_80gb": "h100", "h200_141gb": "h200"}.get(name, name)
    return f"aiplatform.googleapis.com/custom_model_training_{'preemptible_' if spot else ''}nvidia_{name}_gpus"


def _get(access: Access, service: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
    base = access.settings.google_apis or f"https://{service}.googleapis.com"
    session = AuthorizedSession(access.credentials)
    try:
        method = "GET" if body is None else "POST"
        answer = session.request(method, f"{base}/{path}", json=body, timeout=_SECONDS)
        content = answer.json() if "json" in answer.headers.get("Content-Type", "") else {}
    finally:
        session.close()
    return answer.status_code, content


def _limit(detail: Any) -> int:
    value = int(detail.get("details", {}).get("value", 0))
    return 10**9 if value < 0 else value  # -1 means no limit


def _is_here(detail: Any, region: str) -> bool:
    where = detail.get("dimensions", {}).get("region")
    return where in (None, region) or region in detail.get("applicableLocations", ())


def _message(status: int, answer: dict[str, Any]) -> str:
    return str(answer.get("error", {}).get("message") or f"the response was {status}")


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
