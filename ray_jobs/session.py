"""A Ray to work on: one that runs already, or a local one that ends with the command."""

from __future__ import annotations

import math
import os
import signal
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from core.errors import ResourceError, first_line
from ray_jobs.watch import Watch

stopping = threading.Event()  # set by the command when the user asks it to stop


class RaySession:
    """Joins a running Ray, or starts a local one, when the first stage with work to do asks for it.

    address: "auto" or "host:port" joins that Ray; None joins the one that RAY_ADDRESS names (as inside
    `ray job submit`), else starts a local one, which ends with `close`.
    """

    def __init__(self, address: str | None = None, say: Callable[[str], None] = lambda line: None) -> None:
        """say: told where the dashboard is."""
        self.address = address or os.environ.get("RAY_ADDRESS")
        self._say = say
        self._connected = False  # by this session
        self._watch: Watch | None = None

    def require(self) -> dict[str, float]:
        """Connects if need be; returns the cluster's resources. Raises ResourceError where no Ray answers."""
        # Ray Train's controller looks after its workers at this interval, and each report waits for it.
        os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        # For a trial to let go of its process, which the next one then has.
        os.environ.setdefault("TUNE_FUNCTION_THREAD_TIMEOUT_S", "60")
        import ray

        if not ray.is_initialized():
            on_stop = signal.getsignal(signal.SIGTERM)
            options: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
            try:
                if self.address:
                    _require_answer(self.address)
                    context = ray.init(address=self.address, **options)
                else:  # "local": without it, Ray would look for a cluster that was here once
                    context = ray.init(address="local", include_dashboard=True, dashboard_host="127.0.0.1", **options)
            except Exception as error:  # of many kinds: a node that is slow to start raises a plain one
                where = self.address or "here"
                raise ResourceError(
                    f"no Ray could be had at {where} ({first_line(error)}). "
                    "Start one with `ray start --head`, or leave --address out to have a local one."
                ) from error
            self._connected = True
            self._watch = Watch(context.address_info["raylet_socket_name"], context.address_info["gcs_address"])
            signal.signal(signal.SIGTERM, on_stop)  # Ray's own would end the process without a word
            if stopping.is_set():  # Ray's start swallows a Ctrl-C
                raise KeyboardInterrupt
            if context.dashboard_url:
                self._say(f"ray: dashboard at http://{context.dashboard_url}")
            _quiet()
        resources: dict[str, float] = ray.cluster_resources()
        return resources

    def nodes(self) -> list[dict[str, float]]:
        """The resources of each node. Raises as `require`."""
        self.require()
        import ray

        return [node["Resources"] for node in ray.nodes() if node["Alive"]]

    def close(self) -> None:
        """Ends the local Ray, if this session started one; leaves a cluster that it joined, or found, as it is."""
        if self._connected:
            import ray

            if self._watch is not None:
                self._watch.close()
            ray.shutdown()
            self._connected = False


def room_on(nodes: Sequence[Mapping[str, float]], cpus: int, gpus: int) -> int:
    """Processes of so many CPUs and GPUs that fit nodes with these resources."""
    by_cpus = [node.get("CPU", 0) / cpus for node in nodes]
    by_gpus = [node.get("GPU", 0) / gpus if gpus else math.inf for node in nodes]
    return sum(map(int, map(min, by_cpus, by_gpus)))


def _require_answer(address: str) -> None:
    """Raises ConnectionError at once where nothing listens; Ray itself would wait for a quarter of an hour."""
    from ray._private.services import canonicalize_bootstrap_address

    if address.startswith("ray://"):
        raise ConnectionError("Ray Client is not supported: run on a node of the cluster, or with `ray job submit`")
    bootstrap = canonicalize_bootstrap_address(address)
    if bootstrap is None:
        raise ConnectionError("no running Ray is known on this machine")
    host, _, port = bootstrap.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except OSError as error:
        raise ConnectionError(f"{bootstrap} does not answer: {error.strerror or error}") from error


def _quiet() -> None:
    """Ray Data's own progress and logs would run into ours; what they say is in Ray's log files.

    So would Ray's words on workers that died, on stdout, where the answer alone belongs.
    """
    import logging

    import ray
    import ray._private.worker

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    for name in ("ray.data", "ray.train", "ray.tune"):
        logging.getLogger(name).setLevel(logging.ERROR)
    ray._private.worker.print_to_stdstream = lambda *lines, **options: None
