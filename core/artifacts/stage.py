"""A stage's artifact: a directory with its files and a manifest, written last and atomically.

A stage whose fingerprint is unchanged is finished. One without a manifest goes on from its last finished
part. One of another fingerprint is set aside under `superseded/`, and comes back with its fingerprint.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from core.artifacts.atomic import writable, write_json
from core.artifacts.fingerprint import file_checksum, fingerprint
from core.artifacts.provenance import git_commit, hardware, package_versions
from core.errors import DataError, ResourceError

MANIFEST = "manifest.json"
STARTED = "stage.json"


class Stage:
    """One stage of a run, open for work or finished.

    name: "curate", "train/sft", ...
    directory: where its files go, `run_dir/name`.
    fingerprint: what decides whether its files still hold.
    manifest: None until it is finished.
    """

    def __init__(self, run_dir: Path, name: str, identity: Mapping[str, Any]) -> None:
        self.name = name
        self.directory = run_dir / name
        self.identity = dict(identity)
        self.fingerprint = fingerprint(self.identity)
        self.manifest: dict[str, Any] | None = None
        self._began = time.monotonic()
        self._started = _now()

    @classmethod
    def open(
        cls,
        run_dir: Path,
        name: str,
        *,
        recipe: Any,
        seed: int,
        code: str,
        inputs: Mapping[str, str] | None = None,
    ) -> Stage:
        """Opens a stage for work, or finds it finished (`stage.manifest` is then its manifest).

        recipe: the section of the recipe that the stage obeys; code: its code version;
        inputs: fingerprints of what it reads. Raises ResourceError when the directory cannot be written.
        """
        identity = {"stage": name, "recipe": recipe, "seed": seed, "code": code, "inputs": dict(inputs or {})}
        stage = cls(run_dir, name, identity)
        with writable(stage.directory):
            stage._bring_forward(run_dir)
            stage.directory.mkdir(parents=True, exist_ok=True)
        manifest = read_manifest(stage.directory)
        if manifest is not None and (missing := _missing_file(stage.directory, manifest)):
            print(f"{name}: {missing} is not as the manifest says; the stage is redone", file=sys.stderr)
            (stage.directory / MANIFEST).unlink()
            manifest = None
        stage.manifest = manifest
        if manifest is None:
            write_json(stage.directory / STARTED, {"fingerprint": stage.fingerprint, "started": stage._started})
        return stage

    def finish(self, counts: Mapping[str, Any], *, exclude: tuple[str, ...] = ()) -> dict[str, Any]:
        """Writes the manifest: from here on the stage is finished.

        counts: rows, tokens, steps, ... worth knowing; exclude: top-level names that are not part of the result.
        """
        files = [
            {"path": path.relative_to(self.directory).as_posix(), "bytes": path.stat().st_size}
            | {"xxh3_128": file_checksum(path)}
            for path in sorted(self.directory.rglob("*"))
            if path.is_file()
            and path.relative_to(self.directory).parts[0] not in (STARTED, MANIFEST, *exclude)
            and not path.name.startswith(".")  # left behind by a kill in the middle of an atomic write
        ]
        self.manifest = {
            **self.identity,
            "fingerprint": self.fingerprint,
            "counts": dict(counts),
            "files": files,
            "packages": package_versions(),
            "hardware": hardware(),
            "git_commit": git_commit(),
            "started": self._started,
            "finished": _now(),
            "seconds": round(time.monotonic() - self._began, 3),
        }
        write_json(self.directory / MANIFEST, self.manifest)
        return self.manifest

    def _bring_forward(self, run_dir: Path) -> None:
        """Makes `directory` hold this fingerprint's files, if there are any, and no other's."""
        current = started_fingerprint(self.directory)
        if current == self.fingerprint:
            return
        shelf = run_dir / "superseded"
        if current is not None:
            print(
                f"{self.name}: recipe, inputs or code changed; the earlier result is kept in {shelf}", file=sys.stderr
            )
            target = shelf / f"{self.name}-{current}"
            target.parent.mkdir(parents=True, exist_ok=True)
            self.directory.rename(target)
        earlier = shelf / f"{self.name}-{self.fingerprint}"
        if earlier.exists():
            if self.directory.exists():
                self.directory.rmdir()
            self.directory.parent.mkdir(parents=True, exist_ok=True)
            earlier.rename(self.directory)


def read_manifest(directory: Path) -> dict[str, Any] | None:
    """The manifest of a finished stage; None if it is not finished. Raises DataError if it cannot be read."""
    path = directory / MANIFEST
    try:
        manifest: dict[str, Any] = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except orjson.JSONDecodeError as error:
        raise DataError(f"{path}: not valid JSON ({error}). Delete it to have the stage redone.") from error
    return manifest


def started_fingerprint(directory: Path) -> str | None:
    """The fingerprint of the stage that was begun in a directory; None where none was."""
    try:
        started: dict[str, str] = orjson.loads((directory / STARTED).read_bytes())
    except (FileNotFoundError, NotADirectoryError, orjson.JSONDecodeError):
        return None
    return started.get("fingerprint")


@contextlib.contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Keeps two commands from working in one run at once. The lock ends with the process, however it ends."""
    with writable(run_dir):
        run_dir.mkdir(parents=True, exist_ok=True)
        file = (run_dir / ".lock").open("a+")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise ResourceError(
                f"{run_dir}: another raycipe is at work there (process {file.read().strip() or 'unknown'}). "
                "Wait for it, or give this run another name with --run-name."
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _missing_file(directory: Path, manifest: Mapping[str, Any]) -> str | None:
    for entry in manifest["files"]:
        path = directory / entry["path"]
        if not path.is_file() or path.stat().st_size != entry["bytes"]:
            return str(entry["path"])
    return None


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
