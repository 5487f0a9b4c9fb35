"""The images of the concepts that git describes, listed from the DVC remote or from what is known of it."""

from collections.abc import Collection
from dataclasses import replace

from conceptry.desired import Desired
from conceptry.errors import ConceptryError
from conceptry.installation import Installation
from tasks.disk_full import disk_errors
from tasks.dvc.image_listing import list_cached, list_images


def list_desired_images(installation: Installation, desired: Desired, check: Collection[str] = ()) -> Desired:
    """Return the desired state with the images of each concept filled in.

    If the DVC remote cannot be read, only trainings are blocked: images are filled in from cached listings, and
    concepts that need the remote carry `remote_error`.

    Args:
        installation: Installation, for the mirror and the cached listings.
        desired: Desired state.
        check: Names of the concepts whose images are looked up in the remote, to fill in `missing`.
    """
    listings = installation.work.listings
    try:
        with disk_errors(listings):
            listed = list_images(installation.mirror, desired.revision, desired.concepts, listings, check=set(check))
        return replace(desired, concepts=listed)
    except ConceptryError as error:
        words = " ".join(str(error).split())
        known = list_cached(desired.concepts, listings)
        concepts = {
            name: replace(one, remote_error=words)
            if name in check or (one.images is None and one.error is None)
            else one
            for name, one in known.items()
        }
        return replace(desired, concepts=concepts)
