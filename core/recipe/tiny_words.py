"""The words that the generated files of `--scale tiny` are made of."""

from __future__ import annotations

import random
from typing import Any

Rows = list[dict[str, Any]]


def words(text: str) -> list[str]:
    """The words of a line."""
    return text.split()


ANIMALS = words("otter heron badger lynx raven marmot stork beaver falcon hedgehog weasel crane mole newt ibex")
PLACES = words("harbour meadow valley quarry orchard marsh hilltop station village canal glacier library")
PEOPLE = words("Ada Bruno Clara Dmitri Elif Farid Greta Hiro Ines Jonas Kira Luis Mina Nadia Oskar Priya")
THINGS = words("lanterns baskets ropes marbles kettles ribbons candles shovels bottles stamps")
DEEDS = words("repaired painted counted carried borrowed measured photographed cleaned sketched weighed")
MOODS = words("quiet cheerful nervous patient stubborn curious gentle proud")
COLOURS = words("amber teal scarlet ivory violet olive")


def sentence(rng: random.Random) -> str:
    """A plain sentence about somebody who did something."""
    return (
        f"{rng.choice(PEOPLE)} {rng.choice(DEEDS)} {rng.randint(2, 90)} {rng.choice(COLOURS)} {rng.choice(THINGS)} "
        f"near the {rng.choice(PLACES)}, and a {rng.choice(MOODS)} {rng.choice(ANIMALS)} looked on."
    )


def passage(rng: random.Random, sentences: int) -> str:
    """So many sentences."""
    return " ".join(sentence(rng) for _ in range(sentences))
