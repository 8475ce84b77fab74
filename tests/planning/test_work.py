from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from core.documents.mixture import Amount
from core.instructions.source import InstructionSource
from core.planning.shape import Shape
from core.planning.work import Held, counted, declared, recomputed, work_of
from core.tokens.options import PhaseData
from core.training.options import Phase
from core.training.throughput import FlopCount
from tests.training.conftest import phase

FLOPS = FlopCount(per_token=600.0, per_target=60.0, per_pair=12.0, blocks={None: 2})
SHAPE = Shape(
    parameters=150,
    trained=150,
    in_blocks=0,
    hidden=1,
    key_values=1,
    inner=1,
    blocks=2,
    heads=1,
    vocabulary=10,
    longest=None,
    plain_output=True,
    flops=FLOPS,
)
SOURCES = {
    "files": InstructionSource(files="some.txt"),
    "skills": InstructionSource(skills={"rows": 500}),
    "library": InstructionSource(python_library={"max_documents": 40}),
    "endless": InstructionSource(python_library={}),
}


def of(sources: list[str], mixture: dict[str, Any] | None = None, document_tokens: float = 50, **more: Any) -> Held:
    data = {"sources": sources, "sequence_length": 100} | more.pop("data", {})
    return declared(phase(data=PhaseData(**data), **more), SOURCES, mixture, document_tokens)


def test_documents_are_those_of_the_mixture_or_of_sources_that_say_it() -> None:
    assert of(["files"], {"files": 30}).rows == 15  # 1,500 tokens in rows of 100
    assert of(["files"], {"files": Amount(documents=30)}).rows == 15
    assert of(["files"], {"files": Amount(tokens=1500)}).rows == 15
    assert of(["skills"]).rows == 250
    assert of(["library"], {"library": "all"}).rows == 20
    assert of(["files", "skills"], {"files": 30}).rows == 265
    assert of(["files"], {"files": 30}, data={"validation": 10}).rows == 10
    assert of(["skills"], {"skills": Amount(fraction=0.2)}).rows == 50
    assert of(["skills"], {"skills": 100_000}).rows == 250  # it holds no more
    assert of(["skills"], {"skills": Amount(documents=1000, replacement=True)}).rows == 500


@pytest.mark.parametrize("wanted", ["all", Amount(fraction=0.5), Amount(share=0.5)])
def test_what_is_not_known_is_named(wanted: Any) -> None:
    assert of(["files"], {"files": wanted}) == Held(None, 100, 2, unknown=("files",))
    both = of(["files", "skills", "endless"], {"files": wanted})
    assert (both.rows, both.unknown) == (250, ("files", "endless"))


def test_rows_without_packing_are_documents_and_long_ones_are_cut() -> None:
    unpacked = {"data": {"packing": False}}
    assert of(["skills"], **unpacked) == Held(500, 50, 1)
    assert of(["skills"], document_tokens=250, **unpacked) == Held(500, 100, 1)
    assert of(["skills"], document_tokens=250) == Held(1250, 100, 1)  # of texts nothing is lost


def test_pairs_are_two_samples_in_rows_of_twice_the_length() -> None:
    assert of(["skills"], preference={}) == Held(250, 200, 4)
    assert of(["skills"], preference={}, data={"packing": False}) == Held(500, 100, 2)


def test_what_a_run_has_counted() -> None:
    train = {"rows": 10, "tokens": 900, "samples": 40, "target_tokens": 300}
    assert counted(train) == Held(10, 90, 4, 1 / 3)


def by_hand(sample: int, samples: float, targets: float) -> float:
    return samples * (600 * sample + 12 * 2 * sample * (sample + 1) / 2) + 60 * targets


def test_steps_tokens_and_flops_of_epochs_and_of_steps() -> None:
    held = Held(100, 80, 4, 0.5)
    work = work_of(phase(epochs=1.5, global_batch_size=8), SHAPE, held)
    assert (work.steps, work.tokens, work.reference_flops) == (19, 150 * 80, 0)
    assert work.flops == pytest.approx(by_hand(20, 600, 6000))
    work = work_of(phase(max_steps=7, global_batch_size=8), SHAPE, held)
    assert (work.steps, work.tokens) == (7, 56 * 80)
    assert work_of(phase(max_steps=7, global_batch_size=8), SHAPE, Held(None, 80, 4)).steps == 7
    unknown = work_of(phase(), SHAPE, Held(None, 80, 4))
    assert (unknown.steps, unknown.tokens, unknown.flops) == (None, None, None)


def test_a_reference_model_runs_forward_over_the_pairs_once() -> None:
    held = Held(100, 80, 4)
    once = work_of(phase(epochs=1), SHAPE, held).flops
    for method, share in (("full", 1 / 3), ("lora", 1 / 2)):
        work = work_of(phase(epochs=3, preference={}, method=method), SHAPE, held)
        assert work.flops == pytest.approx(3 * once)
        assert work.reference_flops == pytest.approx(share * once)


def test_flops_are_those_that_training_counts_of_such_rows() -> None:
    options = Phase(data=PhaseData(sources=["d"], sequence_length=64), epochs=1, global_batch_size=1)
    counted_there = sum(FLOPS.of(np.array([16, 16, 16, 16]), 32) for _ in range(5))
    assert work_of(options, SHAPE, Held(5, 64, 4, 0.5)).flops == pytest.approx(counted_there)


def test_checkpointing_computes_the_forward_pass_again() -> None:
    assert recomputed(phase()) == 1
    assert recomputed(phase(gradient_checkpointing=True)) == (2 + 2 + 4) / 6
    assert recomputed(phase(gradient_checkpointing=True, method="qlora")) == (2 + 2 + 2) / 4
