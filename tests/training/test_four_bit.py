"""Four-bit models compute what bitsandbytes' own quantisation says."""

from __future__ import annotations

import pytest
import torch

from core.models.adapters import add_adapters
from core.models.create import create_model, load_model
from core.models.options import Lora, ModelConfig
from tests.training.conftest import TINY

functional = pytest.importorskip("bitsandbytes.functional")
IDS = torch.arange(3, 60)[None]


def logits(model):
    """As in training."""
    model.train()
    return model(inputs_embeds=model.get_input_embeddings()(IDS).requires_grad_()).logits.detach()


def test_a_qlora_forward_is_that_of_the_weights_that_bitsandbytes_gives_back(material, tmp_path):
    plain = create_model(ModelConfig(**TINY | {"hidden_size": 64, "intermediate_size": 128}), material.tokenizer, 1)
    plain.save_pretrained(tmp_path)
    whole = logits(plain)
    four_bit = load_model(tmp_path, quantization="nf4")
    with torch.no_grad():
        for name, module in plain.get_decoder().named_modules():
            if isinstance(module, torch.nn.Linear):
                packed, state = functional.quantize_4bit(module.weight, quant_type="nf4", compress_statistics=True)
                module.weight.copy_(functional.dequantize_4bit(packed, state))
                assert torch.equal(four_bit.get_decoder().get_submodule(name).weight.data, packed), name
    expected = logits(plain)
    torch.testing.assert_close(logits(four_bit), expected, rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        validated = four_bit.eval()(input_ids=IDS).logits
    torch.testing.assert_close(validated, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(logits(four_bit), expected, rtol=1e-5, atol=1e-6)  # a validation leaves no trace
    assert (expected - whole).abs().max() > 1e-3  # it is another function than before
    adapted = add_adapters(four_bit, Lora(rank=4), seed=1)  # adapters add nothing at first
    torch.testing.assert_close(logits(adapted), expected, rtol=1e-5, atol=1e-6)
