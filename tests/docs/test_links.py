"""Pages lead to what is there: links to files and headings, and the files, tests and variables that they name."""

import re
from pathlib import Path

import pytest

from tests.docs.tables import REPOSITORY

PAGES = sorted(
    (
        REPOSITORY / "README.md",
        REPOSITORY / "CONTRIBUTING.md",
        REPOSITORY / "CHANGELOG.md",
        REPOSITORY / "deploy" / "README.md",
        *(REPOSITORY / "docs").rglob("*.md"),
    ),
)
MADE = {"bench/results/"}
"""What a page names and nobody commits."""

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FILE = re.compile(r"`((?:activities|bench|celadon|deploy|docs|tests|worker|workflows)/[\w./-]+)(?:::[^`]*)?`")
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def name_of(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


def anchors(page: Path) -> set[str]:
    """Return the anchors that a page's headings have, as the usual hosts make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(page.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        if "://" in path:
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_that_a_page_names_are_there(page: Path) -> None:
    if page.name == "CHANGELOG.md":
        return  # it tells of the past
    named = _FILE.findall(page.read_text(encoding="utf-8"))

    assert [path for path in named if not (REPOSITORY / path).exists() and path not in MADE] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_tests_that_a_page_names_are_there(page: Path) -> None:
    for file, test in _TEST.findall(page.read_text(encoding="utf-8")):
        assert f"def {test}(" in (REPOSITORY / file).read_text(encoding="utf-8"), f"{file}::{test}"
