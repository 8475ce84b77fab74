from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from core.errors import DataError
from core.instructions.natural_instructions import TaskHeader
from core.instructions.task_agreement import agreement
from core.instructions.task_selection import Choice, LeftOut, NaturalInstructions, select_tasks
from core.instructions.task_tables import read_task_names, read_task_table

ENGLISH = ["English"]


def header(
    name: str, category: str = "QA", domains: str = "News", read: str = "English", source: str = "x"
) -> TaskHeader:
    return TaskHeader(name, (category,), tuple(domains.split(", ")), tuple(read.split(", ")), ("English",), (source,))


HEADERS = [
    header("task1_a"),
    header("task2_b", category="Translation", read="Hindi"),
    header("task3_c", read="English, Hindi"),
    header("task4_d", domains="News, Mathematics -> Sums"),
    header("task5_mmlu_e", source="mmlu"),
    header("task6_f", category="Pos Tagging"),
]


def selected(listed: list[str] | None = None, **options: object) -> tuple[str, ...]:
    return select_tasks(HEADERS, NaturalInstructions(directory="tasks", **options), listed).selected  # type: ignore[arg-type]


def test_english_in_and_out_drops_exactly_576_of_all_1613_tasks(shared_data: Path) -> None:
    headers = read_task_table(shared_data / "ni" / "tasks_README.md.gz")
    english = NaturalInstructions(directory="tasks", input_languages=ENGLISH, output_languages=ENGLISH)
    selection = select_tasks(headers, english)
    assert (len(selection.selected), len(selection.left_out)) == (1037, 576)
    assert set(selection.reasons) == {"input_language", "output_language"}


def test_birbals_rules_find_461_of_its_462_published_tasks_among_503(shared_data: Path) -> None:
    headers = read_task_table(shared_data / "ni" / "tasks_README.md.gz")
    published = read_task_names(shared_data / "birbal" / "selected_NI_tasks")
    selection = select_tasks(headers, NaturalInstructions(directory="tasks", preset="birbal"))
    found = agreement(selection.selected, published, headers)
    assert (len(found.both), len(found.only_rules)) == (461, 42)
    assert found.only_list == ("task645_summarization",)  # a Keyword Tagging task, which the paper says it left out
    assert (round(found.precision, 3), round(found.recall, 3)) == (0.917, 0.998)
    of_list = [category for category, (both, _, only_list) in found.by_category.items() if both + only_list]
    whole = [c for c in of_list if found.by_category[c][1:] == (0, 0)]
    assert len(of_list) == 33
    assert {"Sentiment Analysis", "Toxic Language Detection", "Program Execution"} <= set(whole)
    assert found.by_category["Information Extraction"] == (20, 10, 0)


def test_the_published_list_itself_can_be_taken(shared_data: Path) -> None:
    headers = read_task_table(shared_data / "ni" / "tasks_README.md.gz")
    options = NaturalInstructions(directory="tasks", tasks="birbal/selected_NI_tasks")
    selection = select_tasks(headers, options, read_task_names(shared_data / "birbal" / "selected_NI_tasks"))
    assert (len(selection.selected), selection.reasons["not_listed"], selection.missing) == (462, 1151, ())


def test_every_task_is_selected_or_has_its_reason() -> None:
    options = NaturalInstructions(
        directory="tasks",
        input_languages=ENGLISH,
        categories=Choice(deny=["Pos *"]),
        domains=Choice(deny=["Mathematics*"]),
        sources=Choice(deny=["mmlu"]),
    )
    selection = select_tasks(HEADERS, options)
    assert selection.selected == ("task1_a",)
    assert selection.left_out == {
        "task2_b": LeftOut("input_language", "Hindi"),
        "task3_c": LeftOut("input_language", "Hindi"),
        "task4_d": LeftOut("domain", "Mathematics -> Sums"),
        "task5_mmlu_e": LeftOut("source", "mmlu"),
        "task6_f": LeftOut("category", "Pos Tagging"),
    }
    assert selection.reasons == {"input_language": 2, "domain": 1, "source": 1, "category": 1}


def test_each_rule_has_its_effect() -> None:
    everything = tuple(each.name for each in HEADERS)
    assert selected() == everything
    assert selected(input_languages=["Hindi"]) == ("task2_b",)
    assert selected(output_languages=["Hindi"]) == ()
    assert selected(categories=Choice(allow=["Translation", "Pos*"])) == ("task2_b", "task6_f")
    assert selected(domains=Choice(allow=["Mathematics -> *"])) == ("task4_d",)
    assert selected(sources=Choice(allow=["mmlu"])) == ("task5_mmlu_e",)
    assert selected(exclude_tasks=["task*_mmlu_*", "task1_a"]) == ("task2_b", "task3_c", "task4_d", "task6_f")
    assert selected(listed=["task3_c", "task6*"]) == ("task3_c", "task6_f")


def test_what_is_denied_is_left_out_even_where_it_is_allowed() -> None:
    both = Choice(allow=["News"], deny=["Mathematics*"])
    assert "task4_d" not in selected(domains=both)


def test_names_that_no_task_has_are_told() -> None:
    options = NaturalInstructions(
        directory="tasks", tasks=["task1_a", "task7_g", "task9*"], scoring={"task8_h": "generation"}
    )
    assert select_tasks(HEADERS, options, options.tasks).missing == ("task7_g", "task9*", "task8_h")


def test_a_rule_on_sources_needs_headers_that_have_them() -> None:
    bare = [TaskHeader("task1_a", ("QA",), (), ("English",), ("English",))]
    with pytest.raises(DataError, match="task1_a: its source is not known"):
        select_tasks(bare, NaturalInstructions(directory="tasks", sources=Choice(deny=["mmlu"])))


def test_a_preset_fills_what_is_not_given() -> None:
    options = NaturalInstructions(directory="tasks", preset="birbal", exclude_tasks=[])
    assert options.input_languages == ENGLISH
    assert options.exclude_tasks == []
    assert "Keyword Tagging" not in (options.categories.allow or [])
    with pytest.raises(ValidationError, match="preset"):
        NaturalInstructions(directory="tasks", preset="birbel")  # type: ignore[arg-type]


def test_agreement_counts_names_that_the_table_does_not_have() -> None:
    found = agreement(["task1_a", "task2_b"], ["task1_a", "taskX"], HEADERS)
    assert found.by_category == {"QA": (1, 0, 0), "Translation": (0, 1, 0), "unknown": (0, 0, 1)}
    assert (found.precision, found.recall) == (0.5, 0.5)
    assert (agreement([], [], []).precision, agreement([], [], []).recall) == (1.0, 1.0)
