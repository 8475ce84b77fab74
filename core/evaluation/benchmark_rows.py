"""What a row of each benchmark's published files becomes: the hub's columns, which lm-eval's own task reads.

A row that has them already stays as it is. None stands for a row of no form that is known.
"""

from __future__ import annotations

import os
import re

from core.evaluation.benchmark_files import Benchmark, Row

LETTERS = "ABCDEFGH"


def benchmark_of(dataset: str, subset: str) -> Benchmark | None:
    """The published form of a hub's data set; None where none is known."""
    return BENCHMARKS.get(f"{dataset} {subset}", BENCHMARKS.get(dataset))


def _choices(texts: list[str], labels: str | list[str] = LETTERS) -> dict[str, list[str]]:
    return {"text": list(texts), "label": list(labels)[: len(texts)]}


def _arc(row: Row, subset: str) -> Row | None:
    """The Allen Institute's release, MAmmoTH's and llm-foundry's copies; the last two have the test split only.

    llm-foundry's gives each question four choices: of three it repeats a wrong one before them, left out here; of five
    the last is gone. Where ARC numbers its choices 1 to 4, the right one is the next after its right one. Neither can
    be told from the row, so take another copy where there is one: 23 of the 1,172 hard questions are affected.
    """
    match row:
        case {"question": str(), "choices": {"text": _, "label": _}, "answerKey": _}:
            return row
        case {"id": name, "question": {"stem": stem, "choices": choices}, "answerKey": answer}:
            listed = _choices([each["text"] for each in choices], [each["label"] for each in choices])
            return {"id": name, "question": stem, "choices": listed, "answerKey": answer}
        case {"query": str(query), "choices": [first, *others], "gold": int(gold)}:
            repeated = first in others
            listed = _choices(others if repeated else [first, *others])
            answer = LETTERS[gold - repeated]
            return {"question": query.removeprefix("Question: "), "choices": listed, "answerKey": answer}
        case {"question": str(asked), "answer": str(answer)}:
            question, _, options = asked.rpartition("\nOptions are:\n")
            found = re.findall(r"^\((\w)\): (.*)$", options, re.MULTILINE)
            listed = _choices([text for _, text in found], [label for label, _ in found])
            if question and answer in listed["label"]:
                return {"question": question, "choices": listed, "answerKey": answer}
    return None


def _hellaswag(row: Row, subset: str) -> Row | None:
    columns = {"activity_label", "ctx_a", "ctx_b", "endings", "label"}
    return {**row, "label": str(row["label"])} if columns <= row.keys() else None


def _mmlu(row: Row, subset: str) -> Row | None:
    """Hendrycks's CSV files, which have no header and letters for answers, and copies with a header and numbers."""
    match row:
        case {"question": str(), "choices": [*_], "answer": int()}:
            return row
        case {"question": question, "choice0": a, "choice1": b, "choice2": c, "choice3": d, "answer": str(answer)}:
            gold = "ABCD".index(answer) if answer.isalpha() else int(answer)
            return {"question": question, "subject": subset, "choices": [a, b, c, d], "answer": gold}
    return None


def _winogrande(row: Row, subset: str) -> Row | None:
    """The Allen Institute's release, which has the hub's columns, and llm-foundry's copy of its validation split.

    The two options of a copy are what follows the last space that its two contexts share.
    """
    match row:
        case {"sentence": _, "option1": _, "option2": _, "answer": _}:
            return row
        case {"context_options": [str(one), str(other)], "continuation": str(rest), "gold": int(gold)}:
            begin = os.path.commonprefix([one, other]).rfind(" ") + 1  # noqa: RUF071
            space = " " if rest[:1].isalnum() else ""
            sentence = f"{one[:begin]}_{space}{rest}"
            return {"sentence": sentence, "option1": one[begin:], "option2": other[begin:], "answer": str(gold + 1)}
    return None


def _piqa(row: Row, subset: str) -> Row | None:
    return row if {"goal", "sol1", "sol2", "label"} <= row.keys() else None


def _truthfulqa_choices(row: Row, subset: str) -> Row | None:
    """mc_task.json, whose answers are keys with 1 for true and 0 for false."""
    match row:
        case {"question": str(), "mc1_targets": {"choices": _}, "mc2_targets": {"choices": _}}:
            return row
        case {"question": question, "mc1_targets": dict(one), "mc2_targets": dict(many)}:
            of = {"mc1_targets": one, "mc2_targets": many}
            found = {key: {"choices": list(answers), "labels": list(answers.values())} for key, answers in of.items()}
            return {"question": question, **found}
    return None


def _truthfulqa_answers(row: Row, subset: str) -> Row | None:
    """TruthfulQA.csv, whose answers are separated by semicolons."""
    match row:
        case {"question": str(), "best_answer": str(), "correct_answers": list(), "incorrect_answers": list()}:
            return row
        case {"Question": question, "Best Answer": best, "Correct Answers": right, "Incorrect Answers": wrong}:
            return {
                "type": row["Type"],
                "category": row["Category"],
                "question": question,
                "best_answer": best,
                "correct_answers": [each.strip() for each in right.split(";") if each.strip()],
                "incorrect_answers": [each.strip() for each in wrong.split(";") if each.strip()],
                "source": row["Source"],
            }
    return None


def _gsm8k(row: Row, subset: str) -> Row | None:
    return row if {"question", "answer"} <= row.keys() else None


def _bbh(row: Row, subset: str) -> Row | None:
    return row if {"input", "target"} <= row.keys() else None


def _openbookqa(row: Row, subset: str) -> Row | None:
    """The Allen Institute's release, as JSON lines or tab-separated, and llm-foundry's copy of its test split."""
    match row:
        case {"question_stem": _, "choices": {"text": _, "label": _}, "answerKey": _}:
            return row
        case {"id": name, "question": {"stem": stem, "choices": choices}, "answerKey": answer}:
            listed = _choices([each["text"] for each in choices], [each["label"] for each in choices])
            return {"id": name, "question_stem": stem, "choices": listed, "answerKey": answer}
        case {"ID": name, "Question Stem": stem, "Choices": str(choices), "Answer Key": answer}:
            _, *parts = re.split(r"(?:^|\s+)\(([A-D])\)\s+", choices)
            listed = _choices(parts[1::2], parts[::2])
            return {"id": name, "question_stem": stem, "choices": listed, "answerKey": answer}
        case {"query": query, "choices": [*choices], "gold": int(gold)}:
            return {"question_stem": query, "choices": _choices(choices), "answerKey": LETTERS[gold]}
    return None


def _math(row: Row, subset: str) -> Row | None:
    columns = ("problem", "level", "type", "solution")
    return {key: row[key] for key in columns} if row.keys() >= set(columns) else None


def _math_subject(row: Row) -> str:
    return str(row["type"]).lower().replace(" & ", "_and_").replace(" ", "_")


BENCHMARKS = {  # by the hub's data set, or data set and subset
    "allenai/ai2_arc": Benchmark(
        "arc",
        {
            "train": ("{subset}-Train.jsonl", "{subset}/{subset}-Train.jsonl"),
            "validation": ("{subset}-Dev.jsonl", "{subset}/{subset}-Dev.jsonl"),
            "test": ("{subset}-Test.jsonl", "{subset}/{subset}-Test.jsonl", "{name}_mammoth.json", "{name}.jsonl"),
        },
        _arc,
    ),
    "Rowan/hellaswag": Benchmark(
        "hellaswag",
        {"train": ("hellaswag_train.jsonl",), "validation": ("hellaswag_val.jsonl", "hellaswag_val_1000.jsonl")},
        _hellaswag,
    ),
    "cais/mmlu": Benchmark(
        "mmlu",
        {
            "dev": ("dev/{subset}_dev.csv",),
            "validation": ("val/{subset}_val.csv",),
            "test": ("test/{subset}_test.csv",),
        },
        _mmlu,
        columns=("question", "choice0", "choice1", "choice2", "choice3", "answer"),
    ),
    "allenai/winogrande": Benchmark(
        "winogrande", {"train": ("train_xl.jsonl",), "validation": ("dev.jsonl", "winogrande.jsonl")}, _winogrande
    ),
    "baber/piqa": Benchmark(
        "piqa", {"train": ("train.jsonl",), "validation": ("valid.jsonl",)}, _piqa, labels="-labels.lst"
    ),
    "truthfulqa/truthful_qa multiple_choice": Benchmark(
        "truthfulqa", {"validation": ("mc_task.json",)}, _truthfulqa_choices
    ),
    "truthfulqa/truthful_qa generation": Benchmark(
        "truthfulqa", {"validation": ("TruthfulQA.csv",)}, _truthfulqa_answers
    ),
    "openai/gsm8k": Benchmark("gsm8k", {"train": ("train.jsonl",), "test": ("test.jsonl",)}, _gsm8k),
    "SaylorTwift/bbh": Benchmark("bbh", {"test": ("{subset}.json",)}, _bbh),
    "allenai/openbookqa": Benchmark(
        "openbookqa",
        {
            split: (f"{name}.jsonl", f"Main/{name}.jsonl", f"Main/{name}.tsv", f"Main_{name}.tsv")
            for split, name in (("train", "train"), ("validation", "dev"), ("test", "test"))
        },
        _openbookqa,
    ),
    "EleutherAI/hendrycks_math": Benchmark(
        "math", {"train": ("MATH_train.jsonl",), "test": ("MATH_test.jsonl",)}, _math, subset_of=_math_subject
    ),
}
