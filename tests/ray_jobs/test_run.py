"""The whole path: the quickstart as a newcomer runs it, GSM8K from local files, and a cluster's jobs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest

from core.evaluation.task_files import SKILLS, find_tasks, write_tasks
from tests.conftest import ROOT
from tests.evaluation.made_tasks import TASKS, made_options
from tests.evaluation.test_same_scores import require_same, stock
from tests.ray_jobs.conftest import environment, raycipe

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1200)]  # the whole quickstart, on a machine that does more


def read(path: Path) -> dict:
    return orjson.loads(path.read_bytes())


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory) -> Path:
    """The quickstart's run directory, made by the command that the README gives."""
    runs = tmp_path_factory.mktemp("runs")
    answer = raycipe("run", "quickstart", "--runs-dir", runs, "--json", timeout=1100)
    assert answer.code == 0, answer.err
    result = json.loads(answer.out)
    assert Path(result["report"]["page"]).is_file()
    return Path(result["run"])


def test_every_document_is_kept_or_dropped_with_a_reason(quickstart):
    ledger = read(quickstart / "curate/ledger.json")
    dropped = pq.read_table(quickstart / "curate/dropped").to_pylist()
    for name, source in ledger["sources"].items():
        kept = pq.read_table(quickstart / "curate/documents" / name, columns=["id"])["id"].to_pylist()
        gone = [row["id"] for row in dropped if row["source"] == name]
        assert len(kept) == source["kept"]["documents"]
        assert len(kept) + len(gone) == source["read"]["documents"]
        assert len(set(kept) | set(gone)) == len(kept) + len(gone)
        by_step = {step["step"]: sum(step["dropped"].values()) for step in source["steps"]}
        assert by_step == {
            step: sum(row["step"] == step for row in dropped if row["source"] == name) for step in by_step
        }
    assert all(row["step"] and row["reason"] for row in dropped)


def test_curation_finds_what_was_planted_and_nothing_else(quickstart):
    planted = read(quickstart / "curate/ledger.json")["planted"]
    finder = {
        "exact_duplicate": "exact_dedup",
        "near_duplicate": "minhash_dedup",
        "refusal": "refusals",
        "too_short": "length",
        "leak": "decontaminate",
    }
    for label, step in finder.items():
        assert planted[label]["planted"] > 0
        assert planted[label]["dropped_by"] == {step: planted[label]["planted"]}
    assert planted["none"]["dropped_by"] == {}


def test_every_curated_document_is_trained_on_validated_or_refused(quickstart):
    ledger = read(quickstart / "curate/ledger.json")["sources"]
    phases = read(quickstart / "tokenize/summary.json")["phases"]
    for phase, sources in {"pretrain": ["prose", "code"], "sft": ["skills"]}.items():
        splits = phases[phase]
        documents = sum(splits[split]["documents"] for split in splits)
        assert documents == sum(ledger[source]["kept"]["documents"] for source in sources)
        assert splits["train"]["refused"] == {}
    assert phases["sft"]["train"]["samples"] == phases["sft"]["train"]["documents"]
    assert phases["sft"]["train"]["fill"] > 0.9


def test_the_trained_model_beats_the_untrained_base_well_beyond_the_error(quickstart):
    scores = {
        (row["model"], row["task"], row["metric"]): row for row in read(quickstart / "evaluate/scores.json")["scores"]
    }
    for task, metric in zip(SKILLS, ("acc", "exact_match"), strict=True):
        base, trained = scores["base", task, metric], scores["sft", task, metric]
        error = (base["stderr"] ** 2 + trained["stderr"] ** 2) ** 0.5
        assert trained["value"] - base["value"] > 10 * error
        samples = (quickstart / f"evaluate/samples/sft/{task}.jsonl").read_text().splitlines()
        assert len(samples) == trained["samples"] == 400


def test_the_trained_model_is_scored_as_by_stock_lm_eval_to_the_last_digit(quickstart, tmp_path):
    model = quickstart / "train/sft/model"
    write_tasks(find_tasks(made_options(tmp_path, list(TASKS)), tmp_path), tmp_path / "tasks", seed=42)
    require_same(model, stock(model, tmp_path, list(TASKS), 4), tmp_path)


def test_the_page_shows_the_scores_and_the_planted(quickstart):
    page = (quickstart / "report/index.html").read_text()
    score = read(quickstart / "evaluate/scores.json")["scores"][-1]["value"]
    assert f"{score:.3f}" in page
    assert "near_duplicate" in page


def test_finished_stages_are_skipped_and_the_run_is_listed(quickstart):
    began = time.monotonic()
    again = raycipe("run", "quickstart", "--runs-dir", quickstart.parent)
    assert again.code == 0
    for stage in ("curate", "tokenize", "train pretrain", "train sft", "evaluate"):
        assert f"{stage}: finished earlier" in again.err
    assert time.monotonic() - began < 60  # no Ray was started for it
    listed = json.loads(raycipe("runs", "--runs-dir", quickstart.parent, "--json").out)
    assert [(run["run"], run["state"]) for run in listed] == [("quickstart", "report done")]
    assert listed[0]["scores"][0]["model"] == "sft"
    assert listed[0]["bytes"] > 1_000_000


def test_manifests_say_what_made_the_result(quickstart):
    for stage in ("curate", "tokenize", "train/pretrain", "train/sft", "evaluate", "report"):
        manifest = read(quickstart / stage / "manifest.json")
        assert manifest["stage"] == stage
        assert {"torch", "ray", "transformers"} <= set(manifest["packages"])
        for file in manifest["files"]:
            assert (quickstart / stage / file["path"]).stat().st_size == file["bytes"]
    chain = read(quickstart / "train/sft/manifest.json")["inputs"]["model"]
    assert chain == read(quickstart / "train/pretrain/manifest.json")["fingerprint"]


def test_gsm8k_and_arc_from_local_files_go_the_whole_way(shared_data, tmp_path, ray_cluster):
    gsm8k, arc = shared_data / "gsm8k", shared_data / "arc"
    answer = raycipe(
        "run", "gsm8k-local", f"data.sources.gsm8k.files={gsm8k}/train.jsonl.gz",
        f"data.steps.3.decontaminate.against.test.files={gsm8k}/test.jsonl.gz",
        f"evaluate.data.gsm8k={{train: {gsm8k}/train.jsonl.gz, test: {gsm8k}/test.jsonl.gz}}",
        f"evaluate.data.arc_local.test={arc}/arc_easy.jsonl.gz", "train.sft.max_steps=20", "evaluate.limit=8",
        "--runs-dir", tmp_path, "--address", ray_cluster, timeout=900,
    )  # fmt: skip
    assert answer.code == 0, answer.err
    run = tmp_path / "gsm8k-local"
    source = read(run / "curate/ledger.json")["sources"]["gsm8k"]
    assert source["read"]["documents"] == 7473
    dropped = sum(sum(step["dropped"].values()) for step in source["steps"])
    assert source["kept"]["documents"] == 7473 - dropped
    splits = read(run / "tokenize/summary.json")["phases"]["sft"]
    assert sum(split["documents"] for split in splits.values()) == source["kept"]["documents"]
    assert (
        sum(split["samples"] + sum(split["refused"].values()) for split in splits.values())
        == source["kept"]["documents"]
    )
    scores = read(run / "evaluate/scores.json")["scores"]
    assert {row["task"] for row in scores} == {"gsm8k", "arc_local"}
    assert (run / "report/index.html").is_file()


def test_ctrl_c_ends_with_130_and_the_same_command_goes_on(tmp_path, small):
    command = [sys.executable, "-m", "ray_jobs.curate", str(small), "--runs-dir", str(tmp_path / "runs")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment())
    while not (tmp_path / "runs/small/curate/stage.json").exists():
        assert process.poll() is None
        time.sleep(0.05)
    pause = 2
    while process.poll() is None:  # an import may swallow the first
        time.sleep(pause)
        process.send_signal(signal.SIGINT)
        pause = 15
    err = process.communicate(timeout=60)[1]
    assert process.returncode == 130, err
    assert "the same command goes on from here" in err
    assert "Traceback" not in err
    again = raycipe("curate", small, "--runs-dir", tmp_path / "runs")
    assert again.code == 0, again.err


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
def head(tmp_path):
    """A cluster as the README starts it: its dashboard's address, and the environment. Ended by what it began."""
    import psutil

    directory = tempfile.mkdtemp(prefix="rc-", dir="/tmp")  # short: Ray puts sockets there
    (tmp_path / "token").write_text("0123456789abcdef" * 4)
    ray = Path(sys.executable).with_name("ray")
    more = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(tmp_path / "token"),
        "RAY_TMPDIR": directory,
        "PATH": f"{ray.parent}:{os.environ['PATH']}",
    }
    port, dashboard = free_port(), free_port()
    start = [ray, "start", "--head", f"--port={port}", f"--dashboard-port={dashboard}", "--num-cpus=2"]
    start += [f"--dashboard-agent-listen-port={free_port()}"]  # the usual one may be the tests' own Ray's
    try:
        done = subprocess.run(start, capture_output=True, text=True, env=environment(**more), timeout=120)
        assert done.returncode == 0, done.stderr
        yield f"http://127.0.0.1:{dashboard}", more
    finally:
        for process in psutil.process_iter(["cmdline"]):
            if any(directory in part for part in process.info["cmdline"] or []):
                process.kill()
        shutil.rmtree(directory, ignore_errors=True)


def test_a_submitted_job_does_what_the_command_does(head, tmp_path, small):
    address, more = head
    (tmp_path / "work").mkdir()
    recipe = tmp_path / "work" / "small.yaml"
    recipe.write_text(small.read_text())
    for package in ("core", "ray_jobs", "tune_spaces"):
        (tmp_path / "work" / package).symlink_to(ROOT / package)
    submit = ["ray", "job", "submit", "--address", address, "--working-dir", str(tmp_path / "work"), "--"]
    submit += ["python", "-m", "ray_jobs.run", "small.yaml", "train.sft=null", "--runs-dir", str(tmp_path / "runs")]
    done = subprocess.run(submit, capture_output=True, text=True, env=environment(**more), timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "runs/small/report/index.html").is_file()
    # and a command on the same machine joins the running Ray
    joined = raycipe("curate", small, "--runs-dir", tmp_path / "more", "--address", "auto", **more)
    assert joined.code == 0, joined.err
