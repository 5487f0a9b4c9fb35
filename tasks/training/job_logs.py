"""Last log lines of a job's containers, from Cloud Logging."""

from typing import Any

from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import AuthorizedSession
from requests.exceptions import RequestException

from conceptry.vertex_settings import VertexSettings

LINES = 12
_SECONDS = 30.0


def last_lines(credentials: Any, settings: VertexSettings, job_id: str) -> list[str]:
    """Return the last lines of a job's log, the oldest first.

    If the log cannot be read, return an empty list, so that the caller still reports how the job ended.

    Args:
        credentials: Credentials of google-auth.
        settings: Settings of training on Vertex AI.
        job_id: Last part of the job's resource name.
    """
    base = settings.google_apis or "https://logging.googleapis.com"
    body = {
        "resourceNames": [f"projects/{settings.project}"],
        "filter": f'resource.type="ml_job" AND resource.labels.job_id="{job_id}"',
        "orderBy": "timestamp desc",
        "pageSize": 4 * LINES,
    }
    session = AuthorizedSession(credentials)
    try:
        answer = session.post(f"{base}/v2/entries:list", json=body, timeout=_SECONDS)
        entries = answer.json().get("entries", []) if answer.status_code == 200 else []
    except (GoogleAuthError, RequestException, ValueError):
        return []
    finally:
        session.close()
    lines = [_text(entry) for entry in reversed(entries)]
    return [line for line in lines if line][-LINES:]


def _text(entry: Any) -> str:
    payload = entry.get("jsonPayload") or {}
    return str(entry.get("textPayload") or payload.get("message") or "").rstrip()
