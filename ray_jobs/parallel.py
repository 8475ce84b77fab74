"""The same work on many small descriptions, spread over the cluster by Ray Data, or one after the other here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import core.errors
from core.errors import RaycipeError
from ray_jobs.session import RaySession, stopping

TASKS_PER_SLOT = 100


def each(
    session: RaySession | None, work: Callable[[Any], Any], tasks: Sequence[Any], cpus: float = 1, gpus: float = 0
) -> Iterator[Any]:
    """Calls `work` on every task, one Ray task each, and yields what they return as they finish, in no fixed order.

    Tasks are descriptions (paths, numbers), not data: what is large is read and written by the work itself, so
    that a finished task is on disk and is not done again after a kill. A RaycipeError that a task raises is raised
    here; it comes back as a value, since Ray would wrap it and log its traceback.

    session: None does them in this process, in order.
    """
    if not tasks:
        return
    if session is None:
        for task in tasks:
            if stopping.is_set():
                raise KeyboardInterrupt
            yield work(task)
        return
    resources = session.require()
    import ray

    def apply(batch: dict[str, Any]) -> dict[str, Any]:
        answers = [_answer(work, task) for task in batch["item"]]
        return {name: [answer[name] for answer in answers] for name in ("result", "error", "message")}

    slots = int(resources.get("CPU", 1) / max(cpus, 0.1)) or 1
    blocks = min(len(tasks), TASKS_PER_SLOT * slots)  # a block of several tasks where there are very many
    items = ray.data.from_items([{"item": task} for task in tasks], override_num_blocks=blocks)
    for row in items.map_batches(apply, batch_size=1, num_cpus=cpus, num_gpus=gpus or None).iter_rows():
        if stopping.is_set():
            raise KeyboardInterrupt
        if row["error"]:
            raise getattr(core.errors, row["error"])(row["message"])
        yield row["result"]


def _answer(work: Callable[[Any], Any], task: Any) -> dict[str, Any]:
    try:
        return {"result": work(task), "error": "", "message": ""}
    except RaycipeError as error:
        kind = next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "core.errors")
        return {"result": None, "error": kind, "message": str(error)}
