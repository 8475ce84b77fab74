"""The columns of multiple-choice benchmarks as they are published, and the words in which lm-eval asks them.

Prompts: EleutherAI/lm-evaluation-harness 0.4.13, lm_eval/tasks. Of HellaSwag's it also writes the second sentence of a
context with a capital letter, which is not done here.
"""

from __future__ import annotations

from typing import Literal

from core.instructions.multiple_choice import Answers, Columns

LayoutName = Literal[
    "arc",
    "arc_hub",
    "boolq",
    "commonsenseqa_hub",
    "hellaswag",
    "llm_foundry",
    "llm_foundry_contexts",
    "mammoth",
    "mmlu",
    "mmlu_csv",
    "openbookqa_hub",
    "openbookqa_tsv",
    "piqa",
    "siqa",
    "winogrande",
]
Layout = LayoutName | Columns

LAYOUTS: dict[str, Columns] = {
    # https://allenai.org/data/arc; CommonsenseQA's and OpenBookQA's own files are of the same form
    "arc": Columns(question="question.stem", choices="question.choices", answer="answerKey", id="id"),
    "arc_hub": Columns(question="question", choices="choices", answer="answerKey", id="id"),
    "boolq": Columns(
        question="question",
        before="passage",
        fixed=["no", "yes"],
        answer="label",
        answer_is="index",
        prompt="{before}\nQuestion: {question}?\nAnswer:",
    ),
    "commonsenseqa_hub": Columns(
        question="question",
        choices="choices",
        answer="answerKey",
        id="id",
        prompt="Question: {question}\n{choices}\nAnswer:",
        answers="letter",
    ),
    "hellaswag": Columns(
        question="ctx",
        title="activity_label",
        choices="endings",
        answer="label",
        answer_is="index",
        id="ind",
        markup=True,
        prompt="{question}",
    ),
    # https://github.com/mosaicml/llm-foundry, scripts/eval/local_data
    "llm_foundry": Columns(
        question="query", choices="choices", answer="gold", answer_is="index", prompt="{question}\nAnswer:"
    ),
    "llm_foundry_contexts": Columns(
        choices="context_options", after="continuation", answer="gold", answer_is="index", prompt="{question}"
    ),
    # https://github.com/TIGER-AI-Lab/MAmmoTH2, math_eval/dataset/arc
    "mammoth": Columns(question="question", choices="question", answer="answer"),
    "mmlu": Columns(
        question="question",
        choices="choices",
        answer="answer",
        answer_is="index",
        prompt="{question}\n{choices}\nAnswer:",
        answers="letter",
    ),
    "mmlu_csv": Columns(
        question="question",
        choices=["choice0", "choice1", "choice2", "choice3"],
        answer="answer",
        answer_is="index",
        prompt="{question}\n{choices}\nAnswer:",
        answers="letter",
    ),
    "openbookqa_hub": Columns(
        question="question_stem", choices="choices", answer="answerKey", id="id", prompt="{question}"
    ),
    "openbookqa_tsv": Columns(
        question="Question Stem", choices="Choices", answer="Answer Key", id="ID", prompt="{question}"
    ),
    "piqa": Columns(question="goal", choices=["sol1", "sol2"], answer="label", answer_is="index"),
    "siqa": Columns(
        question="question",
        before="context",
        choices=["answerA", "answerB", "answerC"],
        answer="label",
        answer_is="number",
        prompt="Q: {before} {question}\nA:",
    ),
    "winogrande": Columns(
        question="sentence",
        choices=["option1", "option2"],
        blank=True,
        answer="answer",
        answer_is="number",
        prompt="{question}",
    ),
}


def columns_of(layout: Layout, prompt: str | None = None, answers: Answers | None = None) -> Columns:
    """The columns of a layout, by its name or as given, with another prompt or kind of answers where there is one.

    Raises ValueError where the prompt does not go with the columns.
    """
    columns = LAYOUTS[layout] if isinstance(layout, str) else layout
    changes = {"prompt": prompt, "answers": answers}
    changed = columns.model_copy(update={name: value for name, value in changes.items() if value is not None})
    changed.check()
    return changed
