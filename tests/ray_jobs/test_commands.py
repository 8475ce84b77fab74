"""The verbs that start nothing."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.ray_jobs.conftest import environment, raycipe


def test_recipes_are_listed():
    listed = json.loads(raycipe("recipes", "--json").out)
    assert {"quickstart", "gsm8k-local"} <= {recipe["name"] for recipe in listed}
    assert "quickstart" in raycipe("recipes").out


def test_show_marks_where_each_value_comes_from(small):
    answer = raycipe("show", small, "train.sft.lora.rank=4", "--json")
    shown = json.loads(answer.out)
    assert shown["recipe"]["train"]["sft"]["lora"]["rank"] == 4
    assert shown["origins"]["train.sft.lora.rank"] == "command line"
    assert shown["origins"]["train.sft.lora.alpha"] == "default"
    lines = raycipe("show", small, "train.sft.lora.rank=4").out.splitlines()
    assert any(line.strip().startswith("rank: 4") and line.endswith("# command line") for line in lines)
    assert lines[0].split("#")[1].strip() == "small.yaml:1"


def test_check_says_that_a_recipe_is_right(small):
    assert raycipe("check", small).out.strip().endswith("the recipe is right")
    assert json.loads(raycipe("check", small, "--json").out) == {"problems": []}


def test_keys_are_told_with_what_they_take_and_mean():
    (every_steps,) = json.loads(raycipe("keys", "checkpoints.every_steps", "--json").out)
    assert (every_steps["key"], every_steps["default"]) == ("train.<name>.checkpoints.every_steps", None)
    said = raycipe("keys", "checkpoints.every_steps").out
    assert said.startswith("train.<name>.checkpoints.every_steps: null  # integer from 1 or null. Optimiser steps")
    wrong = raycipe("keys", "optimzer")
    assert (wrong.code, wrong.err) == (2, "error: no key has 'optimzer' in it; near it: optimizer\n")


def test_preview_shows_documents_and_what_steps_say_of_them(small):
    shown = json.loads(raycipe("preview", small, "--documents", 150, "--json").out)["sources"]
    assert len(shown["skills"]) == 150
    assert len(shown["library"]) > 10
    reasons = {(drop["step"], drop["reason"]) for document in shown["skills"] for drop in document["dropped_by"]}
    assert ("length", "too_few_words") in reasons
    assert ("refusals", "refusal") in reasons
    text = raycipe("preview", small).out
    assert "user:" in text
    assert "kept" in text


def test_preview_shows_the_parts_of_a_preference_pair(small, tmp_path):
    (tmp_path / "pairs.jsonl").write_text('{"p": "Why?", "c": "So.", "r": "No."}\n')
    source = "data.sources.pairs={files: pairs.jsonl, fields: {prompt: p, chosen: c, rejected: r}}"
    answer = raycipe("preview", small, source)
    assert answer.code == 0, answer.err
    assert "chosen: So." in answer.out


def test_a_place_without_runs_says_so(tmp_path):
    assert raycipe("runs", "--runs-dir", tmp_path).out.strip() == f"no runs in {tmp_path}"
    assert json.loads(raycipe("runs", "--runs-dir", tmp_path, "--json").out) == []


def test_check_tells_of_files_that_are_not_here(small):
    small.write_text(small.read_text().replace("{python_library: {kinds: [topics]}}", "{files: nowhere.txt}"))
    answer = raycipe("check", small)
    assert answer.code == 0
    assert "not on this machine: library: nowhere.txt: no such file" in answer.err


@pytest.mark.parametrize("verb", [["recipes"], ["show", "moxin-7b"]], ids=["at its end", "in the middle"])
def test_a_pipe_whose_reader_has_seen_enough_is_no_error(verb):
    command = [sys.executable, "-m", "ray_jobs.cli", *verb]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as running:
        running.stdout.close()
        assert running.stderr.read() == b""
        assert running.wait(timeout=60) == 0
