"""What Moxin is trained on, in the layouts of its public data sets, made from a seed: web texts, source files,
benchmarks' training splits and dialogues. What the recipe's steps look for is in them: texts that are too short, copies
and near-copies within a source and across sources, and a web pool of which a tenth explains something.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from core.recipe.tiny_words import ANIMALS, COLOURS, DEEDS, MOODS, PEOPLE, PLACES, THINGS, Rows, passage, sentence

EXPLAINING = 10  # every tenth text of the pool


def explanation(rng: random.Random) -> str:
    """A text that answers a question, as the examples of good texts do."""
    animal, place = rng.choice(ANIMALS), rng.choice(PLACES)
    return (
        f"Why does a {animal} like the {place}? A {animal} looks for food and a dry bed. {passage(rng, 2)} That is why "
        f"the {place} suits it, because it is {rng.choice(MOODS)} there. {sentence(rng)} So, in short, the {animal} "
        "stays, because there is food, and because nobody disturbs it."
    )


def offer(rng: random.Random) -> str:
    """A text that only sells."""
    lines = [
        f"{rng.choice(COLOURS).title()} {rng.choice(THINGS)} only {rng.randint(2, 99)} coins - click here!"
        for _ in range(rng.randint(6, 12))
    ]
    return "\n".join([f"Cheap {rng.choice(THINGS)} from {rng.choice(PEOPLE)}, buy now", *lines, "Share this page"])


def slimpajama(rng: random.Random) -> Rows:
    """cerebras/SlimPajama-627B, as RedPajama was before: some texts are short, some nearly copies of earlier ones."""
    sets = ["RedPajamaC4", "RedPajamaWikipedia", "RedPajamaBook", "RedPajamaStackExchange"]
    texts = [passage(rng, rng.randint(6, 10)) for _ in range(90)]
    for number in range(9, 90, 20):
        texts[number] = f"{rng.choice(PLACES).title()} - page {number} !!! ... {'-' * 300}"
    for number in range(13, 90, 15):
        texts[number] = f"{texts[number - 6]} The end."
    return [{"text": text, "meta": {"redpajama_set_name": rng.choice(sets)}} for text in texts]


def dclm_pool(rng: random.Random) -> Rows:
    """mlfoundations/dclm-pool: web texts as they come, of which some are SlimPajama's, too."""
    others = slimpajama(random.Random("tiny slimpajama"))
    rows: Rows = []
    for number in range(200):
        text = (explanation if number % EXPLAINING == 0 else offer)(rng)
        if number % 40 == 7:
            text = others[number // 40]["text"]
        rows.append({"text": text, "url": f"https://{rng.choice(PLACES)}.example/{number}", "language": "en"})
    return rows


def eli5(rng: random.Random) -> Rows:
    """sentence-transformers/eli5: questions and long answers."""
    rows: Rows = []
    for _ in range(30):
        question, _, answer = explanation(rng).partition("? ")
        rows.append({"question": f"{question}?", "answer": answer})
    return rows


def the_stack(rng: random.Random) -> Rows:
    """bigcode/the-stack: source files, some of them copies of an earlier one, some with a word changed."""
    contents = [_module(rng) for _ in range(70)]
    for number in range(11, 70, 14):
        contents[number] = contents[number - 3]
    for number in range(16, 70, 14):
        contents[number] = contents[number - 5].replace("# A note", "# Another note")
    return [
        {"content": content, "lang": "Python", "ext": "py", "max_stars_repo_path": f"made/module_{number}.py"}
        for number, content in enumerate(contents)
    ]


def _module(rng: random.Random) -> str:
    functions = []
    for _ in range(rng.randint(3, 5)):
        deed, thing, place = rng.choice(DEEDS), rng.choice(THINGS), rng.choice(PLACES)
        first, second = rng.randint(2, 99), rng.randint(2, 99)
        functions.append(
            rng.choice(
                [
                    f"def {deed}_{thing}(count):\n"
                    f"    return [count * {first} + number for number in range({second})]\n",
                    f"def {thing}_of_{place}(rows):\n    total = {first}\n    for row in rows:\n"
                    f"        total += row['{thing}'] - {second}\n    return total\n",
                    f"class {thing.title()}At{place.title()}:\n    limit = {first}\n\n    def {deed}(self, other):\n"
                    f"        return other % self.limit == {second}\n",
                ]
            )
        )
    return f"# A note: {sentence(rng)}\nimport {rng.choice(ANIMALS)}\n\n\n" + "\n\n".join(functions)


def arc_easy(rng: random.Random) -> Rows:
    """allenai/ai2_arc, ARC-Easy."""
    rows: Rows = []
    for number in range(30):
        place, animals = rng.choice(PLACES), rng.sample(ANIMALS, 4)
        answer = rng.randrange(4)
        question = f"{sentence(rng)} Which animal came to the {place} if it was the {animals[answer]}?"
        labels = list("ABCD")
        rows.append(
            {
                "id": f"easy-{number}",
                "question": question,
                "choices": {"text": animals, "label": labels},
                "answerKey": labels[answer],
            }
        )
    return rows


def mmlu(rng: random.Random) -> Rows:
    """cais/mmlu, auxiliary_train: a question, four choices and the place of the right one."""
    rows: Rows = []
    for _ in range(40):
        told = [sentence(rng) for _ in range(3)]
        people = rng.sample(PEOPLE, 3)
        answer = rng.randrange(4)
        first = told[0].split()[0]
        choices = [name for name in people if name != first][:3] + ["Nobody"] * (first in people)
        choices.insert(answer, first)
        rows.append(
            {
                "question": f"{' '.join(told)} Who is spoken of first?",
                "subject": "",
                "choices": choices,
                "answer": answer,
            }
        )
    return rows


def piqa(rng: random.Random) -> Rows:
    """baber/piqa: a goal, two ways to it and the place of the better one."""
    rows: Rows = []
    for _ in range(30):
        thing, place, label = rng.choice(THINGS), rng.choice(PLACES), rng.randrange(2)
        ways = [
            f"Put {rng.randint(2, 20)} of them into a basket and walk.",
            f"Wait until a {rng.choice(ANIMALS)} brings them.",
        ]
        goal = f"To take {rng.randint(2, 90)} {rng.choice(COLOURS)} {thing} from the {place} to {rng.choice(PEOPLE)}"
        rows.append({"goal": goal, "sol1": ways[label], "sol2": ways[1 - label], "label": label})
    return rows


def winogrande(rng: random.Random) -> Rows:
    """allenai/winogrande, winogrande_xl: a sentence with a blank, two names and the number of the right one."""
    rows: Rows = []
    for _ in range(30):
        names, answer = rng.sample(PEOPLE, 2), rng.randrange(2)
        reason = f"was {rng.choice(MOODS)}" if answer == 0 else f"needed {rng.randint(2, 90)} {rng.choice(THINGS)}"
        rows.append(
            {
                "sentence": f"{names[0]} {rng.choice(DEEDS)} {rng.choice(COLOURS)} {rng.choice(THINGS)} for {names[1]} "
                f"at the {rng.choice(PLACES)}, because _ {reason}.",
                "option1": names[0],
                "option2": names[1],
                "answer": str(answer + 1),
            }
        )
    return rows


def tulu_v2(rng: random.Random) -> Rows:
    """allenai/tulu-v2-sft-mixture: dialogues of several origins, some with a system turn."""
    rows: Rows = []
    for number in range(60):
        messages = []
        if number % 6 == 5:
            messages.append(
                {"role": "system", "content": f"You answer as a {rng.choice(MOODS)} {rng.choice(ANIMALS)}."}
            )
        for _ in range(rng.randint(1, 3)):
            place = rng.choice(PLACES)
            messages += [
                {"role": "user", "content": f"{sentence(rng)} What happened then at the {place}?"},
                {"role": "assistant", "content": f"At the {place} this happened: {passage(rng, rng.randint(1, 3))}"},
            ]
        origin = rng.choice(["flan_v2", "oasst1", "sharegpt", "gpt4_alpaca", "lima"])
        rows.append({"dataset": origin, "id": f"made-{number}", "messages": messages})
    return rows


FILES: dict[str, Callable[[random.Random], Rows]] = {
    "arc_easy": arc_easy,
    "dclm_pool": dclm_pool,
    "eli5": eli5,
    "mmlu": mmlu,
    "piqa": piqa,
    "slimpajama": slimpajama,
    "the_stack": the_stack,
    "tulu_v2": tulu_v2,
    "winogrande": winogrande,
}
