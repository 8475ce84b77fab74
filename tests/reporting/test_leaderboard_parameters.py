"""How many parameters a model has."""

from __future__ import annotations

import csv
import gzip
import io

import pytest

from core.reporting.leaderboard.parameters import named_size, told_parameters


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("meta-llama/Llama-2-70b-hf", 70),
        ("digitous/Alpacino30b", 30),
        ("bigscience/bloom-7b1", 7.1),
        ("EleutherAI/pythia-1.4b-deduped", 1.4),
        ("facebook/opt-125m", 0.125),
        ("KoboldAI/fairseq-dense-2.7B", 2.7),
        ("migtissera/Synthia-70B-v1.2b", 70),
        ("Kunhao/pile-7b-250b-tokens", 7),
        ("org/GiftedConvo13bLoraNoEcons", 13),
        ("fangloveskari/ORCA_LLaMA_70B_QLoRA", 70),
    ],
)
def test_a_size_is_read_from_the_name(name, billions):
    assert named_size(name) == round(billions * 1e9)


@pytest.mark.parametrize(
    "name",
    [
        "gpt2-xl",
        "stabilityai/StableBeluga2",
        "augtoma/qCammel-70-x",
        "team-7b/model",
        "org/model-4bit-128g",
        "org/preview-300bt",
        "mistralai/Mixtral-8x7B-v0.1",
        "org/model-0b",
        "openchat/openchat_8192",
    ],
)
def test_what_is_no_size_is_not_taken_for_one(name):
    assert named_size(name) is None


def test_zero_and_nothing_in_the_column_are_unknown():
    assert told_parameters(["a", "b", "c-7b"], [0.0, None, 0.0]) == [(None, None), (None, None), (7e9, "name")]


@pytest.mark.parametrize("unit", [1, 1e6, 1e9])
def test_a_column_in_a_unit_that_the_names_confirm_counts_before_the_name(unit):
    column = [6.7e9 / unit, 13e9 / unit, 5e9 / unit]
    told = told_parameters(["a-7b", "b-13b", "c"], column)
    assert [(round(size), origin) for size, origin in told] == [(6.7e9, "file"), (13e9, "file"), (5e9, "file")]


def test_a_column_in_percent_of_the_largest_adds_what_no_name_has():
    told = told_parameters(["a-70b", "b-7b", "c", "d"], [100.0, 10.0, 13 / 0.7, 0.0])
    assert told == [(70e9, "name"), (7e9, "name"), (13e9, "file"), (None, None)]


def test_a_column_that_agrees_with_no_name_tells_nothing():
    told = told_parameters(["a-70b", "b-7b", "c-13b", "d"], [3.0, 80.0, 1.0, 9.0])
    assert told == [(70e9, "name"), (7e9, "name"), (13e9, "name"), (None, None)]


def test_the_reports_own_column_is_understood_as_percent(shared_data):
    text = gzip.decompress((shared_data / "leaderboard_report" / "csv" / "20230724.csv.gz").read_bytes())
    rows = list(csv.DictReader(io.StringIO(text.decode("utf-8-sig"))))
    told = told_parameters([each["Model"] for each in rows], [float(each["Parameters"]) for each in rows])
    found = {each["Model"]: size for each, size in zip(rows, told, strict=True)}
    assert found["stabilityai/FreeWilly2"] == (70_000_000_000, "file")
    assert found["meta-llama/Llama-2-70b-hf"] == (70_000_000_000, "name")
    assert {origin for size, origin in told if size is None} == {None}
