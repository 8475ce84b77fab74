"""What a recipe says about tokens: the tokenizer, and how a phase's documents become samples."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from core.documents.fields import Role
from core.options import Options

ChatTemplate = Literal["chatml", "llama2", "mistral", "alpaca", "birbal", "tokenizer"]


class TrainedTokenizer(Options):
    """Byte-level BPE (Sennrich et al. 2016, over bytes as in GPT-2), trained on the curated documents."""

    vocabulary: int = Field(4096, ge=300, description="Entries, special tokens and the 256 bytes included.")
    sources: list[str] | None = Field(None, description="Train on these sources' documents; none: on all.")
    characters: int = Field(20_000_000, ge=1, description="Train on about this many characters, taken evenly.")


class Tokenizer(Options):
    """Exactly one of `name` and `train`."""

    name: str | None = Field(None, description="Hugging Face name, or a directory.")
    revision: str | None = Field(None, description="Commit, tag or branch of `name` on the hub.")
    train: TrainedTokenizer | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.name is None) == (self.train is None):
            raise ValueError("give either name (an existing tokenizer) or train (a new one)")
        if self.revision is not None and self.name is None:
            raise ValueError("revision goes with name")
        return self


class PhaseData(Options):
    """Which documents a training phase learns from, and how they become token sequences."""

    sources: list[str] = Field(min_length=1, description="Names under data.sources.")
    sequence_length: int = Field(2048, ge=8, description="Tokens in a packed row.")
    packing: bool = Field(True, description="Several samples in a row, each seeing only itself; false: one a row.")
    chat_template: ChatTemplate = Field(
        "chatml",
        description="How dialogues and preference pairs are written: chatml, llama2, mistral (7B-Instruct v0.1, v0.2), "
        "alpaca, birbal, or the tokenizer's own Jinja template. The trained model carries it.",
    )
    system_prompt: str | None = Field(
        None, min_length=1, description="Put before dialogues and pairs that have no system turn."
    )
    learn_roles: list[Role] = Field(
        ["assistant"], min_length=1, description="Whose turns of a dialogue are learned, each with its end."
    )
    learn_turns: Literal["all", "last"] = Field(
        "all", description="Of the turns of those roles, all, or only the last one of each dialogue."
    )
    validation: int = Field(0, ge=0, description="Documents held out of training for the validation loss.")

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        for name, values in (("sources", self.sources), ("learn_roles", self.learn_roles)):
            if len(set(values)) != len(values):
                raise ValueError(f"{name} names one more than once: {', '.join(values)}")
        return self
