from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from core.artifacts.atomic import atomic_path, write_bytes
from core.artifacts.fingerprint import code_version, file_checksum, fingerprint
from core.artifacts.seeds import derive_seed, generator
from core.artifacts.stage import Stage, locked, read_manifest
from core.errors import DataError, ResourceError


def open_stage(run_dir: Path, rate: float = 0.1) -> Stage:
    return Stage.open(run_dir, "train/sft", recipe={"rate": rate}, seed=1, code="c", inputs={"tokenize": "t"})


def finish(stage: Stage, text: str = "weights") -> None:
    write_bytes(stage.directory / "model" / "weights.txt", text.encode())
    stage.finish({"steps": 3})


def test_an_unchanged_stage_is_found_finished_with_its_manifest(tmp_path):
    first = open_stage(tmp_path)
    assert first.manifest is None
    finish(first)
    manifest = open_stage(tmp_path).manifest
    assert manifest["counts"] == {"steps": 3}
    assert manifest["files"] == [
        {
            "path": "model/weights.txt",
            "bytes": 7,
            "xxh3_128": file_checksum(tmp_path / "train/sft/model/weights.txt"),
        }
    ]
    assert {"packages", "hardware", "started", "finished", "seconds", "git_commit", "fingerprint"} <= set(manifest)


def test_an_unfinished_stage_keeps_its_parts(tmp_path):
    write_bytes(open_stage(tmp_path).directory / "part-0", b"done")
    again = open_stage(tmp_path)
    assert again.manifest is None
    assert (again.directory / "part-0").read_bytes() == b"done"


def test_another_recipe_sets_the_old_result_aside_and_gets_it_back(tmp_path):
    finish(open_stage(tmp_path, 0.1), "slow")
    second = open_stage(tmp_path, 0.2)
    assert second.manifest is None
    assert not (second.directory / "model").exists()
    finish(second, "fast")
    back = open_stage(tmp_path, 0.1)
    assert back.manifest is not None
    assert (back.directory / "model" / "weights.txt").read_text() == "slow"
    assert open_stage(tmp_path, 0.2).manifest is not None


def test_a_file_that_went_missing_has_the_stage_redone(tmp_path, capsys):
    finish(open_stage(tmp_path))
    (tmp_path / "train/sft/model/weights.txt").write_text("cut")
    assert open_stage(tmp_path).manifest is None
    assert "model/weights.txt is not as the manifest says" in capsys.readouterr().err


def test_a_broken_manifest_is_named(tmp_path):
    finish(open_stage(tmp_path))
    (tmp_path / "train/sft/manifest.json").write_text('{"fing')
    with pytest.raises(DataError, match=r"manifest\.json: not valid JSON"):
        read_manifest(tmp_path / "train/sft")


def test_a_file_is_whole_or_not_there(tmp_path):
    write_bytes(tmp_path / "a", b"old")
    with pytest.raises(RuntimeError), atomic_path(tmp_path / "a") as path:
        path.write_bytes(b"half")
        raise RuntimeError
    assert (tmp_path / "a").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_directory_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match=r"file/run.*cannot be written.*--runs-dir"):
        open_stage(tmp_path / "file" / "run")


def test_a_full_disk_is_named():
    with pytest.raises(ResourceError, match="no space left"), Path("/dev/full").open("wb", buffering=0) as full:
        from core.artifacts.atomic import writable

        with writable(Path("/dev/full")):
            full.write(b"x")


def test_two_commands_do_not_work_in_one_run(tmp_path):
    code = "import sys, time; from pathlib import Path; from core.artifacts.stage import locked\n"
    code += "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(ResourceError, match=f"process {other.pid}"), locked(tmp_path):
            pass
    finally:
        other.kill()
        other.wait()
    with locked(tmp_path):  # the lock ended with its process
        pass


def test_fingerprints_depend_on_values_and_not_on_order():
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})


def test_code_versions_ignore_comments(tmp_path, monkeypatch):
    import core.artifacts.fingerprint as module

    monkeypatch.setattr(module, "ROOT", tmp_path)
    write_bytes(tmp_path / "room" / "a.py", b"x = 1\n")
    before = code_version("room")
    write_bytes(tmp_path / "room" / "a.py", b"# why\nx  =  1\n")
    assert code_version("room") == before
    write_bytes(tmp_path / "room" / "a.py", b"x = 2\n")
    assert code_version("room") != before


def test_streams_are_independent_and_repeatable():
    assert derive_seed(1, "a", 2) == derive_seed(1, "a", 2)
    assert len({derive_seed(1, "a"), derive_seed(1, "b"), derive_seed(2, "a"), derive_seed(1, "a", 0)}) == 4
    assert generator(1, "a").integers(0, 100, 5).tolist() == generator(1, "a").integers(0, 100, 5).tolist()


def test_manifests_are_json_that_any_tool_reads(tmp_path):
    finish(open_stage(tmp_path))
    json.loads((tmp_path / "train/sft/manifest.json").read_text())
