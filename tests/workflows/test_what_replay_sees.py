"""Whoever changes what a running rollout replays learns it here, before the rollout does."""

import pytest

from tests.workflows.what_replay_sees import (
    FINGERPRINTS,
    ROOT,
    WRITE_ANEW,
    Fingerprints,
    compute,
    differences,
    fingerprint_code,
    read_committed,
    seen_modules,
)

WHAT_TO_DO = f"""
Rollouts that run now replay their histories with the code as it is here, and this changed:

  {{changed}}

Do one of these; CONTRIBUTING.md, "What replay sees", says more:

1. The commands stay as they are: ``.venv/bin/python -m pytest tests/workflows/test_replay.py`` passes, and no other
   history that a rollout may have gets another order of steps. Write the fingerprints anew and commit the file:
   {WRITE_ANEW}
2. The commands change: put the change behind ``workflow.patched``, so that older histories take the former way, and
   record a history that takes the new way, under a name of its own. Then do 1.
3. No rollout runs anywhere, such as before a first release: record the histories anew with
   ``.venv/bin/python -m pytest tests/workflows --record-histories``. Then do 1.
4. A patch cannot express the change: version the workflow and its workers, as the page says.
"""


def test_what_replay_sees_is_as_it_was_committed() -> None:
    changed = differences(read_committed(), compute())

    if changed:
        pytest.fail(WHAT_TO_DO.format(changed="\n  ".join(changed)), pytrace=False)


def test_the_page_names_the_file_of_the_fingerprints_and_the_command() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text()

    assert str(FINGERPRINTS.relative_to(ROOT)) in page
    assert WRITE_ANEW in page


def test_the_workflows_and_the_decisions_that_they_ask_for_are_seen() -> None:
    assert seen_modules().keys() >= {
        "workflows.rollout",
        "workflows.messages",
        "celadon.domain.decisions.gate",
        "celadon.domain.decisions.after_switch",
        "celadon.domain.language.rollout_state",
        "celadon.domain.language.base_models",
    }


CODE = '''"""What it is for."""

LIMIT = 3
"""How many."""


class Told:
    """One line."""

    def count(self) -> int:
        """Count."""
        return LIMIT  # as ever
'''


@pytest.mark.parametrize(
    ("old", "new"),
    [("What it is for.", "Another text."), ('"""How many."""\n', ""), ("  # as ever", ""), ("Count.", "Return it.")],
)
def test_texts_leave_a_fingerprint_as_it_is(old: str, new: str) -> None:
    assert fingerprint_code(CODE.replace(old, new)) == fingerprint_code(CODE)


@pytest.mark.parametrize(("old", "new"), [("LIMIT = 3", "LIMIT = 4"), ("return LIMIT", "return -LIMIT")])
def test_code_changes_a_fingerprint(old: str, new: str) -> None:
    assert fingerprint_code(CODE.replace(old, new)) != fingerprint_code(CODE)


def test_a_module_that_is_new_gone_or_changed_is_named() -> None:
    before = Fingerprints(modules={"a": "1", "b": "1", "c": "1"}, histories={"finished": "1"})
    after = Fingerprints(modules={"a": "1", "b": "2", "d": "1"}, histories={"finished": "2"})

    assert differences(before, after) == ["module b", "module c", "module d", "history finished"]
