"""What training needs is looked at before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import RecipeError, ResourceError
from core.recipe.resolve import load_recipe
from ray_jobs.job import Job
from ray_jobs.progress import Reporter
from ray_jobs.train import check_training
from tests.ray_jobs.conftest import SMALL


class Cluster:
    """A Ray with these resources."""

    def __init__(self, **resources: float) -> None:
        self._resources = resources

    def require(self) -> dict[str, float]:
        return self._resources


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
