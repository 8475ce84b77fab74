"""What the README shows holds."""

from __future__ import annotations

import re
from pathlib import Path

from ruamel.yaml import YAML

from core.recipe.schema import Step

README = (Path(__file__).parent.parent / "README.md").read_text()


def yaml_blocks() -> list[dict]:
    blocks = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    return [YAML(typ="safe").load(block) for block in blocks]


def test_the_steps_of_published_systems_are_steps():
    [systems] = [block for block in yaml_blocks() if "slimpajama" in block]
    assert {name: [Step(**step).kind for step in steps] for name, steps in systems.items()} == {
        "slimpajama": ["length", "minhash_dedup"],
        "the_stack": ["code", "exact_dedup", "minhash_dedup"],
        "dclm": ["language", "heuristics", "repetition", "bloom_dedup", "quality"],
    }


def test_every_step_is_in_the_table_of_steps():
    rows = [line for line in README.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert set(Step.model_fields) <= named
