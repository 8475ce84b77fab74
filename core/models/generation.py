"""What a model writes after prompts: greedy, in batches of similar length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from core.errors import ResourceError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast

TAIL = 8  # tokens decoded at each step to see whether a text ends; a stop of a few characters is not longer


def prompt_tokens(tokenizer: PreTrainedTokenizerFast, prompts: Sequence[str]) -> list[list[int]]:
    """Each prompt's ids as the tokenizer begins a text: with BOS where it has one, never with EOS behind."""
    if not prompts:
        return []
    found = tokenizer(list(prompts))["input_ids"]
    eos = tokenizer.eos_token_id
    return [ids[:-1] if len(ids) > 1 and ids[-1] == eos else ids for ids in found]


def left_padded(prompts: Sequence[Sequence[int]], padding: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Prompts that end together, as ids and the mask of what is no padding, int64[prompts, longest] both."""
    import torch

    width = max(map(len, prompts))
    ids = torch.full((len(prompts), width), padding, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(prompt)
        mask[row, width - len(prompt) :] = 1
    return ids, mask


def continuations(
    model: Any,
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    stop: str,
    batch_size: int,
) -> Iterator[tuple[int, str]]:
    """The number of each prompt and what follows it, by greedy search, the longest prompts first.

    prompts: token ids (`prompt_tokens`), each shorter than the model's length by `max_new_tokens`. A text ends at EOS
    or once it has `stop` in it, which may stand within what is returned. Batches hang on the prompts alone, so that
    the same prompts give the same texts. Raises ResourceError where a batch does not fit the GPU.
    """
    import torch

    padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    order = sorted(range(len(prompts)), key=lambda number: -len(prompts[number]))
    model.eval()
    for begin in range(0, len(order), batch_size):
        numbers = order[begin : begin + batch_size]
        ids, mask = left_padded([prompts[number] for number in numbers], padding)
        width = ids.shape[1]
        try:
            with torch.inference_mode():
                written = model.generate(
                    input_ids=ids.to(model.device),
                    attention_mask=mask.to(model.device),
                    max_new_tokens=max_new_tokens,
                    do_sample=False,
                    num_beams=1,
                    temperature=None,
                    top_p=None,
                    top_k=None,
                    pad_token_id=padding,
                    eos_token_id=tokenizer.eos_token_id,
                    stopping_criteria=[_Contains(tokenizer, stop, width)],
                )
        except torch.OutOfMemoryError as error:
            raise ResourceError(
                f"{len(numbers)} prompts of up to {width} tokens do not fit the GPU; take a smaller infer.batch_size"
            ) from error
        texts = tokenizer.batch_decode(written[:, width:].cpu(), skip_special_tokens=True)
        yield from zip(numbers, texts, strict=True)


class _Contains:
    """Ends each text of a batch once it contains a string. Called by `generate` with ids [batch, tokens]."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, stop: str, prompt_length: int) -> None:
        self._tokenizer, self._stop, self._prompt_length = tokenizer, stop, prompt_length

    def __call__(self, input_ids: torch.Tensor, scores: Any, **more: Any) -> torch.Tensor:
        import torch

        tail = input_ids[:, max(self._prompt_length, input_ids.shape[1] - TAIL) :]
        texts = self._tokenizer.batch_decode(tail, skip_special_tokens=True)
        return torch.tensor([self._stop in text for text in texts], device=input_ids.device)
