"""What a recipe says about the machines it wants."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from core.options import Options


class Resources(Options):
    """Workers that train together. `auto` takes what the cluster has."""

    workers: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        "auto", description="auto: all GPUs; without one, as many CPUs as divide the batch."
    )
    device: Literal["auto", "cpu", "gpu"] = Field("auto", description="auto: GPUs where the cluster has any.")
    cpus_per_worker: int = Field(1, ge=1, description="CPU cores (and threads) of one worker.")
    max_failures: int = Field(
        3, ge=-1, description="How often dead workers are replaced before the run gives up; -1: always."
    )
    collective_timeout: int = Field(
        1800,
        ge=1,
        description="Seconds that a worker waits for another before it counts as stuck, and all begin again.",
    )
