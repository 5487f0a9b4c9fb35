"""Results of finished steps of a training, in a bucket: a retry on another machine goes on at the step that failed.

    gs://BUCKET/conceptry/INSTALLATION/NAME/FINGERPRINT/steps/STEP.tar    the folder that a step made, and its record

An object appears complete or not at all and is never changed, because a step is kept only if all its inputs are in the
fingerprint. The last run deletes them after publishing, `conceptry gc` those of trainings that were given up.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from google.api_core import exceptions as google

from conceptry.errors import TransientError
from tasks.training.bucket import CALL_SECONDS, crc32c, storage_errors
from tasks.training.custom_job import JobSpec
from tasks.training.renewed_bucket import RenewedBucket, renewing
from tasks.training.step_files import pack, unpack
from tasks.training.vertex_clients import load_gcs_bucket


class StepArchive:
    """Results of one training in a bucket.

    Args:
        bucket: Bucket of google-cloud-storage; a RenewedBucket is opened again when its credentials are refused.
        spec: The training, whose prefix in the bucket is used.
    """

    def __init__(self, bucket: Any, spec: JobSpec) -> None:
        self.bucket, self._concept, self._prefix = bucket, spec.concept, f"{spec.prefix}steps/"

    @property
    def uri(self) -> str:
        """gs:// address of the objects."""
        return f"gs://{self.bucket.name}/{self._prefix}"

    @renewing
    def fetch(self, step: str, made: Path, record: Path) -> bool:
        """Restore the folder that a step made, and its record; return whether they were kept.

        Raises:
            TransientError, SettingsError: as `storage_errors`.
        """
        with storage_errors(self._concept, self.uri):
            blob = self.bucket.get_blob(self._name(step), timeout=CALL_SECONDS)
            if blob is None:
                return False
            made.parent.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(prefix=f".{step}.", dir=made.parent) as folder:
                packed = Path(folder) / "packed.tar"
                blob.download_to_filename(
                    str(packed), checksum="crc32c", if_generation_match=blob.generation, timeout=CALL_SECONDS
                )
                if crc32c(packed) != blob.crc32c:
                    raise TransientError(f"{blob.name} arrived damaged", concept=self._concept)
                scratch = Path(folder) / "unpacked"
                scratch.mkdir()
                unpack(packed, scratch, made, record)
        return True

    @renewing
    def keep(self, step: str, made: Path, record: Path) -> None:
        """Upload the folder that a step made, and its record, unless they are kept already.

        Raises:
            TransientError, SettingsError: as `storage_errors`.
        """
        blob = self.bucket.blob(self._name(step))
        with storage_errors(self._concept, self.uri):
            if blob.exists(timeout=CALL_SECONDS):
                return
            with TemporaryDirectory(prefix=f".{step}.", dir=made.parent) as folder:
                packed = Path(folder) / "packed.tar"
                pack(packed, made, record)
                try:
                    blob.upload_from_filename(
                        str(packed), if_generation_match=0, checksum="crc32c", timeout=CALL_SECONDS
                    )
                except google.PreconditionFailed:
                    return  # another run of the same training was faster

    @renewing
    def clear(self) -> None:
        """Delete all that is kept of this training.

        Raises:
            TransientError, SettingsError: as `storage_errors`.
        """
        with storage_errors(self._concept, self.uri):
            for blob in self.bucket.client.list_blobs(self.bucket.name, prefix=self._prefix, timeout=CALL_SECONDS):
                blob.delete(timeout=CALL_SECONDS)

    def _name(self, step: str) -> str:
        return f"{self._prefix}{step}.tar"


def open_results(block: str) -> RenewedBucket:
    """Return the bucket of a Prefect block GcsBucket.

    Raises:
        SettingsError: there is no such block, or the bucket does not exist. TransientError: it cannot be reached.
    """

    def reopen() -> Any:
        loaded = load_gcs_bucket(block)
        with storage_errors(None, f"gs://{loaded.bucket}"):
            return loaded.get_bucket()

    return RenewedBucket(reopen(), reopen)
