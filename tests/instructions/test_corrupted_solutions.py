from __future__ import annotations

import random
import re
from decimal import Decimal

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from core.documents.table import DOCUMENTS
from core.errors import DataError
from core.instructions.benchmarks import trained_on
from core.instructions.corrupted_solutions import (
    CorruptedSolutions,
    corrupted_solutions,
    corruption,
    worked_examples,
    wrong_number,
)
from core.instructions.preference_pairs import PreferencePairs, edit_distances, preference_pairs
from core.instructions.solution_results import read_solution
from tests.instructions.rows_of_files import rows_of

DEFAULTS = CorruptedSolutions()
SMAUGS = (  # the example in the paper and the card of its data set
    "What is the total cost of purchasing equipment for all sixteen players on the football team, considering that "
    "each player requires a $25 jersey, a $15.20 pair of shorts, and a pair of socks priced at $6.80?",
    "Each player requires a $25 jersey, a $15.20 pair of shorts, and a pair of socks priced at $6.80. So the total "
    "cost for each player is $25 + $15.20 + $6.80 = 47. Since there are sixteen players on the football team, the "
    "total cost for all of them is 16 * $47 = $752. #### 752 The answer is: 752",
)

ANNOTATIONS = [("5>>-5", "annotation"), ("4>> 4", "annotation"), ("1", "annotation")]


def documents(*solved, meta=None):
    made = [
        {
            "id": f"d{number}",
            "source": "s",
            "messages": [{"role": "user", "content": question}, {"role": "assistant", "content": solution}],
            "meta": meta,
        }
        for number, (question, solution) in enumerate(solved)
    ]
    return pa.table(
        [pa.array([row.get(name) for row in made], DOCUMENTS.field(name).type) for name in DOCUMENTS.names], DOCUMENTS
    )


def results(question, solution):
    known = read_solution(question, solution)
    return [(solution[each.begin : each.end], each.kind) for each in known.results]


def test_smaugs_own_example_has_the_one_result_that_was_corrupted_there():
    assert results(*SMAUGS) == [("47", "equation")]
    assert read_solution(*SMAUGS).final_values == {Decimal(752)}


@pytest.mark.parametrize(
    ("solution", "expected"),
    [
        ("Half is 48/2 = <<48/2=24>>24 clips.\n#### 72", [("24>>24", "annotation")]),
        ("It costs 12*1000=$<<12*1000=12000>>12,000.\n#### 5", [("12000>>12,000", "annotation")]),
        ("Now <<2-7=-5>>-5, <<8/2=4>> 4 and <<8/8=1>> 9 or <<9/9=1>>2.\n#### 3", ANNOTATIONS),
        ("Then 12 * 3 = 36. The answer is: 5", [("36", "equation")]),
        ("$2 \\cdot 6 = \\$12$, so \\boxed{5}", [("12", "equation")]),
        ("&= 1,200.50\\\\ &= \\boxed{5}", [("1,200.50", "equation")]),
        ("It weighs 5 - 5.5 = -.5 pounds.\n#### 9", [(".5", "equation")]),
        ("So the total is 36 apples, a total of 40 pears.\n#### 5", [("36", "phrase"), ("40", "phrase")]),
        ("We get 3x = 36 - x = 7 * 8. The answer is 5.", [("36", "term"), ("7", "term")]),
        ("We get x = 36. So x = 5.0. The value of x is 5.", [("36", "equation")]),  # no marker: the last number
        ("5 is right. The final answer is 5.", []),
        ("8 <= 36, 8 >= 36, 8 == 36, a := 36.\n#### 5", []),
        ("Then 12 * 3 = 5, and it is 5.00.\n#### 5", []),  # the final answer, wherever it stands
        ("#### 5\nCheck: 12 * 3 = 36", []),  # after the final answer
        ("[asy] a = 36; [/asy] \\boxed{\\frac{1}{2}}", []),  # a drawing
        ("So " + "= " + "9" * 40 + ".\n#### 5", []),  # no number of a calculation
    ],
)
def test_results_of_intermediate_calculations_are_found(solution, expected):
    assert results("How many?", solution) == expected


def test_a_number_of_the_question_is_no_result_but_in_an_annotation():
    assert results("Of 36?", "It is 36, and 4 * 9 = 36.\n#### 5") == []
    assert results("Of 36?", "<<4*9=36>>36\n#### 5") == [("36>>36", "annotation")]


def test_a_pair_differs_in_one_number_and_keeps_the_document():
    table = documents(SMAUGS, meta='{"type":"GSM_Rephrased"}')
    pairs, verdict = corrupted_solutions(table, DEFAULTS, 1)
    assert verdict.reason.to_pylist() == [None]
    pair = pairs.to_pylist()[0]
    changed = orjson.loads(pair["meta"])["corrupted"]
    assert (pair["id"], pair["source"], pair["prompt"], pair["chosen"]) == ("d0", "s", *SMAUGS)
    assert pair["rejected"] == SMAUGS[1].replace("= 47.", f"= {changed['now']}.") != SMAUGS[1]
    assert changed == {"at": SMAUGS[1].index("47."), "was": "47", "now": changed["now"], "kind": "equation"}
    assert orjson.loads(pair["meta"])["type"] == "GSM_Rephrased"
    assert pairs.schema == DOCUMENTS


def test_documents_that_cannot_be_corrupted_are_refused_with_a_reason():
    table = documents(("How many?", "It is five."), ("How many?", "2 + 3 = 5\n#### 5"), SMAUGS)
    text = table.slice(0, 1).set_column(3, DOCUMENTS.field("messages"), pa.nulls(1, DOCUMENTS.field("messages").type))
    pairs, verdict = corrupted_solutions(pa.concat_tables([table, text]), DEFAULTS, 1)
    assert verdict.reason.to_pylist() == ["no_number", "no_intermediate_result", None, "not_a_solution"]
    assert verdict.evidence.to_pylist() == ["It is five.", "2 + 3 = 5\n#### 5", None, "turns: none"]
    assert pairs["id"].to_pylist() == ["d2"]


def test_the_first_kind_that_is_there_is_corrupted():
    solution = "It is 36, then = <<1+1=44>>44, 8 * 9 = 72, = 63 - x.\n#### 5"
    for kinds, kind in (
        (["annotation", "equation"], "annotation"),
        (["equation", "annotation"], "equation"),
        (["phrase"], "phrase"),
        (["term"], "term"),
    ):
        assert corruption("?", solution, CorruptedSolutions(results=kinds), 3).kind == kind
    assert corruption("?", "It is 36.\n#### 5", CorruptedSolutions(results=["term"]), 3) == "no_intermediate_result"
    with pytest.raises(ValidationError, match="more than once"):
        CorruptedSolutions(results=["term", "term"])


def test_max_change_says_how_far_off_the_wrong_number_is():
    drawn = {limit: [wrong_number("1000", (), limit, random.Random(n)) for n in range(200)] for limit in (0.05, 2.0)}
    assert max(abs(number - 1000) for number in drawn[0.05]) <= 50
    assert max(drawn[2.0]) > 2000 and min(drawn[2.0]) > 0
    assert {abs(wrong_number("2", (), 0.05, random.Random(n)) - 2) for n in range(99)} == {1, 2, 3}
    assert all(wrong_number("120,000", (), 0.2, random.Random(n)) % 1000 == 0 for n in range(99))


@given(st.integers(0, 10**29), st.integers(0, 3), st.integers(0), st.sets(st.integers(1, 30), max_size=9))
def test_a_wrong_number_is_positive_and_another_one(core, places, seed, others):
    written = f"{core:0{places + 1}}"
    written = f"{written[:-places]}.{written[-places:]}" if places else written
    wrong = wrong_number(written, {Decimal(other) for other in others}, 0.2, random.Random(seed))
    assert wrong > 0 and wrong != Decimal(written) and wrong not in others
    assert -wrong.as_tuple().exponent <= places


NUMBERS = st.integers(0, 2_000_000).flatmap(
    lambda number: st.sampled_from([str(number), f"{number:,}", f"{number / 100:.2f}", f".{number}"])
)
SENTENCES = st.one_of(
    st.tuples(NUMBERS, NUMBERS).map(lambda pair: f"Then 2 * {pair[0]} = {pair[1]} apples. "),
    st.tuples(NUMBERS, NUMBERS).map(lambda pair: f"So {pair[0]}+1=$<<{pair[0]}+1={pair[1]}>>{pair[1]}\n"),
    NUMBERS.map(lambda number: f"The total is {number}. "),
    NUMBERS.map(lambda number: f"We get 3x = {number} - x. "),
    st.text("aü=<>$.,5 \n", max_size=12),
)
FINALS = st.sampled_from(["#### {}", "The answer is: {}", "\\boxed{{{}}}", "#### {0}\nThe answer is: {0}", "It is {}."])


@settings(max_examples=300)
@given(st.lists(SENTENCES, max_size=6), FINALS, NUMBERS, NUMBERS, st.integers(0, 2**62))
def test_one_span_changes_and_the_final_answer_and_chosen_do_not(sentences, final, answer, given_number, seed):
    statement = final.format(answer)
    question, solution = f"Of {given_number}?", "".join(sentences) + statement
    pairs, verdict = corrupted_solutions(documents((question, solution)), DEFAULTS, seed)
    assert pairs.num_rows == (verdict.reason[0].as_py() is None)
    for pair in pairs.to_pylist():
        chosen, rejected = pair["chosen"], pair["rejected"]
        assert chosen == solution != rejected and rejected.endswith(statement)
        changed = orjson.loads(pair["meta"])["corrupted"]
        begin, was, now = changed["at"], changed["was"], changed["now"]
        assert chosen[begin : begin + len(was)] == was
        assert rejected == chosen[:begin] + now + chosen[begin + len(was) :]
        # What changed is a number, or an annotation's with its copy; both copies say the same before and after.
        assert re.fullmatch(r"[\d.,]+(>>\s*\$?[\d.,]+)?", was) and re.fullmatch(r"[\d.,]+(>>\s*\$?[\d.,]+)?", now)
        values = [{Decimal(each.replace(",", "")) for each in re.split(r">>\s*\$?", text)} for text in (was, now)]
        assert len(values[0]) == len(values[1]) == 1 and values[0] != values[1]
        assert Decimal(answer.replace(",", "")) not in values[0] | values[1]
        assert read_solution(question, rejected).final_values == read_solution(question, chosen).final_values
    again = corrupted_solutions(documents((question, solution)), DEFAULTS, seed)
    assert again[0].equals(pairs)


def test_what_is_corrupted_depends_on_seed_and_id_and_not_on_batches():
    table = documents(*[("?", "1 + 6 = 7, 2 * 7 = 14, 14 + 7 = 21.\n#### 9")] * 40)
    whole = corrupted_solutions(table, DEFAULTS, 1)[0]
    parts = [corrupted_solutions(table.slice(begin, 7), DEFAULTS, 1)[0] for begin in range(0, 40, 7)]
    assert pa.concat_tables(parts).to_pylist() == whole.to_pylist()
    other = corrupted_solutions(table, DEFAULTS, 2)[0]
    assert other["rejected"].to_pylist() != whole["rejected"].to_pylist()
    assert len(set(whole["rejected"].to_pylist())) > 5


def test_prompt_and_worked_examples_stand_before_the_question():
    table = documents(*[(f"Q{n}", f"1 + 6 = 7\n#### {n}") for n in range(100, 106)])
    options = CorruptedSolutions(prompt="Question: {question}\nAnswer:", few_shot=2)
    examples = worked_examples(table, options)
    for pair in corrupted_solutions(table, options, 1, examples)[0].to_pylist():
        *shown, asked = pair["prompt"].split("\n\n")
        assert asked == f"Question: Q{pair['chosen'][-3:]}\nAnswer:"
        assert len(set(shown)) == 2 and not any(asked in each for each in shown)
        assert all(re.fullmatch(r"Question: Q(1\d\d)\nAnswer:\n1 \+ 6 = 7\n#### \1", each) for each in shown)
    with pytest.raises(DataError, match="7 worked examples, and there are 5 other"):
        corrupted_solutions(table, options.model_copy(update={"few_shot": 7}), 1, examples)
    with pytest.raises(ValidationError, match="question"):
        CorruptedSolutions(prompt="{choices}{question}")


def test_declared_benchmarks_mark_their_scores():
    options = CorruptedSolutions(benchmarks=["gsm8k", "math"])
    assert {"gsm8k", "hendrycks_math"} <= trained_on(corrupted_solutions(documents(SMAUGS), options, 1)[0])
    assert trained_on(corrupted_solutions(documents(SMAUGS), DEFAULTS, 1)[0]) == set()


@pytest.mark.parametrize(
    ("file", "rows", "pairs"),
    [("metamath/GSM8K_Backward.jsonl.gz", 1270, 1122), ("gsm8k/train.jsonl.gz", 7473, 7397)],
)
def test_every_row_of_real_files_is_a_pair_or_refused(shared_data, file, rows, pairs):
    found = [row.value for row in rows_of(shared_data / file, set())]
    answers = [each.get("inv_question_pred_answer") or each.get("output") or each["answer"] for each in found]
    table = documents(*zip([each["question"] for each in found], answers, strict=True))
    made, verdict = corrupted_solutions(table, DEFAULTS, 42)
    assert (table.num_rows, made.num_rows) == (rows, pairs)
    assert verdict.reason.to_pylist().count("no_intermediate_result") == rows - pairs
    assert preference_pairs(made, PreferencePairs()).reason.null_count == pairs
    assert np.quantile(edit_distances(made), 0.99) < 0.05
