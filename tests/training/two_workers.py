"""Runs a function in several processes that form a torch.distributed group over gloo, without Ray."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any

from core.training.engine import World


def run_workers(function: Callable[..., Any], *arguments: Any, workers: int = 2, seconds: float = 240) -> list[Any]:
    """What `function(world, *arguments)` returns in each of the processes, by rank. Each has one thread.

    function: of a module, so that a new process finds it by its name. Raises AssertionError with the first worker's
    traceback where one fails, or after `seconds`; none is left running.
    """
    spawn = multiprocessing.get_context("spawn")
    results: dict[int, Any] = {}
    with tempfile.TemporaryDirectory() as directory:
        receivers, processes = [], []
        for rank in range(workers):
            receiver, sender = spawn.Pipe(duplex=False)
            world = World(rank=rank, size=workers)
            process = spawn.Process(target=_work, args=(sender, f"{directory}/store", world, function, arguments))
            process.start()
            sender.close()
            receivers.append(receiver)
            processes.append(process)
        try:
            until = time.monotonic() + seconds
            while len(results) < workers:
                open_receivers = [receiver for rank, receiver in enumerate(receivers) if rank not in results]
                ready = wait(open_receivers, timeout=max(0.0, until - time.monotonic()))
                assert ready, f"workers {sorted(set(range(workers)) - set(results))} gave nothing in {seconds} seconds"
                for receiver in ready:
                    rank = receivers.index(receiver)
                    results[rank] = _received(receiver, rank)
        finally:
            for process in processes:
                if len(results) < workers:
                    process.kill()
                process.join()
    return [results[rank] for rank in range(workers)]


def _received(receiver: Any, rank: int) -> Any:
    try:
        done, result = pickle.loads(receiver.recv_bytes())
    except EOFError:
        raise AssertionError(f"worker {rank} died without a word") from None
    assert done, f"worker {rank} failed:\n{result}"
    return result


def _work(sender: Connection, store: str, world: World, function: Callable[..., Any], arguments: tuple) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    try:
        rendezvous = dist.FileStore(store, world.size)
        dist.init_process_group("gloo", store=rendezvous, rank=world.rank, world_size=world.size)
        answer = (True, function(world, *arguments))
        dist.barrier()
    except BaseException:
        answer = (False, traceback.format_exc())
    sender.send_bytes(pickle.dumps(answer))
    sender.close()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # without the teardown of a group whose other half may be gone
