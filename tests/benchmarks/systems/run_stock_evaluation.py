"""lm-eval as its own documentation calls it: one process, all threads."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from lm_eval import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager


def main(settings: str, answer: str) -> None:
    said = json.loads(settings)
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    model = HFLM(pretrained=said["model"], device="cpu", dtype="float32", batch_size=said["batch_size"])
    manager = TaskManager(include_path=said["tasks_dir"], include_defaults=False)
    found = {}
    seconds = {}
    for task in said["tasks"]:
        began = time.monotonic()
        results = simple_evaluate(
            model=model, tasks=[task], num_fewshot=said["few_shot"], limit=said["limit"], task_manager=manager
        )
        seconds[task] = time.monotonic() - began
        samples = {(each["doc_id"]): each["resps"] for each in results["samples"][task]}
        found[task] = list(samples.values())
    Path(answer).write_text(json.dumps({"seconds": sum(seconds.values()), "answers": found}))


if __name__ == "__main__":
    main(*sys.argv[1:])
