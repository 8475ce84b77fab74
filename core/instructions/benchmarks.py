"""Which lm-eval tasks a model must be marked for that was trained on a benchmark's data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import orjson
import pyarrow as pa
import pyarrow.compute as pc

Benchmark = Literal[
    "arc_challenge",
    "arc_easy",
    "boolq",
    "commonsense_qa",
    "gsm8k",
    "hellaswag",
    "math",
    "mmlu",
    "openbookqa",
    "piqa",
    "siqa",
    "winogrande",
]

# Names as in lm-eval 0.4.13; those that begin with the benchmark's own name and an underscore are not listed.
_MORE_TASKS: dict[str, list[str]] = {
    "arc_challenge": ["ai2_arc", "arc_local", "metabench_arc", "tinyArc"],
    "arc_easy": ["ai2_arc", "arc_local"],
    "boolq": ["super-glue-lm-eval-v1"],
    "gsm8k": ["gsm_plus", "helm_gsm8k", "metabench_gsm8k", "tinyGSM8k"],
    "hellaswag": ["metabench_hellaswag", "tinyHellaswag"],
    "math": ["helm_math_level_1", "helm_math_level_5", "hendrycks_math", "leaderboard_math", "minerva_math"],
    "mmlu": ["helm_mmlu", "metabench_mmlu", "tinyMMLU"],
    "siqa": ["social_iqa"],
    "winogrande": ["metabench_winogrande", "tinyWinogrande"],
}


def tasks_of(benchmark: Benchmark) -> list[str]:
    """The tasks that ask what the benchmark asks, in alphabetical order, without variants; see `is_marked`."""
    return sorted([benchmark, *_MORE_TASKS.get(benchmark, [])])


def trained_on(documents: pa.Table) -> set[str]:
    """The tasks for which a model must be marked that was trained on these DOCUMENTS, by `meta.benchmark`."""
    named = pc.extract_regex(documents["meta"], r'"benchmark": ?(?P<tasks>\[[^\]]*\]|"[^"]*")')
    found: set[str] = set()
    for tasks in pc.unique(pc.drop_null(pc.struct_field(named, "tasks"))).to_pylist():
        value = orjson.loads(tasks)
        found.update([value] if isinstance(value, str) else value)
    return found


def is_marked(task: str, trained: Iterable[str]) -> bool:
    """Whether a task's score is of a model that was trained on its benchmark.

    A task counts as a variant where its name begins with the benchmark's and an underscore: mmlu_anatomy, gsm8k_cot.
    So mmlu_pro counts as one of mmlu, some of whose questions it has.
    """
    return any(task == name or task.startswith(f"{name}_") for name in trained)
