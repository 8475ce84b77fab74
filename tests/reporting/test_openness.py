from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from core.errors import DataError
from core.reporting.openness import COMPONENTS, NAMES, Openness, Release, evaluate, read_release
from ray_jobs.openness import openness

CLASS_3 = ["Model architecture", "Model parameters (Final)", "Evaluation results", "Model card", "Data card"]
CLASS_2 = ["Training code", "Inference code", "Evaluation code", "Evaluation data"]
CLASS_1 = ["Data preprocessing code", "Datasets", "Model parameters (Intermediate)"]
REPORT, PAPER, LIBRARIES, SAMPLES = (
    "Technical report",
    "Research paper",
    "Supporting libraries and tools",
    "Sample model outputs",
)
HEAD = "framework: {name: Model Openness Framework}\n"
LISTED = HEAD + "release:\n  components:\n"


def released(*names: str, licence: str | None = "Apache-2.0") -> Openness:
    return evaluate(Release(Path("model.yml"), "model", dict.fromkeys(names, licence)))


def percents(result: Openness) -> list[int]:
    return [result.percent[number] for number in (1, 2, 3)]


def write(path: Path, components: list[dict[str, str]], licence: dict[str, dict[str, str]] | None = None) -> Path:
    release = {"name": "Made", "license": licence or {}, "components": components}
    YAML().dump({"framework": {"name": "Model Openness Framework"}, "release": release}, path)
    return path


def test_the_frameworks_test_files_come_out_as_their_names_say(shared_data):
    files = sorted((shared_data / "mof" / "Test_Data").glob("*.yml"))
    found = {path.name: percents(evaluate(read_release(path))) for path in files}
    assert found == {name: [int(told) for told in re.findall(r"C[123]_(\d+)%", name)] for name in found}
    assert len(found) >= 14


def test_real_models_are_evaluated(shared_data):
    files = sorted((shared_data / "mof" / "models").glob("*.yml"))
    found = {path.stem: evaluate(read_release(path)).classification for path in files}
    assert found.items() >= {"OLMo-7B": 1, "Pythia-6.9B": 1}.items()


def test_components_and_classes_are_those_of_the_frameworks_settings(shared_data):
    settings = YAML(typ="safe").load(shared_data / "mof" / "mof.settings.yml")["components"]
    for each in settings:
        first = each["class"] if each["required"] else None
        assert COMPONENTS[each["name"]] == (each["content_type"], first)
    assert len(COMPONENTS) == len(settings)


def test_classes_build_on_each_other():
    assert released(*CLASS_3).classification is None
    assert released(*CLASS_3, REPORT).classification == 3
    assert released(*CLASS_3, REPORT, *CLASS_2).classification == 2
    assert released(*CLASS_3, REPORT, *CLASS_2, *CLASS_1).classification == 2
    assert released(*CLASS_3, REPORT, *CLASS_2, *CLASS_1, PAPER).classification == 1
    assert released(*CLASS_2, *CLASS_1, PAPER, REPORT).classification is None


def test_a_research_paper_stands_for_the_technical_report():
    assert released(*CLASS_3, PAPER).classification == 3
    assert released(*CLASS_3, PAPER, *CLASS_2).classification == 2
    assert released(*CLASS_3, PAPER, *CLASS_2, *CLASS_1).classification == 1


def test_percentages_by_hand():
    assert percents(released()) == [0, 0, 0]
    assert percents(released("Datasets")) == [7, 0, 0]  # 1 of 15
    assert percents(released("Training code", LIBRARIES)) == [13, 18, 0]  # 2 of 15, 2 of 11
    assert percents(released(REPORT)) == [0, 9, 17]  # of 11 and of 6; Class I asks for the paper
    assert percents(released(PAPER)) == [7, 9, 17]
    assert percents(released(SAMPLES)) == [0, 0, 0]
    assert percents(released(REPORT, SAMPLES)) == [7, 9, 17]  # together one of 15
    assert percents(released(*CLASS_3, PAPER)) == [40, 60, 100]  # 6 of 15, of 10 and of 6
    assert percents(released(*CLASS_3, PAPER, *CLASS_2)) == [77, 100, 100]  # 10 of 13: it needs no report
    assert percents(released(*CLASS_3, REPORT, *CLASS_2)) == [71, 100, 100]  # 10 of 14


@given(st.sets(st.sampled_from(list(COMPONENTS))), st.sampled_from(list(COMPONENTS)))
def test_a_class_is_reached_with_all_its_percent_and_nothing_missing_and_more_is_never_less(names, another):
    result, more = released(*names), released(*names, another)
    for number in NAMES:
        reached = result.classification is not None and result.classification <= number
        assert reached == (result.percent[number] == 100) == (not result.missing[number])
        assert more.percent[number] >= result.percent[number]


def test_the_nearest_licence_counts(tmp_path):
    components = [
        {"name": "Datasets", "license": "CC-BY-4.0"},
        {"name": "Evaluation data"},
        {"name": "Model card"},
        {"name": "Data card", "license": "unlicensed"},
        {"name": "Training code", "license": ""},
    ]
    shared = {"distribution": {"name": "MIT", "path": ""}, "data": {"name": "CDLA-Permissive-2.0"}, "document": {}}
    assert read_release(write(tmp_path / "made.yml", components, shared)).licences == {
        "Datasets": "CC-BY-4.0",
        "Evaluation data": "CDLA-Permissive-2.0",
        "Model card": "MIT",
        "Data card": None,
        "Training code": None,
    }


@pytest.mark.parametrize(
    "licence", ["MIT", "apache-2.0", "CC-BY-SA-4.0", "CDLA-Permissive-2.0", "PDDL-1.0", "GPL-3.0+"]
)
def test_open_licences_count_for_any_component(licence):
    assert released("Model card", "Training code", "Datasets", licence=licence).percent[1] == 20


@pytest.mark.parametrize("licence", ["CC-BY-NC-4.0", "CC-BY-ND-4.0", "BigScience-BLOOM-RAIL-1.0", "Llama-2", "Apache"])
def test_other_licences_do_not(licence):
    result = released("Datasets", licence=licence)
    assert percents(result) == [0, 0, 0]
    assert result.missing[1]["Datasets"] == f"the licence {licence} does not count as open"


def test_what_is_missing_is_told_by_class_and_with_the_reason():
    result = evaluate(
        Release(Path("m.yml"), "m", {**dict.fromkeys(CLASS_3, "MIT"), "Datasets": None, REPORT: "Llama-2"})
    )
    assert result.missing[3] == {
        REPORT: "the licence Llama-2 does not count as open; an open research paper would do, too"
    }
    assert result.missing[2] == {**result.missing[3], **dict.fromkeys(CLASS_2, "not released")}
    assert result.missing[1] == {
        **dict.fromkeys([*CLASS_2, *CLASS_1, PAPER], "not released"),
        "Datasets": "released without a licence",
    }


def test_the_command_prints_a_table_for_each_file(tmp_path, capsys):
    files = [
        write(tmp_path / "some.yml", [{"name": name, "license": "MIT"} for name in [*CLASS_3, REPORT, *CLASS_2[:3]]]),
        write(tmp_path / "all.yml", [{"name": name} for name in COMPONENTS], {"distribution": {"name": "MIT"}}),
    ]
    openness(files, as_json=False)
    printed = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert [line for line in printed if line.startswith("Made")] == [
        "Made: Class III, Open Model",
        "Made: Class I, Open Science",
    ]
    assert printed[printed.index("missing for Class II why") + 1] == "Evaluation data not released"
    assert "II Open Tooling 90 %" in printed
    assert printed[-1] == "nothing is missing"


def test_json_is_an_object_for_one_file_and_a_list_for_several(tmp_path, capsys):
    one = write(tmp_path / "one.yml", [{"name": "Datasets", "license": "MIT"}])
    full = write(tmp_path / "full.yml", [{"name": name} for name in COMPONENTS], {"distribution": {"name": "MIT"}})
    openness([one], as_json=True)
    answer = json.loads(capsys.readouterr().out)
    assert answer.keys() == {"file", "class", "percent", "missing"}
    assert (answer["file"], answer["class"]) == (str(one), "none")
    assert answer["percent"] == {"1": 7, "2": 0, "3": 0}
    assert answer["missing"]["1"].keys() == {*CLASS_3, *CLASS_2, *CLASS_1, PAPER} - {"Datasets"}
    openness([full, one], as_json=True)
    nothing = {"1": {}, "2": {}, "3": {}}
    percent = dict.fromkeys(nothing, 100)
    wanted = {"file": str(full), "class": "I", "percent": percent, "missing": nothing}
    assert json.loads(capsys.readouterr().out) == [wanted, answer]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ":1: not a file of the framework"),
        ("{}\n", ":1: framework.name: not a file of the framework"),
        ("- a\n- b\n", ":1: not a file of the framework"),
        ("name: mine\ntrain: {}\n", ":1: framework.name: not a file of the framework"),
        ("# a model\nframework: {name: Another}\n", ":2: framework.name: not a file of the framework"),
        (HEAD + "release: [\n", ":3: not valid YAML: "),
        (HEAD + "release:\n  name: a\n  name: b\n", ":4: not valid YAML: found duplicate key"),
        (HEAD + "release: {date: 2025-13-45}\n", ": not valid YAML in UTF-8: month must be in"),
        (HEAD, ":1: release: no such key; expected a mapping"),
        (HEAD + "release:\n", ":2: release: found nothing; expected a mapping"),
        (HEAD + "release:\n  name: a\n", ":3: release.components: no such key; expected a list"),
        (HEAD + "release:\n  components: {}\n", ":3: release.components: found '{}'; expected a list"),
        (LISTED + "  - Datasets\n", ":4: release.components.0: expected a mapping with a name"),
        (LISTED + "  - name: Datasets\n  - license: MIT\n", ":5: release.components.1.name: no such"),
        (LISTED + "  - name: Dataset\n", ":4: release.components.0.name: unknown component 'Dataset'; did you"),
        (LISTED + "  - name: Logo\n", "unknown component 'Logo'; expected one of Model architecture"),
        (LISTED + "  - name: Datasets\n  - name: Datasets\n", ":5: release.components.1.name: 'Datasets' is"),
        (LISTED + "  - name: Datasets\n    license: [MIT]\n", ":5: release.components.0.license: found "),
        (HEAD + "release:\n  license: MIT\n  components: []\n", ":3: release.license: found 'MIT'; expected a mapping"),
        (HEAD + "release:\n  license:\n    codes: {}\n  components: []\n", ":4: release.license.codes: unknown key"),
        (HEAD + "release:\n  license:\n    code: MIT\n  components: []\n", ":4: release.license.code: found 'MIT'"),
    ],
)  # fmt: skip
def test_a_bad_file_is_told_with_its_line(tmp_path, text, said):
    path = tmp_path / "model.yml"
    path.write_text(text)
    with pytest.raises(DataError) as raised:
        read_release(path)
    assert str(raised.value).startswith(str(path))
    assert said in str(raised.value)


def test_a_bad_file_among_good_ones_ends_the_command_with_code_2_and_no_answer(tmp_path):
    good = write(tmp_path / "good.yml", [{"name": "Datasets"}])
    binary = tmp_path / "binary.yml"
    binary.write_bytes(b"framework: \xff\n")
    for bad, said in ((tmp_path / "none.yml", "there is no such file"), (binary, "not valid YAML in UTF-8")):
        command = [sys.executable, "-m", "ray_jobs.openness", str(good), str(bad)]
        answer = subprocess.run(command, capture_output=True, text=True)
        assert (answer.returncode, answer.stdout) == (2, "")
        assert answer.stderr.startswith(f"error: {bad}: {said}")
