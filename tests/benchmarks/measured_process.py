"""A command in a process of its own: what it took, with all that it started."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

SAMPLE_EVERY = 0.2  # seconds between looks at the memory
SHARE = 0.02  # of a CPU that looking may take at most: many large processes take long
TOLD = 10_000  # characters of its output that are kept


@dataclass(frozen=True)
class Measured:
    """What a command took."""

    cpu_seconds: float  # user and system, of it and of all that it started and waited for
    wall_seconds: float
    peak_mb: float  # proportional set size of all its processes together, the largest seen
    status: int  # 0: it ended well
    output: str  # the end of what it printed


def measured(
    command: Sequence[str], directory: Path, timeout: float, environment: Mapping[str, str] | None = None
) -> Measured:
    """Runs the command in `directory`; after `timeout` seconds all its processes are killed.

    Memory is looked at from outside. `ru_maxrss` would start at the size of this process, which the child shares
    before it becomes another program.
    """
    with tempfile.TemporaryFile() as output:
        began = time.monotonic()
        process = subprocess.Popen(
            command,
            cwd=directory,
            env={**os.environ, **(environment or {})},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        over, peak = threading.Event(), [0.0]
        watch = threading.Thread(target=_watch, args=(process.pid, over, peak), daemon=True)
        watch.start()
        alarm = threading.Timer(timeout, os.killpg, (process.pid, signal.SIGKILL))
        alarm.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            alarm.cancel()
            over.set()
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.monotonic() - began
        watch.join()
        output.seek(0)
        told = output.read().decode(errors="replace")[-TOLD:]
    return Measured(usage.ru_utime + usage.ru_stime, wall, peak[0], process.returncode, told)


def _watch(pid: int, over: threading.Event, peak: list[float]) -> None:
    pause = SAMPLE_EVERY
    while not over.wait(pause):
        began = time.thread_time()
        try:
            process = psutil.Process(pid)
            pids = [pid, *(child.pid for child in process.children(recursive=True))]
        except psutil.NoSuchProcess:
            return
        peak[0] = max(peak[0], sum(map(_proportional_mb, pids)))
        pause = max(SAMPLE_EVERY, (time.thread_time() - began) / SHARE)


def _proportional_mb(pid: int) -> float:
    """Proportional set size: pages that processes share are counted once."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024 / 1e6
    except OSError:  # it ended
        pass
    return 0.0
