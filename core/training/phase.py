"""What a phase starts from and what it leaves: the model built by the phase's method, and exported."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import orjson

from core.artifacts.atomic import writable, write_json
from core.artifacts.seeds import derive_seed
from core.errors import RecipeError
from core.models.adapters import add_adapters, with_adapters
from core.models.create import create_model, load_model, stop_tokens, transformers_config
from core.models.options import Model
from core.tokens.chat import exported_template
from core.training.engine import Engine, World
from core.training.options import Phase
from core.training.zero import sharded_loading

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


@dataclass(frozen=True)
class Start:
    """The model before a phase: the previous phase's export, or for the first phase what the recipe declares."""

    declared: Model
    previous: Path | None
    seed: int

    def load(
        self,
        tokenizer: PreTrainedTokenizerFast,
        device: str = "cpu",
        precision: Literal["fp32", "bf16"] = "fp32",
        quantization: Literal["nf4"] | None = None,
    ) -> PreTrainedModel:
        """The model; quantization nf4: with its linear layers in 4-bit NormalFloat, computing in `precision`."""
        attention = self.declared.attention
        if self.previous is None and self.declared.config is not None:
            return create_model(self.declared.config, tokenizer, self.seed, attention).to(device)
        model = load_model(
            *self._name(), dtype=precision, quantization=quantization, device=device, attention=attention
        )
        return _fitting(model, tokenizer)

    def outline(self, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
        """The model without its weights, on torch's meta device."""
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM

        if self.previous is None and self.declared.config is not None:
            config = transformers_config(self.declared.config, len(tokenizer))
        else:
            name, revision = self._name()
            config = AutoConfig.from_pretrained(name, revision=revision)
        with torch.device("meta"):
            model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
        return model

    def _name(self) -> tuple[str, str | None]:
        if self.previous is not None:
            return str(self.previous), None
        return str(self.declared.base), self.declared.revision


def _fitting(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """Raises RecipeError where the tokenizer has ids for which the model has no embedding."""
    known = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > known:
        raise RecipeError(
            f"model.tokenizer: {len(tokenizer)} entries, and the base model has embeddings for {known}; "
            "leave tokenizer out to use the model's own"
        )
    return model


def _long_enough(model: PreTrainedModel, phase: Phase) -> PreTrainedModel:
    """Raises RecipeError where rows are longer than the model; of one on a hub it is not known before."""
    length, longest = phase.data.sequence_length, getattr(model.config, "max_position_embeddings", None)
    if longest is not None and length > longest:
        raise RecipeError(f"data.sequence_length: {length} tokens, expected at most the model's {longest}")
    return model


def build_model(start: Start, phase: Phase, tokenizer: PreTrainedTokenizerFast, world: World) -> Any:
    """The model that a phase trains, with adapters where its method has them.

    Weights that are trained are fp32, those under adapters in the phase's precision, those of qlora in 4 bits. At ZeRO
    stage 3 each worker loads its share alone. Raises RecipeError where tokenizer or rows do not fit the model.
    """
    with sharded_loading(phase, world):
        if phase.method == "full":
            return _long_enough(start.load(tokenizer, world.device), phase)
        quantization: Literal["nf4"] | None = "nf4" if phase.method == "qlora" else None
        model = _long_enough(start.load(tokenizer, world.device, phase.precision, quantization), phase)
    return add_adapters(model, phase.lora, derive_seed(start.seed, "adapters"))


def export_model(
    start: Start, phase: Phase, tokenizer: PreTrainedTokenizerFast, model: Any, engine: Engine, directory: Path
) -> dict[str, int]:
    """Writes `model/`, a plain Hugging Face model with adapters merged in, and `adapter/` where there is one.

    Every worker calls it; rank 0 writes. Adapters are merged into the weights in full precision, never into 4-bit ones.
    The tokenizer beside the model carries the phase's chat template: the model is asked as it was trained.
    Returns the numbers of parameters and of trainable parameters.
    """
    weights = dict(engine.weights())
    if engine.world.rank:
        return {}
    trained = sum(tensor.numel() for tensor in weights.values())
    temporary = directory / ".model"
    with writable(directory):
        whole = model
        if phase.method != "full":
            whole = with_adapters(start.load(tokenizer), phase.lora, weights)
            whole.save_pretrained(directory / "adapter")
            whole = whole.merge_and_unload()
            weights = whole.state_dict()
        tokenizer.chat_template = exported_template(phase.data, tokenizer)
        whole.generation_config.eos_token_id = stop_tokens(tokenizer)
        whole.save_pretrained(temporary, state_dict=weights)
        _say_fp32(temporary / "config.json")
        tokenizer.save_pretrained(temporary)
        for made in (temporary, directory / "adapter"):
            for weights_file in made.glob("*.safetensors"):
                weights_file.chmod(0o644)  # safetensors makes them the user's alone
        shutil.rmtree(directory / "model", ignore_errors=True)
        temporary.rename(directory / "model")
    parameters = trained if phase.method == "full" else sum(p.numel() for p in whole.parameters())
    return {"parameters": parameters, "trainable_parameters": trained}


def _say_fp32(config: Path) -> None:
    """What is exported is fp32, whatever the model was trained in."""
    said = orjson.loads(config.read_bytes())
    write_json(config, said | {"dtype": "float32"})
