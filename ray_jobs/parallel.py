"""The same work on many small descriptions, spread over the cluster by Ray Data, or one after the other here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
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
        yield from _here(work, tasks)
        return
    resources = session.require()
    import ray

    def apply(batch: dict[str, Any]) -> dict[str, Any]:
        return _answers(work, batch)

    slots = int(resources.get("CPU", 1) / max(cpus, 0.1)) or 1
    blocks = min(len(tasks), TASKS_PER_SLOT * slots)  # a block of several tasks where there are very many
    items = ray.data.from_items([{"item": task} for task in tasks], override_num_blocks=blocks)
    yield from _results(items.map_batches(apply, batch_size=1, num_cpus=cpus, num_gpus=gpus or None))


def each_prepared(
    session: RaySession | None,
    prepare: Callable[[], Callable[[Any], Any]],
    tasks: Sequence[Any],
    workers: int,
    cpus: float = 1,
    gpus: float = 0,
) -> Iterator[Any]:
    """As `each`, by so many workers that stay: each prepares once (loads a model), and then takes task after task."""
    if not tasks:
        return
    if session is None:
        yield from _here(prepare(), tasks)
        return
    session.require()
    import ray

    items = ray.data.from_items([{"item": task} for task in tasks], override_num_blocks=len(tasks)).materialize()
    pool = ray.data.ActorPoolStrategy(size=min(workers, len(tasks)))
    done = items.map_batches(
        _Prepared, fn_constructor_args=(prepare,), batch_size=1, compute=pool, num_cpus=cpus, num_gpus=gpus or None
    )
    yield from _results(done)


class _Prepared:
    """A worker of `each_prepared`. What goes wrong while it prepares is told by its first task."""

    def __init__(self, prepare: Callable[[], Callable[[Any], Any]]) -> None:
        try:
            self._work = prepare()
        except RaycipeError as error:
            self._work = partial(_fail, error)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        return _answers(self._work, batch)


def _fail(error: RaycipeError, task: Any) -> Any:
    raise error


def _here(work: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Any]:
    for task in tasks:
        if stopping.is_set():
            raise KeyboardInterrupt
        yield work(task)


def _results(answers: Any) -> Iterator[Any]:
    """What tasks returned, of a Ray Data set of answers; raises what one raised."""
    for row in answers.iter_rows():
        if stopping.is_set():
            raise KeyboardInterrupt
        if row["error"]:
            raise getattr(core.errors, row["error"])(row["message"])
        yield row["result"]


def _answers(work: Callable[[Any], Any], batch: dict[str, Any]) -> dict[str, Any]:
    answers = [answer_or_error(work, task) for task in batch["item"]]
    return {name: [answer[name] for answer in answers] for name in ("result", "error", "message")}


def answer_or_error(work: Callable[[Any], Any], task: Any) -> dict[str, Any]:
    """What `work` returns, or the RaycipeError that it raises, as values: `result`, `error` (its kind), `message`."""
    try:
        return {"result": work(task), "error": "", "message": ""}
    except RaycipeError as error:
        kind = next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "core.errors")
        return {"result": None, "error": kind, "message": str(error)}
