"""One model on one task, by lm-eval: its scores, and every sample kept."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from core.artifacts.atomic import atomic_path
from core.errors import DataError, RecipeError, ResourceError
from core.evaluation.options import Evaluate

BOOTSTRAP_ITERATIONS = 1000  # for the standard error of metrics that are no plain mean


def evaluate_model(
    model_dir: Path, task: str, tasks_dir: Path, options: Evaluate, seed: int, samples: Path, device: str = "cpu"
) -> list[dict[str, Any]]:
    """Scores a model directory on a task of `tasks_dir`, in fp32 on a CPU and bf16 on a GPU.

    samples: where lm-eval's samples go, one JSON object per line. Returns a row per metric: task, metric, filter,
    value, stderr (None where lm-eval gives none), samples, higher_is_better. Raises ResourceError where the task's
    data cannot be loaded, DataError where they do not fit the task.
    """
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    import datasets
    from jinja2 import TemplateError
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    dtype = "bfloat16" if device.startswith("cuda") else "float32"
    with _quiet():
        model = HFLM(pretrained=str(model_dir), device=device, dtype=dtype, batch_size=options.batch_size)
    manager = TaskManager(include_path=str(tasks_dir), include_defaults=False)
    try:
        with _quiet():
            results = simple_evaluate(
                model=model,
                tasks=[task],
                task_manager=manager,
                num_fewshot=options.few_shot,
                limit=options.limit,
                apply_chat_template=options.chat_template,
                bootstrap_iters=BOOTSTRAP_ITERATIONS,
                random_seed=seed,
                numpy_random_seed=seed,
                torch_random_seed=seed,
                fewshot_random_seed=seed,
            )
    except (OSError, ConnectionError) as error:
        raise ResourceError(
            f"task {task}: its data cannot be loaded ({str(error).splitlines()[0]}); "
            f"give local files: evaluate.data: {{{task}: {{test: FILE}}}}"
        ) from error
    except (KeyError, ValueError, TypeError, IndexError, TemplateError) as error:
        raise DataError(f"task {task}: its data do not fit it ({type(error).__name__}: {error})") from error
    except AssertionError as error:
        if "maximum sequence length" not in str(error):
            raise
        raise RecipeError(f"task {task}: the model is too short for it. {error}") from error
    assert results is not None
    with atomic_path(samples) as path, path.open("wb") as file:
        for sample in results["samples"][task]:
            file.write(orjson.dumps(sample, default=str, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY))
    return score_rows(results, task)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the progress bars of lm-eval and transformers, some of which no setting turns off."""
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stderr(nowhere):
        yield


def score_rows(results: dict[str, Any], task: str) -> list[dict[str, Any]]:
    """lm-eval's results of a task as rows, one per metric and filter."""
    rows = []
    for key, value in results["results"][task].items():
        metric, comma, filter_name = key.partition(",")
        if not comma or metric.endswith("_stderr"):
            continue
        stderr = results["results"][task].get(f"{metric}_stderr,{filter_name}")
        rows.append(
            {
                "task": task,
                "metric": metric,
                "filter": filter_name,
                "value": float(value),
                "stderr": float(stderr) if isinstance(stderr, int | float) else None,
                "samples": int(results["n-samples"][task]["effective"]),
                "higher_is_better": bool(results["higher_is_better"][task].get(metric, True)),
            }
        )
    return rows
