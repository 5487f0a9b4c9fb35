"""Whether a Google Cloud project is ready for training: each check says what is missing, and how to mend it.

Nothing is rented or changed; an object of a few bytes is written to the bucket and removed.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from google.api_core import exceptions as google
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import AuthorizedSession
from requests.exceptions import RequestException

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
class Check:
    """What was looked at and found; `mend` says what to do when it is not as it must be."""

    title: str
    ok: bool
    found: str
    mend: str = ""


@dataclass(frozen=True)
class Access:
    """What the checks look with.

    Args:
        settings: of training on Vertex AI.
        credentials: of google-auth.
        jobs: a JobService client.
        storage: a client of google-cloud-storage.
        bucket: name of the bucket.
    """

    settings: VertexSettings
    credentials: Any
    jobs: Any
    storage: Any
    bucket: str

    @property
    def account(self) -> str:
        """Who the credentials are."""
        return str(getattr(self.credentials, "service_account_email", None) or "your account")


def check_all(access: Access) -> Iterator[Check]:
    """Look at everything, one after the other; what one check finds missing does not stop the next one."""
    checks: tuple[tuple[str, Callable[[Access], Check]], ...] = (
        ("credentials", _credentials),
        ("project", _project),
        ("permissions", _permissions),
        ("region", _region),
        ("quota", _quota),
        ("bucket", _bucket),
        ("image", _image),
    )
    for title, look in checks:
        try:
            yield look(access)
        except GoogleAuthError as error:
            yield Check(title, False, _line(error), "give valid credentials: `conceptry setup gcp --credentials FILE`")
        except (google.GoogleAPIError, RequestException) as error:
            yield Check(title, False, f"could not be looked at: {_line(error)}", "try again, or see the Cloud's status")


def resolve_image(credentials: Any, image: str, google_apis: str | None) -> str:
    """Turn HOST/PATH:TAG into HOST/PATH@sha256:DIGEST, as the registry has it now; a digest is looked for, too.

    Raises:
        SettingsError: it is not of that form, or the registry has no such image.
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
            f"the registry has no image {image} (it answers {answer.status_code})",
            next_step="build and push it: `gcloud builds submit --config cloudbuild.yaml`",
        )
    return f"{match['host']}/{match['path']}@{digest}"


def _credentials(access: Access) -> Check:
    from google.auth.transport.requests import Request

    access.credentials.refresh(Request())
    return Check("credentials", True, access.account)


def _project(access: Access) -> Check:
    project = access.settings.project
    status, answer = _get(access, "cloudresourcemanager", f"v3/projects/{project}")
    if status == 200 and answer.get("state") == "ACTIVE":
        return Check("project", True, project)
    mend = f"see whether `gcloud projects describe {project}` works, and set CONCEPTRY_VERTEX_PROJECT"
    return Check("project", False, f"{project}: {_message(status, answer)}", mend)


def _permissions(access: Access) -> Check:
    wanted = [*_PERMISSIONS, *(["iam.serviceAccounts.actAs"] if access.settings.service_account else [])]
    path = f"v3/projects/{access.settings.project}:testIamPermissions"
    status, answer = _get(access, "cloudresourcemanager", path, {"permissions": wanted})
    if status != 200:
        return Check("permissions", False, _message(status, answer), "enable cloudresourcemanager.googleapis.com")
    missing = [one for one in wanted if one not in answer.get("permissions", [])]
    if not missing:
        return Check("permissions", True, f"{access.account} may create, watch and cancel jobs")
    role = "roles/iam.serviceAccountUser" if missing == ["iam.serviceAccounts.actAs"] else "roles/aiplatform.user"
    mend = (
        f"gcloud projects add-iam-policy-binding {access.settings.project} "
        f"--member serviceAccount:{access.account} --role {role}"
    )
    return Check("permissions", False, f"{access.account} lacks {', '.join(missing)}", mend)


def _region(access: Access) -> Check:
    settings = access.settings
    try:
        access.jobs.get_location({"name": settings.parent}, timeout=_SECONDS)
        next(iter(access.jobs.list_custom_jobs(parent=settings.parent, timeout=_SECONDS)), None)
    except (google.NotFound, google.InvalidArgument) as error:
        return Check("region", False, f"{settings.region}: {_line(error)}", "set CONCEPTRY_VERTEX_REGION")
    except google.PermissionDenied as error:
        mend = f"gcloud services enable aiplatform.googleapis.com --project {settings.project}"
        return Check("region", False, _line(error), mend)
    return Check("region", True, f"Vertex AI answers in {settings.region}")


def _quota(access: Access) -> Check:
    settings = access.settings
    if not settings.accelerator_type:
        return Check("quota", True, "no accelerator is asked for")
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
    wanted = settings.accelerator_count * settings.replicas * settings.max_jobs
    found = f"{max(limits, default=0)} x {settings.accelerator_type} in {settings.region}, {wanted} wanted"
    if max(limits, default=0) >= wanted:
        return Check("quota", True, found)
    page = f"https://console.cloud.google.com/iam-admin/quotas?project={settings.project}"
    return Check("quota", False, found, f"ask for more of {metric}: {page}")


def _bucket(access: Access) -> Check:
    uri, probe = f"gs://{access.bucket}", "conceptry/.setup"
    try:
        bucket = access.storage.get_bucket(access.bucket, timeout=_SECONDS)
        blob = bucket.blob(probe)
        blob.upload_from_string(b"May we write here?", timeout=_SECONDS)
        blob.download_as_bytes(timeout=_SECONDS)
        blob.delete(timeout=_SECONDS)
    except google.NotFound:
        where = f"--project {access.settings.project} --location {access.settings.region}"
        mend = f"gcloud storage buckets create {uri} {where}"
        return Check("bucket", False, f"there is no {uri}", mend)
    except google.Forbidden as error:
        grant = f"--member serviceAccount:{access.account} --role roles/storage.objectAdmin"
        mend = f"gcloud storage buckets add-iam-policy-binding {uri} {grant}"
        return Check("bucket", False, f"{uri}: {_line(error)}", mend)
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
    """The metric of Vertex AI's quota on an accelerator for training."""
    name = accelerator.lower().removeprefix("nvidia_").removeprefix("tesla_")
    name = {"h100_80gb": "h100", "h200_141gb": "h200"}.get(name, name)
    return f"aiplatform.googleapis.com/custom_model_training_{'preemptible_' if spot else ''}nvidia_{name}_gpus"


def _get(access: Access, service: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
    base = access.settings.google_apis or f"https://{service}.googleapis.com"
    session = AuthorizedSession(access.credentials)
    try:
        method = "GET" if body is None else "POST"
        answer = session.request(method, f"{base}/{path}", json=body, timeout=_SECONDS)
        told = answer.json() if "json" in answer.headers.get("Content-Type", "") else {}
    finally:
        session.close()
    return answer.status_code, told


def _limit(detail: Any) -> int:
    value = int(detail.get("details", {}).get("value", 0))
    return 10**9 if value < 0 else value  # -1 is no limit


def _is_here(detail: Any, region: str) -> bool:
    where = detail.get("dimensions", {}).get("region")
    return where in (None, region) or region in detail.get("applicableLocations", ())


def _message(status: int, answer: dict[str, Any]) -> str:
    return str(answer.get("error", {}).get("message") or f"the answer was {status}")


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
