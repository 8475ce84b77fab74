"""The model that training starts from, where it has to be made first."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from core.errors import ResourceError
from core.models.create import create_model, load_model
from core.models.options import ModelConfig
from core.recipe.resolve import load_recipe
from core.tokens.tokenizer import load_tokenizer, train_tokenizer
from ray_jobs.base import SHALLOW, first_start, model_fingerprint, write_base
from ray_jobs.job import Job
from ray_jobs.progress import Reporter
from tests.ray_jobs.conftest import SMALL
from tests.tokens.conftest import text_documents

CONFIG = ModelConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4)
NO_CONFIG = ("model.config=null", "model.tokenizer=null")
IDS = torch.arange(3, 40)[None]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(lambda: [text_documents(["some words to learn from " * 20])], 400, 10_000)


def job(directory: Path, *overrides: str) -> Job:
    recipe = directory / "small.yaml"
    recipe.write_text(SMALL)
    resolved = load_recipe(str(recipe), None, list(overrides))
    return Job(resolved, directory / "run", None, Reporter())  # type: ignore[arg-type]


def logits(model):
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


def test_an_extended_base_computes_what_the_base_does_and_is_made_once(tokenizer, tmp_path, capsys):
    base = create_model(CONFIG, tokenizer, seed=1)
    base.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "run/tokenize/tokenizer")
    wanted = [*NO_CONFIG, f"model.base={tmp_path}/base", "model.extend={blocks: [0, 0, 1, 1], identity: true}"]
    directory, fingerprint = first_start(job(tmp_path, *wanted), [])
    assert directory == tmp_path / "run/base/model"
    model = load_model(directory)
    assert model.config.num_hidden_layers == 4
    torch.testing.assert_close(logits(model), logits(base), rtol=0, atol=1e-6)
    assert load_tokenizer(directory).get_vocab() == tokenizer.get_vocab()  # the recipe's
    made = (directory / "model.safetensors").stat().st_mtime_ns
    assert first_start(job(tmp_path, *wanted), []) == (directory, fingerprint)
    assert "base: made earlier" in capsys.readouterr().err
    assert (directory / "model.safetensors").stat().st_mtime_ns == made


def test_a_declared_model_is_made_and_then_extended(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path / "run/tokenize/tokenizer")
    made = job(tmp_path, "model.extend.blocks=[0, 1, 1]")
    write_base(made.recipe, tmp_path / "run/tokenize/tokenizer", tmp_path / "run/base" / SHALLOW)  # of a try cut off
    directory, _ = first_start(made, [])
    deep, shallow = load_model(directory), create_model(made.recipe.model.config, tokenizer, made.recipe.seed)
    for number, block in enumerate([0, 1, 1]):
        for name, weight in shallow.model.layers[block].state_dict().items():
            assert torch.equal(deep.model.layers[number].state_dict()[name], weight)
    assert sorted(path.name for path in directory.parent.iterdir()) == ["manifest.json", "model", "stage.json"]
    assert (directory / "tokenizer.json").exists()


def test_without_an_extension_nothing_is_made(tmp_path):
    plain = job(tmp_path)
    assert first_start(plain, []) == (None, model_fingerprint(plain.recipe))
    assert not (tmp_path / "run").exists()


def test_a_base_that_is_not_there_is_refused(tmp_path):
    nowhere = job(tmp_path, *NO_CONFIG, "model.base=nobody/nothing", "model.extend.blocks=[0, 0]")
    with pytest.raises(ResourceError, match=r"model nobody/nothing: cannot be loaded .*HF_HUB_OFFLINE"):
        first_start(nowhere, [])
