"""Small files in the layouts of the recipes' public data sets, for `--scale tiny`: `python -m core.recipe.tiny_data`.

Every text is made here, from a seed; nothing comes from the data sets themselves. What the recipes' steps look for is
in them: rows of machine-written origin, programs among solutions, repeated and very short questions, tasks of other
languages.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from core.recipe import tiny_corpora
from core.recipe.loading import SHIPPED
from core.recipe.tiny_words import ANIMALS, COLOURS, DEEDS, MOODS, PEOPLE, PLACES, THINGS, Rows, passage, sentence

DIRECTORY = SHIPPED / "tiny"


def lima(rng: random.Random) -> Rows:
    """GAIR/lima: conversations as a list of strings that take turns."""
    rows: Rows = []
    for number in range(40):
        animal, place = rng.choice(ANIMALS), rng.choice(PLACES)
        turns = [
            f"Why would a {animal} spend the winter at a {place}? Please explain it to a child.",
            f"A {animal} looks for food and a dry bed. {passage(rng, 2)} That is why the {place} suits it in winter.",
        ]
        if number % 8 == 7:
            turns += [f"And in summer, at the {place}?", f"In summer it moves on. {sentence(rng)}"]
        rows.append({"conversations": turns, "source": "made"})
    return rows


def open_platypus(rng: random.Random) -> Rows:
    """garage-bAInd/Open-Platypus: a tenth of the rows are machine-written (airoboros)."""
    kinds = ["MATH/PRM-800K", "reclor", "scienceqa", "theoremqa", "scibench"]
    rows: Rows = []
    for number in range(60):
        first, second, third = rng.randint(3, 60), rng.randint(3, 60), rng.randint(2, 9)
        rows.append(
            {
                "input": "" if number % 3 else passage(rng, 1),
                "output": f"First, {first} + {second} = {first + second}. Then {first + second} * {third} = "
                f"{(first + second) * third}. The answer is {(first + second) * third}.",
                "instruction": f"{rng.choice(PEOPLE)} has {first} {rng.choice(THINGS)} and finds {second} more. "
                f"What is {third} times the new number?",
                "data_source": "airoboros" if number % 10 == 9 else rng.choice(kinds),
            }
        )
    return rows


def openbookqa(rng: random.Random) -> Rows:
    """allenai/openbookqa, main: a stem, four labelled choices and the label of the right one."""
    rows: Rows = []
    for number in range(40):
        colour, thing = rng.choice(COLOURS), rng.choice(THINGS)
        choices = rng.sample([other for other in COLOURS if other != colour], 3)
        answer = rng.randrange(4)
        choices.insert(answer, colour)
        rows.append(
            {
                "id": f"made-{number}",
                "question_stem": f"{rng.choice(PEOPLE)} left {rng.randint(2, 30)} {colour} {thing} at the "
                f"{rng.choice(PLACES)}. Their colour was",
                "choices": {"text": choices, "label": list("ABCD")},
                "answerKey": "ABCD"[answer],
            }
        )
    return rows


def quac(rng: random.Random) -> Rows:
    """allenai/quac: a passage and parallel lists of questions and answers about it."""
    rows: Rows = []
    for number in range(24):
        person = rng.choice(PEOPLE)
        facts = [(rng.choice(DEEDS), rng.randint(2, 90), rng.choice(THINGS)) for _ in range(rng.randint(3, 6))]
        told = [f"{person} {deed} {count} {thing}" for deed, count, thing in facts]
        rows.append(
            {
                "dialogue_id": f"made-{number}",
                "wikipedia_page_title": f"{person} of the {rng.choice(PLACES)}",
                "background": sentence(rng),
                "section_title": "Early work",
                "context": ". ".join(told) + ". CANNOTANSWER",
                "questions": [f"How many {thing} were {deed}?" for deed, _, thing in facts],
                "orig_answers": {"texts": told, "answer_starts": [0] * len(told)},
            }
        )
    return rows


def cnn_dailymail(rng: random.Random) -> Rows:
    """abisee/cnn_dailymail 3.0.0: an article and its highlights, one on a line."""
    rows: Rows = []
    for number in range(30):
        told = [sentence(rng) for _ in range(8)]
        rows.append({"article": " ".join(told), "highlights": "\n".join(told[:2]), "id": f"made-{number}"})
    return rows


def math_instruct(rng: random.Random) -> Rows:
    """TIGER-Lab/MathInstruct: chains of thought of several origins, and programs."""
    kinds = ["CoT/gsm_train", "CoT/aqua_rat", "CoT/MATH_train", "CoT/college_math", "PoT/gsm_gpt4"]
    rows: Rows = []
    for number in range(100):
        price, count = rng.randint(2, 40), rng.randint(2, 40)
        kind = kinds[number % len(kinds)]
        steps = (
            f"Each costs {price}, so {count} cost {price} * {count} = {price * count}. The answer is {price * count}"
        )
        program = f"total = {price} * {count}\nprint(total)"
        rows.append(
            {
                "source": f"data/{kind}.json",
                "output": program if kind.startswith("PoT") or number % 25 == 1 else steps,
                "instruction": f"{rng.choice(PEOPLE)} Buys {count} {rng.choice(THINGS)} At {price} Coins Each "
                f"Near The {rng.choice(PLACES).title()}. How Many Coins Is That?",
            }
        )
    rows[10]["instruction"] = "What is it?"  # four words or fewer
    rows[16]["instruction"] = rows[15]["instruction"]  # the same question again
    return rows


def conversations(rng: random.Random) -> Rows:
    """Dialogues as ShareGPT has them, in a third of which an answer refuses or deflects."""
    refusing = [
        "I'm sorry, but as an AI language model I cannot help with that.",
        "As an AI language model, I don't have personal opinions about {}.",
        "I apologize, but I am unable to provide an answer about {}.",
        "It is not appropriate for me to discuss {}.",
    ]
    rows: Rows = []
    for number in range(150):
        turns = []
        for _ in range(rng.randint(1, 4)):
            animal = rng.choice(ANIMALS)
            turns += [
                {"from": "human", "value": f"What did the {animal} see at the {rng.choice(PLACES)}?"},
                {"from": "gpt", "value": f"The {animal} saw this: {passage(rng, rng.randint(1, 3))}"},
            ]
        if number % 3 == 0:
            turns[-1]["value"] = rng.choice(refusing).format(f"the {rng.choice(PLACES)}")
        rows.append({"id": f"made-{number}", "conversations": turns})
    return rows


def arc(rng: random.Random) -> Rows:
    """allenai/ai2_arc: four choices, now and then three or five."""
    rows: Rows = []
    for number in range(40):
        count = {9: 3, 19: 5}.get(number, 4)
        right = rng.randint(3, 40)
        wrong = rng.sample([n for n in range(3, 90) if n != 2 * right], count - 1)
        answer = rng.randrange(count)
        choices = [f"{n} {THINGS[number % len(THINGS)]}" for n in (*wrong[:answer], 2 * right, *wrong[answer:])]
        rows.append(
            {
                "id": f"made-{number}",
                "question": f"{rng.choice(PEOPLE)} has {right} {THINGS[number % len(THINGS)]} and is given as many "
                f"again at the {rng.choice(PLACES)}. How many are there now?",
                "choices": {"text": choices, "label": list("ABCDE"[:count])},
                "answerKey": "ABCDE"[answer],
            }
        )
    return rows


def hellaswag(rng: random.Random) -> Rows:
    """Rowan/hellaswag: a context and four endings."""
    rows: Rows = []
    for number in range(30):
        animal, place = rng.choice(ANIMALS), rng.choice(PLACES)
        endings = [f"walks on to the {place}.", "is painted on a kettle.", "counts as a stamp.", "melts into ropes."]
        answer = rng.randrange(4)
        endings.insert(answer, endings.pop(0))
        context = f"{sentence(rng)} The {animal} turns its head and"
        rows.append(
            {
                "ind": number,
                "activity_label": f"Watching a {animal}",
                "ctx": context,
                "endings": endings,
                "label": str(answer),
            }
        )
    return rows


def metamath(rng: random.Random) -> Rows:
    """meta-math/MetaMathQA: questions with solutions in several steps."""
    rows: Rows = []
    for _ in range(60):
        boxes, each, given = rng.randint(3, 20), rng.randint(3, 20), rng.randint(2, 8)
        thing, person = rng.choice(THINGS), rng.choice(PEOPLE)
        total = boxes * each
        question = (
            f"{person} fills {boxes} boxes with {each} {thing} each and gives {given} {thing} away at the "
            f"{rng.choice(PLACES)}. How many {thing} are left?"
        )
        response = (
            f"{person} has {boxes} * {each} = {total} {thing} in all.\nAfter giving {given} away, {total} - {given} = "
            f"{total - given} are left.\n#### {total - given}\nThe answer is: {total - given}"
        )
        rows.append({"type": "made", "query": question, "original_question": question, "response": response})
    return rows


def preferences(rng: random.Random) -> Rows:
    """Generic preference pairs with a system text, as Intel/orca_dpo_pairs."""
    rows: Rows = []
    for number in range(30):
        animal = rng.choice(ANIMALS)
        rows.append(
            {
                "system": "" if number % 3 else "You answer in one sentence.",
                "question": f"Where does the {animal} sleep, {rng.choice(PEOPLE)}?",
                "chosen": f"The {animal} sleeps near the {rng.choice(PLACES)}.",
                "rejected": f"{rng.randint(2, 90)} {rng.choice(THINGS)}, and that is all.",
            }
        )
    return rows


def _task(rng: random.Random, name: str, definition: str, ask: Callable[[], tuple[str, list[str]]], **more: Any) -> Any:
    asked = [ask() for _ in range(50)]
    return {
        "Contributors": ["Raycipe"],
        "Source": ["made"],
        "Categories": ["Question Answering"],
        "Definition": [definition],
        "Input_language": ["English"],
        "Output_language": ["English"],
        "Domains": ["Nature"],
        "Positive Examples": [
            {"input": given, "output": answers[0], "explanation": "As the definition says."}
            for given, answers in asked[:3]
        ],
        "Negative Examples": [],
        **more,
        "Instances": [
            {"id": f"{name}-{number:03d}", "input": given, "output": answers}
            for number, (given, answers) in enumerate(asked[3:])
        ],
    }


def natural_instructions(rng: random.Random) -> Iterator[tuple[str, Any]]:
    """allenai/natural-instructions: tasks that Birbal's rules take, and some that they leave out."""

    def colour() -> tuple[str, list[str]]:
        found = rng.choice(COLOURS)
        return f"{rng.choice(PEOPLE)} {rng.choice(DEEDS)} {rng.randint(2, 90)} {found} {rng.choice(THINGS)}.", [found]

    def mood() -> tuple[str, list[str]]:
        text = sentence(rng)
        return text, ["Yes" if any(word in text for word in MOODS[:4]) else "No"]

    def title() -> tuple[str, list[str]]:
        animal, place = rng.choice(ANIMALS), rng.choice(PLACES)
        return f"A {animal} came to the {place}. {passage(rng, 2)}", [f"The {animal} that came to the {place}"]

    def continued() -> tuple[str, list[str]]:
        said = passage(rng, 1)
        return said, [f"After that, {sentence(rng)}", f"Later, {sentence(rng)}"][: rng.randint(1, 2)]

    def added() -> tuple[str, list[str]]:
        first, second = rng.randint(2, 90), rng.randint(2, 90)
        return f"{first} + {second}", [str(first + second)]

    yield "task1_made_colour", _task(rng, "task1", "Name the colour that the sentence speaks of, in one word.", colour)
    answer_verification = {"Categories": ["Answer Verification"]}
    definition = "Is the animal in the sentence quiet, cheerful, nervous or patient? Answer Yes or No."
    yield "task2_made_mood", _task(rng, "task2", definition, mood, **answer_verification)
    yield "task3_made_title", _task(rng, "task3", "Give the text a title.", title, Categories=["Title Generation"])
    composed = {"Categories": ["Story Composition"]}
    yield "task4_made_story", _task(rng, "task4", "Go on with the story in one sentence.", continued, **composed)
    yield "task5_made_hindi", _task(rng, "task5", "Name the colour.", colour, Input_language=["Hindi"])
    yield "task6_made_sums", _task(rng, "task6", "Add the numbers.", added, Domains=["Mathematics"])
    tagged = {"Categories": ["Pos Tagging"]}
    yield "task7_made_tagging", _task(rng, "task7", "Name the adjective of colour.", colour, **tagged)


FILES: dict[str, Callable[[random.Random], Rows]] = {
    "arc": arc,
    "cnn_dailymail": cnn_dailymail,
    "conversations": conversations,
    "hellaswag": hellaswag,
    "lima": lima,
    "math_instruct": math_instruct,
    "metamath": metamath,
    "open_platypus": open_platypus,
    "openbookqa": openbookqa,
    "preferences": preferences,
    "quac": quac,
    **tiny_corpora.FILES,
}


def made_files() -> dict[str, bytes]:
    """Every file, by its path below `recipes/tiny`: the same bytes on every machine."""
    files = {}
    for name, make in FILES.items():
        rows = make(random.Random(f"tiny {name}"))
        files[f"{name}.jsonl"] = b"".join(orjson.dumps(row) + b"\n" for row in rows)
    for name, task in natural_instructions(random.Random("tiny natural_instructions")):
        files[f"natural_instructions/{name}.json"] = orjson.dumps(task, option=orjson.OPT_INDENT_2) + b"\n"
    return files


def write(directory: Path = DIRECTORY) -> None:
    """Writes them all."""
    for name, data in made_files().items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


if __name__ == "__main__":
    write()
