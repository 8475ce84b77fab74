"""Task files that tests write."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from core.instructions.natural_instructions import Task, read_task


def content(**changed: Any) -> dict[str, Any]:
    """What a task file holds: three questions, the last with two right answers."""
    made: dict[str, Any] = {
        "Source": ["made"],
        "Categories": ["Question Answering"],
        "Domains": ["News"],
        "Definition": ["Answer the question.", "The same in other words."],
        "Input_language": ["English"],
        "Output_language": ["English"],
        "Positive Examples": [
            {"input": "Red?", "output": "No", "explanation": "It is blue."},
            {"input": "Blue?", "output": "Yes\n\n", "explanation": "It is."},
            {"input": "Both?", "output": "One.\n\nNot both."},
        ],
        "Instances": [
            {"id": "task9-a", "input": "Is the sky blue?", "output": ["Yes"]},
            {"id": "task9-b", "input": "Is snow  black?", "output": ["No"]},
            {"id": "task9-c", "input": "Is grass green?", "output": [" Yes ", "yes"]},
        ],
    }
    return {key: value for key, value in {**made, **changed}.items() if value is not None}


def write_task(directory: Path, name: str = "task9_made", **changed: Any) -> Path:
    path = directory / f"{name}.json.gz"
    path.write_bytes(gzip.compress(json.dumps(content(**changed)).encode()))
    return path


def made_task(directory: Path, name: str = "task9_made", **changed: Any) -> Task:
    return read_task(write_task(directory, name, **changed))
