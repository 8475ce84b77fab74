"""The families' spaces fit their recipes, and each goes its way at --scale tiny."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest

from core.recipe.resolve import load_recipe
from core.tuning.trials import read_trials
from ray_jobs.run import run_stages
from ray_jobs.sweep_recipe import fixed_overrides, value_overrides
from ray_jobs.sweep_space import families, load_space

DIFFERENT = "seed=7"  # of which the two trials drawn differ in their data
RECIPES = {"birbal": "birbal-200k", "goat": "goat-7b", "moxin": "moxin-7b", "smaug": "smaug-72b"}


def swept(name: str, runs: Path, *overrides: str) -> tuple[Path, list[Any]]:
    run_stages(["sweep"], RECIPES[name], list(overrides), "tiny", runs, None, None, False)
    run = runs / f"{RECIPES[name]}-tiny"
    trials = read_trials(run / "sweep")
    assert [trial.status for trial in trials] == ["finished"] * 2
    return run, trials


def test_every_family_has_a_recipe_that_names_it() -> None:
    named = {load_recipe(recipe).recipe.sweep.space: recipe for recipe in [*RECIPES.values(), "quickstart"]}  # type: ignore[union-attr]
    assert sorted(named) == families()


@pytest.mark.parametrize("name", families())
def test_a_familys_whole_space_is_allowed_by_its_full_recipe(name: str) -> None:
    recipe = RECIPES.get(name, name)
    declared = load_recipe(recipe).recipe
    for values in load_space(name, Path()).probes():
        trial = load_recipe(recipe, None, [*fixed_overrides(declared, values), *value_overrides(values)])
        assert trial.recipe.train


def test_birbals_budget_allows_the_papers_three_runs_and_nothing_dearer() -> None:
    space = load_space("birbal", Path())
    allowed = {(values["sweep.size"], values["train.sft.epochs"]) for values in space.grid(2)}
    assert {("200K", 3), ("400K", 2), ("700K", 1)} <= allowed
    assert not {("400K", 3), ("700K", 2), ("700K", 3)} & allowed


@pytest.mark.ray
def test_birbals_smaller_sizes_are_parts_of_the_largest_with_one_tokenizer(ray_cluster: str, tmp_path: Path) -> None:
    _, trials = swept("birbal", tmp_path, DIFFERENT)
    assert len({trial.values["sweep.size"] for trial in trials}) == 2
    groups = [(trial.directory / "tokenize").resolve().parent for trial in trials]
    ids = []
    for group in groups:
        tables = [pq.read_table(path, columns=["id"]) for path in (group / "curate/documents").glob("*/*.parquet")]
        ids.append({name for each in tables for name in each["id"].to_pylist()})
    assert ids[0] < ids[1] or ids[1] < ids[0]
    tokenizers = {(group / "tokenize/tokenizer/tokenizer.json").read_bytes() for group in groups}
    assert len(tokenizers) == 1
    counted = [
        orjson.loads((group / "tokenize/summary.json").read_bytes())["phases"]["sft"]["train"]["documents"]
        for group in groups
    ]
    assert counted[0] != counted[1]


@pytest.mark.ray
def test_goats_trials_train_on_cleaned_dialogues_or_on_all(ray_cluster: str, tmp_path: Path) -> None:
    _, trials = swept("goat", tmp_path, DIFFERENT)
    curated = [(trial.directory / "curate/ledger.json").read_bytes() for trial in trials]
    refused = [b"refusal" in ledger for ledger in curated]
    assert refused == ["refusals" in trial.values["data.steps.0"] for trial in trials]
    assert len(set(refused)) == 2


@pytest.mark.ray
def test_moxins_trials_differ_in_every_phase(ray_cluster: str, tmp_path: Path) -> None:
    _, trials = swept("moxin", tmp_path)
    assert not any(path.is_symlink() for trial in trials for path in (trial.directory / "train").iterdir())
    assert all(len(list((trial.directory / "train").iterdir())) == 4 for trial in trials)


@pytest.mark.ray
def test_smaugs_reference_is_computed_once(ray_cluster: str, tmp_path: Path) -> None:
    run, trials = swept("smaug", tmp_path)
    assert {(trial.directory / "reference/dpop").resolve() for trial in trials} == {run / "reference/dpop"}
    assert (run / "reference/dpop/manifest.json").exists()
    assert not (run / "train/dpop").exists()


@pytest.mark.ray
def test_the_quickstarts_trials_start_from_one_pretrained_model(ray_cluster: str, tmp_path: Path) -> None:
    few = ["data.sources.skills.skills.rows=400", "data.sources.prose.python_library.max_documents=40"]
    few += ["data.sources.code.python_library.max_documents=20", "model.tokenizer.train.vocabulary=600"]
    few += ["train.pretrain.max_steps=4", "evaluate.limit=8", "sweep.searcher=random", "sweep.trials=2"]
    run_stages(["sweep"], "quickstart", few, None, tmp_path, None, None, False)
    trials = read_trials(tmp_path / "quickstart/sweep")
    assert [trial.status for trial in trials] == ["finished"] * 2
    pretrained = tmp_path / "quickstart/train/pretrain"
    assert {(trial.directory / "train/pretrain").resolve() for trial in trials} == {pretrained}
    assert len({trial.values["train.sft.learning_rate"] for trial in trials}) == 2
