"""The same work on many small descriptions, spread over the cluster by Ray Data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ray_jobs.session import RaySession


def each(
    session: RaySession, work: Callable[[Any], Any], tasks: Sequence[Any], cpus: float = 1, gpus: float = 0
) -> Iterator[Any]:
    """Calls `work` on every task, one Ray task each, and yields what they return as they finish, in no fixed order.

    Tasks are descriptions (paths, numbers), not data: what is large is read and written by the work itself, so
    that a finished task is on disk and is not done again after a kill. Raises what a task raised.
    """
    if not tasks:
        return
    session.require()
    import ray

    def apply(batch: dict[str, Any]) -> dict[str, Any]:
        return {"result": [work(task) for task in batch["item"]]}

    items = ray.data.from_items([{"item": task} for task in tasks], override_num_blocks=len(tasks))
    for row in items.map_batches(apply, batch_size=1, num_cpus=cpus, num_gpus=gpus or None).iter_rows():
        yield row["result"]
