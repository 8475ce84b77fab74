from __future__ import annotations

import shutil

import pytest

from core.models.adapters import add_adapters
from core.models.create import create_model
from core.models.options import Lora, ModelConfig
from core.planning.disk import adapter_count, bytes_on_disk, parameter_count, too_little_room
from core.training.phase import export_model
from tests.tokens.conftest import text_documents
from tests.training.conftest import TINY, phase


@pytest.fixture(scope="module")
def tokenizer():
    from core.tokens.tokenizer import train_tokenizer

    return train_tokenizer(lambda: [text_documents(["some words to learn from " * 20])], 400, 10_000)


@pytest.mark.parametrize("architecture", ["mistral", "llama", "qwen2"])
@pytest.mark.parametrize("tied", [True, False])
def test_counted_parameters_are_those_of_the_model(tokenizer, architecture, tied):
    config = ModelConfig(**TINY, architecture=architecture, tie_word_embeddings=tied)
    model = create_model(config, tokenizer, seed=1)
    assert parameter_count(config, len(tokenizer)) == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("embeddings", [True, False])
def test_counted_adapters_are_those_that_train(tokenizer, embeddings):
    config, lora = ModelConfig(**TINY), Lora(rank=4, train_embeddings=embeddings)
    model = add_adapters(create_model(config, tokenizer, seed=1), lora, seed=1)
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert adapter_count(config, lora, len(tokenizer)) == trained


def test_the_disk_asked_for_is_what_a_phase_writes(material, tmp_path):
    from core.models.options import Model
    from core.tokens.options import Tokenizer, TrainedTokenizer
    from core.training.phase import Start

    run = material.run(tmp_path, {"max_steps": 1})
    engine = run.train().engine
    declared = Model(config=ModelConfig(**TINY), tokenizer=Tokenizer(train=TrainedTokenizer()))
    counts = export_model(Start(declared, None, 1), run.options, material.tokenizer, run.model, engine, tmp_path)
    written = sum(path.stat().st_size for path in tmp_path.glob("checkpoints/*/*.safetensors"))
    model = (tmp_path / "model" / "model.safetensors").stat().st_size
    keep = run.options.checkpoints.keep
    estimate = bytes_on_disk(phase(), counts["parameters"], counts["trainable_parameters"])
    assert estimate == pytest.approx((keep + 1) * written + 2 * model, rel=0.1)


def test_too_little_room_is_told_and_what_is_written_counts_as_room(tmp_path, monkeypatch):
    need = bytes_on_disk(phase(), 1000, 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(need, 100, need - 100))
    directory = tmp_path / "train" / "sft"
    assert "GB free" in str(too_little_room(phase(), 1000, 1000, directory))
    (directory / "checkpoints").mkdir(parents=True)
    (directory / "checkpoints" / "part").write_bytes(bytes(99))
    assert too_little_room(phase(), 1000, 1000, directory) is not None
    (directory / "checkpoints" / "part").write_bytes(bytes(100))
    assert too_little_room(phase(), 1000, 1000, directory) is None
