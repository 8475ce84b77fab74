"""Raycipe's evaluation: a local Ray, a scorer on each CPU. What starting them takes is told apart.

As in stock lm-eval's script, libraries are imported beforehand.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path

import datasets  # noqa: F401
import lm_eval.evaluator
import lm_eval.tasks  # noqa: F401

import core.evaluation.planned_lm  # noqa: F401
from core.evaluation.lm_eval_bridge import AskedTask, Evaluation
from core.evaluation.options import Evaluate
from core.evaluation.scorer import ScoredModel
from ray_jobs.scorers import RayScorers
from ray_jobs.session import RaySession


def main(settings: str, answer: str) -> None:
    """ways: "new" asks everything, "kept" what is kept from before, "half" all but the half of what is kept."""
    said = json.loads(settings)
    options = Evaluate(tasks=said["tasks"], exact=said["exact"], batch_size=said["batch_size"], limit=said["limit"])
    model = ScoredModel(Path(said["model"]), "cpu", said["batch_size"])
    kept = Path(said["kept"])
    began = time.monotonic()
    session = RaySession()
    scorers = RayScorers(session, None, gpu=False)
    scorers.why_stock(model)
    scorers.warm(model)
    started = time.monotonic() - began
    found: dict[str, object] = {"start_seconds": started}
    for way in said["ways"]:
        if way == "new":
            shutil.rmtree(kept, ignore_errors=True)
        if way == "half":
            chunks = sorted(kept.glob("??/*.json"), key=lambda path: path.stat().st_mtime)
            for path in chunks[len(chunks) // 2 :]:
                path.unlink()
        began = time.monotonic()
        evaluation = Evaluation(options, 42, Path(said["tasks_dir"]), scorers, kept)
        tasks = [AskedTask(task, said["few_shot"]) for task in said["tasks"]]
        samples = kept.parent / "samples"
        evaluation.of(model, tasks, samples)
        found[way] = time.monotonic() - began
        if way == "new":
            found["answers"] = {task: answers(samples / f"{task}.jsonl") for task in said["tasks"]}
    scorers.close()
    session.close()
    Path(answer).write_text(json.dumps(found))


def answers(path: Path) -> list[object]:
    lines = map(json.loads, path.read_text().splitlines())
    return list({line["doc_id"]: line["resps"] for line in lines}.values())


if __name__ == "__main__":
    main(*sys.argv[1:])
