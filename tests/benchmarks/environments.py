"""Environments of other systems, each of its own, in the versions that are compared."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

REQUIREMENTS = {
    "rensa": ["rensa==0.5.0", "pyarrow==26.0.1"],
    "datasketch": ["datasketch==2.0.0", "pyarrow==26.0.1"],
    "text-dedup": ["text-dedup==0.4.0"],
    "data-juicer": ["py-data-juicer==1.6.1", "aiohttp"],  # it fetches torch itself when it first runs
    "datatrove": ["datatrove[processing]==0.10.1", "pyarrow==26.0.1", "orjson", "spacy"],
}
MADE = "made.txt"  # in a finished environment, what was installed
TIMEOUT = 600  # seconds to install one


class NotInstalledError(Exception):
    """Why an environment could not be made."""


def python_of(system: str, directory: Path, steps: Sequence[Sequence[str]] | None = None) -> Path:
    """The system's Python, whose environment is made below `directory` if it is not there as it should be.

    steps: what pip is given to install, call by call; none: the system's REQUIREMENTS in one.
    """
    steps = steps or [REQUIREMENTS[system]]
    wanted = "\n".join(name for step in steps for name in step)
    place = directory.absolute() / system
    python, made = place / "bin" / "python", place / MADE
    if made.exists() and made.read_text() == wanted:
        return python
    print(f"{system}: installing {', '.join(name for step in steps for name in step)}", flush=True)
    _call([sys.executable, "-m", "venv", "--clear", str(place)])
    for step in steps:
        _call([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *step])
    made.write_text(wanted)
    return python


def _call(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired as error:
        raise NotInstalledError(f"not installed within {TIMEOUT} s") from error
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["no message"]
        raise NotInstalledError(f"does not install: {said[-1]}")
