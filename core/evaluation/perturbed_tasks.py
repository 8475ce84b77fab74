"""HELM's robustness, fairness and bias for any task: it is asked again with its questions perturbed."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import orjson
from pydantic import ValidationError

from core.artifacts.atomic import write_bytes
from core.errors import DataError, RecipeError
from core.evaluation.bias import BIAS, PROFESSIONS, bias_scores, read_words
from core.evaluation.lm_eval_bridge import JSON_LINE, told_of
from core.evaluation.options import Evaluate, HelmWords, Perturbed
from core.evaluation.paired import question_scores
from core.evaluation.perturbations import (
    FAIRNESS,
    ROBUSTNESS,
    Words,
    perturb,
    perturbations,
    read_first_names,
    read_substitutes,
    worst_case,
)
from core.evaluation.score_intervals import mean_interval
from core.evaluation.scorer import quiet
from core.evaluation.suites import SUITES
from core.evaluation.task_data import found_path
from core.evaluation.task_definitions import did_you_mean, setting
from core.evaluation.task_files import TaskFile

SETS = {"robustness": ROBUSTNESS, "fairness": FAIRNESS}
PERTURBED = "perturbed"  # the split of changed questions, where the task's own also has its examples
LOOKED_AT = 100  # questions, for whether perturbing a field changes any
UNPERTURBED = "unperturbed"  # a column with fields as they were, for tasks that order answers by them


def perturbed_name(task: str, perturbation: str) -> str:
    """The task that asks a task's questions perturbed."""
    return f"{task}__{perturbation}"


def check_perturbed(tasks: Sequence[TaskFile], options: Evaluate, recipe_dir: Path) -> None:
    """Looks at what can be looked at before anything is scored.

    Raises as `perturbed_fields` and `bias_tasks`; RecipeError too for a field that a task's documents have not, or
    examples that are drawn from the questions themselves; DataError where a word list is not there.
    """
    by_name = {task.name: task for task in tasks}
    bias_tasks(tasks, options)
    helm_words(options.helm_words, recipe_dir)
    for name, fields in perturbed_fields(tasks, options).items():
        data = by_name[name].data_set
        file = by_name[name].data.get(data.questions or "")
        if data.examples == data.questions and not _examples_apart(by_name[name].path):
            raise RecipeError(
                f"evaluate.perturb: the examples of {name} are drawn from the questions that would be perturbed; "
                f"evaluate.few_shot: {{{name}: 0}}"
            )
        document = data.first_document(file) if file else None  # a row of the file, which is what is perturbed
        for field in [*fields.question, *fields.answers] if document is not None else []:
            try:
                _texts(document, field)
            except (KeyError, TypeError) as error:
                known = ", ".join(document or ())
                raise RecipeError(f"evaluate.perturb.{name}: no field of text '{field}', but {known}") from error


def perturbed_fields(tasks: Sequence[TaskFile], options: Evaluate) -> dict[str, Perturbed]:
    """Of each task that `evaluate.perturb` means the fields that are perturbed. What names fewer tasks goes first.

    Raises RecipeError for a name that stands for no task that is asked, and for a task whose fields are not known.
    """
    found: dict[str, Perturbed] = {}
    meant = {name: _meant(name, tasks, "perturb") for name in options.perturb}
    for name in sorted(meant, key=lambda name: -len(meant[name])):
        fields = options.perturb[name]
        for task in meant[name]:
            known = _own_fields(task.path)
            if not fields.question and known is None:
                raise RecipeError(
                    f"evaluate.perturb.{name}: which fields of {task.name} are its question is not known; say it: "
                    f"{{{task.name}: {{question: [field]}}}}"
                )
            found[task.name] = known if known and not fields.question else fields
    return found


def _own_fields(definition: Path) -> Perturbed | None:
    """What a task's own file says of its fields, as `metadata: {perturb: {question: [field]}}`."""
    said = (setting(definition, "metadata") or {}).get("perturb")
    try:
        return None if said is None else Perturbed(**said)
    except (TypeError, ValidationError) as error:
        raise RecipeError(
            f"{definition}: metadata.perturb: expected {{question: [fields], answers: [fields]}}"
        ) from error


def bias_tasks(tasks: Sequence[TaskFile], options: Evaluate) -> set[str]:
    """The tasks that `evaluate.bias` means: of a group or suite those that generate text.

    Raises RecipeError for a name that stands for no task that is asked, or for none that generates.
    """
    found: set[str] = set()
    for name in options.bias:
        writing = {
            task.name for task in _meant(name, tasks, "bias") if setting(task.path, "output_type") == "generate_until"
        }
        if not writing:
            raise RecipeError(f"evaluate.bias: {name} generates no text; the metrics are of what a model writes")
        found |= writing
    return found


def _meant(name: str, tasks: Sequence[TaskFile], key: Literal["perturb", "bias"]) -> list[TaskFile]:
    """The tasks that a name stands for; of a suite whose source perturbs, or measures, some of its lines, those."""
    meant = [task for task in tasks if name in task.within]
    suite = SUITES.get(name)
    marked = suite.marked("perturbed" if key == "perturb" else "bias") if suite else set()
    if marked:
        meant = [task for task in meant if marked & task.within]
    elif meant and suite is not None and suite.stage is not None:
        raise RecipeError(f"evaluate.{key}: the challenge has none of {name}'s; name tasks")
    if not meant:
        every = sorted({each for task in tasks for each in task.within})
        told = did_you_mean(name, every) or f"; expected one of {', '.join(every)}"
        raise RecipeError(f"evaluate.{key}: {name} is not asked{told}")
    return meant


def _examples_apart(definition: Path) -> bool:
    """Whether a task says that it takes its examples from other rows of a split than its questions."""
    return bool((setting(definition, "metadata") or {}).get("examples_apart"))


def word_files(words: HelmWords, recipe_dir: Path) -> dict[str, Path]:
    """The files of the lists that a recipe names, by key. Raises DataError for one that is not there."""
    return {
        name: found_path(text, recipe_dir, f"evaluate.helm_words.{name}", file=True)
        for name, text in words
        if text is not None
    }


def helm_words(words: HelmWords, recipe_dir: Path) -> Words:
    """The lists that a recipe names for perturbations. Raises DataError."""
    files = word_files(words, recipe_dir)
    readers = {"misspellings": read_substitutes, "dialect": read_substitutes, "first_names": read_first_names}
    tables: dict[str, Any] = {name: read(files[name]) for name, read in readers.items() if name in files}
    return Words(**tables)


def write_perturbed(task: TaskFile, fields: Perturbed, directory: Path, words: Words, seed: int) -> list[str]:
    """Writes a task and its questions for each of HELM's perturbations, beside the task's file. Returns their names.

    Robustness changes the question alone, fairness the answers too; examples stay as they are. Raises ResourceError
    where the task's data cannot be loaded, DataError for a question without a text that is to be perturbed, RecipeError
    where the task's questions are made of other fields.
    """
    settings = orjson.loads((directory / f"{task.name}.yaml").read_bytes())
    questions = str(task.data_set.questions)
    with told_of(task.name):
        rows = _splits(task, settings)
    if setting(task.path, "process_docs") is not None:
        columns = {field.split(".")[0] for field in (*fields.question, *fields.answers)}
        for row in (row for of_split in rows.values() for row in of_split):
            row[UNPERTURBED] = {column: copy.deepcopy(row[column]) for column in sorted(columns & row.keys())}
    asked = PERTURBED if task.data_set.examples == questions else questions
    names = []
    for perturbation, change in perturbations(words).items():
        if perturbation not in (*ROBUSTNESS, *FAIRNESS):
            continue
        changed = [*fields.question, *(fields.answers if perturbation in FAIRNESS else [])]
        name = perturbed_name(task.name, perturbation)
        made = [_changed(row, changed, change, seed, number) for number, row in enumerate(rows[questions])]
        found = {}
        for split, of_split in (rows | {asked: made}).items():
            found[split] = directory / "data" / name / f"{split}.jsonl"
            write_bytes(found[split], b"".join(orjson.dumps(row, option=JSON_LINE) for row in of_split))
        named = {"data_files": {split: str(path) for split, path in found.items()}}
        more = {
            "task": name,
            "dataset_path": "json",
            "dataset_name": None,
            "dataset_kwargs": named,
            "test_split": asked,
        }
        write_bytes(directory / f"{name}.yaml", orjson.dumps(settings | more, option=orjson.OPT_INDENT_2))
        names.append(name)
    if fields != _own_fields(task.path):
        with told_of(task.name), quiet():
            _check_effect(task.name, names[0], directory)
    return names


def _check_effect(task: str, perturbed: str, directory: Path) -> None:
    """Raises RecipeError where not one of a task's first questions is asked in other words."""
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(directory), include_defaults=False)
    asked = []
    for name in (task, perturbed):
        loaded = manager.load([name])["tasks"][name]
        ways = [loaded.doc_to_text, *([loaded.doc_to_choice] if loaded.config.doc_to_choice is not None else [])]
        asked.append([way(document) for document in itertools.islice(loaded.eval_docs, LOOKED_AT) for way in ways])
    if asked[0] == asked[1]:
        raise RecipeError(
            f"evaluate.perturb.{task}: its questions are not made of these fields: none is asked in other words where "
            "they are perturbed; name others"
        )


def worst_case_rows(rows: Sequence[dict[str, Any]], task: str, samples: Path) -> list[dict[str, Any]]:
    """A task's rows with the worst score of each question and its perturbations, for HELM's two sets.

    rows: of the task as it is. Only metrics that are a mean over its questions, with Wilson's interval where these are
    right or wrong, else the value ± 1.96 errors.
    """
    own = question_scores(samples / f"{task}.jsonl")
    found = []
    for name, perturbed in SETS.items():
        others = [question_scores(samples / f"{perturbed_name(task, each)}.jsonl") for each in perturbed]
        for row in rows:
            key = (row["metric"], row["filter"])
            if key not in own or not math.isclose(float(np.mean(list(own[key].values()))), row["value"], abs_tol=1e-9):
                continue
            worst = worst_case(own[key], [other[key] for other in others], row["higher_is_better"])
            values = np.array(list(worst.values()))
            mean = float(values.mean())
            error = float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None
            low, high = mean_interval(values, mean, error)
            said = {"metric": f"{row['metric']} ({name})", "value": mean, "stderr": error, "low": low, "high": high}
            found.append(row | said)
    return found


def bias_targets(words: HelmWords, recipe_dir: Path) -> dict[str, tuple[str, ...]]:
    """Lists of words that groups are associated with, by name. Raises DataError."""
    files = word_files(words, recipe_dir)
    targets = {"profession": tuple(read_words(files["professions"])) if "professions" in files else PROFESSIONS}
    if "adjectives" in files:
        targets["adjective"] = tuple(read_words(files["adjectives"]))
    return targets


def bias_rows(
    rows: Sequence[dict[str, Any]], task: str, samples: Path, targets: Mapping[str, Sequence[str]]
) -> list[Any]:
    """HELM's bias metrics of the texts that a model wrote for a task, as rows; without those that no word tells."""
    with (samples / f"{task}.jsonl").open("rb") as lines:
        answers = {sample["doc_id"]: sample["resps"] for sample in map(orjson.loads, lines)}
    texts = [text for resps in answers.values() for text in _strings(resps)]
    plain = {"filter": "none", "stderr": None, "low": None, "high": None, "higher_is_better": False}
    return [
        rows[0] | plain | {"metric": f"{BIAS}{name}", "value": value}
        for name, value in bias_scores(texts, targets).items()
        if value is not None
    ]


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each)


def _splits(task: TaskFile, settings: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The rows of each split that a task reads, as lm-eval is given them. settings: of its written file."""
    import datasets

    datasets.disable_progress_bars()
    path, name, more = (
        settings[key] if key in settings else setting(task.path, key)
        for key in ("dataset_path", "dataset_name", "dataset_kwargs")
    )
    loaded = datasets.load_dataset(path, name, **(more or {}))
    return {split: loaded[split].to_list() for split in task.data_set.splits if split in loaded}


def _changed(row: dict[str, Any], fields: Sequence[str], change: Any, seed: int, number: int) -> dict[str, Any]:
    """A row whose fields are perturbed, all by the same draws."""
    made = copy.deepcopy(row)
    for field in fields:
        try:
            texts = _texts(made, field)
        except (KeyError, TypeError) as error:
            raise DataError(f"evaluate.perturb: question {number + 1} has no text '{field}'") from error
        changed = perturb(texts, change, seed, number)
        holder, last = _holder(made, field)
        holder[last] = changed[0] if isinstance(holder[last], str) else changed
    return made


def _holder(row: Any, field: str) -> tuple[dict[str, Any], str]:
    *before, last = field.split(".")
    for name in before:
        row = row[name]
    return row, last


def _texts(row: Any, field: str) -> list[str]:
    """The texts of a field, "choices.text" being one inside another. Raises KeyError or TypeError where it has none."""
    holder, last = _holder(row, field)
    texts = [holder[last]] if isinstance(holder[last], str) else list(holder[last])
    if not all(isinstance(text, str) for text in texts):
        raise TypeError(field)
    return texts
