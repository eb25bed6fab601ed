"""An answer names a few routers, and counts the others."""

import pytest

from celadon.domain.language.router_names import MOST_NAMED, first_routers, told_routers

MANY = tuple(f"edge-{number}" for number in range(1, 31))
TWENTY = ", ".join(MANY[:20])


@pytest.mark.parametrize(
    ("names", "count", "told"),
    [
        ((), 0, ""),
        (("edge-1", "edge-2"), 2, "edge-1, edge-2"),
        (MANY[:20], 20, TWENTY),
        (MANY[:20], 3_000, f"{TWENTY} and 2980 more"),
        # As an earlier version answered.
        (MANY, 0, f"{TWENTY} and 10 more"),
    ],
)
def test_routers_are_named_up_to_a_number(names: tuple[str, ...], count: int, told: str) -> None:
    assert told_routers(names, count) == told
    assert len(first_routers(names)) <= MOST_NAMED
