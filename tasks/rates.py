"""How fast each preset trains where trainings run, and what an hour costs: for the estimates in a plan.

Seconds on the A100 are guesses, somewhat under the 267 ms a step that the Keras tutorial's card took; a concept's own
last version, once there is one, is a better guide.
"""

from conceptry.estimate import Rate
from trainer.base_weights.presets import PRESETS

# Seconds a step, and of everything else: on two CPU cores, and on one A100.
_STEP = {"local": {"tiny": 0.06, "sd-v1-4": 8.0}, "vertex": {"tiny": 0.01, "sd-v1-4": 0.2}}
_OVERHEAD = {"local": {"tiny": 30.0, "sd-v1-4": 600.0}, "vertex": {"tiny": 240.0, "sd-v1-4": 360.0}}


def rates(backend: str, usd_per_hour: float) -> dict[str, Rate]:
    """The rate of every preset.

    Args:
        backend: `local` or `vertex`.
        usd_per_hour: price of the machine.
    """
    return {
        name: Rate(
            step=_STEP[backend][name],
            overhead=_OVERHEAD[backend][name],
            max_steps=preset.max_steps,
            batch_size=preset.batch_size,
            resolution=preset.resolution,
            usd_per_hour=usd_per_hour,
        )
        for name, preset in PRESETS.items()
    }
