"""DPO's failure and DPO-Positive's cure (Pal et al. 2024, https://arxiv.org/abs/2402.13228), on a small model."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.benchmarks.preference import chains, measured


@pytest.fixture(scope="module")
def last(tmp_path_factory) -> dict[str, dict[str, dict[str, Any]]]:
    """What is told of held-out pairs at the end, by their edit distance and the loss."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    found = measured(chains(2000, 364), epochs=2, held_out=64, work=tmp_path_factory.mktemp("claim"))
    torch.set_num_threads(threads)
    assert found["sets"][0]["edit_distance"] < 0.05 < 0.5 < found["sets"][1]["edit_distance"]
    return {each["pairs"]: {loss: run["held_out"][-1] for loss, run in each["runs"].items()} for each in found["sets"]}


def test_where_completions_differ_by_little_dpo_makes_the_preferred_one_less_likely(last):
    assert last["small"]["DPO"]["chosen_change"] < -0.25


def test_dpo_positive_does_not(last):
    assert last["small"]["DPOP"]["chosen_change"] > 0.25


@pytest.mark.parametrize("loss", ["DPO", "DPOP"])
def test_where_they_differ_by_much_both_learn(last, loss):
    told = last["large"][loss]
    assert told["accuracy"] > 0.9
    assert told["margin"] > 0.5
    assert told["chosen_change"] > 0
