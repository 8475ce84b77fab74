"""What a model answers to MT-Bench's questions: a model here, in batches, or one behind an endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.artifacts.seeds import derive_seed
from core.errors import DataError, ResourceError, first_line
from core.evaluation.memorisation import model_length
from core.evaluation.mt_bench.benchmark import Question
from core.evaluation.mt_bench.endpoint import Completion, Endpoint, Message
from core.models.create import stop_tokens
from core.models.generation import left_padded, prompt_tokens
from core.tokens.chat import adds_bos

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast

STOP, LENGTH, NO_ROOM = "stop", "length", "no room"  # how an answer ended; no room: the dialogue filled the model


@dataclass(frozen=True)
class Answer:
    """To each turn of a question."""

    turns: tuple[str, ...]
    finish_reasons: tuple[str | None, ...]
    prompt_tokens: int  # of all turns; 0 where an endpoint does not count
    completion_tokens: int


def dialogue(question: Question, answers: Sequence[str]) -> list[Message]:
    """The turns so far, the user's next one last."""
    messages = [{"role": "user", "content": question.turns[0]}]
    for answer, turn in zip(answers, question.turns[1:], strict=False):
        messages += [{"role": "assistant", "content": answer}, {"role": "user", "content": turn}]
    return messages


def answer_by_endpoint(endpoint: Endpoint, question: Question, seed: int, max_new_tokens: int) -> Answer:
    """Asks an endpoint turn by turn. Raises ResourceError as it does."""
    found: list[Completion] = []
    for turn in range(len(question.turns)):
        messages = dialogue(question, [each.text for each in found])
        settings = {"temperature": question.temperature, "max_tokens": max_new_tokens}
        if question.temperature:
            settings["seed"] = turn_seed(seed, question, turn)
        found.append(endpoint.complete(messages, **settings))
    return Answer(
        tuple(each.text for each in found),
        tuple(each.finish_reason for each in found),
        sum(each.prompt_tokens or 0 for each in found),
        sum(each.completion_tokens or 0 for each in found),
    )


def turn_seed(seed: int, question: Question, turn: int) -> int:
    """31 bits, which every server takes."""
    return derive_seed(seed, "mt_bench", question.id, turn) % 2**31


def answer_batch(
    model: Any, tokenizer: PreTrainedTokenizerFast, questions: Sequence[Question], seed: int, max_new_tokens: int
) -> list[Answer]:
    """Lets a model answer questions together, turn by turn, through its tokenizer's chat template.

    Each answer is drawn from a stream of its own, at its question's temperature, from the whole vocabulary. A dialogue
    that leaves the model less room than `max_new_tokens` is answered alone, as far as there is room. Raises DataError
    where there is no chat template or it refuses the dialogue, ResourceError where the batch does not fit the GPU.
    """
    texts: list[list[str]] = [[] for _ in questions]
    reasons: list[list[str]] = [[] for _ in questions]
    read, written = [0] * len(questions), [0] * len(questions)
    length = model_length(model)
    for turn in range(max(len(question.turns) for question in questions)):
        asked = [number for number, question in enumerate(questions) if turn < len(question.turns)]
        prompts = {number: _prompt(tokenizer, dialogue(questions[number], texts[number])) for number in asked}
        alone = [[number] for number in asked if len(prompts[number]) + max_new_tokens > length]
        together = [number for number in asked if [number] not in alone]
        for numbers in [group for group in (together, *alone) if group]:
            room = min(max_new_tokens, length - max(len(prompts[number]) for number in numbers))
            draws = [(questions[number].temperature, turn_seed(seed, questions[number], turn)) for number in numbers]
            replies = _generate(model, tokenizer, [prompts[number] for number in numbers], draws, room)
            for number, (text, reason, tokens) in zip(numbers, replies, strict=True):
                texts[number].append(text)
                reasons[number].append(reason)
                read[number] += len(prompts[number])
                written[number] += tokens
    return [
        Answer(tuple(text), tuple(reason), prompt, completion)
        for text, reason, prompt, completion in zip(texts, reasons, read, written, strict=True)
    ]


def _prompt(tokenizer: PreTrainedTokenizerFast, messages: list[Message]) -> list[int]:
    from jinja2 import TemplateError

    if tokenizer.chat_template is None:
        raise DataError(
            f"{tokenizer.name_or_path}: its tokenizer has no chat template, which MT-Bench's dialogues need"
        )
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    except TemplateError as error:
        raise DataError(
            f"{tokenizer.name_or_path}: its chat template refuses a dialogue ({first_line(error)})"
        ) from error
    if adds_bos(tokenizer):  # once
        text = text.removeprefix(str(tokenizer.bos_token))
    return prompt_tokens(tokenizer, [text])[0]


def _generate(
    model: Any,
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[Sequence[int]],
    draws: Sequence[tuple[float, int]],
    room: int,
) -> list[tuple[str, str, int]]:
    """Of each prompt what follows, how it ended, and its tokens. draws: temperature and seed of each."""
    import torch

    if room < 1:
        return [("", NO_ROOM, 0)] * len(prompts)
    stops = _stops(model, tokenizer)
    padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    ids, mask = left_padded(prompts, padding)
    width = ids.shape[1]
    model.eval()
    try:
        with torch.inference_mode():
            found = model.generate(
                input_ids=ids.to(model.device),
                attention_mask=mask.to(model.device),
                max_new_tokens=room,
                do_sample=False,
                num_beams=1,
                temperature=None,
                top_p=None,
                top_k=None,
                pad_token_id=padding,
                eos_token_id=stops,
                logits_processor=[_Drawn(draws, model.device)],
            )[:, width:].tolist()
    except torch.OutOfMemoryError as error:
        raise ResourceError(
            f"{len(prompts)} dialogues of up to {width} tokens do not fit the GPU; take a smaller batch size"
        ) from error
    replies = []
    for tokens in found:
        end = next((place for place, token in enumerate(tokens) if token in stops), None)
        text = tokenizer.decode(tokens[:end], skip_special_tokens=True).strip()
        replies.append((text, LENGTH if end is None else STOP, len(tokens) if end is None else end + 1))
    return replies


def _stops(model: Any, tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """Where an answer ends: where the model says so, or its chat template ends a turn."""
    own = model.generation_config.eos_token_id
    own = own if isinstance(own, list) else [] if own is None else [own]
    return sorted({*own, *stop_tokens(tokenizer)})


class _Drawn:
    """Makes greedy search draw each row from a stream of its own, whatever stands in the other rows.

    The largest of log p / temperature plus Gumbel noise is a draw from the distribution at that temperature (Maddison
    et al. 2014, https://arxiv.org/abs/1411.0030, section 2). At temperature 0 there is no noise. Called by `generate`.
    """

    def __init__(self, draws: Sequence[tuple[float, int]], device: torch.device) -> None:
        import torch

        self._rows = [
            (row, temperature, torch.Generator(device).manual_seed(seed))
            for row, (temperature, seed) in enumerate(draws)
            if temperature
        ]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        drawn = scores.clone()
        for row, temperature, stream in self._rows:
            noise = drawn.new_empty(drawn.shape[1]).exponential_(generator=stream)
            drawn[row] = scores[row] / temperature - noise.log()
        return drawn
