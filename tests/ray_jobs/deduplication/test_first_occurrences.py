"""Keys of any number of parts: the items that are not the first, whatever the partitions."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.dedup.key_files import mapped, save_arrays
from ray_jobs.deduplication import first_occurrences
from ray_jobs.deduplication.first_occurrences import FirstOccurrences, find_first
from ray_jobs.progress import Reporter


def written(parts: list[list[int] | None], directory: Path, columns: int | None) -> list[Path | None]:
    """Each part's values as keys of so many columns; None: of no second dimension."""
    paths: list[Path | None] = []
    for number, values in enumerate(parts):
        if values is None:
            paths.append(None)
            continue
        keys = np.array(values, np.uint64)
        if columns is not None:
            keys = np.stack([keys % np.uint64(3), *[keys] * (columns - 1)], axis=1)
        path = directory / f"keys-{number}.npz"
        save_arrays(path, other=np.zeros(3), keys=keys)
        paths.append(path)
    return paths


def brute_force(parts: list[list[int] | None]) -> list[list[tuple[int, int]]]:
    seen: dict[int, int] = {}
    found, number = [], 0
    for values in parts:
        here = []
        for item, value in enumerate(values or []):
            if value in seen:
                here.append((item, seen[value]))
            seen.setdefault(value, number)
            number += 1
        found.append(here)
    return found


def as_pairs(found: FirstOccurrences) -> list[list[tuple[int, int]]]:
    parts = range(len(found.bounds) - 1)
    return [[(int(i), int(k)) for i, k in zip(*found.of_part(part), strict=True)] for part in parts]


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.one_of(st.none(), st.lists(st.integers(0, 12), max_size=12)), max_size=5),
    st.sampled_from([None, 2]),
    st.sampled_from([16, 100, 1 << 26]),
)
def test_the_repeated_items_of_every_part_are_those_of_brute_force(
    parts: list[list[int] | None], columns: int | None, partition: int
) -> None:
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        patch.setattr(first_occurrences, "PARTITION", partition)
        paths = written(parts, Path(place), columns)
        found = find_first(None, paths, "keys", Path(place) / "work", Reporter())
        assert as_pairs(found) == brute_force(parts)
        assert found.bounds.tolist() == np.cumsum([0, *(len(part or []) for part in parts)]).tolist()


def test_what_a_killed_call_had_finished_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_occurrences, "PARTITION", 64)
    rng = np.random.default_rng(0)
    parts: list[list[int] | None] = [rng.integers(0, 50, 40).tolist() for _ in range(3)]
    paths = written(parts, tmp_path, None)
    whole = find_first(None, paths, "keys", tmp_path / "whole", Reporter())
    assert len(whole.files) > 3

    real, done = first_occurrences._join, []

    def killed(*arguments: object) -> None:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(arguments[-1])
        real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(first_occurrences, "_join", killed)
    with pytest.raises(KeyboardInterrupt):
        find_first(None, paths, "keys", tmp_path / "killed", Reporter())
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "killed").glob("*.npz")}
    monkeypatch.setattr(first_occurrences, "_join", real)
    found = find_first(None, paths, "keys", tmp_path / "killed", Reporter())
    assert as_pairs(found) == as_pairs(whole) == brute_force(parts)
    kept = [path for path in found.files if path in times]
    assert len(kept) == 2
    assert all(path.stat().st_mtime_ns == times[path] for path in kept)
    assert not list((tmp_path / "killed").glob("split-*"))


def test_arrays_of_an_npz_file_are_mapped_as_they_were_saved(tmp_path: Path) -> None:
    arrays = {
        "a": np.arange(12, dtype=np.uint64).reshape(4, 3),
        "empty": np.empty((0, 2)),
        "f": np.asfortranarray(np.eye(3)),
    }
    save_arrays(tmp_path / "x.npz", **arrays)
    for name, array in arrays.items():
        assert np.array_equal(mapped(tmp_path / "x.npz", name), array)
    with pytest.raises(KeyError):
        mapped(tmp_path / "x.npz", "missing")
    with pytest.raises(ValueError, match="read-only"):
        mapped(tmp_path / "x.npz", "a")[0, 0] = 1
