from __future__ import annotations

import shutil

import orjson
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, MistralConfig, Qwen2Config

import core.models.extend as extend
from core.artifacts.atomic import write_json
from core.errors import DataError, RecipeError, ResourceError
from core.models.create import create_model, load_model
from core.models.extend import extend_depth, extended_config, known_depth
from core.models.options import DepthExtension, ModelConfig
from core.planning.disk import parameter_count

WINDOW = 8
SHAPE = {
    "vocab_size": 61,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
CONFIGS = {
    "mistral": MistralConfig(**SHAPE, sliding_window=WINDOW),
    "llama": LlamaConfig(**SHAPE | {"num_key_value_heads": 4}),
    "qwen2": Qwen2Config(**SHAPE, tie_word_embeddings=True),  # its queries, keys and values have biases
}
BLOCKS = [0, 1, 1, 2, 3, 2, 3]
IDS = torch.randint(61, (2, 40), generator=torch.Generator().manual_seed(5))


def base_model(config):
    """A model of which no weight, norm or bias is what it is in another block."""
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn_like(parameter) + (parameter.ndim == 1))
    return model


@pytest.fixture(params=list(CONFIGS))
def base(request, tmp_path):
    model = base_model(CONFIGS[request.param])
    model.save_pretrained(tmp_path / "base")
    return model


@pytest.fixture
def mistral(tmp_path):
    model = base_model(CONFIGS["mistral"])
    model.save_pretrained(tmp_path / "base")
    return model


def extended(tmp_path, blocks=BLOCKS, identity=False, **loading):
    extend_depth(tmp_path / "base", tmp_path / "new", DepthExtension(blocks=blocks, identity=identity))
    return AutoModelForCausalLM.from_pretrained(tmp_path / "new", **{"attn_implementation": "eager"} | loading).eval()


@torch.no_grad()
def logits(model, ids=IDS):
    return model(input_ids=ids).logits


def test_copies_of_blocks_are_what_loading_each_block_by_hand_gives(base, tmp_path):
    config = type(base.config).from_dict(base.config.to_dict() | {"num_hidden_layers": 7, "layer_types": None})
    by_hand = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    state = {name: value for name, value in base.state_dict().items() if ".layers." not in name}
    for number, block in enumerate(BLOCKS):
        for name, value in base.model.layers[block].state_dict().items():
            state[f"model.layers.{number}.{name}"] = value
    by_hand.load_state_dict(state, strict=True)
    made = extended(tmp_path)
    assert made.config.num_hidden_layers == known_depth(tmp_path / "new") == 7
    assert torch.equal(logits(made), logits(by_hand))
    assert not torch.allclose(logits(made), logits(base), atol=1e-3)


def test_copies_that_add_nothing_leave_the_models_function_as_it_was_to_the_last_bit(base, tmp_path):
    made = extended(tmp_path, identity=True)
    assert torch.equal(logits(made), logits(base))
    for number, again in enumerate([False, False, True, False, False, True, True]):
        block = made.model.layers[number]
        assert again == (not block.self_attn.o_proj.weight.any()) == (not block.mlp.down_proj.weight.any())
        assert block.self_attn.q_proj.weight.any()
        assert block.mlp.up_proj.weight.any()


def test_biases_of_what_a_block_adds_are_zero_with_its_weights(tmp_path):
    model = base_model(LlamaConfig(**SHAPE, attention_bias=True, mlp_bias=True))
    model.save_pretrained(tmp_path / "base")
    made = extended(tmp_path, identity=True)
    assert model.model.layers[1].mlp.down_proj.bias.all()
    assert torch.equal(logits(made), logits(model))


def test_blocks_that_add_nothing_learn_all_the_same(base, tmp_path):
    made = extended(tmp_path, identity=True).train()
    new = made.model.layers[2]
    before = {name: value.detach().clone() for name, value in new.named_parameters()}
    optimizer = torch.optim.SGD(made.parameters(), lr=0.01)
    moved = []
    for _ in range(2):
        made(input_ids=IDS, labels=IDS).loss.backward()
        assert new.self_attn.o_proj.weight.grad.abs().sum() > 0
        assert new.mlp.down_proj.weight.grad.abs().sum() > 0
        optimizer.step()
        optimizer.zero_grad()
        moved.append({name for name, value in new.named_parameters() if not torch.equal(value, before[name])})
    assert moved[0] == {"self_attn.o_proj.weight", "mlp.down_proj.weight"}
    assert moved[1] == set(before)


def test_generation_with_a_cache_writes_what_it_writes_without_one(base, tmp_path):
    made = extended(tmp_path)
    asked = {"input_ids": IDS[:, :20], "max_new_tokens": 12, "do_sample": False, "pad_token_id": 0, "eos_token_id": 60}
    with_cache = made.generate(**asked, use_cache=True)
    assert with_cache.shape[1] > 20
    assert torch.equal(with_cache, made.generate(**asked, use_cache=False))


def test_a_window_holds_in_every_block_of_the_deeper_model(mistral, tmp_path):
    made = extended(tmp_path)
    plainly = extended(tmp_path, attn_implementation="sdpa")
    torch.testing.assert_close(logits(plainly), logits(made), rtol=1e-4, atol=1e-4)
    whole = extended(tmp_path, sliding_window=None)
    assert torch.allclose(logits(whole)[:, :WINDOW], logits(made)[:, :WINDOW], atol=1e-5)
    assert (logits(whole)[:, WINDOW:] - logits(made)[:, WINDOW:]).abs().amax(-1).min() > 1e-3
    reach = len(BLOCKS) * (WINDOW - 1)  # positions back that the last block hears of: 49
    ids = torch.cat([IDS, IDS], 1)
    other = ids.clone()
    other[:, 0] = (ids[:, 0] + 1) % 61
    changed = (logits(made, ids) - logits(made, other)).abs().amax(-1)
    assert changed[:, reach + 1 :].max() == 0
    assert changed[:, reach - WINDOW].min() > 0


def test_each_blocks_kind_of_attention_goes_with_it(tmp_path):
    config = Qwen2Config(**SHAPE, use_sliding_window=True, sliding_window=WINDOW, max_window_layers=2)
    model = base_model(config)
    model.save_pretrained(tmp_path / "base")
    full, sliding = "full_attention", "sliding_attention"
    assert config.layer_types == [full, full, sliding, sliding]
    made = extended(tmp_path, identity=True)
    assert made.config.layer_types == [full, full, full, sliding, sliding, sliding, sliding]
    assert torch.equal(logits(made), logits(model))


@settings(max_examples=15, deadline=None)
@given(
    blocks=st.lists(st.integers(0, 3), min_size=1, max_size=8), identity=st.booleans(), largest=st.integers(1, 60_000)
)
def test_any_blocks_in_any_number_of_files_are_copied_tensor_by_tensor(tmp_path_factory, blocks, identity, largest):
    tmp_path = tmp_path_factory.mktemp("any")
    base_model(CONFIGS["mistral"]).to(torch.bfloat16).save_pretrained(tmp_path / "base", max_shard_size="20kB")
    assert (tmp_path / "base" / extend.INDEX).is_file()
    if identity:
        blocks = [0, 1, 2, 3, *blocks]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extend, "LARGEST_FILE", largest)
        extend_depth(tmp_path / "base", tmp_path / "new", DepthExtension(blocks=blocks, identity=identity))
    old = {name: value for path in (tmp_path / "base").glob("*.safetensors") for name, value in load_file(path).items()}
    files = {path.name: load_file(path) for path in (tmp_path / "new").glob("*.safetensors")}
    new = {name: value for held in files.values() for name, value in held.items()}
    assert sum(map(len, files.values())) == len(new)
    parts = [name.removeprefix("model.layers.0.") for name in old if name.startswith("model.layers.0.")]
    assert len(new) == 3 + len(blocks) * len(parts)
    for number, block in enumerate(blocks):
        again = identity and block in blocks[:number]
        for part in parts:
            value = new.pop(f"model.layers.{number}.{part}")
            assert value.dtype == torch.bfloat16
            nothing = again and ("o_proj" in part or "down_proj" in part)
            expected = old[f"model.layers.{block}.{part}"]
            assert torch.equal(value, torch.zeros_like(expected) if nothing else expected)
    assert all(torch.equal(value, old[name]) for name, value in new.items())
    sizes = [sum(value.nbytes for value in held.values()) for held in files.values()]
    assert all(size <= largest or len(held) == 1 for size, held in zip(sizes, files.values(), strict=True))
    assert len(load_model(tmp_path / "new").model.layers) == len(blocks)


def test_a_model_made_from_a_configuration_is_extended_with_its_tokenizer_and_counted(tokenizer, tmp_path):
    config = ModelConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4)
    created = create_model(config, tokenizer, seed=1)
    created.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    (tmp_path / "base/LICENSE").write_text("Apache-2.0")
    (tmp_path / "base/pytorch_model.bin").write_bytes(b"a pickle")
    extension = DepthExtension(blocks=[0, 0, 1, 1, 1])
    extend_depth(tmp_path / "base", tmp_path / "new", extension)
    made = load_model(tmp_path / "new")
    counted = parameter_count(extended_config(config, extension), len(tokenizer))
    assert counted == sum(parameter.numel() for parameter in made.parameters())
    assert made.generation_config.eos_token_id == created.generation_config.eos_token_id
    assert AutoTokenizer.from_pretrained(tmp_path / "new").get_vocab() == tokenizer.get_vocab()
    there = {path.name for path in (tmp_path / "new").iterdir()}
    assert there == {path.name for path in (tmp_path / "base").iterdir()} - {"pytorch_model.bin"}


def test_the_deeper_model_is_whole_or_not_there(mistral, tmp_path, monkeypatch):
    monkeypatch.setattr(extend, "LARGEST_FILE", 20_000)
    first = logits(extended(tmp_path, [0, 1, 2, 3, 3]))
    (tmp_path / "new/left").write_text("of another time")
    written = []

    def stopped(tensors, path, **more):
        written.append(path)
        if len(written) == 2:
            raise KeyboardInterrupt
        save_file(tensors, path, **more)

    with monkeypatch.context() as patch:
        patch.setattr("safetensors.torch.save_file", stopped)
        with pytest.raises(KeyboardInterrupt):
            extended(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"base", "new"}
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "new", attn_implementation="eager").eval()
    assert torch.equal(logits(again), first)
    assert extended(tmp_path).config.num_hidden_layers == 7
    assert not (tmp_path / "new/left").exists()


def test_identity_needs_every_block_of_the_base_in_its_order(mistral, tmp_path):
    with pytest.raises(ValidationError, match="only with its blocks in their order"):
        DepthExtension(blocks=[0, 2, 1], identity=True)
    with pytest.raises(ValidationError):
        DepthExtension(blocks=[0, -1])
    assert DepthExtension(blocks=[2, 0, 0]).misfit(3) is None
    with pytest.raises(RecipeError, match=r"found no block 3; expected each of the model's 4 blocks, for identity: tr"):
        extended(tmp_path, [0, 1, 2, 2], identity=True)


def test_what_cannot_be_extended_is_refused_with_what_was_found(mistral, tmp_path):
    base = tmp_path / "base"
    with pytest.raises(RecipeError, match=r"blocks: found block 36; expected blocks from 0 to 3: the model has 4"):
        extended(tmp_path, [0, 1, 36])
    with pytest.raises(ResourceError, match=r"absent has no config\.json"):
        extend_depth(tmp_path / "absent", tmp_path / "new", DepthExtension(blocks=[0]))
    config = orjson.loads((base / "config.json").read_bytes())
    write_json(base / "config.json", config | {"model_type": "gpt2"})
    with pytest.raises(RecipeError, match="is of type gpt2; known are llama, mistral, qwen2"):
        extended(tmp_path)
    write_json(base / "config.json", config | {"quantization_config": {"quant_method": "bitsandbytes"}})
    with pytest.raises(RecipeError, match="are quantised"):
        extended(tmp_path)
    (base / "config.json").write_text('{"model_type": ')
    with pytest.raises(DataError, match=r"config\.json: cannot be read as a model's configuration"):
        extended(tmp_path)
    assert known_depth(base) is None
    assert not (tmp_path / "new").exists()


def test_weights_that_are_broken_or_no_safetensors_are_refused_by_name(mistral, tmp_path, monkeypatch):
    base = tmp_path / "base"
    weights = {name: value.clone() for name, value in load_file(base / extend.WEIGHTS).items()}  # no longer mapped
    (base / extend.WEIGHTS).write_bytes((base / extend.WEIGHTS).read_bytes()[:-100])
    with pytest.raises(DataError, match=r"model\.safetensors: cannot be read as safetensors \(.*\): fetch the file"):
        extended(tmp_path)
    save_file({name: value for name, value in weights.items() if "layers.3" not in name}, base / extend.WEIGHTS)
    with pytest.raises(DataError, match=r"config\.json says 4 blocks, and there are weights of 3"):
        extended(tmp_path)
    norm = "model.layers.2.input_layernorm.weight"
    save_file({name: value for name, value in weights.items() if name != norm}, base / extend.WEIGHTS)
    with pytest.raises(DataError, match=r"blocks 0 and 2 have not the same weights; input_layernorm.weight is in one"):
        extended(tmp_path)
    save_file(weights, base / extend.WEIGHTS)
    write_json(base / extend.INDEX, {"weight_map": dict.fromkeys([*weights, "more"], extend.WEIGHTS)})
    with pytest.raises(DataError, match=r"has no tensor more, which model\.safetensors\.index\.json says it has"):
        extended(tmp_path)
    write_json(base / extend.INDEX, {"weight_map": dict.fromkeys(weights, "model-00001-of-00002.safetensors")})
    with pytest.raises(DataError, match=r"model-00001-of-00002\.safetensors: cannot be read"):
        extended(tmp_path)
    (base / extend.INDEX).write_text("{}")
    with pytest.raises(DataError, match="cannot be read as an index of weights"):
        extended(tmp_path)
    (base / extend.INDEX).unlink()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(ResourceError, match=r"needs 0\.0 GB on disk, and .* has 0\.0 GB free"):
        extended(tmp_path)
    (base / extend.WEIGHTS).rename(base / "pytorch_model.bin")
    with pytest.raises(ResourceError, match=r"has neither model\.safetensors nor .*, only pytorch_model\.bin; give"):
        extended(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"base"}
