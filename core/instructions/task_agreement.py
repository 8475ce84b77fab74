"""How tasks that rules select agree with a list that others published."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from core.instructions.natural_instructions import TaskHeader


@dataclass(frozen=True)
class Agreement:
    """How a selection and a published list agree."""

    both: tuple[str, ...]
    only_rules: tuple[str, ...]
    only_list: tuple[str, ...]
    by_category: Mapping[str, tuple[int, int, int]]  # tasks in both, only by the rules, only in the list

    @property
    def precision(self) -> float:
        """The part of the selection that is in the list; 1 for an empty selection."""
        found = len(self.both) + len(self.only_rules)
        return len(self.both) / found if found else 1.0

    @property
    def recall(self) -> float:
        """The part of the list that is selected; 1 for an empty list."""
        wanted = len(self.both) + len(self.only_list)
        return len(self.both) / wanted if wanted else 1.0


def agreement(selected: Iterable[str], published: Iterable[str], headers: Iterable[TaskHeader]) -> Agreement:
    """Compares names of tasks, in all and by the (first) category that the headers say; "unknown" for other names."""
    rules, names = set(selected), set(published)
    category = {header.name: next(iter(header.categories), "unknown") for header in headers}
    groups = [tuple(sorted(group)) for group in (rules & names, rules - names, names - rules)]
    counts = [Counter(category.get(name, "unknown") for name in group) for group in groups]
    kinds = sorted(set().union(*counts))
    both, only_rules, only_list = groups
    return Agreement(both, only_rules, only_list, {k: (counts[0][k], counts[1][k], counts[2][k]) for k in kinds})
