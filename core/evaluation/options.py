"""What a recipe can ask of its evaluation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from core.evaluation.mt_bench.options import MtBench
from core.options import Options

Shots = Annotated[int, Field(ge=0)]


class Perturbed(Options):
    """Fields of a task's documents that HELM's perturbations change: a text, a list of texts, or one inside another."""

    question: list[str] = Field([], description="What is asked, e.g. [question]; none: as the task's own file says.")
    answers: list[str] = Field([], description="What fairness changes too, e.g. [choices.text].")

    @model_validator(mode="after")
    def _question_too(self) -> Perturbed:
        if self.answers and not self.question:
            raise ValueError("answers without a question: name its fields too")
        return self


class HelmWords(Options):
    """Files of HELM's word lists, in place of Raycipe's short ones."""

    misspellings: str | None = Field(None, description="correct_to_misspelling.json")
    dialect: str | None = Field(None, description="SAE_to_AAVE_mapping.json")
    first_names: str | None = Field(None, description="Lines of name,first_name,category,value.")
    professions: str | None = Field(None, description="One a line, for the bias metrics.")
    adjectives: str | None = Field(None, description="One a line, for the bias metrics.")


class Evaluate(Options):
    """Which models are scored by lm-eval, on which tasks."""

    tasks: list[str] = Field(
        min_length=1,
        description="lm-eval tasks and groups by name, those of task_files, suites (open_llm_leaderboard_v1, "
        "moxin_zero_shot, moxin_few_shot, goat, birbal_open, birbal_closed) and Raycipe's own: skills_choice and "
        "skills_generate (held-out questions of the skills generator), arc_local (multiple choice from a file), and "
        "helm_mmlu, helm_gsm8k, ... (HELM's scenarios).",
    )
    task_files: list[str] = Field([], description="YAML files of further lm-eval tasks.")
    data: dict[str, str | dict[str, str]] = Field(
        {},
        description="Local files in place of a hub's: {task, suite or hub data set: {split: file}}, or in place of the "
        "splits a directory as published, or a file of questions; JSON lines, CSV or Parquet, also .gz.",
    )
    data_dir: str | None = Field(
        None, description="Directory of benchmarks as published (arc/, mmlu/, ...), for tasks that data does not name."
    )
    models: list[str] | None = Field(None, description="base, and names of training phases; none: base and the last.")
    compare: list[str] | None = Field(
        None,
        min_length=2,
        max_length=2,
        description="Two of the models: how much better the second is than the first, on the same questions, with a "
        "95 % interval; none: the first and the last.",
    )
    clusters: dict[str, str] = Field(
        {},
        description="{task: field of its documents} that questions with a common passage share: their errors are not "
        "independent. Known beforehand for boolq, drop, multirc, race, record and squadv2.",
    )
    few_shot: Shots | dict[str, Shots] | None = Field(
        None,
        description="Examples before each question, of all tasks or {task, group or suite: number}; none: the suite's, "
        "or the task's own number.",
    )
    limit: int | None = Field(None, ge=1, description="Questions per task; none: all.")
    few_shot_seed: int = Field(1234, description="Of the choice of few-shot examples; lm-eval's own is 1234.")
    exact: bool = Field(
        False,
        description="Compute in stock lm-eval's own batches, equal to it in the last digit; else what questions begin "
        "with in common is computed once, which is several times faster.",
    )
    batch_size: int = Field(16, ge=1, description="Requests run together where stock lm-eval's batches are.")
    batch_tokens: int | None = Field(
        None,
        ge=1,
        description="Tokens computed together, padding included, where prefixes are shared; none: what memory has room "
        "for on a GPU (2,048 or more), 2,048 on CPUs, where more is no faster. Halved where memory does not suffice.",
    )
    backend: Literal["transformers", "vllm"] = Field(
        "transformers",
        description="vllm: generated answers come from vLLM, on GPUs (`pip install raycipe[vllm]`); log-likelihoods "
        "from transformers, which shares prefixes.",
    )
    workers: int | None = Field(
        None, ge=1, description="Scorers at most; none: one for each CPU, or GPU. Scores are the same for any number."
    )
    batch_rows: int | None = Field(
        None,
        ge=1,
        description="Answers generated together at most; none: 64, or 128 where batches are fitted to a GPU.",
    )
    chat_template: bool = Field(False, description="Ask through the tokenizer's chat template, as in fine-tuning.")
    perturb: dict[str, Perturbed] = Field(
        {},
        description="{task, group or suite: {question: [fields], answers: [fields]}} that is also scored by the worst "
        "of each question and its perturbations: HELM's robustness and fairness. Raycipe's HELM tasks know their own "
        "fields ({}); of birbal_open and birbal_closed it is the lines that the challenge perturbed.",
    )
    bias: list[str] = Field(
        [],
        description="Tasks, groups and suites whose generated answers HELM's bias metrics are taken of; of "
        "birbal_closed those of SAMSum.",
    )
    helm_words: HelmWords = HelmWords()
    mt_bench: MtBench | None = Field(None, description="MT-Bench after the tasks, judged through an endpoint.")
