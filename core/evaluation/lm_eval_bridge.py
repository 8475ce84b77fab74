"""One model on the tasks of a recipe, by lm-eval: its scores, and every sample kept."""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib.metadata
import logging
import os
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from core.artifacts.atomic import atomic_path
from core.artifacts.fingerprint import code_version, fingerprint
from core.errors import DataError, RaycipeError, ResourceError, first_line
from core.evaluation.options import Evaluate
from core.evaluation.scorer import ScoredModel, Scorers, quiet

JSON_LINE = orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY
SHARED = "shared prefixes"  # how batches are made where the model allows it
BOOTSTRAP_ITERATIONS = 1000  # for the standard error of metrics that are no plain mean
ENGINE = [f"core/evaluation/{name}.py" for name in ("chunks", "drafts", "planned_lm", "scorer", "shared_prefix")]
ENGINE += [f"core/evaluation/{name}.py" for name in ("stock_model", "token_pairs")]  # whose answers are kept
LIBRARIES = ("lm-eval", "torch", "transformers", "tokenizers")  # whose version may change a last digit


@dataclass(frozen=True)
class AskedTask:
    """A task of lm-eval that a model is asked.

    few_shot: examples before each question; None: the task's own number. content: checksum of definition and data.
    """

    name: str
    few_shot: int | None = None
    content: str = ""


@dataclass(frozen=True)
class Evaluation:
    """How models are scored: the options, the recipe's seed, lm-eval's task files, and who answers."""

    options: Evaluate
    seed: int
    tasks_dir: Path
    scorers: Scorers
    cache_dir: Path
    told: Callable[[int, int], None] = lambda done, whole: None

    def of(self, model: ScoredModel, tasks: Sequence[AskedTask], samples: Path) -> dict[str, Any]:
        """Scores a model on tasks. samples: directory for lm-eval's samples, a file of JSON lines for each task.

        Returns `rows`, one per task, metric and filter (task, metric, filter, value, stderr, samples,
        higher_is_better, truncated, drift, fingerprint), `settings`, what the fingerprint of each task is of,
        `why_stock`, None where shared prefixes were computed once, and then `batch_tokens`.

        Raises ResourceError where a task's data cannot be loaded, DataError where they do not fit the task, RecipeError
        where the model is too short.
        """
        os.environ["TOKENIZERS_PARALLELISM"] = "true"
        os.environ["DISABLE_MULTIPROC"] = "1"  # its bootstrap would fork a process that has Ray's and torch's threads
        import datasets
        import numpy as np
        import torch
        from lm_eval.evaluator import evaluate
        from lm_eval.tasks import TaskManager

        from core.evaluation.answer_cache import AnswerCache, model_identity
        from core.evaluation.planned_lm import PlannedLM

        _compile_templates_once()
        logging.getLogger("lm_eval").setLevel(logging.ERROR)
        logging.getLogger("transformers").setLevel(logging.ERROR)
        datasets.disable_progress_bars()
        options = self.options
        model = replace(model, exact=options.exact)
        how = f"{model.device} {model.dtype} {options.backend} {_versions()}"
        cache = AnswerCache(self.cache_dir, model_identity(model.directory, how))
        lm = PlannedLM(model, self.scorers, cache, options, self.seed, self.told)
        manager = TaskManager(include_path=str(self.tasks_dir), include_defaults=False)
        loaded: dict[str, Any] = {"tasks": {}, "groups": {}, "group_map": {}}
        with quiet(), _collecting_new_garbage_alone():
            for asked in tasks:
                with told_of(asked.name):
                    loaded["tasks"][asked.name] = task = manager.load([asked.name])["tasks"][asked.name]
                    _set_examples(task, asked.few_shot, options.few_shot_seed)
                _tell_of(task, asked.name, "build_all_requests", "process_results")
            random.seed(0)  # lm-eval's defaults
            np.random.seed(1234)
            torch.manual_seed(1234)
            results = evaluate(
                lm=lm,
                task_dict=loaded,
                limit=options.limit,
                apply_chat_template=options.chat_template,
                fewshot_as_multiturn=True,
                bootstrap_iters=BOOTSTRAP_ITERATIONS,
            )
        assert results is not None
        rows = []
        settings = {}
        for asked in tasks:
            name = asked.name
            with atomic_path(samples / f"{name}.jsonl") as path, path.open("wb") as file:
                for sample in results["samples"][name]:
                    file.write(orjson.dumps(sample, default=str, option=JSON_LINE))
            settings[name] = {
                "few_shot": results["n-shot"].get(name),
                "few_shot_seed": options.few_shot_seed,
                "chat_template": fingerprint(lm.chat_template(True)) if options.chat_template else None,
                "task_version": results["versions"].get(name),
                "task_content": asked.content,
                "questions": options.limit or "all",
                "dtype": model.dtype,
                "backend": options.backend,
                "batches": f"lm-eval's, of {model.batch_size}" if name in lm.in_stock_batches else SHARED,
            }
            of_task = {
                "truncated": lm.truncated[name],
                "drift": lm.drift.get(name),
                "fingerprint": fingerprint(settings[name]),
            }
            rows += [row | of_task for row in score_rows(results, name)]
        found_out = vars(lm)  # of cached properties those that were asked for
        room = found_out.get("room")
        said = {"why_stock": found_out.get("why_stock"), "batch_tokens": room.tokens if room else None}
        return {"rows": rows, "settings": settings, **said}


@functools.cache
def _versions() -> list[str]:
    """Of what computes answers."""
    return [*(f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES), code_version(*ENGINE)]


def _compile_templates_once() -> None:
    """Has lm-eval keep compiled templates, which it compiles anew for every question and every example."""
    from lm_eval import utils

    compiled = utils.env.from_string
    if hasattr(compiled, "cache_info"):
        return

    @functools.lru_cache(maxsize=1024)
    def from_string(source: str) -> Any:
        template = compiled(source)
        template.globals = dict(template.globals)  # a ChainMap, whose every rendering would merge it anew
        return template

    utils.env.from_string = from_string


@contextlib.contextmanager
def _collecting_new_garbage_alone() -> Iterator[None]:
    """Has the garbage collector leave alone what there is: the libraries' objects take it .3 s each time."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _set_examples(task: Any, examples: int | None, seed: int) -> None:
    """Sets the number of few-shot examples, as `lm_eval.simple_evaluate` does: never where the task's own is 0."""
    own = task.get_config("num_fewshot")
    if examples is None:
        examples = own or 0
    if own != 0:
        task.set_config(key="num_fewshot", value=examples)
    task.set_fewshot_seed(seed=seed)


def _tell_of(task: Any, name: str, *methods: str) -> None:
    """Has errors of a task's methods name the task."""

    def named(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(*arguments: Any, **options: Any) -> Any:
            with told_of(name):
                return method(*arguments, **options)

        return call

    for method in methods:
        setattr(task, method, named(getattr(task, method)))


@contextlib.contextmanager
def told_of(task: str) -> Iterator[None]:
    """Turns what a task's data or code raise into an error that names the task."""
    from datasets.exceptions import DatasetsError
    from jinja2 import TemplateError

    try:
        yield
    except RaycipeError:
        raise
    except (OSError, DatasetsError) as error:
        raise ResourceError(
            f"task {task}: its data cannot be loaded ({first_line(error)}); "
            f"give local files: evaluate.data: {{{task}: {{test: FILE}}}}"
        ) from error
    except (KeyError, ValueError, TypeError, IndexError, TemplateError) as error:
        raise DataError(f"task {task}: its data do not fit it ({type(error).__name__}: {error})") from error


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
