from __future__ import annotations

import gzip
import re
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import orjson
import pyarrow as pa
import pytest
from pydantic import ValidationError

from core.documents.table import DOCUMENTS
from core.instructions.benchmarks import Benchmark, is_marked, tasks_of, trained_on
from core.instructions.capability_data import CapabilityData, capability_documents
from tests.instructions.rows_of_files import made_rows, rows_of

HUB = {"question": "Which?", "choices": {"text": ["x", "y"], "label": ["A", "B"]}, "answerKey": "B", "id": "q7"}


def texts(options, *values):
    made, problems = capability_documents(made_rows(*values), options, "s", 0)
    assert not problems
    return made["text"].to_pylist()


@pytest.mark.parametrize(
    ("benchmark", "row", "text"),
    [
        ("arc_challenge", HUB, "Question: Which?\nAnswer: y"),
        ("arc_easy", HUB, "Question: Which?\nAnswer: y"),
        (
            "boolq",
            {"passage": "Ice.", "question": "is ice cold", "label": 1},
            "Ice.\nQuestion: is ice cold?\nAnswer: yes",
        ),
        ("commonsense_qa", HUB, "Question: Which?\nA. x\nB. y\nAnswer: B"),
        ("gsm8k", {"question": "1+1?", "answer": "<<1+1=2>>2\n#### 2"}, "Question: 1+1?\nAnswer: <<1+1=2>>2\n#### 2"),
        (
            "hellaswag",
            {"ind": 1, "activity_label": "Run", "ctx": "She runs. she", "endings": ["x.", "y."], "label": "1"},
            "Run: She runs. she y.",
        ),
        ("math", {"problem": "1+1?", "solution": "$\\boxed{2}$"}, "Problem: 1+1?\nAnswer: $\\boxed{2}$"),
        ("mmlu", {"question": "Which?", "choices": ["x", "y"], "answer": 1}, "Which?\nA. x\nB. y\nAnswer: B"),
        ("openbookqa", {**HUB, "question_stem": "A cat eats"}, "A cat eats y"),
        ("piqa", {"goal": "dry it", "sol1": "sun", "sol2": "rain", "label": 0}, "Question: dry it\nAnswer: sun"),
        (
            "siqa",
            {
                "context": "Al fell.",
                "question": "How is he?",
                "answerA": "a",
                "answerB": "b",
                "answerC": "c",
                "label": "2",
            },
            "Q: Al fell. How is he?\nA: b",
        ),
        (
            "winogrande",
            {"sentence": "The cup fell as the _ shook.", "option1": "cup", "option2": "table", "answer": "2"},
            "The cup fell as the table shook.",
        ),
    ],
)
def test_each_benchmark_reads_as_lm_eval_asks_it(benchmark, row, text):
    assert texts(CapabilityData(benchmark=benchmark), row) == [text]


def test_documents_say_what_they_are_of():
    made, _ = capability_documents(made_rows(HUB), CapabilityData(benchmark="arc_easy"), "s", 2)
    assert made.schema == DOCUMENTS
    assert made.select(["id", "source"]).to_pylist() == [{"id": "s:2:0", "source": "s"}]
    assert orjson.loads(made["meta"][0].as_py()) == {"item": "q7", "benchmark": tasks_of("arc_easy")}


def test_rows_that_do_not_fit_are_problems_and_the_others_documents():
    made, problems = capability_documents(
        made_rows({**HUB, "answerKey": "E"}, HUB), CapabilityData(benchmark="arc_easy"), "s", 0
    )
    assert made["id"].to_pylist() == ["s:0:1"] and [each.reason for each in problems] == ["no_such_choice"]
    made, problems = capability_documents(
        made_rows({"question": "1?"}, {"question": "1?", "answer": "1"}), CapabilityData(benchmark="gsm8k"), "s", 0
    )
    assert made["id"].to_pylist() == ["s:0:1"] and [each.reason for each in problems] == ["missing_field"]


def test_layout_prompt_and_answers_may_be_others():
    row = {"query": "Which?", "choices": ["x", "y"], "gold": 0}
    assert texts(CapabilityData(benchmark="arc_easy", layout="llm_foundry"), row) == ["Which?\nAnswer: x"]
    listed = CapabilityData(benchmark="arc_easy", layout="llm_foundry", prompt="{question} {choices}", answers="letter")
    assert texts(listed, row) == ["Which? A. x\nB. y A"]
    asked = CapabilityData(benchmark="gsm8k", prompt="Q: {question}\nA:")
    assert texts(asked, {"question": "1+1?", "answer": "2"}) == ["Q: 1+1?\nA: 2"]


def test_questions_may_be_dialogues_with_an_instruction_before_them():
    row = {**HUB, "question_stem": "A cat eats"}
    options = CapabilityData(
        benchmark="openbookqa", form="dialogue", instruction="Choose.", prompt="{question}\n{choices}"
    )
    made, _ = capability_documents(made_rows(row), options, "s", 0)
    assert made["messages"].to_pylist() == [
        [
            {"role": "system", "content": "Choose."},
            {"role": "user", "content": "A cat eats\nA. x\nB. y"},
            {"role": "assistant", "content": "y"},
        ]
    ]
    assert made["text"].null_count == 1 and trained_on(made) == set(tasks_of("openbookqa"))
    solved, _ = capability_documents(
        made_rows({"question": "1+1?", "answer": "2"}), CapabilityData(benchmark="gsm8k", form="dialogue"), "s", 0
    )
    assert [turn["content"] for turn in solved["messages"][0].as_py()] == ["Question: 1+1?\nAnswer:", "2"]


@pytest.mark.parametrize(
    "options",
    [
        {"benchmark": "gsm8k", "instruction": "Solve."},
        {"benchmark": "gsm8k", "layout": "arc"},
        {"benchmark": "gsm8k", "answers": "letter"},
        {"benchmark": "gsm8k", "prompt": "{choices}{question}"},
        {"benchmark": "boolq", "prompt": "{question}"},
        {"benchmark": "trivia"},
    ],
)
def test_settings_that_do_not_fit_the_benchmark_are_refused(options):
    with pytest.raises(ValidationError):
        CapabilityData(**options)


def test_the_columns_that_are_needed_are_named():
    assert CapabilityData(benchmark="gsm8k").needed == {"question", "answer"}
    assert CapabilityData(benchmark="piqa").needed == {"goal", "sol1", "sol2", "label"}
    assert CapabilityData(benchmark="boolq").needed == {"passage", "question", "label"}


def test_scores_are_marked_by_what_the_documents_are_of():
    arc, _ = capability_documents(made_rows(HUB), CapabilityData(benchmark="arc_challenge"), "s", 0)
    math, _ = capability_documents(
        made_rows({"problem": "1?", "solution": "1"}), CapabilityData(benchmark="math"), "s", 0
    )
    plain = arc.set_column(7, DOCUMENTS.field("meta"), pa.array([None], pa.large_string()))
    assert trained_on(pa.concat_tables([arc, math, plain])) == {*tasks_of("arc_challenge"), *tasks_of("math")}
    assert trained_on(plain) == trained_on(plain.slice(0, 0)) == set()
    named = arc.set_column(7, DOCUMENTS.field("meta"), pa.array(['{"benchmark": "my_task"}'], pa.large_string()))
    assert trained_on(named) == {"my_task"}


def test_variants_of_a_task_are_marked_too():
    trained = set(tasks_of("mmlu") + tasks_of("gsm8k"))
    assert all(is_marked(task, trained) for task in ("mmlu", "mmlu_anatomy", "gsm8k_cot", "tinyMMLU"))
    assert not any(is_marked(task, trained) for task in ("arc_easy", "mmlusr", "gsm", "hellaswag"))


LM_EVAL_FOLDERS = (
    "arc boolq commonsense_qa gsm8k gsm_plus hellaswag hendrycks_math leaderboard metabench minerva_math mmlu "
    "openbookqa piqa siqa super_glue tinyBenchmarks winogrande"
)

OWN_NAMES = {"arc_local", "math", "siqa", "helm_gsm8k", "helm_mmlu", "helm_math_level_1", "helm_math_level_5"}


def test_every_task_that_is_marked_is_one_of_lm_eval():
    tasks = Path(find_spec("lm_eval").origin).parent / "tasks"
    texts = [path.read_text() for folder in LM_EVAL_FOLDERS.split() for path in (tasks / folder).rglob("*.yaml")]
    known = {name for text in texts for name in re.findall(r"^(?:task|group|tag|  -|-) *:? *(\S+)$", text, re.M)}
    for benchmark in get_args(Benchmark):
        lost = {name for name in tasks_of(benchmark) if not any(is_marked(task, [name]) for task in known)}
        assert lost <= OWN_NAMES, benchmark


@pytest.mark.parametrize(
    ("file", "options", "rows"),
    [
        ("arc/arc_challenge.jsonl.gz", {"benchmark": "arc_challenge", "layout": "llm_foundry"}, 1172),
        ("arc/arc_easy.jsonl.gz", {"benchmark": "arc_easy", "layout": "llm_foundry"}, 2376),
        ("arc/arc_challenge_mammoth.json.gz", {"benchmark": "arc_challenge", "layout": "mammoth"}, 1172),
        ("hellaswag/hellaswag_val_1000.jsonl.gz", {"benchmark": "hellaswag"}, 1000),
        ("gsm8k/train.jsonl.gz", {"benchmark": "gsm8k"}, 7473),
        ("math/MATH_test.jsonl.gz", {"benchmark": "math"}, 5000),
        ("mmlu/dev/anatomy_dev.csv.gz", {"benchmark": "mmlu", "layout": "mmlu_csv"}, 5),
        ("winogrande/winogrande.jsonl.gz", {"benchmark": "winogrande", "layout": "llm_foundry_contexts"}, 1267),
        ("openbookqa/Main_train.tsv.gz", {"benchmark": "openbookqa", "layout": "openbookqa_tsv"}, 4957),
        ("openbookqa/openbook_qa.jsonl.gz", {"benchmark": "openbookqa", "layout": "llm_foundry"}, 500),
        ("boolq/boolq.jsonl.gz", {"benchmark": "boolq", "layout": "llm_foundry"}, 3270),
        ("siqa/siqa.jsonl.gz", {"benchmark": "siqa", "layout": "llm_foundry", "prompt": "{question}"}, 1954),
        (
            "commonsenseqa/commonsense_qa.jsonl.gz",
            {"benchmark": "commonsense_qa", "layout": "llm_foundry", "prompt": "{question}"},
            1221,
        ),
    ],
)
def test_every_row_of_real_files_is_a_document(shared_data, file, options, rows):
    options = CapabilityData(**options)
    made, problems = capability_documents(rows_of(shared_data / file, options.needed), options, "s", 0)
    assert (made.num_rows, problems) == (rows, [])
    assert made["text"].null_count == 0 and set(tasks_of(options.benchmark)) == trained_on(made)


def test_openbookqa_is_birbals_instruction_rows(shared_data):
    options = CapabilityData(
        benchmark="openbookqa",
        layout="openbookqa_tsv",
        form="dialogue",
        instruction="Choose.",
        prompt="{question}\n{choices}",
    )
    rows = rows_of(shared_data / "openbookqa/Main_train.tsv.gz", options.needed)
    made, problems = capability_documents(rows, options, "s", 0)
    assert (made.num_rows, problems) == (4957, [])
    for system, user, assistant in made["messages"].to_pylist():
        assert (system["role"], user["role"], assistant["role"]) == ("system", "user", "assistant")
        assert assistant["content"] in [line[3:] for line in user["content"].split("\n")[1:]]


def test_piqa_goes_through_with_the_labels_of_its_other_file(shared_data):
    rows = rows_of(shared_data / "piqa/valid.jsonl.gz", set())
    labels = gzip.decompress((shared_data / "piqa/valid-labels.lst.gz").read_bytes()).decode().split()
    joined = made_rows(*({**row.value, "label": label} for row, label in zip(rows, labels, strict=True)))
    made, problems = capability_documents(joined, CapabilityData(benchmark="piqa"), "s", 0)
    assert (made.num_rows, problems) == (1838, [])
