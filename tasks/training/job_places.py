"""Places, project and region, in which an installation created jobs: recorded in the bucket before the first job there.

    gs://BUCKET/conceptry-places/INSTALLATION.json

A job is found in these places as well after CONCEPTRY_VERTEX_REGION or _PROJECT was changed. With another bucket, the
record is not found.
"""

import json
from dataclasses import dataclass
from typing import Any

from google.api_core import exceptions as google

from tasks.training.bucket import CALL_SECONDS, storage_errors
from tasks.training.custom_job import label

FOLDER = "conceptry-places"
_ATTEMPTS = 5


@dataclass(frozen=True)
class Place:
    """Project and region of jobs."""

    project: str
    region: str

    @property
    def parent(self) -> str:
        """Resource name of the parent of its jobs."""
        return f"projects/{self.project}/locations/{self.region}"

    @classmethod
    def of_job(cls, name: str) -> "Place":
        """Return the place of a job, by its resource name; the project may be its number."""
        _, project, _, region, *_ = name.split("/")
        return cls(project, region)


class Places:
    """Record of the places of one installation.

    Args:
        bucket: Bucket of google-cloud-storage.
        installation: Id of the installation.
    """

    def __init__(self, bucket: Any, installation: str) -> None:
        self._bucket, self._name = bucket, f"{FOLDER}/{label(installation)}.json"
        self._uri = f"gs://{bucket.name}/{self._name}"

    def read(self) -> tuple[Place, ...]:
        """Return the recorded places; none if there is no record, or if it was edited and cannot be read.

        Raises:
            SettingsError, TransientError: the bucket cannot be read.
        """
        with storage_errors(None, self._uri):
            return self._read()[0]

    def add(self, place: Place) -> None:
        """Record a place; do nothing if it is recorded.

        Raises:
            SettingsError, TransientError: the bucket cannot be read or written.
        """
        with storage_errors(None, self._uri):
            for attempt in range(_ATTEMPTS):
                places, generation = self._read()
                if place in places:
                    return
                content = json.dumps([{"project": one.project, "region": one.region} for one in (*places, place)])
                try:
                    self._bucket.blob(self._name).upload_from_string(
                        content, "application/json", if_generation_match=generation, timeout=CALL_SECONDS
                    )
                except google.PreconditionFailed:
                    if attempt == _ATTEMPTS - 1:
                        raise
                else:
                    return

    def _read(self) -> tuple[tuple[Place, ...], int]:
        """Return the places, and the generation of the record; 0 if there is none."""
        blob = self._bucket.get_blob(self._name, timeout=CALL_SECONDS)
        if blob is None:
            return (), 0
        try:
            found = json.loads(blob.download_as_bytes(timeout=CALL_SECONDS))
            return tuple(Place(str(one["project"]), str(one["region"])) for one in found), blob.generation
        except google.NotFound:
            return (), 0
        except (ValueError, TypeError, KeyError):
            return (), blob.generation
