"""What a phase starts from and what it leaves: the model built by the phase's method, and exported."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.artifacts.atomic import writable
from core.artifacts.seeds import derive_seed
from core.errors import RecipeError
from core.models.adapters import add_adapters, merge_adapters
from core.models.create import create_model, load_model, stop_tokens
from core.models.options import Model
from core.tokens.chat import exported_template
from core.training.optimizer import Optimizer
from core.training.options import Phase

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


@dataclass(frozen=True)
class Start:
    """The model before a phase: the previous phase's export, or for the first phase what the recipe declares."""

    declared: Model
    previous: Path | None
    seed: int

    def load(self, tokenizer: PreTrainedTokenizerFast, device: str = "cpu") -> PreTrainedModel:
        """The model in fp32."""
        if self.previous is None and self.declared.config is not None:
            return create_model(self.declared.config, tokenizer, self.seed).to(device)
        return _fitting(load_model(*self._name(), device=device), tokenizer)

    def load_four_bit(self, tokenizer: PreTrainedTokenizerFast, precision: Any, device: str) -> PreTrainedModel:
        """The model with its linear layers in 4-bit NormalFloat, computing in `precision`."""
        return _fitting(load_model(*self._name(), dtype=precision, quantization="nf4", device=device), tokenizer)

    def _name(self) -> tuple[str, str | None]:
        if self.previous is not None:
            return str(self.previous), None
        return str(self.declared.base), self.declared.revision


def _fitting(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """Raises RecipeError where the tokenizer has ids for which the model has no embedding."""
    known = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > known:
        raise RecipeError(
            f"model.tokenizer: {len(tokenizer)} entries, and the base model has embeddings for {known}; "
            "leave tokenizer out to use the model's own"
        )
    return model


def build_model(start: Start, phase: Phase, tokenizer: PreTrainedTokenizerFast, device: str) -> Any:
    """The model that a phase trains, with adapters where its method has them."""
    if phase.method == "full":
        return start.load(tokenizer, device)
    four_bit = phase.method == "qlora"
    model = start.load_four_bit(tokenizer, phase.precision, device) if four_bit else start.load(tokenizer, device)
    return add_adapters(model, phase.lora, derive_seed(start.seed, "adapters"))


def export_model(
    start: Start,
    phase: Phase,
    tokenizer: PreTrainedTokenizerFast,
    model: Any,
    optimizer: Optimizer,
    directory: Path,
) -> dict[str, int]:
    """Writes `model/`, a plain Hugging Face model with adapters merged in, and `adapter/` where there is one.

    Adapters are merged into the weights in full precision, never into 4-bit ones. The tokenizer beside the model
    carries the phase's chat template: the model is asked as it was trained.
    Returns the numbers of parameters and of trainable parameters.
    """
    temporary = directory / ".model"
    with writable(directory):
        whole = model
        if phase.method != "full":
            model.save_pretrained(directory / "adapter")
            weights = {name: parameter.detach().cpu() for name, parameter in optimizer.parameters.items()}
            whole = merge_adapters(start.load(tokenizer), phase.lora, weights)
        tokenizer.chat_template = exported_template(phase.data, tokenizer)
        whole.generation_config.eos_token_id = stop_tokens(tokenizer)
        whole.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        shutil.rmtree(directory / "model", ignore_errors=True)
        temporary.rename(directory / "model")
    return {
        "parameters": sum(parameter.numel() for parameter in whole.parameters()),
        "trainable_parameters": sum(parameter.numel() for parameter in optimizer.parameters.values()),
    }
