"""Refusals and their codes."""

from pathlib import Path

import pytest

import activities
import celadon
import workflows
from celadon.domain.language.errors import RefusalCode
from celadon.domain.language.not_found import nothing_under_way


def test_a_promotion_without_a_rollout_is_told_that_there_is_no_green() -> None:
    refusal = nothing_under_way("chat", to_promote=True).refusal
    assert refusal.code is RefusalCode.NO_GREEN_REVISION
    assert refusal.message == "no rollout of chat is under way, so there is no green revision to promote"
    assert "celadon deploy" in refusal.next_step


def test_any_other_decision_without_a_rollout_is_told_so() -> None:
    refusal = nothing_under_way("chat", "workflow not found").refusal
    assert refusal.code is RefusalCode.NO_SUCH_ROLLOUT
    assert refusal.message == "no rollout of chat is under way (workflow not found)"


@pytest.fixture(scope="module")
def source() -> str:
    """Return the text of every module that can refuse something."""
    rooms = [Path(room.__path__[0]) for room in (celadon, workflows, activities)]
    return "".join(module.read_text() for room in rooms for module in room.rglob("*.py"))


@pytest.mark.parametrize("code", RefusalCode)
def test_there_is_no_code_that_nothing_is_refused_with(code: RefusalCode, source: str) -> None:
    assert f"RefusalCode.{code.name}" in source
