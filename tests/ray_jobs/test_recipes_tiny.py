"""The shipped recipes at `--scale tiny`, from their sources to a scored model: the steps and code of the full ones."""

from __future__ import annotations

import shutil
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow.parquet as pq
import pytest

from core.instructions.benchmarks import trained_on
from core.recipe.resolve import load_recipe
from core.recipe.schema import Recipe
from core.tokens.shards import TokenRows
from core.training.options import BASE
from ray_jobs.run import run_stages
from tests.recipe.test_shipped_recipes import PUBLISHED

pytestmark = pytest.mark.ray


WHOLE = ["curate", "tokenize", "train", "evaluate", "report"]
SCORED, SAME_SCORES = "birbal-200k", ("birbal-400k", "birbal-700k")  # the same model answers the same instances


def carried_out(name: str, runs: Path, stages: list[str], *overrides: str) -> Path:
    """Carries out stages of a recipe on the Ray that is there."""
    run_stages(stages, name, list(overrides), "tiny", runs, None, None, False)
    return runs / f"{name}-tiny"


@pytest.fixture(scope="module")
def runs(ray_cluster: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the recipes' runs are: a test goes on with what another has made."""
    return tmp_path_factory.mktemp("runs")


def read(path: Path) -> Any:
    return orjson.loads(path.read_bytes())


def every_row_is_accounted_for(run: Path) -> dict[str, int]:
    """Kept and dropped documents are what was read, by source, with a step and a reason each. Returns the kept."""
    ledger = read(run / "curate/ledger.json")["sources"]
    gone: dict[str, int] = dict.fromkeys(ledger, 0)
    for path in (run / "curate/dropped").glob("*.parquet"):
        table = pq.read_table(path)
        assert table["reason"].null_count == table["step"].null_count == 0
        for name in table["source"].to_pylist():
            gone[name] += 1
    kept = {name: pq.read_table(run / "curate/documents" / name).num_rows for name in ledger}
    for name, source in ledger.items():
        assert source["kept"]["documents"] == kept[name]
        assert source["read"]["documents"] == kept[name] + gone[name]
    return kept


def every_sample_is_in_a_row(run: Path, recipe: Recipe, kept: dict[str, int]) -> None:
    summary = read(run / "tokenize/summary.json")["phases"]
    for phase, options in recipe.train.items():
        train, held_out = summary[phase]["train"], summary[phase]["validation"]
        assert train["documents"] + held_out["documents"] == sum(kept[source] for source in options.data.sources)
        assert train["refused"] == held_out["refused"] == {}
        assert 0 < train["target_tokens"] < train["tokens"]
        rows = TokenRows.open(run / "tokenize" / phase, "train")
        assert int(rows.lengths.sum()) == train["tokens"]
        if options.preference is not None:
            assert train["samples"] == 2 * train["documents"]
            pair = rows[0]
            assert len(pair.sequence_lengths) % 2 == 0
            first, second = np.split(pair.input_ids[: pair.sequence_lengths[:2].sum()], [pair.sequence_lengths[0]])
            assert not np.array_equal(first, second)
            assert rows.documents(0)[0] == rows.documents(0)[1]


def every_phase_learnt(run: Path, recipe: Recipe) -> None:
    for phase, options in recipe.train.items():
        summary = read(run / "train" / phase / "summary.json")
        assert summary["method"] == options.method
        assert summary["zero_stage"] == options.zero_stage
        lines = map(orjson.loads, (run / "train" / phase / "log.jsonl").read_bytes().splitlines())
        assert min(line["loss"] for line in lines if "loss" in line) < summary["first_loss"]
        whole = options.method == "full"
        assert (summary["trainable_parameters"] == summary["parameters"]) == whole
        config = read(run / "train" / phase / "model/config.json")
        declared = recipe.model.config
        assert declared is not None
        extension = recipe.model.extend
        assert config["num_hidden_layers"] == (len(extension.blocks) if extension else declared.num_hidden_layers)
        if options.preference is not None:
            assert (run / "reference" / phase / "manifest.json").exists()
            assert summary["preference"]["last"]["reward_margin"] > summary["preference"]["first"]["reward_margin"]


def every_model_is_scored(run: Path, recipe: Recipe) -> None:
    assert recipe.evaluate is not None
    scores = read(run / "evaluate/scores.json")
    models = recipe.evaluate.models or [BASE, list(recipe.train)[-1]]
    assert {(row["model"], row["task"]) for row in scores["scores"]} == set(product(models, recipe.evaluate.tasks))
    page = (run / "report/index.html").read_text()
    assert all(phase in page for phase in recipe.train)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_recipe_goes_from_its_sources_to_a_scored_model(name: str, runs: Path) -> None:
    if name in SAME_SCORES and (runs / f"{SCORED}-tiny/infer").exists():
        shutil.copytree(runs / f"{SCORED}-tiny/infer", runs / f"{name}-tiny/infer")
    run, recipe = carried_out(name, runs, WHOLE, "evaluate.limit=10"), load_recipe(name, "tiny").recipe
    kept = every_row_is_accounted_for(run)
    for source, wanted in (recipe.data.mixture or {}).items():
        assert kept[source] == wanted or wanted == "all", source
    every_sample_is_in_a_row(run, recipe, kept)
    every_phase_learnt(run, recipe)
    every_model_is_scored(run, recipe)


def test_birbal_draws_by_score_and_leaves_out_what_the_paper_does(runs: Path) -> None:
    run = carried_out("birbal-200k", runs, ["curate"])
    selected = read(run / "curate/natural_instructions/natural_instructions.json")
    assert selected["left_out_by"] == {"input_language": 1, "domain": 1, "category": 1}
    sampling = read(run / "curate/sampling/sample_by_score.json")
    assert {bucket["scoring"] for bucket in sampling["buckets"]} == {"exact_match", "generation"}
    reasons = [
        (row["source"], row["reason"])
        for path in (run / "curate/dropped").glob("*.parquet")
        for row in pq.read_table(path).to_pylist()
    ]
    assert reasons.count(("open_platypus", "metadata_denied")) == 6
    assert reasons.count(("math_instruct", "metadata_not_allowed")) == 40
    assert reasons.count(("math_instruct", "denied_phrase")) == 4
    assert reasons.count(("math_instruct", "too_few_words")) == 1
    assert ("lima", "exact_duplicate") in reasons


def test_moxin_cleans_text_and_code_as_the_paper_says(runs: Path) -> None:
    curated = carried_out("moxin-7b", runs, ["curate"]) / "curate"
    dropped = Counter(
        (row["source"], row["step"], row["reason"])
        for path in (curated / "dropped").glob("*.parquet")
        for row in pq.read_table(path).to_pylist()
    )
    assert dropped["slimpajama", "length", "too_few_letters"] == 5
    assert dropped["slimpajama", "minhash_dedup", "near_duplicate"] == 6
    assert dropped["dclm", "exact_dedup", "exact_duplicate"] == 5  # of texts in the other source
    assert dropped["stack", "exact_dedup", "exact_duplicate"] == 5
    assert (
        dropped["stack", "minhash_dedup", "near_duplicate"] + dropped["stack", "minhash_dedup#2", "near_duplicate"] == 4
    )
    best = pq.read_table(curated / "documents/dclm")["text"].to_pylist()
    assert len(best) == (200 - 5) // 10
    assert all("That is why" in text for text in best)
    assert dropped["dclm", "quality", "low_quality"] == 200 - 5 - len(best)
    trained = set()
    for name in load_recipe("moxin-7b", "tiny").recipe.train["capability"].data.sources:
        trained |= trained_on(pq.read_table(curated / "documents" / name))
    assert {"arc_challenge", "arc_easy", "hellaswag", "mmlu", "piqa", "winogrande"} <= trained


def test_the_same_recipes_run_on_real_files(ray_cluster: str, tmp_path: Path, shared_data: Path) -> None:
    birbal = carried_out(
        "birbal-200k",
        tmp_path,
        ["curate", "tokenize"],
        f"data.sources.natural_instructions.natural_instructions.directory={shared_data}/ni/tasks",
        "data.sources.natural_instructions.natural_instructions.max_instances_per_task=10",
        f"data.sources.natural_instructions.natural_instructions.table={shared_data}/ni/tasks_README.md.gz",
        f"data.sources.natural_instructions.natural_instructions.published={shared_data}/birbal/selected_NI_tasks",
        f"data.sources.openbookqa.files={shared_data}/openbookqa/Main_train.tsv.gz",
        "data.sources.openbookqa.capability_data.layout=openbookqa_tsv",
        "data.mixture.natural_instructions=all",
        "data.mixture.openbookqa=all",
    )
    kept = every_row_is_accounted_for(birbal)
    report = read(birbal / "curate/natural_instructions/natural_instructions.json")
    assert (report["tasks"], report["agreement"]["both"]) == (1613, 461)
    assert kept["openbookqa"] > 4_900
    assert read(birbal / "infer/summary.json")["natural_instructions"]["instances"] == 300
    smaug = carried_out(
        "smaug-72b",
        tmp_path,
        ["curate", "tokenize"],
        f"data.sources.arc.files={shared_data}/arc/arc_challenge.jsonl.gz",
        "data.sources.arc.multiple_choice_pairs.layout=llm_foundry",
        f"data.sources.hellaswag.files={shared_data}/hellaswag/hellaswag_val_1000.jsonl.gz",
        f"data.sources.metamath.files={shared_data}/metamath/GSM8K_Backward.jsonl.gz",
        "data.sources.metamath.fields.instruction=question",
        "data.sources.metamath.fields.output=inv_question_pred_answer",
        "data.sources.metamath.on_error=skip",  # 657 of its 1,270 rows have other columns
        "data.mixture=null",
    )
    kept = every_row_is_accounted_for(smaug)
    assert kept["hellaswag"] == 3_000
    assert kept["arc"] > 3 * 1_150
    assert 500 < kept["metamath"] <= 613
    assert read(smaug / "curate/ledger.json")["sources"]["metamath"]["read"]["documents"] == 1_270
