"""When each step of training ended, in whatever system: after its optimiser's step."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from torch.optim.optimizer import register_optimizer_step_post_hook


class Clock:
    """From now on. start_mb: this process's memory now."""

    def __init__(self) -> None:
        self.start_mb = int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) * 1024 / 1e6
        self.ends: list[tuple[float, float]] = []  # seconds of wall time, and of CPU time of this process
        register_optimizer_step_post_hook(self._ended)

    def _ended(self, *_: Any) -> None:
        self.ends.append((time.perf_counter(), time.process_time()))

    def answer(self, tokens: list[int], targets: list[int]) -> dict[str, Any]:
        """tokens, targets: of each step, without padding, and those that are learned."""
        assert len(self.ends) == len(tokens) == len(targets)
        return {"start_mb": self.start_mb, "ends": self.ends, "tokens": tokens, "targets": targets}
