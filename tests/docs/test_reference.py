"""The reference pages say what the code says."""

import pytest

from celadon.domain.language.docstrings import attribute_docstrings
from celadon.domain.language.permissions import ALLOWED, Role, Verb
from celadon.service.reference import reference_pages
from tests.deploy.variables import all_settings, read_by_celadon, variable_of
from tests.docs.pages import PAGES, REFERENCE, content_of
from tests.docs.settings_page import COMMANDS, NOT_IN_THE_CODE, SECTIONS


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_the_code_says(name: str) -> None:
    assert (REFERENCE / name).read_text(encoding="utf-8") == content_of(name), (
        f"docs/reference/{name} is stale: write it anew with 'python -m tests.docs'"
    )


def test_no_page_is_left_of_what_is_gone() -> None:
    assert {path.name for path in REFERENCE.iterdir()} == {*PAGES, *reference_pages()}


def test_every_variable_that_is_read_has_a_row() -> None:
    listed = {variable_of(settings, name) for _, _, settings in SECTIONS for name in settings.model_fields}

    assert read_by_celadon() - listed == {name for name, _ in COMMANDS} & read_by_celadon()


def test_a_meaning_stands_in_one_place() -> None:
    described = {
        variable_of(settings, name)
        for settings in all_settings()
        for name in attribute_docstrings(settings)
        if name in settings.model_fields
    }

    assert described & set(NOT_IN_THE_CODE) == set()


def test_security_tells_the_same_rights() -> None:
    """Its table groups rights that the same roles have, so each right is looked for by its row."""
    page = (REFERENCE.parent / "security.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("|")]
    words = {
        Verb.READ: "read",
        Verb.SCRAPE: "scrape metrics",
        Verb.CREATE: "create a deployment",
        Verb.START: "start",
        Verb.ABORT: "abort",
        Verb.SCALE: "scale",
        Verb.PROMOTE: "promote",
        Verb.FORCE: "force",
        Verb.ROLLBACK: "roll back",
        Verb.PAUSE: "pause and resume",
        Verb.FREEZE: "freeze",
        Verb.UNFREEZE: "unfreeze",
        Verb.FREEZE_ALL: "freeze all",
        Verb.WAIVE_APPROVALS: "ask for fewer approvals than the deployment's own policy",
        Verb.SCHEDULE: "make and delete schedules",
        Verb.DELETE: "delete",
        Verb.LABEL: "label",
        Verb.SET_HOSTS: "change a deployment's own hosts",
        Verb.SET_TRAFFIC: "change how routers treat a deployment's requests",
        Verb.SET_POLICY: "change a deployment's own policy",
        Verb.SET_DEFAULTS: "change the installation's defaults",
        Verb.FORGET_ROUTER: "forget a router",
    }
    assert set(words) == set(Verb)
    for verb, word in words.items():
        (cells,) = [row for row in rows if word in row[0].split(", ") and len(row) == 1 + len(Role)]
        assert [cell == "yes" for cell in cells[1:]] == [verb in ALLOWED[role] for role in Role], verb
