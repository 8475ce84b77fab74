"""Suites of tasks by name: whose table a suite is, its lines, and of each the tasks, the examples and the score."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

from core.artifacts.fingerprint import fingerprint
from core.evaluation.bias import BIAS
from core.evaluation.statistics import Z

# Subsets of the hub's data sets, a word each.
MMLU = (
    "abstract_algebra anatomy astronomy business_ethics clinical_knowledge college_biology college_chemistry "
    "college_computer_science college_mathematics college_medicine college_physics computer_security "
    "conceptual_physics econometrics electrical_engineering elementary_mathematics formal_logic global_facts "
    "high_school_biology high_school_chemistry high_school_computer_science high_school_european_history "
    "high_school_geography high_school_government_and_politics high_school_macroeconomics high_school_mathematics "
    "high_school_microeconomics high_school_physics high_school_psychology high_school_statistics "
    "high_school_us_history high_school_world_history human_aging human_sexuality international_law jurisprudence "
    "logical_fallacies machine_learning management marketing medical_genetics miscellaneous moral_disputes "
    "moral_scenarios nutrition philosophy prehistory professional_accounting professional_law professional_medicine "
    "professional_psychology public_relations security_studies sociology us_foreign_policy virology world_religions"
)
BBH = (
    "boolean_expressions causal_judgement date_understanding disambiguation_qa dyck_languages formal_fallacies "
    "geometric_shapes hyperbaton logical_deduction_five_objects logical_deduction_seven_objects "
    "logical_deduction_three_objects movie_recommendation multistep_arithmetic_two navigate object_counting "
    "penguins_in_a_table reasoning_about_colored_objects ruin_names salient_translation_error_detection snarks "
    "sports_understanding temporal_sequences tracking_shuffled_objects_five_objects "
    "tracking_shuffled_objects_seven_objects tracking_shuffled_objects_three_objects web_of_lies word_sorting"
)
BIG_BENCH = (  # the challenge's 18
    "auto_debugging code_line_description conceptual_combinations emoji_movie formal_fallacies_syllogisms_negation "
    "known_unknowns linguistics_puzzles logic_grid_puzzle logical_deduction novel_concepts operators "
    "play_dialog_same_or_different repeat_copy_logic strange_stories strategyqa symbol_interpretation "
    "vitaminc_fact_verification winowhy"
)
MATH = "algebra counting_and_probability geometry intermediate_algebra number_theory prealgebra precalculus"

# Raycipe's own tasks that are one task for each subset of a hub's data set: {task: {its ending: the subset}}.
SUBSETS: dict[str, dict[str, str]] = {
    "helm_big_bench": {task: f"{task}_zero_shot" for task in BIG_BENCH.split()},
    "helm_math_level_1": {subject: subject for subject in MATH.split()},
    "helm_math_level_5": {subject: subject for subject in MATH.split()},
    "helm_mmlu": {subject: subject for subject in MMLU.split()},
}


@dataclass(frozen=True)
class Line:
    """A line of a suite's table: the mean score of one or more tasks, each asked with as many examples.

    perturbed, bias: whether its source has HELM's robustness and fairness, or bias metrics, of it too. scenario: in the
    challenge's score; None: the line's own name.
    """

    tasks: tuple[str, ...]
    few_shot: int
    metric: str = "acc"
    filter: str = "none"
    perturbed: bool = False
    bias: bool = False
    scenario: str | None = None


@dataclass(frozen=True)
class Suite:
    """Lines by name; source: who published scores of it; mean: whether the source takes the mean of its lines.

    stage: of the challenge's score.
    """

    source: str
    lines: Mapping[str, Line]
    mean: bool = True
    stage: str | None = None

    @property
    def tasks(self) -> list[tuple[str, int]]:
        """Every task with its number of examples."""
        return [(task, line.few_shot) for line in self.lines.values() for task in line.tasks]

    def marked(self, mark: Literal["perturbed", "bias"]) -> set[str]:
        """The tasks of the lines that have a mark."""
        return {task for line in self.lines.values() if getattr(line, mark) for task in line.tasks}


def _each(task: str, endings: str) -> tuple[str, ...]:
    return tuple(f"{task}_{ending}" for ending in endings.split())


def _helm(task: str, few_shot: int, metric: str = "exact_match", **more: Any) -> Line:
    return Line(_each(task, " ".join(SUBSETS[task])) if task in SUBSETS else (task,), few_shot, metric, **more)


_MMLU = Line(_each("mmlu", MMLU), 5)
_LEADERBOARD = {
    "ARC": Line(("arc_challenge",), 25, "acc_norm"),
    "HellaSwag": Line(("hellaswag",), 10, "acc_norm"),
    "MMLU": _MMLU,
    "TruthfulQA": Line(("truthfulqa_mc2",), 0),
    "WinoGrande": Line(("winogrande",), 5),
    "GSM8K": Line(("gsm8k",), 5, "exact_match", "strict-match"),
}

SUITES = {
    # https://huggingface.co/docs/leaderboards/open_llm_leaderboard/archive
    "open_llm_leaderboard_v1": Suite("Hugging Face's Open LLM Leaderboard, 2023 to June 2024", _LEADERBOARD),
    "moxin_zero_shot": Suite(
        "Zhao et al. 2024, https://arxiv.org/abs/2412.06845, section 4.2.1",
        {
            "HellaSwag": Line(("hellaswag",), 0, "acc_norm"),
            "ARC-C": Line(("arc_challenge",), 0, "acc_norm"),
            "PIQA": Line(("piqa",), 0, "acc_norm"),
            "ARC-E": Line(("arc_easy",), 0, "acc_norm"),
            "WinoGrande": Line(("winogrande",), 0),
        },
    ),
    "moxin_few_shot": Suite(
        "Zhao et al. 2024, https://arxiv.org/abs/2412.06845, section 4.2.2",
        {name: _LEADERBOARD[name] for name in ("ARC", "HellaSwag", "MMLU", "WinoGrande")},
    ),
    # The post took its scores from InstructEval, whose BBH has three examples and no chain of thought:
    # https://github.com/declare-lab/instruct-eval
    "goat": Suite(
        "GOAT-7B-Community's post, after InstructEval",
        {"MMLU": _MMLU, "BBH": Line(_each("bbh_fewshot", BBH), 3, "exact_match")},
        mean=False,
    ),
    # Scenarios, metrics and examples: github.com/llm-efficiency-challenge/private-helm, run_specs_final_full_eval.conf
    "birbal_open": Suite(
        "LLM Efficiency Challenge 2023, open evaluation; Jindal et al. 2024, table 2",
        {
            "MMLU": _helm("helm_mmlu", 5, perturbed=True),
            "TruthfulQA": _helm("helm_truthfulqa", 5, perturbed=True),
            "BIG-bench": _helm("helm_big_bench", 3),
            "GSM8K": _helm("helm_gsm8k", 5),
            "BBQ": _helm("helm_bbq", 5),
        },
        mean=False,
        stage="open",
    ),
    "birbal_closed": Suite(
        "LLM Efficiency Challenge 2023, closed evaluation; Jindal et al. 2024, table 2",
        {
            "sam_sum": _helm("helm_samsum", 0, "rouge2", bias=True),
            "corr2cause": _helm("helm_corr2cause", 1),
            "MATH": Line(_each("helm_math_level_1", MATH) + _each("helm_math_level_5", MATH), 8, "exact_match"),
            **{
                f"ethics_{part}": _helm(f"helm_ethics_{part}", 5, perturbed=True, scenario="ethics")
                for part in ("justice", "commonsense", "virtue", "deontology", "utilitarianism")
            },
        },
        mean=False,
        stage="closed",
    ),
}


def asked_name(task: str, few_shot: int) -> str:
    """A task's name where a recipe asks it with several numbers of examples."""
    return f"{task}_{few_shot}shot"


def suite_scores(suites: Iterable[str], rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Every line of the suites, and the mean of those that have one, from the scores of tasks.

    rows: of one model or of several (`model`), as `score_rows` gives them. A line of several tasks is their plain mean,
    as the leaderboard takes MMLU's, whatever their numbers of questions; `stderr` is that of a mean of independent
    scores, None where one is not known; a line of one task has that task's own interval. Where tasks were perturbed, or
    measured for bias, a line has a row for each such metric too. Returns rows of model, suite, line (None: the mean of
    the lines, each by its own metric), metric, filter, value, stderr, low, high, samples, tasks, higher_is_better,
    trained_on (any of the tasks) and fingerprint. What is not scored is left out.
    """
    scores: dict[tuple[str | None, str], dict[tuple[str, str], Mapping[str, Any]]] = {}
    for row in rows:
        scores.setdefault((row.get("model"), row["task"]), {})[row["metric"], row["filter"]] = row
    found = []
    for model in dict.fromkeys(row.get("model") for row in rows):
        for name in suites:
            own = []
            for title, line in SUITES[name].lines.items():
                names = [(asked_name(task, line.few_shot), task) for task in line.tasks]
                of = [next((scores[model, each] for each in both if (model, each) in scores), {}) for both in names]
                for key in _metrics(line, of[0]):
                    scored = [task[key] for task in of if key in task]
                    if len(scored) < len(of):
                        continue
                    what = {"model": model, "suite": name, "line": title, "metric": key[0], "filter": key[1]}
                    found.append(what | _mean(scored))
                    if key[0] == line.metric:
                        own.append(found[-1])
            if SUITES[name].mean and len(own) == len(SUITES[name].lines):
                whole = {"model": model, "suite": name, "line": None, "metric": "mean", "filter": "none"}
                found.append(whole | _mean(own))
    return found


def _metrics(line: Line, scored: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """A line's own metric and its filter, then of those that a task was scored by the ones that go with it."""
    worst = [key for key in scored if key[0].startswith(f"{line.metric} (") and key[1] == line.filter]
    return [(line.metric, line.filter), *worst, *(key for key in scored if key[0].startswith(BIAS))]


def _mean(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    value = fmean(row["value"] for row in rows)
    errors = [row["stderr"] for row in rows]
    known = all(error is not None and math.isfinite(error) for error in errors)
    prints = [row.get("fingerprint") for row in rows]
    stderr = math.hypot(*errors) / len(rows) if known else None
    low, high = (value - Z * stderr, value + Z * stderr) if stderr is not None else (None, None)
    if len(rows) == 1 and "low" in rows[0]:  # Wilson's, or of clusters
        low, high = rows[0]["low"], rows[0]["high"]
    return {
        "value": value,
        "stderr": stderr,
        "low": low,
        "high": high,
        "samples": sum(row["samples"] for row in rows),
        "tasks": sum(row.get("tasks", 1) for row in rows),
        "higher_is_better": rows[0]["higher_is_better"],
        "trained_on": any(row.get("trained_on") for row in rows),
        "fingerprint": prints[0] if len(prints) == 1 else fingerprint(prints),
    }
