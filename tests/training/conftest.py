"""A tiny model and a few hundred packed rows, made in front of the reader."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.models.adapters import add_adapters
from core.models.create import create_model
from core.models.options import ModelConfig
from core.tokens.options import PhaseData
from core.tokens.samples import make_samples
from core.tokens.shards import TokenRows, write_rows
from core.tokens.tokenizer import train_tokenizer
from core.training.engine import World
from core.training.options import Phase
from core.training.trainer import Run
from tests.tokens.conftest import dialogues

TINY = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}


@dataclass
class Material:
    """What a training test needs."""

    tokenizer: Any
    rows: TokenRows
    validation: TokenRows

    def model(self, **config: Any) -> Any:
        return create_model(ModelConfig(**(TINY | config)), self.tokenizer, seed=1)

    def adapted(self, options: dict[str, Any]) -> Any:
        """The model with the adapters that a phase of these options asks for."""
        settings = phase(**options)
        return self.model() if settings.method == "full" else add_adapters(self.model(), settings.lora, seed=2)

    def run(self, directory: Path, options: dict[str, Any], model: Any = None, on_report: Any = None) -> Run:
        directory.mkdir(parents=True, exist_ok=True)
        return Run(
            model=model if model is not None else self.model(),
            rows=self.rows,
            validation=self.validation,
            options=phase(**options),
            world=World(),
            seed=3,
            padding=self.tokenizer.pad_token_id,
            directory=directory,
            fingerprint="f",
            on_report=on_report or (lambda values: None),
        )


def phase(**changes: Any) -> Phase:
    """A phase's settings for tiny models."""
    data = PhaseData(sources=["d"], sequence_length=128)
    settings = {"data": data, "epochs": 1, "global_batch_size": 8, "micro_batch_size": 4, "learning_rate": 1e-3}
    settings |= {"log_every_steps": 1}
    settings |= changes
    if "max_steps" in changes:
        settings.pop("epochs", None)
    return Phase(**settings)


@pytest.fixture(scope="session")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    random = np.random.default_rng(0)
    words = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"]
    turns = []
    for _ in range(400):
        chosen = [words[index] for index in random.integers(0, 10, random.integers(2, 12))]
        turns.append([("user", "Reverse: " + " ".join(chosen)), ("assistant", " ".join(reversed(chosen)))])
    documents = dialogues(turns)
    tokenizer = train_tokenizer(lambda: [documents], vocabulary=400, characters=100_000)
    directory = tmp_path_factory.mktemp("rows")
    loaded = []
    for name, part in (("train", documents.slice(0, 360)), ("validation", documents.slice(360))):
        samples, _ = make_samples(part, tokenizer, PhaseData(sources=["d"], sequence_length=128))
        path = directory / f"{name}-00000.arrow"
        write_rows(samples, path, 128, packing=True)
        loaded.append(TokenRows([path]))
    return Material(tokenizer, *loaded)
