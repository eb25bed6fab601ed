"""The table of ``docs/reliability.md`` that names each sabotage with the tests that turn red."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from types import MappingProxyType
from typing import Final

from tests.docs.tables import REPOSITORY, code, table
from tests.sabotage.catalogue import RULES, SABOTAGES, Sabotage

PAGE: Final = REPOSITORY / "docs" / "reliability.md"


def _by_rule(sabotage: Sabotage) -> int:
    return sabotage.rule


def _rows() -> Iterator[Sequence[str]]:
    for rule, sabotages in groupby(sorted(SABOTAGES, key=_by_rule), key=_by_rule):
        title = f"{rule}. {RULES[rule]}"
        for sabotage in sabotages:
            yield title, sabotage.title, ", ".join(map(code, sabotage.tests))
            title = ""


def _sabotages() -> str:
    return f"{len(SABOTAGES)} patches:\n\n" + table(("rule", "sabotage", "test that turns red"), _rows())


BLOCKS: Final[Mapping[str, Callable[[], str]]] = MappingProxyType({"sabotages": _sabotages})
