from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import RecipeError, ResourceError
from core.models.create import create_model
from core.models.options import DepthExtension, Lora, Model, ModelConfig
from core.planning.disk import adapter_count, parameter_count
from core.planning.shape import shape_of
from core.recipe.resolve import load_recipe
from core.tokens.options import Tokenizer, TrainedTokenizer
from core.training.throughput import FlopCount
from tests.training.conftest import TINY, Material, phase


# Parameters as the models' pages on the hub give them.
@pytest.mark.parametrize(
    ("base", "parameters"),
    [
        ("mistralai/Mistral-7B-v0.1", 7_241_732_096),
        ("meta-llama/Llama-2-7b-hf", 6_738_415_616),
        ("jondurbin/bagel-34b-v0.2", 34_388_917_248),
        ("moreh/MoMo-72B-lora-1.8.7-DPO", 72_288_000_000),  # 72.3B
    ],
)
def test_shipped_recipes_models_have_the_published_numbers_of_parameters(base: str, parameters: int) -> None:
    exact = 0.0 if parameters % 1_000_000 else 2e-4
    assert shape_of(Model(base=base), phase()).parameters == pytest.approx(parameters, rel=exact)


def test_an_extended_model_has_the_blocks_more() -> None:
    recipe = load_recipe("moxin-7b").recipe
    shape = shape_of(recipe.model, recipe.train["pretrain_2k"])
    block = 218_112_000  # of Mistral-7B's 32: (7,241,732,096 - 2 x 32,000 x 4,096 - 4,096) / 32
    assert shape.blocks == 36
    assert shape.parameters == 7_241_732_096 + 4 * block
    assert shape.parameters / 1e9 == pytest.approx(8.1, abs=0.05)  # "8.11B" on Moxin's page


def test_a_model_from_a_configuration_is_counted_as_it_is_made(material: Material) -> None:
    vocabulary = len(material.tokenizer)
    tokenizer = Tokenizer(train=TrainedTokenizer(vocabulary=vocabulary))
    config = ModelConfig(**TINY)
    made = create_model(config, material.tokenizer, seed=1)
    shape = shape_of(Model(config=config, tokenizer=tokenizer), phase())
    assert shape.parameters == shape.trained == sum(each.numel() for each in made.parameters())
    assert shape.parameters == parameter_count(config, vocabulary)
    assert shape.flops == FlopCount.of_model(made)
    assert shape.in_blocks == 0  # none is frozen
    deeper = Model(config=config, tokenizer=tokenizer, extend=DepthExtension(blocks=[0, 1, 1]))
    assert shape_of(deeper, phase()).blocks == 3


@pytest.mark.parametrize("embeddings", [True, False])
def test_adapters_are_counted_and_what_is_under_them(material: Material, embeddings: bool) -> None:
    vocabulary = len(material.tokenizer)
    config, lora = ModelConfig(**TINY), Lora(rank=4, train_embeddings=embeddings)
    declared = Model(config=config, tokenizer=Tokenizer(train=TrainedTokenizer(vocabulary=vocabulary)))
    shape = shape_of(declared, phase(method="qlora", lora=lora))
    assert shape.trained == adapter_count(config, lora, vocabulary)
    block = 2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64
    assert shape.in_blocks == 2 * block
    assert shape.flops == FlopCount.of_model(material.adapted({"method": "lora", "lora": lora}))


def test_a_model_in_a_directory_is_read_there(material: Material, tmp_path: Path) -> None:
    material.model().save_pretrained(tmp_path)
    shape = shape_of(Model(base=str(tmp_path)), phase())
    assert shape.parameters == sum(each.numel() for each in material.model().parameters())


def test_a_model_that_cannot_be_had_is_told(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"model\.base: the configuration of some/model cannot be had"):
        shape_of(Model(base="some/model"), phase())
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ResourceError, match="cannot be had"):
        shape_of(Model(base=str(tmp_path)), phase())
    (tmp_path / "config.json").write_text('{"model_type": "t5"}')
    with pytest.raises(RecipeError, match="is no causal language model"):
        shape_of(Model(base=str(tmp_path)), phase())


def test_blocks_that_the_model_has_not_are_told() -> None:
    deeper = Model(base="mistralai/Mistral-7B-v0.1", extend=DepthExtension(blocks=[0, 40]))
    with pytest.raises(RecipeError, match=r"model\.extend\.blocks: found block 40; expected blocks from 0 to 31"):
        shape_of(deeper, phase())
