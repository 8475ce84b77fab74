"""A group of workers that stays for several trials: what ends it, with the workers in this process."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.errors import ResourceError
from core.recipe.resolve import load_recipe
from core.training.engine import World
from ray_jobs import sweep_workers
from ray_jobs.sweep_trial import leaves_traces
from ray_jobs.sweep_workers import KeptWorkers, Size, _Group


def fitting(monkeypatch: pytest.MonkeyPatch, lose_when_idle: bool) -> list[int]:
    """Has groups of one worker run in a thread of this process; of the numbers of those begun."""
    begun: list[int] = []

    def fit(config: dict[str, Any], workers: int, use_gpu: bool, serve: Callable[[dict[str, Any]], None]) -> None:
        begun.append(len(begun))
        if lose_when_idle and len(begun) == 1:
            monkeypatch.setattr(sweep_workers, "_next_piece", once(sweep_workers._next_piece))
        serve(config)

    monkeypatch.setattr(sweep_workers, "fit_on_workers", fit)
    monkeypatch.setattr(sweep_workers, "ray_world", World)
    return begun


def once(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that is lost at its second call, as a worker that is killed while it waits."""
    calls: list[int] = []

    def call(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("lost")
        return function(*arguments)

    return call


def test_a_group_that_was_lost_while_it_waited_is_not_given_the_next_trial(tmp_path: Path, monkeypatch) -> None:
    begun = fitting(monkeypatch, lose_when_idle=True)
    kept, size = KeptWorkers(), Size(1, False, 1, 60.0, 0)
    assert kept.run(tmp_path, size, str.upper, "one") == "ONE"
    time.sleep(0.2)
    assert kept.run(tmp_path, size, str.upper, "two") == "TWO"
    assert begun == [0, 1]
    kept.close()


def test_a_group_ends_where_the_disk_is_full(tmp_path: Path, monkeypatch) -> None:
    begun = fitting(monkeypatch, lose_when_idle=False)
    kept, size = KeptWorkers(), Size(1, False, 1, 60.0, 0)
    assert kept.run(tmp_path, size, len, "three") == 5
    group = kept._group
    assert group is not None
    monkeypatch.setattr(_Group, "_give", full)
    kept.close()
    assert not group._run.is_alive()
    assert begun == [0]


def full(*arguments: Any) -> None:
    raise ResourceError("no space left on device")


def test_what_leaves_traces_in_a_process_has_a_new_one_for_each_trial() -> None:
    def traces(*changes: str, use_gpu: bool = False) -> bool:
        resolved = load_recipe("quickstart", None, [f"train.sft.{change}" for change in changes])
        return leaves_traces(resolved.recipe, use_gpu)

    assert not traces()
    assert traces("zero_stage=2")
    assert traces("compile=true")
    assert traces("kernels=liger")
    assert not traces("optimizer=paged_adamw_32bit")
    assert traces("optimizer=paged_adamw_32bit", use_gpu=True)
