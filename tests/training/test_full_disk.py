"""A disk that is full half-way: a plain error, what was finished holds, and with room again training goes on."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from core.artifacts.atomic import atomic_path, writable
from core.errors import ResourceError
from core.training.checkpoints import newest_valid
from core.training.engine import World
from tests.training.test_trainer import losses

DISK = 4 << 20  # bytes


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A directory on a disk of its own, of 4 MiB: it is mounted in another process' namespace, for which no rights are
    needed, and reached through that process."""
    command = f"mount -t tmpfs -o size={DISK} tmpfs '{tmp_path}' && echo mounted && exec sleep infinity"
    namespace = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", command]
    if not shutil.which("unshare"):
        pytest.skip("no `unshare` here to mount a small disk with")
    with subprocess.Popen(namespace, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stderr is not None
        try:
            if not holder.stdout.readline():
                pytest.skip(f"a small disk cannot be mounted here: {holder.stderr.read().strip()}")
            yield Path(f"/proc/{holder.pid}/root{tmp_path}")
        finally:
            holder.kill()


def fill(disk: Path, leaving: int) -> None:
    """Fills a disk with a file `filler`, but for so many bytes."""
    with (disk / "filler").open("wb", buffering=0) as filler:
        with contextlib.suppress(OSError):
            while filler.write(bytes(1 << 16)):
                pass
        filler.truncate(filler.tell() - leaving)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # of TensorBoard's writer
@pytest.mark.parametrize(
    ("leaving", "refused"), [(64 << 10, r"checkpoints/step-\d+"), (0, "")], ids=["no checkpoint fits", "nothing fits"]
)
def test_a_disk_that_fills_up_ends_training_and_with_room_again_it_goes_on(
    material, tmp_path, small_disk, leaving, refused
):
    settings = {"max_steps": 12, "checkpoints": {"every_steps": 2}}
    calm = material.run(tmp_path / "calm", settings).train()

    def fill_after_step_4(report):
        if report["step"] == 4:
            fill(small_disk, leaving)

    with pytest.raises(ResourceError, match=rf"{refused}.*: no space left on the device"):
        material.run(small_disk, settings, on_report=fill_after_step_4).train()
    found, broken = newest_valid(small_disk / "checkpoints", "f", World())
    assert found is not None
    assert not broken
    (small_disk / "filler").unlink()
    again = material.run(small_disk, settings).train()
    assert losses(tmp_path / "calm") == losses(small_disk)
    for (name, one), (_, other) in zip(calm.engine.weights(), again.engine.weights(), strict=True):
        assert torch.equal(one, other), name


def test_a_full_disk_is_told_where_safetensors_finds_it_so(small_disk):
    weights = {"weights": torch.zeros(DISK // 4)}
    with pytest.raises(ResourceError, match="model: no space left on the device"), writable(small_disk / "model"):
        save_file(weights, small_disk / "model")
    with (
        pytest.raises(ResourceError, match="model: no space left on the device"),
        atomic_path(small_disk / "model") as path,
    ):
        save_file(weights, path)
    assert not list(small_disk.iterdir())
