"""What a group of Ray Train's workers costs in a process of Ray Tune's, whatever it trains: run by `sweep`.

python -m tests.benchmarks.ray_floor WORKERS
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from statistics import median
from typing import Any

RUNS = 6  # of each kind; the first, which starts what stays, is not counted


def nothing() -> None:
    """What a worker does that trains nothing."""


def imports() -> None:
    """What a worker does that trains nothing, and imports what training cannot do without."""
    import torch  # noqa: F401
    import transformers
    from transformers import AutoModelForCausalLM  # noqa: F401 (transformers imports by name, when asked)

    assert transformers


KINDS = {"an empty run": nothing, "torch, transformers imported": imports}


def measure(config: dict[str, Any]) -> None:
    """A trial that has one group after the other, as a sweep's trial asks for it; writes each one's seconds."""
    from ray import tune
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    seconds: dict[str, list[float]] = {}
    for kind, function in KINDS.items():
        for _ in range(RUNS):
            with tempfile.TemporaryDirectory() as storage:
                began = time.monotonic()
                TorchTrainer(
                    function,
                    scaling_config=ScalingConfig(num_workers=config["workers"], resources_per_worker={"CPU": 1}),
                    torch_config=TorchConfig(timeout_s=1800),
                    run_config=RunConfig(
                        name="ray", storage_path=storage, failure_config=FailureConfig(max_failures=3)
                    ),
                ).fit()
                seconds.setdefault(kind, []).append(time.monotonic() - began)
    tune.report({"seconds": seconds})


def main() -> None:
    import ray
    from ray import tune

    workers = int(sys.argv[1])
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")  # as in ours; Ray's own is 2
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    needs = tune.PlacementGroupFactory([{"memory": 2**20}])
    with tempfile.TemporaryDirectory() as storage:
        found = tune.Tuner(
            tune.with_resources(measure, needs),
            param_space={"workers": workers},
            run_config=tune.RunConfig(storage_path=storage, verbose=0),
        ).fit()
    told = found[0].metrics["seconds"]
    print(json.dumps({kind: round(median(each[1:]), 2) for kind, each in told.items()}))


if __name__ == "__main__":
    main()
