"""The benchmark for a GPU runs: at the size of a test, on whatever device there is."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest

from tests.benchmarks.gpu_training import ROOT, SWITCHES, in_its_own_process, line, variants


def test_the_gpu_benchmark_runs_tiny_and_tells_speed_and_memory_of_every_row(tmp_path):
    answer = tmp_path / "figures.json"
    command = [sys.executable, "-m", "tests.benchmarks.gpu_training", "--tiny", "--variants", "all", "--batch", "4"]
    done = subprocess.run([*command, "--out", str(answer)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(answer.read_bytes())
    assert [(row["model"], row["method"], row["variant"]) for row in found["rows"]] == [
        ("tiny", "full", "all"),
        ("tiny", "qlora", "all"),
    ]
    for row in found["rows"]:
        assert "note" not in row, row
        assert all(math.isfinite(row[key]) and row[key] > 0 for key in ("tokens_per_second", "peak_gib", "loss"))
        assert row["target_tokens_per_second"] < row["tokens_per_second"]
        assert line(row) in done.stdout
    assert all(text in done.stdout for text in found["to_compare"])


def test_a_row_that_cannot_run_says_why():
    row = in_its_own_process({"directory": "nowhere"})
    assert "missing" in row["note"]
    assert line({"model": "7b", "method": "full", "variant": "none"} | row).endswith(row["note"])


@pytest.mark.parametrize("off", SWITCHES)
def test_each_switch_is_left_out_once(off):
    found = variants(SWITCHES)
    assert set(found["all"]) - set(found[f"no {off}"]) == {off}
    assert found["none"] == []
