"""What training needs is looked at before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.errors import RecipeError, ResourceError
from core.models.create import create_model
from core.models.options import Model, ModelConfig
from core.recipe.resolve import load_recipe
from core.tokens.options import PhaseData
from core.tokens.tokenizer import load_tokenizer, train_tokenizer
from core.training.engine import World
from core.training.options import Phase
from core.training.phase import Start, build_model
from ray_jobs.job import Job
from ray_jobs.progress import Reporter
from ray_jobs.train import check_training
from tests.ray_jobs.conftest import SMALL
from tests.tokens.conftest import TEXTS, text_documents


class Cluster:
    """A Ray with these resources."""

    def __init__(self, **resources: float) -> None:
        self._resources = resources

    def nodes(self) -> list[dict[str, float]]:
        return [self._resources]


def check(directory: Path, cluster: Cluster, *overrides: str) -> None:
    recipe = directory / "small.yaml"
    recipe.write_text(SMALL)
    asked = ["resources.device=auto", "resources.workers=auto", *overrides]
    check_training(Job(load_recipe(str(recipe), None, asked), directory, cluster, Reporter()))  # type: ignore[arg-type]


@pytest.mark.parametrize("attention", ["flash_attention_2", "flex_attention"])
def test_attention_that_needs_gpus_is_refused_where_the_cluster_has_none(tmp_path, attention):
    with pytest.raises(ResourceError, match=rf"model\.attention: {attention} .*GPUs only.*take model\.attention=sdpa"):
        check(tmp_path, Cluster(CPU=4), f"model.attention={attention}")
    check(tmp_path, Cluster(CPU=4), "model.attention=eager")


def test_attention_that_needs_gpus_passes_where_the_workers_have_them(tmp_path):
    check(tmp_path, Cluster(CPU=4, GPU=2), "model.attention=flex_attention")
    with pytest.raises(ResourceError, match="GPUs only"):
        check(tmp_path, Cluster(CPU=4, GPU=2), "model.attention=flex_attention", "resources.device=cpu")
    with pytest.raises(RecipeError, match="computes in bf16, found precision: fp32"):
        check(tmp_path, Cluster(CPU=4, GPU=2), "model.attention=flash_attention_2")


@pytest.mark.parametrize(
    ("cluster", "asked", "told"),
    [
        ({"CPU": 4}, "resources.device=gpu", r"resources\.device: gpu, but Ray sees no GPU; take device: cpu"),
        (
            {"CPU": 1},
            "resources.workers=2",
            r"2 are asked for, .* room for 1 workers of 1 CPUs; take .*workers=1",
        ),
        ({"CPU": 4, "GPU": 1}, "resources.workers=2", r"2 are asked for, .* room for 1 workers of a GPU and 1"),
        ({"CPU": 1, "GPU": 8}, "resources.workers=2", r"2 are asked for, .* room for 1 workers of a GPU and 1"),
        ({"CPU": 2}, "resources.cpus_per_worker=3", r"no worker of 3 CPUs fits on a node"),
    ],
)
def test_workers_that_the_cluster_has_no_room_for_are_told_before_anything_starts(tmp_path, cluster, asked, told):
    with pytest.raises(ResourceError, match=told):
        check(tmp_path, Cluster(**cluster), asked)


def test_what_is_trained_already_needs_no_cluster(tmp_path):
    for name in ("pretrain", "sft"):
        (tmp_path / "train" / name).mkdir(parents=True)
        (tmp_path / "train" / name / "manifest.json").write_text("{}")
    check(tmp_path, Cluster(), "resources.device=gpu")


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """A model of 300 entries and 64 positions, with its tokenizer."""
    tokenizer = train_tokenizer(lambda: [text_documents(TEXTS)], vocabulary=300, characters=10_000)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    directory = tmp_path_factory.mktemp("base")
    model = create_model(ModelConfig(**sizes, max_position_embeddings=64), tokenizer, seed=1)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def build(base: Path, tokenizer: Any, sequence_length: int) -> Any:
    phase = Phase(data=PhaseData(sources=["s"], sequence_length=sequence_length), max_steps=1)
    return build_model(Start(Model(base=str(base)), None, 0), phase, tokenizer, World())


def test_a_tokenizer_with_more_entries_than_the_base_has_embeddings_is_refused(base):
    larger = train_tokenizer(lambda: [text_documents(TEXTS)], vocabulary=310, characters=10_000)
    with pytest.raises(RecipeError, match="310 entries, and the base model has embeddings for 300"):
        build(base, larger, 64)
    assert build(base, load_tokenizer(base), 64).get_input_embeddings().num_embeddings == 300


def test_sequences_longer_than_the_base_are_refused(base):
    with pytest.raises(RecipeError, match=r"data\.sequence_length: 65 tokens, .* at most the model's 64"):
        build(base, load_tokenizer(base), 65)
