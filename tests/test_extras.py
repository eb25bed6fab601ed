"""The extras: what each brings is known, and what it does not bring is told."""

import ast
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from celadon.extras import MODULES_OF_SERVER, Extra, ExtraMissingError, explain_missing_module, need
from celadon.foreseen import FORESEEN_IN_ROOMS, explain
from tests.packaging.builds import project
from tests.packaging.clean_environment import names_needed

ROOT = Path(__file__).parents[1]
OWN = {"activities", "celadon", "worker", "workflows"}
ONLY_AT_THE_BUILD = ROOT / "celadon/gateway/descriptors_build.py"


def _imported() -> Iterator[str]:
    """Yield the top-level name of every import of the four packages, wherever it stands in a module."""
    for package in OWN:
        for path in (ROOT / package).rglob("*.py"):
            if path == ONLY_AT_THE_BUILD:
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    yield from (alias.name.partition(".")[0] for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.level == 0:
                    yield (node.module or "").partition(".")[0]


def _of_base() -> set[str]:
    """Return the distributions that come without any extra."""
    from importlib.metadata import distribution  # noqa: PLC0415 - beside its only use

    direct = [Requirement(line).name for line in project()["project"]["dependencies"]]
    return {canonicalize_name(name) for name in direct}.union(*(names_needed(distribution(name)) for name in direct))


def test_every_module_of_others_is_of_the_base_or_known_to_be_of_the_server() -> None:
    distributions, base = packages_distributions(), _of_base()
    foreign = {name for name in _imported() if name not in OWN | set(sys.stdlib_module_names)}

    of_base = {name for name in foreign if {canonicalize_name(one) for one in distributions[name]} & base}
    assert foreign - of_base == MODULES_OF_SERVER


def test_all_extras_are_installed_here() -> None:
    need(Extra.SERVER)
    need(Extra.LOCAL)


def test_the_extras_are_those_of_the_distribution() -> None:
    assert {extra.value for extra in Extra} == set(project()["project"]["optional-dependencies"]) - {"dev"}


@pytest.mark.parametrize("module", ["sqlalchemy", "sqlalchemy.ext.asyncio", "google.protobuf"])
def test_a_missing_module_of_an_extra_is_told(module: str) -> None:
    sentence = explain(ModuleNotFoundError(f"No module named '{module}'", name=module))

    assert sentence == str(ExtraMissingError(Extra.SERVER))
    assert "pip install 'celadon[server]'" in sentence


@pytest.mark.parametrize("module", ["celadon.cli.gone", "pydantic", "sql", None])
def test_any_other_missing_module_is_a_bug(module: str | None) -> None:
    assert explain_missing_module(ModuleNotFoundError("gone", name=module)) is None


@pytest.mark.parametrize(("module", "name"), FORESEEN_IN_ROOMS)
def test_faults_that_are_foreseen_by_name_are_there(module: str, name: str) -> None:
    assert issubclass(getattr(import_module(module), name), Exception)
