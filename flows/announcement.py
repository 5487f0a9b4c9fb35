"""Announcement of a published version on the Prefect server: its event, its page, and the name and tags of its run."""

import shutil
from uuid import UUID

from prefect import get_run_logger
from prefect.runtime import flow_run
from prefect.settings import get_current_settings

from conceptry.concept import GateSpec
from conceptry.installation import Installation
from conceptry.version import Manifest, Version
from flows.version_page import show_version
from tasks.events import EventName, emit
from tasks.hub import HubSession
from tasks.hub.session import MANIFEST
from tasks.prefect_client import SERVER_ERRORS, connected
from tasks.run_folder import RunFolder


def announced(installation: Installation, session: HubSession, folder: RunFolder, version: Version) -> bool:
    """Emit the event of a version that this run published, attach its page, and name the run after it.

    Returns False if the Prefect server did not take them; there is nothing to tell if the bundle is gone.
    """
    if not folder.bundle.is_dir():
        return True
    manifest = bundled(folder)
    event: EventName = "published" if manifest.gate == "passed" else manifest.gate
    codes = [str(reason) for reason in manifest.gate_reasons]
    try:
        show_version(installation, version, manifest, folder.bundle)
        name_run(f"{manifest.name} {version.name} {version.fingerprint[:8]}", f"version:{version.name}")
    except SERVER_ERRORS as error:
        get_run_logger().warning("the Prefect server does not take artifacts (%s)", error)
        return False
    address = session.target.url(manifest.name)
    emit(manifest.name, event, version=version.name, reason=codes, cause=manifest.reasons, model=address)
    return True


def name_run(name: str, tag: str) -> None:
    """Give the current run another name and one more tag; without a Prefect server nothing is done."""
    if flow_run.id is None or not get_current_settings().api.url:
        return
    with connected() as client:
        own = UUID(flow_run.id)
        client.update_flow_run(own, name=name, tags=sorted({*client.read_flow_run(own).tags, tag}))


def discard_bundle_of_another(folder: RunFolder, name: str, gate: GateSpec | None = None) -> None:
    """Delete a bundle that an earlier attempt assembled before the concept was renamed, or with another gate."""
    if not folder.bundle.is_dir():
        return
    manifest = bundled(folder)
    judged = manifest.spec.get("gate")
    if manifest.name != name or (gate is not None and judged != gate.model_dump(mode="json")):
        shutil.rmtree(folder.bundle)


def bundled(folder: RunFolder) -> Manifest:
    """Return the manifest of the assembled version."""
    return Manifest.model_validate_json((folder.bundle / MANIFEST).read_bytes())
