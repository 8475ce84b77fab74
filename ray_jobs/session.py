"""A Ray to work on: one that runs already, or a local one that ends with the command."""

from __future__ import annotations

import os
from typing import Any

from core.errors import ResourceError


class RaySession:
    """Joins a running Ray, or starts a local one, when the first stage with work to do asks for it.

    address: "auto" or "host:port" joins that Ray; None joins the one that RAY_ADDRESS names (as inside
    `ray job submit`), else starts a local one, which ends with `close`.
    """

    def __init__(self, address: str | None = None) -> None:
        self.address = address or os.environ.get("RAY_ADDRESS")
        self.dashboard: str | None = None
        self._open = False

    def require(self) -> dict[str, float]:
        """Connects if need be; returns the cluster's resources. Raises ResourceError where no Ray answers."""
        # Ray Train's controller looks after its workers at this interval, and each report waits for it.
        os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray

        if not ray.is_initialized():
            options: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
            try:
                if self.address:
                    context = ray.init(address=self.address, **options)
                else:
                    context = ray.init(include_dashboard=True, dashboard_host="127.0.0.1", **options)
                    self._open = True
            except (ConnectionError, ValueError, RuntimeError) as error:
                where = self.address or "here"
                raise ResourceError(
                    f"no Ray could be had at {where} ({str(error).splitlines()[0]}). "
                    "Start one with `ray start --head`, or leave --address out to have a local one."
                ) from error
            self.dashboard = context.dashboard_url or None
            _quiet()
        resources: dict[str, float] = ray.cluster_resources()
        return resources

    def close(self) -> None:
        """Ends the local Ray, if this session started one; leaves a cluster that it joined as it is."""
        import sys

        if "ray" in sys.modules:
            import ray

            if ray.is_initialized():
                ray.shutdown()
        self._open = False


def _quiet() -> None:
    """Ray Data's own progress and logs would run into ours; what they say is in Ray's log files."""
    import logging

    import ray

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    for name in ("ray.data", "ray.train", "ray.tune"):
        logging.getLogger(name).setLevel(logging.ERROR)
