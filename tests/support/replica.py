"""One worker of a training on several: `python -m tests.support.replica RECORDS BATCH_SIZE FOLDER DEVICES`.

TF_CONFIG says which worker it is; its CPU is divided into so many DEVICES.

It trains a few steps and saves the vectors to FOLDER/NAME.npy, NAME being `alone` or the worker's number.
"""

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from trainer import objective, train, training_config
from trainer.base_weights.base_model import BaseModel
from trainer.data.latents import encode_views
from trainer.data.pictures import read_pictures
from trainer.devices import Devices


def main(records: Path, batch_size: int, folder: Path, local: int) -> None:
    if local > 1:
        parts = [tf.config.LogicalDeviceConfiguration() for _ in range(local)]
        tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)
    devices = Devices()
    assert devices.replicas == local * devices.hosts
    training = {"max_steps": 12, "batch_size": batch_size, "seed": 3}
    words = {"placeholder_token": "<x>", "initializer_token": "crescent", "base_model": "tiny", "training": training}
    wanted = training_config.parse(words)
    base = BaseModel("tiny")
    tokenizer = base.tokenizer("<x>")
    with devices.scope():
        frozen = objective.Frozen(base.text_encoder(tokenizer.vocabulary), base.diffusion_model(64, 64), tokenizer)
    latents = encode_views(read_pictures(records), base.image_encoder(), wanted, 2, seed=1)
    state, _ = train.train(latents, frozen, wanted, folder / "checkpoints", lambda _line: None, devices=devices)
    task = json.loads(os.environ.get("TF_CONFIG", '{"task": {"index": "alone"}}'))["task"]
    np.save(folder / f"{task['index']}.npy", state.vectors)
    devices.wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
