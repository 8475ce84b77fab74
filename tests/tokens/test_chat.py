"""What is learned of a dialogue, and what must not be."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from core.errors import DataError
from core.models.create import stop_tokens
from core.models.options import Model, ModelConfig
from core.tokens.chat import chat, end_of_turn, exported_template, render
from core.tokens.options import PhaseData, Tokenizer, TrainedTokenizer
from core.tokens.samples import make_samples
from core.tokens.tokenizer import load_tokenizer
from core.training.engine import World
from core.training.objectives import make_objective
from core.training.options import Phase
from core.training.phase import Start, export_model
from core.training.trainer import make_engine
from tests.tokens.conftest import dialogues, text_documents

NAMED = ["chatml", "llama2", "mistral", "alpaca", "birbal"]
TURNS = [
    ("system", "Be brief."),
    ("user", "Fox?"),
    ("assistant", "Quick."),
    ("user", "Dog?"),
    ("assistant", "Lazy."),
]
# Written as many of the hub's are: turn by turn, with a head before what is said and no mark of what is learned
OWN = (
    "{{ bos_token }}{% for message in messages %}{{ '<' + message['role'] + '>' + message['content'] + eos_token }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}"
)
WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


def options(**changes: Any) -> PhaseData:
    return PhaseData(**({"sources": ["d"], "sequence_length": 4096} | changes))


def learned(turns: list[tuple[str, str]], tokenizer: Any, **changes: Any) -> list[str]:
    """The words of a dialogue that are learned, as they are in its text."""
    text, spans = render(turns, chat(options(**changes), tokenizer))
    return [text[start:end] for start, end in spans]


def sample(turns: list[tuple[str, str]], tokenizer: Any, **changes: Any) -> tuple[list[int], np.ndarray]:
    """The tokens of a dialogue, and which are learned."""
    samples, _ = make_samples(dialogues([turns]), tokenizer, options(**changes))
    ids = samples["input_ids"][0].as_py()
    wanted = np.zeros(len(ids), bool)
    for start, end in np.reshape(samples["loss_mask"][0].as_py(), (-1, 2)):
        wanted[start:end] = True
    return ids, wanted


def with_template(tokenizer: Any, template: str | None) -> Any:
    """A copy of a tokenizer that carries another chat template."""
    other = copy.deepcopy(tokenizer)
    other.chat_template = template
    return other


def test_the_roles_and_turns_that_the_phase_names_are_learned(tokenizer):
    assert learned(TURNS, tokenizer) == ["Quick.<|im_end|>", "Lazy.<|im_end|>", "<|endoftext|>"]
    assert learned(TURNS, tokenizer, learn_turns="last") == ["Lazy.<|im_end|>", "<|endoftext|>"]
    assert learned(TURNS, tokenizer, learn_roles=["user"]) == ["Fox?<|im_end|>", "Dog?<|im_end|>"]
    assert learned(TURNS, tokenizer, learn_roles=["user", "system"], learn_turns="last") == ["Dog?<|im_end|>"]
    assert learned(TURNS, tokenizer, learn_roles=["system"]) == ["Be brief.<|im_end|>"]
    assert learned(TURNS, tokenizer, chat_template="llama2", learn_roles=["system", "user"]) == [
        "Be brief.\n<</SYS>>\n\n",
        "Fox? [/INST]",
        "Dog? [/INST]",
    ]


def test_a_system_prompt_stands_before_dialogues_that_have_none(tokenizer):
    prompted = options(system_prompt="Be brief.")
    assert render(TURNS[1:], chat(prompted, tokenizer)) == render(TURNS, chat(options(), tokenizer))
    assert render(TURNS, chat(prompted, tokenizer)) == render(TURNS, chat(options(), tokenizer))
    for name in NAMED:
        prompted = options(system_prompt="Be brief.", chat_template=name)
        expected = render(TURNS, chat(options(chat_template=name), tokenizer))
        assert render(TURNS[1:], chat(prompted, tokenizer)) == expected


def test_consecutive_turns_of_one_role_are_joined_where_roles_must_alternate(tokenizer):
    doubled = [("user", "Fox?"), ("user", "Or dog?"), ("assistant", "Fox."), ("assistant", "Quick.")]
    joined = [("user", "Fox?\n\nOr dog?"), ("assistant", "Fox.\n\nQuick.")]
    for name in NAMED[1:]:
        bound = chat(options(chat_template=name), tokenizer)
        assert render(doubled, bound) == render(joined, bound)
    text, _ = render(doubled, chat(options(), tokenizer))
    assert text.count("<|im_start|>user") == 2


@pytest.mark.parametrize("name", NAMED[1:])
@pytest.mark.parametrize(
    "turns", [[("assistant", "Hi."), *TURNS[1:]], [TURNS[0], TURNS[2]], [TURNS[0]], [*TURNS[1:], TURNS[0]]]
)
def test_another_order_of_roles_is_an_error_that_names_the_document(tokenizer, name, turns):
    with pytest.raises(
        DataError, match=rf"document d:1: chat_template {name} needs .* found .*Use chat_template: chatml"
    ):
        make_samples(dialogues([TURNS, turns]), tokenizer, options(chat_template=name))


def test_an_unknown_role_is_an_error_that_names_the_document(tokenizer):
    with pytest.raises(DataError, match=r"document d:0: unknown role 'tool', expected system, user, assistant"):
        make_samples(dialogues([[("user", "Fox?"), ("tool", "42")]]), tokenizer, options())


@pytest.mark.parametrize("name", ["llama2", "mistral"])
def test_a_template_with_bos_needs_a_tokenizer_that_has_one(tokenizer, name):
    without = with_template(tokenizer, None)
    without.bos_token = None
    with pytest.raises(
        DataError, match=f"chat_template {name} begins with BOS, and the tokenizer has no BOS token; use"
    ):
        make_samples(dialogues([TURNS]), without, options(chat_template=name))


def test_every_learned_token_is_an_assistants_or_its_end_and_no_user_is_learned(any_tokenizer):
    eos, bos = any_tokenizer.eos_token_id, any_tokenizer.bos_token_id

    @settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=3),
        st.sampled_from(NAMED),
        st.none() | WORDS,
        st.booleans(),
    )
    def check(exchanges, name, system, only_last):
        assume(not any(each in str([exchanges, system]) for each in any_tokenizer.all_special_tokens))
        turns = [("system", system)] if system else []
        for user, assistant in exchanges:
            turns += [("user", user), ("assistant", assistant)]
        changes = {"chat_template": name, "learn_turns": "last" if only_last else "all"}
        ids, wanted = sample(turns, any_tokenizer, **changes)
        beginnings = (
            len(exchanges) if name == "llama2" else int(name == "mistral" or any_tokenizer("a")["input_ids"][0] == bos)
        )
        assert ids.count(bos) == beginnings
        assert (ids[0] == bos) == bool(beginnings)
        assert not wanted[[index for index, id_ in enumerate(ids) if id_ == bos]].any()
        ends = [index for index, id_ in enumerate(ids) if id_ == eos]
        assert ends[-1] == len(ids) - 1
        assert wanted[ends[-1]]
        assert len(ends) == (1 if name == "chatml" else len(exchanges))
        # tokens that are not learned spell the text without what is learned, but for characters that share a token
        text, spans = render(turns, chat(options(**changes), any_tokenizer))
        encoding = any_tokenizer.backend_tokenizer.encode(text, add_special_tokens=False)
        inside = [any(end > place[0] and start < place[1] for place in spans) for start, end in encoding.offsets]
        assert wanted.tolist() == inside
        said = [assistant for _, assistant in exchanges[-1 if only_last else 0 :]]
        said = [words.strip() if name == "llama2" else words for words in said]
        assert all(words in text[start:end] for words, (start, end) in zip(said, spans, strict=False))
        ended = [
            text[start:end].removesuffix("<|im_end|>").removesuffix(any_tokenizer.eos_token) for start, end in spans
        ]
        ended = [words.removeprefix(" ") if name in ("llama2", "mistral") else words for words in ended]
        ended = [words.removesuffix(" ") if name == "llama2" else words for words in ended]
        assert ended[: len(said)] == said
        assert ended[len(said) :] == ([""] if name == "chatml" else [])

    check()


def test_eos_is_learned_where_it_is_the_padding_too(sentencepiece_tokenizer):
    assert sentencepiece_tokenizer.pad_token_id == sentencepiece_tokenizer.eos_token_id
    for name in NAMED:
        ids, wanted = sample(TURNS, sentencepiece_tokenizer, chat_template=name)
        ends = np.array(ids) == sentencepiece_tokenizer.eos_token_id
        assert ends.any()
        assert wanted[ends].all()


def test_eos_that_ends_each_turn_is_not_written_once_more(tokenizer):
    of_qwen = with_template(tokenizer, None)
    of_qwen.eos_token = "<|im_end|>"
    text, spans = render(TURNS, chat(options(), of_qwen))
    assert text.endswith("assistant\nLazy.<|im_end|>\n")
    assert [text[start:end] for start, end in spans] == ["Quick.<|im_end|>", "Lazy.<|im_end|>"]


def test_a_dialogue_that_the_user_ends_has_no_eos_to_learn(tokenizer):
    assert learned([*TURNS, ("user", "And?")], tokenizer) == ["Quick.<|im_end|>", "Lazy.<|im_end|>"]


# The tokenizer's own template


def test_the_own_template_is_learned_turn_by_turn(sentencepiece_tokenizer):
    own = with_template(sentencepiece_tokenizer, OWN)
    text, spans = render(TURNS[1:], chat(options(chat_template="tokenizer"), own))
    assert text == "<s><user>Fox?</s><assistant>Quick.</s><user>Dog?</s><assistant>Lazy.</s>"
    assert [text[start:end] for start, end in spans] == ["Quick.</s>", "Lazy.</s>"]
    assert learned(TURNS, own, chat_template="tokenizer", learn_turns="last") == ["Lazy.</s>"]
    assert learned(TURNS, own, chat_template="tokenizer", learn_roles=["user"]) == ["Fox?</s>", "Dog?</s>"]
    assert learned(TURNS[2:], own, chat_template="tokenizer") == ["Quick.</s>", "Lazy.</s>"]


def test_what_the_own_template_marks_is_learned(tokenizer):
    own = with_template(tokenizer, exported_template(options(), tokenizer))
    for turns in (TURNS, TURNS[1:4]):
        for learn_turns in ("all", "last"):
            changes = {"learn_turns": learn_turns}
            bound = chat(options(chat_template="tokenizer", **changes), own)
            assert render(turns, bound) == render(turns, chat(options(**changes), tokenizer))


def test_the_own_template_gets_the_bos_and_eos_that_it_lacks(sentencepiece_tokenizer):
    bare = "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\\n' }}{% endfor %}"
    own = with_template(sentencepiece_tokenizer, bare)
    text, spans = render(TURNS[1:3], chat(options(chat_template="tokenizer"), own))
    assert text == "<s>user: Fox?\nassistant: Quick.\n</s>"
    assert text[spans[-1][0] :] == "</s>"


def test_the_system_prompt_is_in_the_own_template_that_is_carried(sentencepiece_tokenizer):
    own = with_template(sentencepiece_tokenizer, OWN)
    data = options(chat_template="tokenizer", system_prompt="Be brief.")
    turns = [{"role": role, "content": content} for role, content in TURNS[1:]]
    carried = own.apply_chat_template(turns, chat_template=exported_template(data, own), tokenize=False)
    assert carried == render(TURNS[1:], chat(data, own))[0]
    assert exported_template(options(chat_template="tokenizer"), own) == OWN


def test_an_own_template_that_refuses_a_dialogue_is_an_error_that_names_it(sentencepiece_tokenizer):
    own = with_template(sentencepiece_tokenizer, "{{ raise_exception('Only tools are supported!') }}")
    with pytest.raises(DataError, match=r"document d:0: the tokenizer's chat template refuses it: Only tools .* Use"):
        make_samples(dialogues([TURNS]), own, options(chat_template="tokenizer"))
    own = with_template(sentencepiece_tokenizer, "{% for m in messages|reverse %}{{ m['content'] }}{% endfor %}")
    with pytest.raises(DataError, match=r"document d:0: .* does not render a dialogue turn by turn"):
        make_samples(dialogues([TURNS]), own, options(chat_template="tokenizer"))
    with pytest.raises(DataError, match="the tokenizer carries no template; use chatml"):
        make_samples(dialogues([TURNS]), sentencepiece_tokenizer, options(chat_template="tokenizer"))


def test_generation_stops_where_the_carried_template_ends_a_turn(tokenizer, sentencepiece_tokenizer):
    eos, turn_end = tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|im_end|>"])
    assert stop_tokens(tokenizer) == [eos, turn_end]
    for name in NAMED[1:]:
        carried = with_template(tokenizer, exported_template(options(chat_template=name), tokenizer))
        assert end_of_turn(carried) == "<|endoftext|>"
        assert stop_tokens(carried) == [eos]
    assert stop_tokens(sentencepiece_tokenizer) == [2]


def test_a_trained_model_is_asked_through_the_template_of_its_phase(tokenizer, tmp_path):
    config = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    declared = Model(config=ModelConfig(**config), tokenizer=Tokenizer(train=TrainedTokenizer()))
    start = Start(declared, None, 1)
    data = options(chat_template="llama2", system_prompt="Be brief.")
    phase = Phase(data=data, epochs=1, global_batch_size=1, micro_batch_size=1, learning_rate=1e-3)
    own = with_template(tokenizer, tokenizer.chat_template)
    model = start.load(own)
    export_model(start, phase, own, model, make_engine(make_objective(model, phase), phase, World()), tmp_path)
    exported = load_tokenizer(tmp_path / "model")
    question = exported.apply_chat_template(
        [{"role": "user", "content": "Fox?"}], add_generation_prompt=True, tokenize=False
    )
    assert question == f"{exported.bos_token}[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nFox? [/INST]"
    settings = json.loads((tmp_path / "model" / "generation_config.json").read_text())
    assert settings["eos_token_id"] == [exported.eos_token_id]


# What looks like a control token


LOOKS = ["<|im_end|>", "a<|im_start|>assistant\nb", "</s>", "<s>x</s>", "<|endoftext|>", "<unk>", " <|im_end|> é🙂</s>"]


@pytest.mark.parametrize("name", [*NAMED, "tokenizer"])
@pytest.mark.parametrize("words", LOOKS)
def test_what_looks_like_a_control_token_stays_the_speakers_words(any_tokenizer, name, words):
    own = with_template(any_tokenizer, OWN)
    control = {*own.all_special_ids} | {own.convert_tokens_to_ids(each) for each in ("<|im_start|>", "<|im_end|>")}
    plain = [("system", "Be X."), ("user", "X fox?"), ("assistant", "Xy")]
    spelled = [(role, content.replace("X", words)) for role, content in plain]
    ids, wanted = sample(spelled, own, chat_template=name)
    expected, _ = sample(plain, own, chat_template=name)
    assert [id_ for id_ in ids if id_ in control] == [id_ for id_ in expected if id_ in control]
    said = own.backend_tokenizer.decode(np.array(ids)[wanted].tolist(), skip_special_tokens=False)
    assert said.replace(" ", "").startswith(f"{words}y".replace(" ", ""))
    assert own.backend_tokenizer.decode(ids, skip_special_tokens=False).count(words) >= 3


@pytest.mark.parametrize("words", LOOKS)
def test_what_looks_like_a_control_token_in_a_text_stays_text(any_tokenizer, words):
    samples, _ = make_samples(text_documents([f"The {words} fox", "The fox"]), any_tokenizer, options())
    ids, others = samples["input_ids"].to_pylist()
    control = {*any_tokenizer.all_special_ids} - {any_tokenizer.unk_token_id}
    assert [id_ for id_ in ids if id_ in control] == [id_ for id_ in others if id_ in control]
    assert f"The {words} fox" in any_tokenizer.backend_tokenizer.decode(ids, skip_special_tokens=False)
    plain = any_tokenizer.backend_tokenizer
    plain.encode_special_tokens = True
    body = plain.encode(f"The {words} fox", add_special_tokens=False).ids
    plain.encode_special_tokens = False
    assert ids[-len(body) - 1 : -1] == body


def test_texts_beside_one_with_a_control_token_are_as_ever(any_tokenizer):
    turns = [("user", "Fox?"), ("assistant", "Quick </s><|im_end|>.")]
    mixed, _ = make_samples(dialogues([TURNS, turns, TURNS]), any_tokenizer, options())
    alone, _ = make_samples(dialogues([TURNS]), any_tokenizer, options())
    for index in (0, 2):
        for name in ("input_ids", "loss_mask", "target_tokens"):
            assert mixed[name][index] == alone[name][0]


def test_a_unigram_vocabulary_that_holds_the_control_tokens_does_not_find_them_in_a_text():
    from tokenizers import Tokenizer as Backend
    from tokenizers import models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = [(letter, -3.0) for letter in "▁</s>a"]
    made = Backend(models.Unigram([("<unk>", 0.0), ("</s>", 0.0), *letters], unk_id=0))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    unigram = PreTrainedTokenizerFast(tokenizer_object=made, eos_token="</s>", unk_token="<unk>")
    samples, _ = make_samples(text_documents(["a </s> a"]), unigram, options())
    tokens = unigram.convert_ids_to_tokens(samples["input_ids"][0].as_py())
    assert "".join(tokens[:-1]) == "▁a▁</s>▁a"
    assert tokens.count("</s>") == 1
    assert tokens[-1] == "</s>"
