"""Dialogues as text, and which of its characters are learned; the chat template that a trained model carries."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.errors import DataError
from core.tokens.control_tokens import control_tokens
from core.tokens.jinja_templates import jinja_template, with_system_prompt
from core.tokens.options import ChatTemplate, PhaseData
from core.tokens.templates import ROLES, TEMPLATES, TURN_END, Spans, Turn, exchanges

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

NEED_BOS = ("llama2", "mistral")


@dataclass(frozen=True)
class Chat:
    """A chat template, bound to a tokenizer and to what is learned."""

    template: ChatTemplate
    tokenizer: PreTrainedTokenizerFast
    bos: str  # what the template begins with: BOS, or nothing for a tokenizer that puts none before a text
    eos: str
    system_prompt: str | None
    learn_roles: tuple[str, ...]
    last_turn_only: bool
    control_tokens: tuple[str, ...]


def chat(options: PhaseData, tokenizer: PreTrainedTokenizerFast) -> Chat:
    """The chat template of a phase. Raises DataError where the tokenizer lacks what the template writes."""
    name = options.chat_template
    if name in NEED_BOS and tokenizer.bos_token is None:
        raise DataError(
            f"chat_template {name} begins with BOS, and the tokenizer has no BOS token; use chatml, alpaca or birbal"
        )
    if name == "tokenizer" and tokenizer.chat_template is None:
        raise DataError("chat_template: tokenizer, but the tokenizer carries no template; use chatml")
    written = str(tokenizer.chat_template) if name == "tokenizer" else exported_template(options, tokenizer)
    return Chat(
        template=name,
        tokenizer=tokenizer,
        bos=str(tokenizer.bos_token) if name in NEED_BOS or adds_bos(tokenizer) else "",
        eos=str(tokenizer.eos_token),
        system_prompt=options.system_prompt,
        learn_roles=tuple(options.learn_roles),
        last_turn_only=options.learn_turns == "last",
        control_tokens=control_tokens(tokenizer, written),
    )


def adds_bos(tokenizer: PreTrainedTokenizerFast) -> bool:
    """Whether the tokenizer puts BOS before every text."""
    return tokenizer.bos_token_id is not None and tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id


def exported_template(options: PhaseData, tokenizer: PreTrainedTokenizerFast) -> Any:
    """The Jinja chat template of a model that was trained on the phase's data: it renders a dialogue as `render` does.

    Of `chat_template: tokenizer` it is the tokenizer's own, with the phase's system prompt before it.
    """
    if options.chat_template != "tokenizer":
        return jinja_template(
            options.chat_template,
            bos=options.chat_template in NEED_BOS or adds_bos(tokenizer),
            eos=tokenizer.eos_token != TURN_END,
            learn_roles=options.learn_roles,
            learn_turns=options.learn_turns,
            system_prompt=options.system_prompt,
        )
    own = tokenizer.chat_template
    if isinstance(own, dict):  # several by name
        return {name: with_system_prompt(template, options.system_prompt) for name, template in own.items()}
    return None if own is None else with_system_prompt(own, options.system_prompt)


def end_of_turn(tokenizer: PreTrainedTokenizerFast) -> str | None:
    """The special token with which the tokenizer's chat template ends what the assistant says; None: it writes none."""
    from jinja2 import TemplateError

    if tokenizer.chat_template is None:
        return None
    words = "The answer."
    turns = [{"role": "user", "content": "A question?"}, {"role": "assistant", "content": words}]
    try:
        text = tokenizer.apply_chat_template(turns, tokenize=False)
    except TemplateError:  # it takes no plain question and answer, so none were trained with it
        return None
    after = text.rpartition(words)[2].lstrip()
    return next((token for token in control_tokens(tokenizer, "") if after.startswith(token)), None)


def render(turns: Sequence[Turn], chat: Chat) -> tuple[str, Spans]:
    """A dialogue of at least one turn as text, with the character spans to be learned.

    Learned are the turns of `learn_roles`, all or the last, each with what ends it. The text holds BOS and EOS: it is
    encoded without adding any. A dialogue in which the assistant has the last word ends with EOS, exactly one.
    Raises DataError where the template cannot render the dialogue.
    """
    if chat.system_prompt is not None and all(role != "system" for role, _ in turns):
        turns = [("system", chat.system_prompt), *turns]
    if unknown := {role for role, _ in turns} - set(ROLES):
        raise DataError(f"unknown role '{min(unknown)}', expected {', '.join(ROLES)} (rename others with fields.roles)")
    if chat.template == "tokenizer":
        return _own(turns, chat)
    if chat.template != "chatml":
        turns = exchanges(turns, chat.template)
    learned = _learned(turns, chat)
    pieces, spans, position = [], [], 0
    for turn, piece in TEMPLATES[chat.template](turns, chat.bos, chat.eos):
        end = position + len(piece)
        if turn in learned:
            spans.append((position, end))
        pieces.append(piece)
        position = end
    return "".join(pieces), spans


def _learned(turns: Sequence[Turn], chat: Chat) -> list[int]:
    """The indices of the turns to be learned."""
    learned = [index for index, (role, _) in enumerate(turns) if role in chat.learn_roles]
    return learned[-1:] if chat.last_turn_only else learned


def _own(turns: Sequence[Turn], chat: Chat) -> tuple[str, Spans]:
    """A dialogue in the tokenizer's own Jinja.

    Where that marks what an assistant says ({% generation %}), this is learned; otherwise what a turn adds to the
    text before it. BOS and EOS are added where the tokenizer puts one before a text and the template writes none.
    """
    from jinja2 import TemplateError

    try:
        text, spans = _own_spans([{"role": role, "content": words} for role, words in turns], chat)
    except (TemplateError, TypeError) as error:
        raise DataError(
            f"the tokenizer's chat template refuses it: {error}. Use chat_template: chatml, or drop such dialogues"
        ) from error
    if chat.bos and not text.startswith(chat.bos):
        text = chat.bos + text
        spans = [(start + len(chat.bos), end + len(chat.bos)) for start, end in spans]
    if turns[-1][0] == "assistant" and not text.rstrip().endswith(chat.eos):
        if len(turns) - 1 in _learned(turns, chat):
            spans.append((len(text), len(text) + len(chat.eos)))
        text += chat.eos
    return text, spans


def _own_spans(messages: list[dict[str, str]], chat: Chat) -> tuple[str, Spans]:
    template = chat.tokenizer.get_chat_template()
    learned = _learned([(message["role"], "") for message in messages], chat)
    if chat.learn_roles == ("assistant",) and re.search(r"\{%-?\s*generation\s*-?%\}", template):
        text, spans = _jinja(template, messages, chat, mark=True)
        earlier = messages[: learned[0]] if learned and chat.last_turn_only else []
        return text, spans[len(_jinja(template, earlier, chat, mark=True)[1]) if earlier else 0 :]
    text, spans = _jinja(template, messages, chat)
    for index in learned:
        role, words = messages[index]["role"], messages[index]["content"].strip()
        before = _jinja(template, messages[:index], chat, ask=role == "assistant")[0] if index else ""
        after = _jinja(template, messages[: index + 1], chat)[0]
        if not after.startswith(before) or not text.startswith(after):
            raise DataError(
                "the tokenizer's chat template does not render a dialogue turn by turn, so the words to be learned "
                "cannot be told apart. Use chat_template: chatml"
            )
        has_head = index == 0 or role != "assistant"  # which no generation prompt tells from the words
        spans.append((max(len(before), after.find(words, len(before)) if has_head else 0), len(after)))
    return text, spans


def _jinja(
    template: str, messages: list[dict[str, str]], chat: Chat, *, ask: bool = False, mark: bool = False
) -> tuple[str, Spans]:
    """The text, and with `mark` the characters that the template marks as the assistant's."""
    from transformers.utils.chat_template_utils import render_jinja_template

    rendered, marked = render_jinja_template(
        conversations=[messages],
        chat_template=template,
        return_assistant_tokens_mask=mark,
        add_generation_prompt=ask,
        **chat.tokenizer.special_tokens_map,
    )
    return rendered[0], marked[0] if mark else []
