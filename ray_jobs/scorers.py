"""Scorers as Ray actors: one for each CPU, or GPU. They load a model once, and stay for all models of a command."""

from __future__ import annotations

import functools
import os
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import core.errors
from core.errors import ResourceError, first_line
from core.evaluation.chunks import Answer, Chunk
from core.evaluation.scorer import ScoredModel, Scorer, devices_for, weight_bytes
from ray_jobs.parallel import answer_or_error
from ray_jobs.session import RaySession, room_on, stopping

if TYPE_CHECKING:
    from core.evaluation.shared_prefix import Room

AHEAD = 2  # chunks given to a scorer at once, so that it need not wait
WHOLE_CLUSTER = 1 << 20  # more scorers than any has room for
RETRIES = 2  # of a scorer that died
OVERHEAD = 1 << 30  # bytes of a scorer's process beside the weights
FACTOR = 2.0  # of the weights' files, that a scorer may need: 16 bits become 32 on a CPU
BF16, FP32 = 2, 4  # bytes of a number, as models are asked on a GPU, and as exported
SMALL = 4 << 30  # bytes of weights that any GPU has room for
M_MMAP_MAX, M_TRIM_THRESHOLD = -4, -1  # of mallopt, malloc.h


class RayScorers:
    """The scorers of a command. workers: at most; None: as many as there are CPUs, or GPUs, and memory for.

    Answers do not depend on how many there are: chunks are planned beforehand, and each is computed by one thread.
    """

    def __init__(self, session: RaySession, workers: int | None, gpu: bool) -> None:
        self.session, self.workers, self.gpu = session, workers, gpu
        self._actors: list[Any] = []
        self._devices = 1  # of each

    def score(self, model: ScoredModel, chunks: Sequence[Chunk]) -> Iterator[tuple[int, list[Answer]]]:
        """Answers of each chunk with its number, as they come.

        Raises what a scorer raises, ResourceError where one dies again and again, KeyboardInterrupt when stopped.
        """
        if not chunks:
            return
        import ray

        model = self._spread(model)
        waiting = _Waiting(chunks)
        running: dict[Any, tuple[int, Any]] = {}
        kept = ray.put(model)

        def give(actor: Any) -> None:
            number = waiting.take(actor)
            if number is not None:
                running[actor.call.remote("score", kept, chunks[number])] = (number, actor)

        actors = self._start(model, len(chunks))
        for _ in range(AHEAD):
            for actor in actors:
                give(actor)
        while running:
            if stopping.is_set():
                raise KeyboardInterrupt
            ready, _ = ray.wait(list(running), timeout=0.5)
            for reference in ready:
                number, actor = running.pop(reference)
                give(actor)
                yield number, self._result(reference)

    def why_stock(self, model: ScoredModel) -> str | None:
        """Why prefixes cannot be shared; None where they can."""
        reason: str | None = self._of_one(model, "why_stock")
        return reason

    def room(self, model: ScoredModel) -> Room:
        """How much memory has room for at once, where prefixes are shared."""
        room: Room = self._of_one(model, "room")
        return room

    def _of_one(self, model: ScoredModel, method: str) -> Any:
        model = self._spread(model)
        return self._result(self._start(model, 1)[0].call.remote(method, model))

    def warm(self, model: ScoredModel) -> None:
        """Starts all scorers there is room for and has them load a model; waits for them."""
        model = self._spread(model)
        for reference in [actor.call.remote("load", model) for actor in self._start(model, WHOLE_CLUSTER)]:
            self._result(reference)

    def close(self) -> None:
        """Ends the scorers; what they held is free at once."""
        import ray

        for actor in self._actors:
            ray.kill(actor)
        self._actors = []

    def _start(self, model: ScoredModel, wanted: int) -> list[Any]:
        """So many scorers, or as many as there is room for; those that run already first."""
        most = self._room(model)
        if self.workers is not None:
            most = min(most, self.workers)
        if model.devices != self._devices:
            self.close()
            self._devices = model.devices
        if len(self._actors) < min(most, wanted):
            import ray

            again = {"max_restarts": RETRIES, "max_task_retries": RETRIES}
            kind = ray.remote(num_cpus=1, num_gpus=model.devices if self.gpu else 0, **again)(_Actor)
            self._actors += [kind.remote() for _ in range(min(most, wanted) - len(self._actors))]
        return self._actors[:most]

    def _room(self, model: ScoredModel) -> int:
        """Scorers that fit the cluster. Raises ResourceError where not even one does."""
        if self.gpu:
            return scorer_room(self.session, model.devices, str(model.directory))
        resources = self.session.require()
        slots = int(resources.get("CPU", 1))
        weights = weight_bytes(model.directory)
        need = int(FACTOR * weights) + OVERHEAD
        memory = int(resources.get("memory", need))
        if weights > memory:
            raise ResourceError(
                f"{model.directory}: its weights take {weights / 1e9:.1f} GB, and the cluster has {memory / 1e9:.1f} GB"
            )
        return max(1, min(slots, memory // need))

    def _spread(self, model: ScoredModel) -> ScoredModel:
        """The model, spread over as many GPUs as its weights need."""
        if not self.gpu:
            return model
        weights = weight_bytes(model.directory, None if model.dtype == "auto" else BF16)
        return replace(model, devices=devices_of(self.session, weights))

    def _result(self, reference: Any) -> Any:
        import ray

        try:
            answer = ray.get(reference)
        except ray.exceptions.RayTaskError:
            raise  # of the scorer's code: it did not die
        except ray.exceptions.RayError as error:
            raise ResourceError(
                f"a scorer died {RETRIES + 1} times ({first_line(error)}); where memory is short, fewer at once may "
                "do: evaluate.workers=1"
            ) from error
        if answer["error"]:
            raise getattr(core.errors, answer["error"])(answer["message"])
        return answer["result"]


def bytes_asked(parameters: int, exact: bool) -> int:
    """Bytes of a trained model's weights on a GPU, where it is asked in its own number format, or not."""
    return (FP32 if exact else BF16) * parameters


def devices_of(session: RaySession, weights: float) -> int:
    """How many of a cluster's GPUs a model with weights of so many bytes is spread over to be asked."""
    return 1 if weights <= SMALL else devices_for(weights, _memory_of_a_gpu(session))


def scorer_room(session: RaySession, devices: int, what: str) -> int:
    """Scorers of so many GPUs that fit the nodes of a cluster. Raises ResourceError where not even one does."""
    nodes = session.nodes()
    room = room_on(nodes, 1, devices)
    if not room:
        most = int(max(node.get("GPU", 0) for node in nodes))
        raise ResourceError(
            f"{what}: to be scored it needs {devices} GPUs and a CPU on one node, and no node has them (GPUs: {most})"
        )
    return room


@functools.cache
def _memory_of_a_gpu(session: RaySession) -> int:
    """Of the node with the most. No GPU is asked of Ray for it: they may all be taken."""
    import ray

    node = max(session.nodes(), key=lambda node: node.get("GPU", 0))
    here = next(name for name in node if name.startswith("node:") and name != "node:__internal_head__")
    memory: int = ray.get(ray.remote(num_cpus=0, resources={here: 0.001})(_gpu_memory).remote())
    return memory


def _gpu_memory() -> int:
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)  # which Ray empties for what asks for none
    import torch

    return int(torch.cuda.get_device_properties(0).total_memory)


class _Waiting:
    """Chunks that no scorer has yet. Each goes on with the prefix that it has, then with one that none has."""

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        self._of: dict[Any, deque[int]] = {}
        for number, chunk in enumerate(chunks):
            self._of.setdefault(getattr(chunk, "prefix", ()), deque()).append(number)
        self._held: dict[Any, Any] = {}

    def take(self, scorer: Any) -> int | None:
        """The number of the next chunk for a scorer; None where there is none."""
        if not self._of:
            return None
        prefix = self._held.get(scorer)
        if prefix not in self._of:
            free = self._of.keys() - self._held.values()
            prefix = next((each for each in self._of if each in free), None)
            if prefix is None:
                prefix = max(self._of, key=lambda each: len(self._of[each]))
            self._held[scorer] = prefix
        number = self._of[prefix].popleft()
        if not self._of[prefix]:
            del self._of[prefix]
        return number


class _Actor:
    """A scorer in a process of its own."""

    def __init__(self) -> None:
        _keep_freed_memory()
        self._scorer = Scorer()

    def call(self, method: str, *arguments: Any) -> dict[str, Any]:
        """What a method of the scorer returns, or the error that it raises, as values."""
        return answer_or_error(lambda given: getattr(self._scorer, method)(*given), arguments)


def _keep_freed_memory() -> None:
    """Has glibc keep what a scorer frees for what it allocates next: each batch takes as much as the one before.

    Otherwise the kernel is asked for every large tensor and clears each of its pages, an eighth of the time on CPUs.
    """
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc has it, other C libraries need not
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
