"""Dialogues as one text, and which of its characters are the assistant's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from core.errors import DataError
from core.tokens.options import ChatTemplate

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

TURN_START = "<|im_start|>"
TURN_END = "<|im_end|>"
CHATML_JINJA = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

Messages = Sequence[Mapping[str, str]]
Spans = list[tuple[int, int]]


def render(messages: Messages, template: ChatTemplate, tokenizer: PreTrainedTokenizerFast) -> tuple[str, Spans]:
    """A dialogue as text, with the character spans to be learned: what the assistant says, and the end of its turn.

    template: "chatml" (https://github.com/openai/openai-python/blob/release-v0.28.0/chatml.md), or "tokenizer",
    the Jinja template that the tokenizer carries. Raises DataError where that has none, refuses the dialogue,
    or does not render a dialogue's beginning as the beginning of the dialogue.
    """
    return _chatml(messages) if template == "chatml" else _jinja(messages, tokenizer)


def _chatml(messages: Messages) -> tuple[str, Spans]:
    text, spans = "", []
    for message in messages:
        text += f"{TURN_START}{message['role']}\n"
        start = len(text)
        text += f"{message['content']}{TURN_END}"
        if message["role"] == "assistant":
            spans.append((start, len(text)))
        text += "\n"
    return text, spans


def _jinja(messages: Messages, tokenizer: PreTrainedTokenizerFast) -> tuple[str, Spans]:
    from jinja2 import TemplateError

    if tokenizer.chat_template is None:
        raise DataError("chat_template: tokenizer, but the tokenizer carries no template; use chatml")
    turns = [dict(message) for message in messages]
    try:
        whole = tokenizer.apply_chat_template(turns, tokenize=False)
        spans = []
        for index, turn in enumerate(turns):
            if turn["role"] != "assistant":
                continue
            before = tokenizer.apply_chat_template(turns[:index], tokenize=False, add_generation_prompt=True)
            after = tokenizer.apply_chat_template(turns[: index + 1], tokenize=False)
            if not after.startswith(before) or not whole.startswith(after):
                raise DataError(
                    "the tokenizer's chat template does not render a dialogue turn by turn, so the assistant's "
                    "words cannot be told apart; use chat_template: chatml"
                )
            spans.append((len(before), len(after)))
    except TemplateError as error:
        raise DataError(f"the tokenizer's chat template refuses a dialogue: {error}") from error
    return whole, spans
