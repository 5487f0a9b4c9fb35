"""One device or many: the GPUs of a host, and the hosts that TF_CONFIG lists, as Vertex AI sets it.

Every replica takes its own part of a step's batch, so the batch that the vectors learn from is `batch_size` times the
number of replicas. Gradients, losses and stop requests are summed over all replicas in one go, so that all of them
take the same step, stop early at the same one, and end together when a single host is told to.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from trainer.models.layers import disable_grappler_on_cpu
from trainer.training_config import ConfigError

Arrays = Sequence[npt.NDArray[Any]]
Compute = Callable[..., tuple[Any, ...]]
_ROLES = ("chief", "worker")


class Devices:
    """The replicas of one training. Make it before anything else of TensorFlow runs.

    Raises:
        ConfigError: TF_CONFIG is not what TensorFlow documents.
    """

    def __init__(self) -> None:
        disable_grappler_on_cpu()
        role, index, hosts = cluster(os.environ.get("TF_CONFIG"))
        self.hosts = hosts
        self._strategy: Any = None
        if hosts > 1:
            self._strategy = tf.distribute.MultiWorkerMirroredStrategy()
        elif len(local := _local()) > 1:
            self._strategy = tf.distribute.MirroredStrategy(local)
        self.replicas: int = self._strategy.num_replicas_in_sync if self._strategy else 1
        self._add = tf.function(self._add_up, reduce_retracing=True, autograph=False)
        # The chief writes what is learned; where none is named, it is the first worker.
        self.is_chief = hosts == 1 or role == "chief" or (index == 0 and not _has_chief())

    def scope(self) -> AbstractContextManager[Any]:
        """Enter the scope for frozen weights: every GPU of this host gets a copy; each host loads its own from disk."""
        scope: AbstractContextManager[Any] = self._strategy.scope() if self.replicas > self.hosts else nullcontext()
        return scope

    def compile(
        self, compute: Compute, jit_compile: bool, like: Arrays = ()
    ) -> Callable[[Arrays, Arrays], tuple[Any, ...]]:
        """Make `compute(*shared, *batch) -> tensors` run on every replica, each with its part of the batch's rows.

        The function that comes back takes the shared arrays and the whole batch, and returns the replicas' means. With
        `like`, arrays of the same shapes and types, a single replica's is traced now and not by its first call.
        """
        inner = tf.function(compute, jit_compile=jit_compile, autograph=False)
        if self._strategy is None:
            if like:
                inner.get_concrete_function(*map(tf.constant, like))
            return lambda shared, batch: tuple(inner(*map(tf.constant, (*shared, *batch))))
        replicas, strategy = self.replicas, self._strategy

        def replica(arguments: Any) -> Any:
            parts = [part / replicas for part in inner(*arguments)]
            return tf.distribute.get_replica_context().all_reduce("SUM", parts)

        outer = tf.function(lambda arguments: strategy.run(replica, args=(arguments,)), autograph=False)

        def run(shared: Arrays, batch: Arrays) -> tuple[Any, ...]:
            def rows(context: Any) -> tuple[Any, ...]:
                size = len(batch[0]) // replicas
                start = context.replica_id_in_sync_group * size
                return tuple(map(tf.constant, (*shared, *(array[start : start + size] for array in batch))))

            parts = outer(strategy.experimental_distribute_values_from_function(rows))
            return tuple(strategy.experimental_local_results(part)[0] for part in parts)

        return run

    def sum(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Sum an array over all hosts; it must have the same shape on all of them."""
        if self.hosts == 1 or not array.size:
            return array
        local, strategy = self.replicas // self.hosts, self._strategy

        def share(context: Any) -> Any:
            # A host's other replicas have nothing to add.
            first = context.replica_id_in_sync_group % local == 0
            return tf.constant(array if first else np.zeros_like(array))

        total = self._add(strategy.experimental_distribute_values_from_function(share))
        return np.asarray(strategy.experimental_local_results(total)[0])

    def _add_up(self, value: Any) -> Any:
        def replica(part: Any) -> Any:
            # An argument lies on no device and would be refused; a copy of it lies on the replica's.
            return tf.distribute.get_replica_context().all_reduce("SUM", tf.identity(part))

        return self._strategy.run(replica, args=(value,))

    def wait(self) -> None:
        """Wait until all hosts have come to this point: a host that leaves early looks like one that crashed."""
        self.sum(np.zeros(1, "float32"))


def _local() -> list[str]:
    """List this host's GPUs, else its CPU, which is one device unless it was divided (a test does)."""
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return [device.name for device in devices]


def cluster(tf_config: str | None) -> tuple[str, int, int]:
    """Read TF_CONFIG: this host's role and number in it, and how many hosts there are.

    Raises:
        ConfigError: It is not JSON of {"cluster": {role: [address]}, "task": {"type": role, "index": number}}, or names
            a role that has no part in this training.
    """
    if not tf_config:
        return "chief", 0, 1
    try:
        document = json.loads(tf_config)
        roles = {str(role): len(hosts) for role, hosts in document.get("cluster", {}).items() if hosts}
        hosts = sum(roles.values())
        if hosts <= 1:
            return "chief", 0, 1
        role, index = str(document["task"]["type"]), int(document["task"]["index"])
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(f"TF_CONFIG cannot be read: {error!r} in {tf_config}") from error
    strange = sorted(set(roles) - set(_ROLES))
    if strange:
        raise ConfigError(f"TF_CONFIG has hosts with the role {', '.join(strange)}; the trainer knows chief and worker")
    if not 0 <= index < roles.get(role, 0):
        raise ConfigError(f"TF_CONFIG: this host is {role} {index}, which its cluster does not list")
    return role, index, hosts


def _has_chief() -> bool:
    return "chief" in json.loads(os.environ["TF_CONFIG"])["cluster"]
