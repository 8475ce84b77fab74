"""The published chat templates: a dialogue as pieces of text, each either a turn's words or the template's own.

Each turn's piece holds its words and what ends it, so that whoever learns the turn learns to end it, too.
`core/tokens/jinja_templates.py` writes the same templates in Jinja; tests hold the two equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import get_args

from core.documents.fields import Role
from core.errors import DataError

TURN_START = "<|im_start|>"
TURN_END = "<|im_end|>"
ALPACA_TASK = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
)
ALPACA_TASK_WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n"
)
ROLES: tuple[str, ...] = get_args(Role)  # system, user, assistant
OWN = -1  # the template's own piece, no turn's

Turn = tuple[str, str]  # who speaks, what is said
Piece = tuple[int, str]  # the index of the turn, or OWN; the text
Spans = list[tuple[int, int]]  # [start, end) of characters


def chatml(turns: Sequence[Turn], bos: str, eos: str) -> list[Piece]:
    """ChatML (https://github.com/openai/openai-python/blob/release-v0.28.0/chatml.md). Turns in any order.

    A dialogue in which the assistant has the last word is ended by EOS, where that is not <|im_end|> already.
    """
    pieces = [(OWN, bos)]
    for index, (role, words) in enumerate(turns):
        pieces += [(OWN, f"{TURN_START}{role}\n"), (index, f"{words}{TURN_END}"), (OWN, "\n")]
    if turns[-1][0] == "assistant" and eos != TURN_END:
        pieces.append((len(turns) - 1, eos))
    return pieces


def llama2(turns: Sequence[Turn], bos: str, eos: str) -> list[Piece]:
    """Llama 2 Chat, as `chat_completion` in Meta's llama/generation.py and the chat models' own Jinja write it.

    Every exchange begins with BOS and ends with EOS; the white space around what is said is not kept.
    """
    pieces = []
    for index, (role, words) in enumerate(turns):
        if role == "system":
            pieces += [(OWN, f"{bos}[INST] <<SYS>>\n"), (index, f"{words}\n<</SYS>>\n\n")]
        elif role == "user":
            after_system = index == 1 and turns[0][0] == "system"
            pieces.append((OWN, "" if after_system else f"{bos}[INST] "))
            pieces.append((index, f"{words.rstrip() if after_system else words.strip()} [/INST]"))
        else:
            pieces.append((index, f" {words.strip()} {eos}"))
    return pieces


def mistral(turns: Sequence[Turn], bos: str, eos: str) -> list[Piece]:
    """Mistral-7B-Instruct v0.1 and v0.2: tokenizer V1 of mistral-common, as Mistral's own documentation writes it
    (https://github.com/mistralai/cookbook, concept-deep-dive/tokenization/chat_templates.md). The system turn stands
    before the first user turn's words, with a blank line between.
    """
    pieces = [(OWN, bos)]
    for index, (role, words) in enumerate(turns):
        if role == "system":
            pieces += [(OWN, " [INST] "), (index, f"{words}\n\n")]
        elif role == "user":
            pieces.append((OWN, "" if index == 1 and turns[0][0] == "system" else " [INST] "))
            pieces.append((index, f"{words} [/INST]"))
        else:
            pieces.append((index, f" {words}{eos}"))
    return pieces


def alpaca(turns: Sequence[Turn], bos: str, eos: str) -> list[Piece]:
    """Alpaca, as the `text` column of tatsu-lab/alpaca has it (with a new line before the response, which Stanford's
    train.py leaves out). A system turn is the instruction, and the first user turn its input; without one each user
    turn is an instruction. Further exchanges follow after EOS and a blank line, as in axolotl's alpaca.jinja.
    """
    pieces = [(OWN, bos)]
    for index, (role, words) in enumerate(turns):
        if role == "system":
            pieces += [(OWN, f"{ALPACA_TASK_WITH_INPUT}### Instruction:\n"), (index, f"{words}\n\n")]
        elif role == "user":
            if index == 1 and turns[0][0] == "system":
                head = "### Input:\n"
            else:
                head = f"{ALPACA_TASK if index == 0 else _BLANK_LINE}### Instruction:\n"
            pieces += [(OWN, head), (index, f"{words}\n\n")]
        else:
            pieces += [(OWN, "### Response:\n"), (index, f"{words}{eos}")]
    return pieces


def birbal(turns: Sequence[Turn], bos: str, eos: str) -> list[Piece]:
    """Birbal's (Upaya07/NeurIPS-llm-efficiency-challenge, data_prep/combine_datasets.py): a system turn is the
    instruction, left out where it is blank, and a user turn the input. A lone question is an input, too, as the rows
    of LIMA are there. Further exchanges, which Birbal's data have none of, follow after EOS and a blank line.
    """
    pieces = [(OWN, bos)]
    for index, (role, words) in enumerate(turns):
        if role == "system":
            pieces += [(OWN, "### Instruction:\n"), (index, f"{words}\n\n")] if words.strip() else []
        elif role == "user":
            pieces.append((OWN, f"{_BLANK_LINE if index > 1 else ''}### Input:\n"))
            pieces.append((index, f"{words}\n\n"))
        else:
            pieces += [(OWN, "### Response:\n"), (index, f"{words}{eos}")]
    return pieces


_BLANK_LINE = "\n\n"  # between exchanges, after EOS
TEMPLATES: dict[str, Callable[[Sequence[Turn], str, str], list[Piece]]] = {
    "chatml": chatml,
    "llama2": llama2,
    "mistral": mistral,
    "alpaca": alpaca,
    "birbal": birbal,
}


def exchanges(turns: Iterable[Turn], template: str) -> list[Turn]:
    """The turns as all templates but ChatML need them: an optional system turn, then user and assistant by turns.

    Consecutive turns of one role are joined with a blank line: cleaning may have removed what stood between them.
    Raises DataError where another order is left.
    """
    joined: list[Turn] = []
    for role, words in turns:
        if joined and joined[-1][0] == role:
            joined[-1] = (role, f"{joined[-1][1]}\n\n{words}")
        else:
            joined.append((role, words))
    spoken = joined[1:] if joined[0][0] == "system" else joined
    if not spoken or any(role != ROLES[1 + index % 2] for index, (role, _) in enumerate(spoken)):
        found = ", ".join(role for role, _ in joined[:6]) + (", ..." if len(joined) > 6 else "")
        raise DataError(
            f"chat_template {template} needs an optional system turn, then user and assistant by turns; found {found}. "
            "Use chat_template: chatml, or drop such dialogues"
        )
    return joined
