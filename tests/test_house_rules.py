"""The rules that keep the house simple."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent

# Each room and what it may import beside itself; `errors` and `options` lie below all rooms.
ROOMS = {
    "artifacts": set(),
    "documents": {"artifacts"},
    "filters": {"artifacts", "documents"},
    "dedup": {"artifacts", "documents"},
    "instructions": {"artifacts", "documents"},
    "tokens": {"artifacts", "documents", "filters", "dedup", "instructions"},
}
ROOMS["models"] = ROOMS["tokens"] | {"tokens"}
ROOMS["training"] = ROOMS["models"] | {"models"}
ROOMS["evaluation"] = ROOMS["models"] | {"models"}
LOWER = ROOMS["training"] | {"training", "evaluation"}
ROOMS |= {"planning": LOWER, "reporting": LOWER, "tuning": LOWER}
ROOMS["recipe"] = LOWER | {"planning", "reporting", "tuning"}


VERBS = ["recipes", "show", "check", "preview", "dedup", "curate", "tokenize", "train", "evaluate", "report", "run"]
VERBS += ["runs", "infer", "win-rate", "contamination", "openness", "mt-bench", "compare", "leaderboard", "sweep"]
VERBS += ["plan"]


def imports(path: Path) -> set[str]:
    """Every module that a file imports, at its top or inside its functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def test_core_never_imports_ray():
    for path in (ROOT / "core").rglob("*.py"):
        tops = {name.split(".")[0] for name in imports(path)}
        assert not tops & {"ray", "ray_jobs", "tune_spaces"}, path


def test_imports_between_rooms_run_one_way():
    for path in (ROOT / "core").rglob("*.py"):
        room = path.relative_to(ROOT / "core").parts[0]
        if room in ROOMS:
            used = {name.split(".")[1] for name in imports(path) if name.startswith("core.")}
            assert used <= ROOMS[room] | {room, "errors", "options"}, path


def test_every_room_is_in_the_rule():
    rooms = {path.name for path in (ROOT / "core").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms <= set(ROOMS)


def test_raycipe_help_needs_nothing_heavy():
    code = "import sys; from ray_jobs.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "print(sorted({'torch', 'ray', 'transformers', 'pyarrow', 'numpy', 'pydantic'} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_is_also_a_module(verb):
    module = f"ray_jobs.{verb.replace('-', '_')}"
    answer = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, text=True)
    assert answer.returncode == 0
    assert "Example: raycipe " + verb in answer.stdout


def test_every_node_gets_the_versions_of_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {name for name in project["dependencies"] if not name.startswith("ray[")}
    assert set(YAML(typ="safe").load(ROOT / "cluster" / "runtime_env.yaml")["pip"]) == wanted
    exact = {name.split("==")[0].split("[")[0] for name in project["dependencies"] if "==" in name}
    heavy = {"ray", "torch", "transformers", "peft", "bitsandbytes", "deepspeed", "datasets", "lm-eval"}
    assert heavy <= exact


def test_spaces_name_keys_that_the_recipe_has():
    from core.recipe.resolve import load_recipe
    from tune_spaces.quickstart import space

    drawn = {key: distribution.sample() for key, distribution in space().items()}
    resolved = load_recipe("quickstart", overrides=[f"{key}={value}" for key, value in drawn.items()])
    for key in drawn:
        assert resolved.origins()[key] == "command line"
