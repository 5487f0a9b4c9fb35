"""Check, before a machine is paid, that a job on Vertex AI will find the weights that it trains on."""

from google.api_core.exceptions import Forbidden, NotFound

from conceptry.errors import SettingsError
from tasks.training.bucket import storage_errors
from tasks.training.training_request import TrainingRequest
from tasks.training.vertex_clients import Cloud
from trainer.base_weights.presets import Preset, of


def check_weights(request: TrainingRequest, cloud: Cloud) -> None:
    """Check that the trainer's image or CONCEPTRY_VERTEX_BASE holds the weights of a training.

    In a bucket each file is looked for by its name; the job compares its sha256. What a path in the image holds is not
    known here, nor a bucket that these credentials cannot read though those of the job may.

    Raises:
        SettingsError: weights are missing.
        TransientError: Cloud Storage did not respond.
    """
    preset = of(str(request.config["base_model"]), request.config.get("base"))
    base = cloud.settings.base
    if not preset.shipped and base is None:
        raise SettingsError(
            f"the trainer's image does not contain the weights of {preset.name}",
            concept=request.concept,
            next_step="set CONCEPTRY_VERTEX_BASE to gs://BUCKET/PATH, or to /base when the image was built with them",
        )
    if request.needs_clip and base is None:
        raise request.no_clip("CONCEPTRY_VERTEX_BASE")
    if not preset.shipped and base is not None and base.startswith("gs://"):
        missing = _missing(preset, base, cloud, request.concept)
        if missing:
            raise SettingsError(
                f"{base} (CONCEPTRY_VERTEX_BASE) lacks weights of {preset.name}: {', '.join(missing)}",
                concept=request.concept,
                next_step=f"where they are, run `conceptry base mirror {base} --base-model {preset.name}`",
            )


def _missing(preset: Preset, base: str, cloud: Cloud, concept: str) -> list[str]:
    name, _, path = base.removeprefix("gs://").partition("/")
    places = [file.place for file in preset.files]
    prefix = path.rstrip("/") + "/"
    with storage_errors(concept, base):
        try:
            bucket = cloud.bucket.client.bucket(name)
            return [place for place in places if not bucket.blob(prefix + place).exists()]
        except Forbidden:
            return []
        except NotFound:
            return places
