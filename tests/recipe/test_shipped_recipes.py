"""The shipped recipes say what the systems that they carry out published."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.models.extend import extended_config
from core.models.options import ModelConfig
from core.planning.disk import parameter_count
from core.recipe import tiny_data
from core.recipe.loading import shipped_recipes
from core.recipe.problems import InvalidRecipe
from core.recipe.resolve import check_recipe, load_recipe
from core.recipe.schema import Recipe, Step

PUBLISHED = [
    "birbal-200k",
    "birbal-400k",
    "birbal-700k",
    "goat-7b",
    "goat-7b-refusals",
    "moxin-7b",
    "smaug-34b",
    "smaug-72b",
]
MOXIN_PHASES = ["pretrain_2k", "pretrain_4k", "capability", "sft"]


def recipe(name: str, scale: str | None = None) -> Recipe:
    return load_recipe(name, scale).recipe


def values(of: object, *names: str) -> tuple[object, ...]:
    """Fields of options by their names, joined by dots where they are nested."""
    found = []
    for name in names:
        value = of
        for part in name.split("."):
            value = getattr(value, part)
        found.append(value)
    return tuple(found)


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


def test_birbals_sampling_is_the_papers() -> None:
    sampling = step(recipe("birbal-200k"), "sample_by_score")
    assert sampling.generation.edges == [0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]  # type: ignore[attr-defined]
    assert sampling.generation.shares == [0.4] + [0.1] * 6  # type: ignore[attr-defined]
    assert sampling.exact_match.quotas == [350, 350, 300, 300, 250, 250, 200, 150, 100, 50]  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["birbal-200k", "birbal-400k", "birbal-700k"])
def test_birbals_training_is_section_3_4s(name: str) -> None:
    found = recipe(name)
    assert found.model.base == "mistralai/Mistral-7B-v0.1"
    assert list(found.train) == ["sft"]
    phase = found.train["sft"]
    assert values(phase, "method", "lora.rank", "lora.alpha", "lora.dropout") == ("qlora", 128, 256, 0.05)
    linear = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert set(phase.lora.target_modules) == linear
    assert not phase.lora.train_embeddings
    assert values(phase, "optimizer", "neftune_alpha", "zero_stage") == ("paged_adamw_32bit", 5, 0)
    assert values(phase, "micro_batch_size", "global_batch_size") == (2, 2 * 3)
    assert values(phase, "learning_rate", "schedule", "min_learning_rate_ratio") == (2e-5, "cosine", 0)
    assert values(phase, "warmup_steps", "weight_decay", "max_gradient_norm") == (100, 0.01, 0.3)
    assert values(phase, "precision", "gradient_checkpointing", "preference") == ("bf16", True, None)
    assert values(phase.data, "sequence_length", "packing", "validation") == (8192, True, 2000)
    assert values(phase.data, "chat_template", "learn_roles") == ("birbal", ["assistant"])
    assert values(phase, "checkpoints.every_steps", "checkpoints.keep", "validate_every_steps") == (64, 10, 64)
    assert phase.checkpoints.export == "best"


@pytest.mark.parametrize(
    ("name", "phases"), [("goat-7b", ["sft"]), ("goat-7b-refusals", ["with_refusals", "without_refusals"])]
)
def test_goats_training_is_that_of_its_post(name: str, phases: list[str]) -> None:
    found = recipe(name)
    assert values(found.model, "base", "attention") == ("meta-llama/Llama-2-7b-hf", "sdpa")
    assert list(found.train) == phases
    for phase in found.train.values():
        assert values(phase, "method", "zero_stage", "cpu_offload") == ("full", 3, False)
        assert values(phase, "precision", "gradient_checkpointing", "preference") == ("bf16", True, None)
        assert values(phase, "global_batch_size", "epochs", "max_steps") == (512, 1, None)
        assert values(phase, "optimizer", "learning_rate", "beta1", "beta2") == ("adamw", 1e-4, 0.9, 0.999)
        assert values(phase, "warmup_ratio", "warmup_steps") == (0.07, None)
        assert values(phase, "checkpoints.every_epochs", "checkpoints.every_steps") == (0.5, None)
        assert values(phase.data, "sequence_length", "chat_template") == (4096, "llama2")
    assert values(found.resources, "workers", "device") == (8, "gpu")
    assert found.evaluate is not None
    assert found.evaluate.tasks == ["goat"]


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


@pytest.mark.parametrize(
    ("name", "base"), [("smaug-34b", "jondurbin/bagel-34b-v0.2"), ("smaug-72b", "moreh/MoMo-72B-lora-1.8.7-DPO")]
)
def test_smaugs_loss_and_pairs_are_the_papers(name: str, base: str) -> None:
    found = recipe(name)
    assert found.model.base == base
    assert list(found.train) == ["dpop"]
    phase = found.train["dpop"]
    assert phase.preference is not None
    assert values(phase.preference, "beta", "dpop_lambda") == (0.3, 50)
    assert values(phase, "learning_rate", "epochs", "data.chat_template") == (5e-5, 1, "llama2")
    assert values(phase, "method", "zero_stage", "global_batch_size") == ("lora", 3, 32)
    assert {"arc", "hellaswag", "metamath"} <= set(phase.data.sources)
    assert found.data.mixture is not None
    assert found.data.mixture["metamath"] == 393_999 + 1_000


def test_moxins_model_is_mistral_with_four_blocks_more() -> None:
    model = recipe("moxin-7b").model
    assert model.base == "mistralai/Mistral-7B-v0.1"
    assert model.extend is not None
    blocks = model.extend.blocks
    assert (len(blocks), list(dict.fromkeys(blocks)), blocks) == (36, list(range(32)), sorted(blocks))
    mistral = ModelConfig(
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        sliding_window=4096,
    )
    assert parameter_count(mistral, 32_000) == 7_241_732_096  # as its card has it
    assert parameter_count(extended_config(mistral, model.extend), 32_000) == 8_114_180_096


def test_moxins_curation_is_that_of_section_3_2() -> None:
    found = recipe("moxin-7b")
    assert [step.kind for step in found.data.steps] == [
        "length",
        "exact_dedup",
        "minhash_dedup",
        "minhash_dedup",
        "quality",
    ]
    length, _, text, code, quality = (step.options for step in found.data.steps)
    assert values(length, "sources", "min_letters") == (["slimpajama"], 200)
    assert values(text, "ngram", "threshold", "verify", "across_sources") == (13, 0.8, True, True)
    assert values(code, "permutations", "threshold", "verify", "linkage") == (256, 0.85, True, "representative")
    assert values(quality, "sources", "top_fraction") == (["dclm"], 0.1)
    assert set(quality.train.positive) == {"openhermes", "eli5"}


def test_moxins_training_is_that_of_section_3_3_in_three_phases_and_3_4() -> None:
    found = recipe("moxin-7b")
    assert list(found.train) == MOXIN_PHASES
    assert [phase.data.sequence_length for phase in found.train.values()] == [2048, 4096, 4096, 4096]
    tokens = 0
    for phase in found.train.values():
        assert values(phase, "method", "optimizer", "starts_from") == ("full", "adamw", None)
        assert values(phase, "beta1", "beta2", "epsilon", "weight_decay") == (0.9, 0.95, 1e-8, 0.1)
        assert values(phase, "learning_rate", "schedule", "min_learning_rate_ratio") == (2e-6, "cosine", 0.1)
        assert values(phase, "max_gradient_norm", "zero_stage", "cpu_offload") == (1.0, 2, True)
        assert phase.preference is None
        tokens += (phase.max_steps or 0) * phase.global_batch_size * phase.data.sequence_length
    assert 2.0e12 < tokens < 2.2e12  # "over 2T"
    for name in MOXIN_PHASES[:2]:
        assert values(found.train[name], "global_batch_size", "warmup_steps") == (512, 2000)
        assert found.train[name].data.sources == ["slimpajama", "dclm", "stack"]
    benchmarks = found.train["capability"].data.sources
    assert {"mmlu", "hellaswag"} <= set(benchmarks)
    for name in benchmarks:
        data = found.data.sources[name].capability_data
        assert data is not None
        assert (data.benchmark, data.form) == (name, "text")
    assert found.data.sources["tulu"].dataset == "allenai/tulu-v2-sft-mixture"
    assert found.train["sft"].data.sources == ["tulu"]
    assert found.evaluate is not None
    assert found.evaluate.tasks == ["moxin_zero_shot", "moxin_few_shot"]


def test_blocks_that_the_base_has_not_are_found_when_the_recipe_is_checked() -> None:
    [problem] = check_recipe("moxin-7b", "tiny", ["model.extend.blocks=[0,1,2,3,36]"])
    assert (problem.key, problem.where) == ("model.extend.blocks", "command line")
    assert (problem.found, problem.expected) == ("block 36", "blocks from 0 to 3: the model has 4")
    with pytest.raises(InvalidRecipe, match="found no block 3; expected each of the model's 4 blocks"):
        load_recipe("moxin-7b", "tiny", ["model.extend.blocks=[0,1,2,2]"])


def test_the_depth_of_a_local_base_is_known_too(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"num_hidden_layers": 3, "max_position_embeddings": 4096}')
    problems = check_recipe("moxin-7b", None, [f"model.base={tmp_path}"])
    assert [problem.found for problem in problems] == ["block 3"]


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_tiny_run_takes_the_same_steps_in_the_same_order(name: str) -> None:
    whole, tiny = recipe(name), recipe(name, "tiny")
    assert [step.kind for step in tiny.data.steps] == [step.kind for step in whole.data.steps]
    assert list(map(settings, tiny.data.steps)) == list(map(settings, whole.data.steps))
    assert set(whole.train) <= set(tiny.train)
    assert (tiny.model.extend is None) == (whole.model.extend is None)
    same = ["method", "preference", "optimizer", "neftune_alpha", "schedule", "min_learning_rate_ratio", "cpu_offload"]
    same += ["weight_decay", "beta1", "max_gradient_norm", "checkpoints.export", "data.chat_template", "data.sources"]
    for phase in whole.train:
        assert values(tiny.train[phase], *same) == values(whole.train[phase], *same)
        assert tiny.train[phase].zero_stage == (0 if name == "goat-7b-refusals" else whole.train[phase].zero_stage)
    assert all(not source.dataset and "://" not in str(source.files) for source in tiny.data.sources.values())


def settings(step: Step) -> dict[str, object]:
    """A step's settings, but for where a classifier's examples lie: the names of their sources remain."""
    found: dict[str, object] = step.options.model_dump()
    if step.kind == "quality":
        examples = step.options.train
        found["train"] = {"positive": list(examples.positive), "negative": list(examples.negative)}
    return found


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
