"""The shipped recipes say what the systems that they carry out published."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.recipe import tiny_data
from core.recipe.loading import shipped_recipes
from core.recipe.resolve import load_recipe
from core.recipe.schema import Recipe

PUBLISHED = ["birbal-200k", "birbal-400k", "birbal-700k", "goat-7b", "goat-7b-refusals", "smaug-34b", "smaug-72b"]


def recipe(name: str, scale: str | None = None) -> Recipe:
    return load_recipe(name, scale).recipe


def step(of: Recipe, kind: str) -> object:
    return next(step.options for step in of.data.steps if step.kind == kind)


@pytest.mark.parametrize(
    ("name", "instances", "cnn", "math", "epochs"),
    [
        ("birbal-200k", 50_000, 15_000, 50_000, 3),
        ("birbal-400k", 110_000, 28_000, 100_000, 2),
        ("birbal-700k", 220_000, 28_000, 200_000, 1),
    ],
)
def test_birbals_mixes_are_those_of_table_1(name: str, instances: int, cnn: int, math: int, epochs: int) -> None:
    found = recipe(name)
    assert found.data.mixture == {
        "lima": 1_000,
        "open_platypus": 25_000,
        "natural_instructions": 2 * instances,
        "openbookqa": 5_000,
        "quac": 10_000,
        "cnn_dailymail": cnn,
        "math_instruct": math,
    }
    sampling = step(found, "sample_by_score")
    assert sampling.exact_match.total == sampling.generation.total == instances  # type: ignore[attr-defined]
    assert found.train["sft"].epochs == epochs


def test_birbals_sampling_is_the_papers_and_its_training_section_3_4s() -> None:
    found = recipe("birbal-200k")
    sampling = step(found, "sample_by_score")
    assert sampling.generation.edges == [0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]  # type: ignore[attr-defined]
    assert sampling.generation.shares == [0.4] + [0.1] * 6  # type: ignore[attr-defined]
    assert sampling.exact_match.quotas == [350, 350, 300, 300, 250, 250, 200, 150, 100, 50]  # type: ignore[attr-defined]
    phase = found.train["sft"]
    assert (phase.method, phase.lora.rank, phase.lora.alpha, phase.lora.dropout) == ("qlora", 128, 256, 0.05)
    assert (phase.micro_batch_size, phase.global_batch_size) == (2, 6)
    assert (phase.learning_rate, phase.schedule, phase.warmup_steps) == (2e-5, "cosine", 100)
    assert (phase.weight_decay, phase.max_gradient_norm) == (0.01, 0.3)
    assert (phase.data.sequence_length, phase.data.packing, phase.data.validation) == (8192, True, 2000)
    assert (phase.data.chat_template, phase.data.learn_roles) == ("birbal", ["assistant"])


def test_goats_training_is_that_of_its_post() -> None:
    found = recipe("goat-7b")
    phase = found.train["sft"]
    assert (phase.method, phase.zero_stage, phase.precision, phase.gradient_checkpointing) == ("full", 3, "bf16", True)
    assert (phase.global_batch_size, phase.epochs, phase.warmup_ratio) == (512, 1, 0.07)
    assert (phase.learning_rate, phase.beta1, phase.beta2) == (1e-4, 0.9, 0.999)
    assert found.evaluate is not None
    assert found.evaluate.tasks == ["mmlu", "bbh"]


@pytest.mark.parametrize("scale", [None, "tiny"])
def test_the_two_arms_of_goats_experiment_differ_in_nothing_but_their_answers(scale: str | None) -> None:
    found = recipe("goat-7b-refusals", scale)
    arms = {name: phase.model_dump() for name, phase in found.train.items()}
    assert list(arms) == ["with_refusals", "without_refusals"]
    for name, arm in arms.items():
        assert arm["data"].pop("sources") == [name]
        assert arm["starts_from"] == "base"
    assert arms["with_refusals"] == arms["without_refusals"]
    assert found.data.mixture is not None
    assert found.data.mixture["with_refusals"] == found.data.mixture["without_refusals"]
    assert found.data.sources["with_refusals"] == found.data.sources["without_refusals"]
    assert step(found, "refusals").sources == ["without_refusals"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["smaug-34b", "smaug-72b"])
def test_smaugs_loss_and_pairs_are_the_papers(name: str) -> None:
    found = recipe(name)
    preference = found.train["dpop"].preference
    assert preference is not None
    assert (preference.beta, preference.dpop_lambda) == (0.3, 50)
    assert {"arc", "hellaswag", "metamath"} <= set(found.train["dpop"].data.sources)
    assert found.data.mixture is not None
    assert found.data.mixture["metamath"] == 393_999 + 1_000


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_tiny_run_takes_the_same_steps_in_the_same_order(name: str) -> None:
    whole, tiny = recipe(name), recipe(name, "tiny")
    assert [step.kind for step in tiny.data.steps] == [step.kind for step in whole.data.steps]
    assert [step.options for step in tiny.data.steps] == [step.options for step in whole.data.steps]
    assert set(whole.train) <= set(tiny.train)
    for phase in whole.train:
        assert tiny.train[phase].method == whole.train[phase].method
        assert tiny.train[phase].data.chat_template == whole.train[phase].data.chat_template
    assert all(not source.dataset and "://" not in str(source.files) for source in tiny.data.sources.values())


def test_every_recipe_says_what_it_is_and_how_it_is_run() -> None:
    for name, path in shipped_recipes().items():
        first = path.read_text().partition("\nname:")[0]
        assert first.startswith("# ")
        assert f" {name} " in first + " ", path


def test_the_tiny_files_are_those_that_the_project_makes() -> None:
    made = tiny_data.made_files()
    there = {
        path.relative_to(tiny_data.DIRECTORY).as_posix(): path.read_bytes()
        for path in tiny_data.DIRECTORY.rglob("*")
        if path.is_file()
    }
    assert there == made


def test_the_tiny_files_come_with_the_package() -> None:
    import tomllib

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["core.recipe"]
    root = Path(tiny_data.__file__).parent
    packed = {path for pattern in patterns for path in root.glob(pattern)}
    assert set(tiny_data.DIRECTORY.rglob("*.json*")) <= packed
    assert set(shipped_recipes().values()) <= packed
