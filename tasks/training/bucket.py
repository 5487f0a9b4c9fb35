"""Bucket of a training: upload of records and configuration, download of results, CRC32C checked in both directions.

    gs://BUCKET/conceptry/INSTALLATION/NAME/FINGERPRINT/
        records/  config.json    what the job reads
        output/                  what the trainer writes: checkpoints/, progress.jsonl, results, metrics.json last
    gs://BUCKET/conceptry-compiled/ACCELERATOR/
        TENSORFLOW_VERSION/      what XLA compiled, for all concepts

CRC32C and not MD5: objects that Cloud Storage FUSE wrote in parts have no MD5.
"""

import base64
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import google_crc32c
from google.api_core import exceptions as google
from google.auth.exceptions import GoogleAuthError, TransportError
from google.cloud.storage.exceptions import DataCorruption
from requests.exceptions import RequestException

from conceptry.errors import ConceptryError, DataCorruptError, SettingsError, TrainingError, TransientError
from tasks.file_io import has_digest
from tasks.training.custom_job import ROOT, label
from tasks.training.renewed_bucket import RenewedBucket, refused, renewing
from tasks.training.training_request import read_results
from trainer.metrics import TrainingMetrics

METRICS, PROGRESS = "output/metrics.json", "output/progress.jsonl"
CHECKPOINTS = "output/checkpoints/"
CALL_SECONDS = 120.0


@contextmanager
def storage_errors(concept: str | None, where: str) -> Iterator[None]:
    """Translate the errors of google-cloud-storage into the project's own, for a concept and a gs:// address.

    Raises:
        TransientError: Cloud Storage cannot be reached or did not answer, or an object arrived damaged.
        SettingsError: Cloud Storage refused the request or the credentials.
    """
    try:
        yield
    except DataCorruption as error:
        raise TransientError(f"an object arrived damaged: {_line(error)}", concept=concept) from error
    except (google.ServerError, google.TooManyRequests, google.PreconditionFailed, google.RetryError) as error:
        raise TransientError(f"Cloud Storage did not respond: {_line(error)}", concept=concept) from error
    except (RequestException, TransportError) as error:
        raise TransientError(f"Cloud Storage cannot be reached: {_line(error)}", concept=concept) from error
    except (google.ClientError, GoogleAuthError) as error:
        raise SettingsError(
            f"Cloud Storage refused {where}: {_line(error)}",
            concept=concept,
            next_step="run `conceptry setup gcp` to see what is missing",
        ) from error


@dataclass(frozen=True)
class Store:
    """Objects under one prefix of a bucket.

    Args:
        bucket: Bucket of google-cloud-storage; a RenewedBucket is opened again when its credentials are refused.
        prefix: Prefix of the objects' names, with a trailing /.
        concept: Name of the concept, for error messages.
    """

    bucket: Any
    prefix: str
    concept: str

    @property
    def uri(self) -> str:
        """gs://BUCKET/PREFIX."""
        return f"gs://{self.bucket.name}/{self.prefix}"

    @renewing
    def upload(self, files: Mapping[str, Path], folder: str) -> list[str]:
        """Upload files by their names under the prefix, delete other objects of `folder`, return the uploaded names.

        An object that exists with the same size and CRC32C is not uploaded again.
        """
        with storage_errors(self.concept, self.uri):
            existing = self._objects("")
            sent = []
            for name, path in files.items():
                if self._send(name, path, existing.get(name)):
                    sent.append(name)
            for name in existing.keys() - files.keys():
                if name.startswith(f"{folder}/"):
                    existing[name].delete(timeout=CALL_SECONDS)
            return sent

    @renewing
    def has(self, name: str) -> bool:
        """Whether an object of that name exists."""
        with storage_errors(self.concept, self.uri):
            return bool(self.bucket.blob(self.prefix + name).exists(timeout=CALL_SECONDS))

    @renewing
    def download_output(self, destination: Path) -> TrainingMetrics:
        """Download `output/` without its checkpoints; `destination` appears complete, by a rename.

        A file that an earlier call downloaded is kept if its CRC32C is right. Files whose sha256 is in metrics.json
        are compared with that as well, so that the downloaded files are those that the trainer wrote.

        Returns:
            metrics.json.

        Raises:
            DataCorruptError: an object is not what the trainer wrote.
            TrainingError: metrics.json is missing or cannot be read.
            TransientError, SettingsError: as `storage_errors`.
        """
        partial = destination.with_name(destination.name + ".download")
        with storage_errors(self.concept, self.uri):
            existing = self._objects("output/")
            results = {name: blob for name, blob in existing.items() if not name.startswith(CHECKPOINTS)}
            for name, blob in results.items():
                self._fetch(blob, partial / name.removeprefix("output/"))
        for path in [path for path in partial.rglob("*") if path.is_file()]:
            if f"output/{path.relative_to(partial).as_posix()}" not in results:
                path.unlink()
        if METRICS not in results:
            what, next_step = "the job wrote no metrics.json", f"check the objects in {self.uri}"
            raise TrainingError(what, concept=self.concept, next_step=next_step)
        metrics = read_results(partial, self.concept)
        self._verify(partial, metrics.files)
        partial.rename(destination)
        return metrics

    def _send(self, name: str, path: Path, existing: Any) -> bool:
        """Upload one file unless it exists; another run of the same training may upload it at the same time."""
        if existing is not None and (existing.size, existing.crc32c) == (path.stat().st_size, crc32c(path)):
            return False
        blob = self.bucket.blob(self.prefix + name)
        generation = 0 if existing is None else existing.generation
        try:
            blob.upload_from_filename(
                str(path), if_generation_match=generation, checksum="crc32c", timeout=CALL_SECONDS
            )
        except google.PreconditionFailed:
            blob.reload(timeout=CALL_SECONDS)
            if (blob.size, blob.crc32c) != (path.stat().st_size, crc32c(path)):
                raise
            return False
        return True

    def _fetch(self, blob: Any, path: Path) -> None:
        if path.is_file() and (path.stat().st_size, crc32c(path)) == (blob.size, blob.crc32c):
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        blob.download_to_filename(
            str(path), checksum="crc32c", if_generation_match=blob.generation, timeout=CALL_SECONDS
        )
        if crc32c(path) != blob.crc32c:
            path.unlink()
            raise TransientError(f"{blob.name} arrived damaged", concept=self.concept, next_step="retry the run")

    def _verify(self, folder: Path, digests: Mapping[str, str]) -> None:
        wrong = [name for name, sha256 in digests.items() if not has_digest(folder / name, "sha256", sha256)]
        for name in wrong:
            (folder / name).unlink(missing_ok=True)
        if wrong:
            raise DataCorruptError(
                f"{len(wrong)} of {len(digests)} results do not have the sha256 that the trainer gave them, "
                f"first {wrong[0]}",
                concept=self.concept,
                file=f"{self.uri}{METRICS}",
                next_step="delete this object and retry the run: a new job resumes from the last checkpoint",
            )

    def _objects(self, folder: str) -> dict[str, Any]:
        blobs = self.bucket.client.list_blobs(self.bucket.name, prefix=self.prefix + folder, timeout=CALL_SECONDS)
        return {blob.name.removeprefix(self.prefix): blob for blob in blobs if not blob.name.endswith("/")}


@dataclass
class Tail:
    """Reader that follows an object to which lines are appended.

    Args:
        store: Objects of the training.
        name: Name of the object, under the prefix.
    """

    store: Store
    name: str
    _generation: int = 0
    _offset: int = 0
    _rest: bytes = field(default=b"")

    def relay(self, pass_on: Callable[[bytes], None]) -> None:
        """Pass on the complete lines that are new. If the object cannot be read, the next call reads them."""
        try:
            new = self._read()
        except (google.GoogleAPIError, GoogleAuthError, RequestException) as error:
            if refused(error) and isinstance(self.store.bucket, RenewedBucket):
                with suppress(ConceptryError):
                    self.store.bucket.renew()
            return
        *lines, self._rest = (self._rest + new).split(b"\n")
        for line in lines:
            pass_on(line)

    def _read(self) -> bytes:
        blob = self.store.bucket.get_blob(self.store.prefix + self.name, timeout=CALL_SECONDS)
        if blob is None or blob.generation == self._generation:
            return b""
        if blob.size < self._offset:
            self._offset, self._rest = 0, b""
        if blob.size == self._offset:
            return b""
        data: bytes = blob.download_as_bytes(
            start=self._offset, end=blob.size - 1, checksum=None, if_generation_match=blob.generation,
            timeout=CALL_SECONDS,
        )  # fmt: skip
        self._generation, self._offset = blob.generation, blob.size
        return data


def clean_prefixes(
    bucket: Any, installation: str, needed: Callable[[str, str], bool], *, before: datetime, delete: bool = False
) -> dict[str, int]:
    """Find, and with `delete` remove, the objects of an installation's trainings that no run needs.

    Args:
        bucket: Bucket of google-cloud-storage.
        installation: Id of the installation.
        needed: Called with a concept's name and a fingerprint; returns whether a live job or run uses its objects.
        before: Keep a prefix if any of its objects was written later.
        delete: Delete the objects; otherwise only list them.

    Returns:
        The bytes under each prefix that may be deleted, by gs:// address.

    Raises:
        SettingsError, TransientError: the bucket cannot be read or written.
    """
    home = f"{ROOT}/{label(installation)}/"
    uri = f"gs://{bucket.name}/{home}"
    with storage_errors(None, uri):
        prefixes: dict[tuple[str, str], list[Any]] = {}
        for blob in bucket.client.list_blobs(bucket.name, prefix=home, timeout=CALL_SECONDS):
            parts = blob.name.removeprefix(home).split("/", 2)
            if len(parts) == 3:
                prefixes.setdefault((parts[0], parts[1]), []).append(blob)
        found: dict[str, int] = {}
        for (name, fingerprint), blobs in prefixes.items():
            if needed(name, fingerprint) or max(blob.updated for blob in blobs) > before:
                continue
            found[f"{uri}{name}/{fingerprint}/"] = sum(int(blob.size or 0) for blob in blobs)
            for blob in blobs if delete else ():
                blob.delete(timeout=CALL_SECONDS)
        return found


def crc32c(path: Path) -> str:
    """Return the CRC32C of a file, in base64, as Cloud Storage writes it."""
    checksum: Any = google_crc32c.Checksum()  # type: ignore[no-untyped-call]
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            checksum.update(block)
    return base64.b64encode(checksum.digest()).decode()


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
