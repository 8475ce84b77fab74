"""Each template against its published form and against what the trained model carries."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.tokens.chat import chat, exported_template, render
from core.tokens.options import PhaseData
from core.tokens.samples import make_samples
from tests.tokens.conftest import dialogues

NAMED = ["chatml", "llama2", "mistral", "alpaca", "birbal"]

# tokenizer_config.json of teknium/OpenHermes-2.5-Mistral-7B
CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + "
    "'\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
# tokenizer_config.json of meta-llama/Llama-2-7b-chat-hf
LLAMA2 = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = "
    "messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}"
    "{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message + "
    "'\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}"
    "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
# "Tokenizer V1" in concept-deep-dive/tokenization/chat_templates.md of github.com/mistralai/cookbook, which is that of
# Mistral-7B-Instruct v0.1 and v0.2; "we usually prepend the system prompt to the first user message, followed by two
# new lines"
MISTRAL = (
    "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if message['role'] == 'user' %}{{ ' [INST] ' + message['content'] + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' ' + message['content'] + eos_token}}"
    "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"
)

SINGLE = [("user", "Fox? 漢字 🙂"), ("assistant", "The quick\nbrown fox. 🙂")]
MULTI = [*SINGLE, ("user", "और\thow lazy?"), ("assistant", "Fünf große Käfer 🙂🙂 漢")]
UNANSWERED = [*SINGLE, ("user", "More?")]
SYSTEM = ("system", "Be brief, über alles 🦊.")
DIALOGUES = [SINGLE, MULTI, UNANSWERED, [SYSTEM, *SINGLE], [SYSTEM, *MULTI]]


def options(**changes: Any) -> PhaseData:
    return PhaseData(**({"sources": ["d"], "sequence_length": 4096} | changes))


def messages(turns: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in turns]


def ids_and_mask(turns: list[tuple[str, str]], tokenizer: Any, data: PhaseData) -> tuple[list[int], list[int]]:
    """Of the one sample that the dialogue makes."""
    samples, _ = make_samples(dialogues([turns]), tokenizer, data)
    ids, spans = samples["input_ids"][0].as_py(), np.reshape(samples["loss_mask"][0].as_py(), (-1, 2))
    mask = np.zeros(len(ids), int)
    for start, end in spans:
        mask[start:end] = 1
    return ids, mask.tolist()


def of_transformers(turns: list[tuple[str, str]], tokenizer: Any, data: PhaseData) -> tuple[list[int], list[int]]:
    """What `apply_chat_template` makes of the template that the trained model carries."""
    made = tokenizer.apply_chat_template(
        messages(turns),
        chat_template=exported_template(data, tokenizer),
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    return made["input_ids"], made["assistant_masks"]


@pytest.mark.parametrize("turns", DIALOGUES)
@pytest.mark.parametrize("name", NAMED)
def test_ids_and_masks_are_those_of_transformers(any_tokenizer, name, turns):
    data = options(chat_template=name)
    assert ids_and_mask(turns, any_tokenizer, data) == of_transformers(turns, any_tokenizer, data)


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("changes", [{"learn_turns": "last"}, {"system_prompt": 'Say "{{ so }}",\n\tÜber 🦊 \\n.'}])
def test_the_options_are_in_the_template_that_is_carried(tokenizer, name, changes):
    data = options(chat_template=name, **changes)
    for turns in DIALOGUES:
        assert ids_and_mask(turns, tokenizer, data) == of_transformers(turns, tokenizer, data)


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("roles", [["user"], ["system", "assistant"], ["assistant", "user", "system"]])
@pytest.mark.parametrize("learn_turns", ["all", "last"])
def test_the_roles_that_are_learned_are_marked_in_the_template_that_is_carried(tokenizer, name, roles, learn_turns):
    data = options(chat_template=name, learn_roles=roles, learn_turns=learn_turns)
    turns = [
        ("system", "Be brief."),
        ("user", "Fox?"),
        ("assistant", "Quick."),
        ("user", "Dog?"),
        ("assistant", "Lazy"),
    ]
    assert ids_and_mask(turns, tokenizer, data) == of_transformers(turns, tokenizer, data)


@pytest.mark.parametrize("turns", DIALOGUES)
def test_ids_are_those_of_the_published_templates(any_tokenizer, turns):
    def published(template: str, turns: list[tuple[str, str]]) -> list[int]:
        return any_tokenizer.apply_chat_template(messages(turns), chat_template=template, return_dict=False)

    def ours(name: str) -> list[int]:
        return ids_and_mask(turns, any_tokenizer, options(chat_template=name))[0]

    begin = "{{ bos_token }}" if any_tokenizer("a")["input_ids"][0] == any_tokenizer.bos_token_id else ""
    end = "{{ eos_token }}" if turns[-1][0] == "assistant" else ""
    assert ours("chatml") == published(begin + CHATML + end, turns)
    assert ours("llama2") == published(LLAMA2, turns)
    if turns[0][0] == "system":
        assert ours("mistral") == published(MISTRAL, [("user", f"{turns[0][1]}\n\n{turns[1][1]}"), *turns[2:]])
    else:
        assert ours("mistral") == published(MISTRAL, turns)


def text_of(name: str, turns: list[tuple[str, str]], tokenizer: Any, **changes: Any) -> tuple[str, list[str]]:
    """The text of a dialogue and what of it is learned."""
    text, spans = render(turns, chat(options(chat_template=name, **changes), tokenizer))
    return text, [text[start:end] for start, end in spans]


def test_alpaca_is_the_text_column_of_the_alpaca_dataset(sentencepiece_tokenizer):
    task = "Below is an instruction that describes a task"
    request = "Write a response that appropriately completes the request."
    turns = [("user", "Give three tips."), ("assistant", "1. Eat.")]
    expected = f"<s>{task}. {request}\n\n### Instruction:\nGive three tips.\n\n### Response:\n1. Eat.</s>"
    assert text_of("alpaca", turns, sentencepiece_tokenizer) == (expected, ["1. Eat.</s>"])
    with_input = [("system", "Cluster them."), ("user", "Apples, oranges"), ("assistant", "Class 1: Apples")]
    expected = (
        f"<s>{task}, paired with an input that provides further context. {request}\n\n### Instruction:\nCluster them."
        "\n\n### Input:\nApples, oranges\n\n### Response:\nClass 1: Apples</s>"
    )
    assert text_of("alpaca", with_input, sentencepiece_tokenizer) == (expected, ["Class 1: Apples</s>"])
    more = [("user", "And pears?"), ("assistant", "Class 2.")]
    expected += "\n\n### Instruction:\nAnd pears?\n\n### Response:\nClass 2.</s>"
    assert text_of("alpaca", with_input + more, sentencepiece_tokenizer)[0] == expected


def test_birbals_is_that_of_its_code(sentencepiece_tokenizer):
    answer = [("user", "Which one?"), ("assistant", "A")]
    expected = "<s>### Instruction:\nChoose.\n\n### Input:\nWhich one?\n\n### Response:\nA</s>"
    assert text_of("birbal", [("system", "Choose."), *answer], sentencepiece_tokenizer) == (expected, ["A</s>"])
    expected = "<s>### Input:\nWhich one?\n\n### Response:\nA</s>"
    assert text_of("birbal", answer, sentencepiece_tokenizer) == (expected, ["A</s>"])
    assert text_of("birbal", [("system", " "), *answer], sentencepiece_tokenizer) == (expected, ["A</s>"])
    expected += "\n\n### Input:\nWhy?\n\n### Response:\nB</s>"
    more = [*answer, ("user", "Why?"), ("assistant", "B")]
    assert text_of("birbal", more, sentencepiece_tokenizer) == (expected, ["A</s>", "B</s>"])


@pytest.mark.parametrize(
    ("name", "prompt"),
    [
        ("chatml", "<|im_start|>user\nFox?<|im_end|>\n<|im_start|>assistant\n"),
        ("llama2", "<s>[INST] Fox? [/INST]"),
        ("mistral", " [INST] Fox? [/INST]"),
        ("alpaca", "### Instruction:\nFox?\n\n### Response:\n"),
        ("birbal", "### Input:\nFox?\n\n### Response:\n"),
    ],
)
def test_a_question_is_asked_as_it_was_trained(sentencepiece_tokenizer, name, prompt):
    template = exported_template(options(chat_template=name), sentencepiece_tokenizer)
    asked = sentencepiece_tokenizer.apply_chat_template(
        messages([("user", "Fox?")]), chat_template=template, add_generation_prompt=True, tokenize=False
    )
    assert asked.startswith("<s>")
    assert asked.endswith(prompt)
    whole, learned = text_of(name, [("user", "Fox?"), ("assistant", "Quick.")], sentencepiece_tokenizer)
    assert whole.startswith(asked + learned[0])


TURNS = st.lists(
    st.tuples(st.sampled_from(["user", "assistant"]), st.text(st.characters(exclude_categories=["Cs"]), max_size=12)),
    min_size=1,
    max_size=6,
)


def test_every_dialogue_is_rendered_as_by_the_template_that_is_carried(any_tokenizer):
    from transformers.utils.chat_template_utils import render_jinja_template

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(TURNS, st.sampled_from(NAMED), st.booleans(), st.sampled_from(["all", "last"]))
    def check(turns, name, has_system, learn_turns):
        turns = [*([SYSTEM] if has_system else []), ("user", "Start."), *turns]
        data = options(chat_template=name, learn_turns=learn_turns)
        texts, marked = render_jinja_template(
            conversations=[messages(turns)],
            chat_template=exported_template(data, any_tokenizer),
            return_assistant_tokens_mask=True,
            **any_tokenizer.special_tokens_map,
        )
        assert render(turns, chat(data, any_tokenizer)) == (texts[0], marked[0])

    check()
