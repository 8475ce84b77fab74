"""Few-shot scoring by vLLM, through Ray Data's own LLM processor (ray.data.llm): for clusters with GPUs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ray_jobs.infer import STOP, Piece, Scoring, write_piece
from ray_jobs.job import Job


def processor_config(scoring: Scoring, length: int | None, gpus: int) -> dict[str, Any]:
    """The keywords of `ray.data.llm.vLLMEngineProcessorConfig`: greedy, prompts as they are, an engine on each GPU.

    length: of the model, in tokens.
    """
    model = scoring.recipe.model
    engine: dict[str, Any] = {"enable_prefix_caching": True, "trust_remote_code": False, "seed": 0}
    if model.revision is not None:
        engine["revision"] = model.revision
    if length is not None:
        engine["max_model_len"] = length
    return {
        "model_source": model.base,
        "engine_kwargs": engine,
        "concurrency": max(1, gpus),
        "batch_size": scoring.options.batch_size,
        "chat_template_stage": False,
        "tokenize_stage": False,
        "detokenize_stage": False,
    }


def rows_of(number: int, piece: Piece, scoring: Scoring, length: int | None) -> list[dict[str, Any]]:
    """What the processor is given of a piece, a row for each prompt that fits: its piece, place and text.

    asked: how many rows the piece has.
    """
    longest = scoring.longest_prompt(length)
    prompts, tokens = scoring.prompts(piece, scoring.tokenizer(), longest)
    sampling = {"temperature": 0.0, "max_tokens": scoring.options.max_new_tokens, "stop": [STOP]}
    fitting = [place for place, ids in enumerate(tokens) if len(ids) <= longest]
    texts = prompts["prompt"].to_pylist()
    return [
        {"piece": number, "place": place, "asked": len(fitting), "prompt": texts[place], "sampling_params": sampling}
        for place in fitting
    ]


class Collected:
    """Texts as they come back, in any order; a piece of which all are there is written."""

    def __init__(self, scoring: Scoring, pieces: Sequence[Piece], length: int | None) -> None:
        self._scoring, self._pieces, self._length = scoring, pieces, length
        self._texts: dict[int, dict[int, str]] = {}
        self._left = set(range(len(pieces)))

    def take(self, row: dict[str, Any]) -> int:
        """Notes a text. Returns the instances of the piece that it completes, else 0."""
        texts = self._texts.setdefault(row["piece"], {})
        texts[row["place"]] = row["generated_text"]
        return self._write(row["piece"]) if len(texts) == row["asked"] else 0

    def close(self) -> int:
        """Writes the pieces of which no prompt fitted the model. Returns their instances."""
        return sum(self._write(number) for number in sorted(self._left))

    def _write(self, number: int) -> int:
        piece, texts = self._pieces[number], self._texts.pop(number, {})
        prompts, _ = self._scoring.prompts(piece, self._scoring.tokenizer(), self._scoring.longest_prompt(self._length))
        write_piece(piece, self._scoring.directory, prompts, [texts.get(place) for place in range(prompts.num_rows)])
        self._left.discard(number)
        return piece.end - piece.begin


def score_by_vllm(job: Job, scoring: Scoring, pieces: list[Piece]) -> Iterator[int]:
    """Scores pieces; yields the number of instances of each as it is written."""
    if not pieces:
        return
    gpus = int(job.session.require().get("GPU", 0))
    import ray
    from ray.data.llm import build_processor, vLLMEngineProcessorConfig
    from transformers import AutoConfig

    base, revision = str(scoring.recipe.model.base), scoring.recipe.model.revision
    config = AutoConfig.from_pretrained(base, revision=revision, trust_remote_code=False)
    length: int | None = getattr(config, "max_position_embeddings", None)
    numbers = ray.data.from_items(
        [{"number": number} for number in range(len(pieces))], override_num_blocks=len(pieces)
    )
    process = build_processor(
        vLLMEngineProcessorConfig(**processor_config(scoring, length, gpus)),
        postprocess=lambda row: {name: row[name] for name in ("piece", "place", "asked", "generated_text")},
    )
    rows = numbers.flat_map(lambda row: rows_of(row["number"], pieces[row["number"]], scoring, length))
    collected = Collected(scoring, pieces, length)
    for row in process(rows).iter_rows():
        if written := collected.take(row):
            yield written
    yield collected.close()
