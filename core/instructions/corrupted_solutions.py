"""Preference pairs from worked solutions: as written, against the same with one intermediate result corrupted.

As Smaug's from MetaMath (Pal et al. 2024, https://arxiv.org/abs/2402.13228; the card of
https://huggingface.co/datasets/abacusai/MetaMath_DPO_FewShot): one result of an intermediate calculation is made wrong
at random and the final answer is left untouched; its example turns a 47 into 52 and leaves what follows. How results
were found is not documented. It has 393,999 + 1,000 of MetaMathQA's 395,000 rows. Those of training have 3,074 bytes on
average (1,211,199,708 in all), so that the prompts must hold worked examples; their words are not documented.
"""

from __future__ import annotations

import random
import re
from collections.abc import Container, Sequence
from decimal import Decimal
from functools import partial
from itertools import count
from typing import Any, NamedTuple

import orjson
import pyarrow as pa
from pydantic import Field, field_validator

from core.artifacts.seeds import derive_seed
from core.documents.ledger import Verdict
from core.documents.table import DOCUMENTS
from core.instructions.benchmarks import Benchmark, tasks_of
from core.instructions.solution_results import DIGITS, Kind, read_solution
from core.instructions.worked_examples import Example, Shots, check_prompt, check_shots, filled, with_examples
from core.options import Options


class CorruptedSolutions(Options):
    """Pairs of a solution and the same solution with one intermediate result changed."""

    sources: list[str] | None = Field(
        None, min_length=1, description="Names of the sources whose documents become pairs; without it, all."
    )
    results: list[Kind] = Field(
        ["annotation", "equation", "phrase", "term"],
        min_length=1,
        description="What counts as an intermediate result, the surest first: one is drawn among those of the first "
        "kind that a solution has. annotation: <<48/2=24>>24; equation: 12 * 3 = 36; phrase: the total is 36; "
        "term: = 36 - x.",
    )
    max_change: float = Field(
        0.2,
        gt=0,
        le=10,
        description="How far off the wrong number is at most, relative to the right one, but three units of its last "
        "digit or more. The example on that card: 47 to 52, .11.",
    )
    prompt: str = Field("{question}", description="How the question is asked: {question} is the user's turn.")
    few_shot: Shots = Field(
        0,
        description="Solved questions before each, drawn by seed, with the solution on the line below: so many, or "
        "[least, most]. abacusai/MetaMathFewshot has 0 to 4; of Smaug's pairs it is not documented.",
    )
    benchmarks: list[Benchmark] = Field(
        [], description="What the questions come from (MetaMath: gsm8k, math): scores of their tasks are marked."
    )

    @field_validator("results")
    @classmethod
    def _each_kind_once(cls, results: list[Kind]) -> list[Kind]:
        if len(set(results)) != len(results):
            raise ValueError(f"results names a kind more than once: {', '.join(results)}")
        return results

    @field_validator("few_shot")
    @classmethod
    def _is_a_range(cls, few_shot: Shots) -> Shots:
        check_shots(few_shot)
        return few_shot

    @field_validator("prompt")
    @classmethod
    def _has_a_question(cls, prompt: str) -> str:
        check_prompt(prompt, ["question"])
        return prompt


class Corruption(NamedTuple):
    """What was changed: characters begin to end of the solution, and how they read now."""

    begin: int
    end: int
    kind: Kind
    now: str


def corrupted_solutions(
    documents: pa.Table, options: CorruptedSolutions, seed: int, examples: Sequence[Example] = ()
) -> tuple[pa.Table, Verdict]:
    """Pairs from DOCUMENTS that are one question and its answer, and the verdict on every row.

    Returns a table of DOCUMENTS with a pair for each row that is kept, in order, under its id, and a Verdict on the
    rows of `documents`. Reasons: not_a_solution (no dialogue of one user's and one assistant's turn), no_number,
    no_intermediate_result; evidence: what was found. A pair's `meta` is the document's with `corrupted`: {at (the
    character of `chosen`), was, now, kind}, and `benchmark` where it is declared. Of a row, the seed and its id alone
    decide what is corrupted.
    examples: what `worked_examples` makes of the documents that are drawn from, the same for every batch.
    Raises DataError where there are fewer of other questions than `few_shot` asks for.
    """
    made: list[dict[str, Any]] = []
    reasons: list[str | None] = []
    evidence: list[str | None] = []
    benchmark = sorted({task for each in options.benchmarks for task in tasks_of(each)})
    for document in documents.select(["id", "source", "messages", "meta"]).to_pylist():
        turns = document["messages"] or []
        if not _is_solution(turns):
            reasons.append("not_a_solution")
            evidence.append(f"turns: {', '.join(turn['role'] for turn in turns) or 'none'}")
            continue
        question, solution = (turn["content"] or "" for turn in turns)
        found = corruption(question, solution, options, derive_seed(seed, "corrupted_solutions", document["id"]))
        reasons.append(found if isinstance(found, str) else None)
        evidence.append(solution[-100:] if isinstance(found, str) else None)
        if isinstance(found, str):
            continue
        was = solution[found.begin : found.end]
        meta = orjson.loads(document["meta"] or b"{}") | ({"benchmark": benchmark} if benchmark else {})
        meta["corrupted"] = {"at": found.begin, "was": was, "now": found.now, "kind": found.kind}
        asked = filled(options.prompt, {"question": question})
        made.append(
            {
                "id": document["id"],
                "source": document["source"],
                "prompt": with_examples(asked, examples, options.few_shot, derive_seed(seed, "few_shot", asked), "\n"),
                "chosen": solution,
                "rejected": solution[: found.begin] + found.now + solution[found.end :],
                "meta": orjson.dumps(meta).decode(),
            }
        )
    pairs = pa.table(
        [pa.array([row.get(name) for row in made], DOCUMENTS.field(name).type) for name in DOCUMENTS.names], DOCUMENTS
    )
    return pairs, Verdict(pa.array(reasons, pa.string()), pa.array(evidence, pa.string()))


def corruption(question: str, solution: str, options: CorruptedSolutions, seed: int) -> Corruption | str:
    """What to change in a solution; where nothing can be, the reason: no_number or no_intermediate_result."""
    known = read_solution(question, solution)
    if known is None:
        return "no_number"
    rng = random.Random(seed)
    for kind in options.results:
        if chosen := [result for result in known.results if result.kind == kind]:
            result = rng.choice(chosen)
            wrong = wrong_number(result.written, known.final_values, options.max_change, rng)
            was = solution[result.begin : result.end]  # in an annotation the number stands twice: 1200>>1,200
            now = re.sub(DIGITS, partial(_written_like, number=wrong), was)
            return Corruption(result.begin, result.end, kind, now)
    return "no_intermediate_result"


def wrong_number(written: str, others: Container[Decimal], max_change: float, rng: random.Random) -> Decimal:
    """Another number of the same precision, at most `max_change` off, and none of the others; see CorruptedSolutions.

    Round numbers stay round: of 120,000, multiples of 1,000.
    """
    places = len(written.partition(".")[2])
    core, zeros = int(written.replace(",", "").replace(".", "")), 0
    while core >= 1000 and core % 10 == 0:
        core, zeros = core // 10, zeros + 1
    for widened in count():
        change = rng.randint(1, max(3, int(core * max_change)) + widened)
        drawn = core - change if rng.getrandbits(1) and change < core else core + change
        wrong = Decimal((0, tuple(map(int, str(drawn))), zeros - places))
        if wrong not in others:
            return wrong
    raise AssertionError("unreachable")


def _written_like(found: re.Match[str], number: Decimal) -> str:
    """A number with the thousands separators, decimal places (or more) and bare point (.5) of the one found."""
    example, exponent = found.group(), number.as_tuple().exponent
    assert isinstance(exponent, int)
    places = max(len(example.partition(".")[2]), -exponent)
    text = f"{number:,.{places}f}" if "," in example else f"{number:.{places}f}"
    return text.removeprefix("0") if example.startswith(".") else text


def worked_examples(documents: pa.Table, options: CorruptedSolutions) -> list[Example]:
    """The questions of DOCUMENTS with their solutions, to be drawn from as examples; other documents are left out."""
    dialogues = (turns for turns in documents["messages"].to_pylist() if _is_solution(turns or []))
    return [
        Example(filled(options.prompt, {"question": question["content"] or ""}), solution["content"] or "")
        for question, solution in dialogues
    ]


def _is_solution(turns: list[dict[str, str]]) -> bool:
    return [turn["role"] for turn in turns] == ["user", "assistant"]
