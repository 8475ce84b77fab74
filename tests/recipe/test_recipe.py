from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import RecipeError
from core.recipe.keys import recipe_keys
from core.recipe.loading import find_recipe, load_tree, shipped_recipes
from core.recipe.problems import InvalidRecipe
from core.recipe.resolve import check_recipe, load_recipe
from core.recipe.schema import Step

GOOD = """\
name: small
model:
  config: {hidden_size: 64, intermediate_size: 128, num_hidden_layers: 2, num_attention_heads: 4}
  tokenizer: {train: {vocabulary: 500}}
data:
  sources:
    lib: {python_library: {}}
    talk: {files: talk.jsonl, fields: {messages: turns}}
  steps:
    - length: {min_words: 5}
    - minhash_dedup: {}
  mixture: {lib: all, talk: 100}
train:
  pretrain:
    data: {sources: [lib], sequence_length: 128}
    max_steps: 10
  sft:
    data: {sources: [talk], sequence_length: 128}
    method: lora
    epochs: 2
scales:
  tiny:
    train: {sft: {epochs: null, max_steps: 3}}
    data: {mixture: {lib: 5}}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(GOOD)
    return path


def rewritten(recipe: Path, *changes: tuple[str, str]) -> Path:
    text = recipe.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    recipe.write_text(text)
    return recipe


def problems(recipe: Path, **arguments) -> list[str]:
    return [str(problem) for problem in check_recipe(str(recipe), **arguments)]


def test_a_right_recipe_has_no_problems(recipe):
    assert check_recipe(str(recipe)) == []


@pytest.mark.parametrize(
    ("mixture", "told"),
    [
        ("{lib: {tokns: 5}, talk: all}", "data.mixture.lib.tokns: found unknown key 'tokns'; expected a known key"),
        ("{lib: {tokens: -1}, talk: all}", "data.mixture.lib.tokens: found -1 (integer); expected greater than or"),
        ("{lib: some, talk: all}", "data.mixture.lib: found 'some' (text); expected a valid integer or 'all' or"),
        ("{lib: {share: 0.7}, talk: {share: 0.7}}", "the shares add up to 1.4, more than 1"),
    ],
)
def test_what_is_wrong_with_a_mixture_is_told_where_it_is(recipe, mixture, told):
    assert any(told in line for line in problems(recipe, overrides=[f"data.mixture={mixture}"]))


def test_shipped_recipes_are_right_in_every_scale():
    assert shipped_recipes()
    for name in shipped_recipes():
        assert check_recipe(name) == []


def test_all_problems_come_at_once_with_line_key_found_expected_and_nearest(recipe):
    rewritten(
        recipe,
        ("num_hidden_layers", "num_hidden_layer"),
        ("vocabulary: 500", "vocabulary: many"),
        ("lib: all, talk", "libb: all, talk"),
        ("minhash_dedup: {}", "minhash_dedup: {treshold: 0.7}"),
        ("epochs: 2", "epochs: twice"),
        ("max_steps: 10", "max_steps: 10\n    micro_batch_size: 5"),
    )
    name = str(recipe)
    assert problems(recipe) == [
        f"{name}:3  model.config.num_hidden_layer: found unknown key 'num_hidden_layer'; expected a known key; "
        "did you mean 'num_hidden_layers'?",
        f"{name}:4  model.tokenizer.train.vocabulary: found 'many' (text); expected a valid integer",
        f"{name}:11  data.steps.1.minhash_dedup.treshold: found unknown key 'treshold'; expected a known key; "
        "did you mean 'threshold'?",
        f"{name}:12  data.mixture.libb: found unknown source 'libb'; expected one of data.sources: lib, talk; "
        "did you mean 'lib'?",
        f"{name}:14  train.pretrain: global_batch_size 32 is not a multiple of micro_batch_size 5; "
        "found {data: …, max_steps: …, micro_batch_size: …} (mapping)",
        f"{name}:21  train.sft.epochs: found 'twice' (text); expected a valid number",
    ]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "sequence_length: 128}\n    max",
            "sequence_length: 4096}\n    max",
            "4096 tokens; expected at most the model's 2048",
        ),
        ("method: lora", "method: qlora\n    zero_stage: 3", "the 4-bit weights would not shard"),
        ("max_steps: 10", "max_steps: 10\n    method: lora", "expected full: the first phase of a model made from"),
        (
            "sources: [talk]",
            "sources: [tlak]",
            "unknown source 'tlak'; expected one of data.sources: lib, talk; did you",
        ),
        ("epochs: 2", "epochs: 2\n    max_steps: 4", "train.sft: give either epochs or max_steps; found"),
        ("lib: all, talk: 100}", "lib: 0, talk: all}", "found 'lib', of which the mixture takes nothing"),
        ("talk: 100}", "talk: all}\n  seed: 3", "unknown key 'seed'; expected a known key; did you mean 'seed'"),
        ("{messages: turns}", "{prompt: p, chosen: c, rejected: r}", "'talk', whose documents are preference pairs"),
        ("talk: 100}", "talk: -1}", "greater than or equal to 0"),
        ("max_steps: 10", "max_steps: 10\n    learning_rate: .inf", "expected a finite number"),
        ("max_steps: 10", "max_steps: 10\n  base: {data: {sources: [lib]}, max_steps: 1}", "a phase called 'base'"),
        ("name: small", "nome: small", "unknown key 'nome'; expected a known key; did you mean 'name'"),
        ("lib: {python_library: {}}", "lib: {python_library: {}, dataset: x}", "a source needs exactly one of"),
        (
            "- minhash_dedup: {}",
            "- minhash_dedup: {}\n      length: {min_words: 2}",
            "a step has exactly one of the keys",
        ),
    ],
)
def test_each_kind_of_mistake_is_named(recipe, old, new, expected):
    found = problems(rewritten(recipe, (old, new)))
    assert any(expected in problem for problem in found), found
    assert all(f"{recipe}:" in problem for problem in found)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_however_a_recipe_is_broken_the_problems_are_told(tmp_path_factory, data):
    """Take things out, put strange things in, misspell: never anything but a list of problems."""
    from ruamel.yaml import YAML

    values = YAML(typ="safe").load(GOOD)
    for _ in range(data.draw(st.integers(1, 4))):
        node = values
        while True:
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            if not keys:
                break
            key = data.draw(st.sampled_from(keys))
            if isinstance(node[key], dict | list) and node[key] and data.draw(st.booleans()):
                node = node[key]
                continue
            strange = data.draw(
                st.sampled_from([None, 3, -1.5, "word", [], {}, [{"a": 1}], {"a": 1}, "remove", "misspell"])
            )
            if strange == "remove":
                del node[key]
            elif strange == "misspell" and isinstance(node, dict):
                node[f"{key}s"] = node.pop(key)
            else:
                node[key] = strange
            break
    path = tmp_path_factory.mktemp("broken") / "broken.yaml"
    with path.open("w") as file:
        YAML(typ="safe").dump(values, file)
    try:
        found = check_recipe(str(path))
    except RecipeError as error:
        assert "scales" in str(error)
        return
    assert all(problem.expected and problem.found for problem in found)
    if not found:
        load_recipe(str(path))


def test_a_mistake_in_a_scale_is_found_without_asking_for_it(recipe):
    found = problems(rewritten(recipe, ("max_steps: 3", "max_stebs: 3")))
    assert all(f"{recipe}:23" in problem for problem in found)
    assert "did you mean 'max_steps'" in found[0]


def test_what_an_override_breaks_is_said_to_come_from_the_command_line(recipe):
    with pytest.raises(InvalidRecipe, match=r"^command line  train\.sft\.epochs: found 'x'"):
        load_recipe(str(recipe), overrides=["train.sft.epochs=x"])


def test_every_value_knows_where_it_comes_from(recipe):
    resolved = load_recipe(str(recipe), "tiny", ["train.pretrain.learning_rate=1e-3"])
    origins = resolved.origins()
    assert origins["train.pretrain.max_steps"] == "small.yaml:16"
    assert origins["train.sft.max_steps"] == "scale tiny (small.yaml:23)"
    assert origins["data.mixture.lib"] == "scale tiny (small.yaml:24)"
    assert origins["train.pretrain.learning_rate"] == "command line"
    assert origins["train.sft.schedule"] == "default"
    assert resolved.recipe.train["pretrain"].learning_rate == 1e-3
    assert resolved.recipe.train["sft"].epochs is None
    assert resolved.run_name == "small-tiny"


def test_overrides_reach_list_items_and_null_removes(recipe):
    overrides = ["data.steps.1.minhash_dedup.threshold=0.7", "data.mixture=null", "train.pretrain=null"]
    resolved = load_recipe(str(recipe), overrides=[*overrides, "train.sft.method=full"]).recipe
    assert resolved.data.steps[1].options.threshold == 0.7
    assert resolved.data.mixture is None
    assert list(resolved.train) == ["sft"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epochs", "an override is key.path=value"),
        ("data.steps.7.length={}", "'7' is not an item number of a list of 2"),
        ("data.steps.x.length={}", "'x' is not an item number"),
        ("seed=[", "not valid YAML"),
    ],
)
def test_a_malformed_override_is_named(recipe, override, message):
    with pytest.raises(RecipeError, match=message):
        load_recipe(str(recipe), overrides=[override])


def test_the_shown_recipe_resolves_to_the_same_recipe(recipe, tmp_path):
    first = load_recipe(str(recipe), "tiny")
    (tmp_path / "again.yaml").write_text(first.as_yaml())
    assert load_recipe(str(tmp_path / "again.yaml")).recipe == first.recipe


def test_an_unknown_recipe_gets_the_nearest_name():
    with pytest.raises(RecipeError, match="did you mean quickstart"):
        find_recipe("quikstart")
    with pytest.raises(RecipeError, match=r"nowhere\.yaml: no such recipe file"):
        find_recipe("nowhere.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"name: [", r"bad\.yaml:\d+ not valid YAML"),
        (b"- a\n- b\n", "a recipe is a mapping"),
        (b"name: \xff\n", "not UTF-8 text"),
        (b"name: a\nname: b\n", r"bad\.yaml:2 not valid YAML.*duplicate key"),
        (b"", "a recipe is a mapping"),
    ],
)
def test_a_file_that_is_no_recipe_is_named_with_its_line(tmp_path, text, message):
    (tmp_path / "bad.yaml").write_bytes(text)
    with pytest.raises(RecipeError, match=message):
        load_tree(tmp_path / "bad.yaml")


def test_an_unknown_scale_is_named(recipe):
    with pytest.raises(RecipeError, match="no scale 'huge'; the recipe has: tiny"):
        load_recipe(str(recipe), "huge")


def test_no_key_of_the_schema_lacks_a_way_to_it():
    keys = {key.path: key.as_json() for key in recipe_keys()}
    assert {"data.sources", "train.<name>.lora.rank", "data.steps.<number>.minhash_dedup.threshold"} <= keys.keys()
    assert (keys["name"]["required"], keys["name"]["takes"]) == (True, "text")
    assert keys["data.steps.<number>.length"]["meaning"].startswith("Bounds on the size")
    assert (keys["seed"]["takes"], keys["seed"]["default"]) == ("integer from 0", 42)
    assert keys["train.<name>.warmup_ratio"]["takes"] == "number from 0 below 1 or null"
    assert keys["train.<name>.zero_stage"]["takes"] == "0 or 1 or 2 or 3"
    assert keys["train.<name>.checkpoints"]["takes"] == "section"


def test_checking_a_recipe_loads_neither_torch_nor_ray():
    code = "import sys; from core.recipe.resolve import check_recipe; check_recipe('quickstart');"
    code += "print(sorted({'torch', 'ray', 'transformers', 'datasets', 'lm_eval', 'numba'} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


NEEDED = {
    "length": "{min_words: 5}",
    "language": "{languages: [en]}",
    "quality": "{model: a.bin, min_score: 0.5}",
    "metadata": "{key: lang, allow: [en, true], missing: keep}",
    "phrases": "{deny: [print(], part: [user, assistant]}",
    "lower_case": "{probability: 0.3}",
    "decontaminate": "{against: {gsm8k: {files: gsm8k.jsonl, fields: {text: question}}}}",
    "sample_by_score": "{scores: scores.parquet}",
    "corrupted_solutions": "{sources: [solved]}",
}
MORE_SOURCES = {  # that only these steps can work on
    "sample_by_score": "data.sources.ni={natural_instructions: {directory: tasks}}",
    "corrupted_solutions": "data.sources.solved={files: a.jsonl, fields: {instruction: question, output: answer}}",
}


@pytest.mark.parametrize("kind", Step.model_fields)
def test_every_step_shown_with_its_defaults_resolves_to_the_same_step(recipe, tmp_path, kind):
    overrides = [MORE_SOURCES[kind]] if kind in MORE_SOURCES else []
    first = load_recipe(
        str(rewritten(recipe, ("minhash_dedup: {}", f"{kind}: {NEEDED.get(kind, '{}')}"))), overrides=overrides
    )
    (tmp_path / "again.yaml").write_text(first.as_yaml())
    assert load_recipe(str(tmp_path / "again.yaml")).recipe == first.recipe


def test_limits_by_n_are_set_by_n(recipe):
    rewritten(recipe, ("minhash_dedup: {}", "repetition: {max_top_ngram_characters: {2: 0.3}}"))
    assert load_recipe(str(recipe)).recipe.data.steps[1].options.max_top_ngram_characters == {2: 0.3}
    override = "data.steps.1.repetition.max_top_ngram_characters={2: 20}"
    assert problems(recipe, overrides=[override]) == [
        "command line  data.steps.1.repetition.max_top_ngram_characters.2: found 20 (integer); "
        "expected less than or equal to 1"
    ]


def test_a_phase_that_only_a_scale_has_stands_where_the_scale_has_it(recipe):
    text = recipe.read_text().replace("train: {sft: {", "train: {first: {max_steps: 1}, sft: {")
    recipe.write_text(text.replace("lib: 5}}", "lib: 5, more: 1, talk: 2, last: 3}}"))
    tree = load_tree(recipe, "tiny")
    assert list(tree.values["train"]) == ["pretrain", "first", "sft"]
    assert tree.values["data"]["mixture"] == {"lib": 5, "more": 1, "talk": 2, "last": 3}
    assert list(tree.values["data"]["mixture"]) == ["lib", "more", "talk", "last"]


def test_a_recipe_that_extends_another_says_only_what_differs(recipe, tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        "extends: small.yaml\nname: mine\ndata: {steps: null}\ntrain: {sft: {epochs: 1}}\n"
        "scales: {tiny: {train: {sft: {max_steps: 5}}}, other: {seed: 7}}\n"
    )
    resolved = load_recipe(str(mine))
    assert (resolved.recipe.name, resolved.recipe.train["sft"].epochs) == ("mine", 1)
    assert resolved.recipe.data.steps == []
    assert resolved.origin(("train", "sft", "epochs")) == "mine.yaml:4"
    assert (
        resolved.origin(("train", "sft", "method")) == f"small.yaml:{GOOD[: GOOD.index('method')].count(chr(10)) + 1}"
    )
    assert set(resolved.tree.scales) == {"tiny", "other"}
    tiny = load_recipe(str(mine), "tiny").recipe.train["sft"]
    assert (tiny.epochs, tiny.max_steps) == (None, 5)


def test_what_is_wrong_with_what_is_extended_is_told_with_its_own_file(recipe, tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("extends: small.yaml\nname: mine\n")
    rewritten(recipe, ("min_words: 5", "min_wordz: 5"))
    [problem] = problems(mine)
    assert problem.startswith(f"{recipe}:10  data.steps.0.length.min_wordz: found unknown key")
    for base, message in (
        ("nowhere", "mine.yaml:1 extends: no recipe called"),
        ("mine.yaml", "in turn"),
        ("[1]", "a .yaml"),
    ):
        mine.write_text(f"extends: {base}\nname: mine\n")
        with pytest.raises(RecipeError, match=message):
            load_recipe(str(mine))


def test_items_of_a_list_are_changed_by_their_numbers(recipe, tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        "extends: small.yaml\ndata: {steps: {0: {length: {max_words: 9}}, 1: {minhash_dedup: null, refusals: {}}}}\n"
    )
    resolved = load_recipe(str(mine))
    assert [step.kind for step in resolved.recipe.data.steps] == ["length", "refusals"]
    assert (resolved.recipe.data.steps[0].options.min_words, resolved.recipe.data.steps[0].options.max_words) == (5, 9)
    assert resolved.origin(("data", "steps", 0, "length", "max_words")) == "mine.yaml:2"
    mine.write_text("extends: small.yaml\ndata: {steps: {2: {refusals: {}}}}\n")
    with pytest.raises(RecipeError, match=r"mine.yaml:2 data.steps: '2' is not an item number of a list of 2"):
        load_recipe(str(mine))


def test_a_value_that_no_document_keeps_cannot_choose_among_them(recipe):
    rewritten(recipe, ("minhash_dedup: {}", "metadata: {sources: [talk], key: langs, allow: [en]}"))
    assert problems(recipe, overrides=["data.sources.talk.fields.meta=[lang]"]) == [
        f"{recipe}:11  data.steps.1.metadata.key: found 'langs'; "
        "expected a name in data.sources.talk.fields.meta: lang; did you mean 'lang'?"
    ]
    assert problems(recipe, overrides=["data.sources.talk.fields.meta=[langs]"]) == []
