"""A few random stories of rollouts keep every invariant; the quick part of ``test_stories``."""

from tests.invariants.machine import World
from tests.invariants.test_stories import search, world

__all__ = ["world"]

QUICK = 4


def test_a_few_stories(world: World) -> None:
    search(world, QUICK)
