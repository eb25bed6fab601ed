"""A place is found by its syntax, in the definition that is named, and nowhere else."""

import pytest

from tests.sabotage.syntax import PlaceError, replace_once

SHOP = """
LIMIT: int = 3


class Shop:
    def sell(self, things, by=None):
        # Für alle
        if things and self.open:
            self.count += 1
            return pay(things, by or self.owner, why="ü")
        while things:
            things.pop()
        return None

    async def close(self):
        if things and self.open:
            pass
"""


def line_with(part: str, definition: str, old: str, new: str) -> str:
    """Return the line of the changed shop that has a part."""
    [line] = [one for one in replace_once(SHOP, definition, old, new).splitlines() if part in one]
    return line.strip()


def test_layout_and_comments_count_for_nothing() -> None:
    pattern = "(\n    things  # all of them\n    and self . open\n)"

    assert line_with("and None", "Shop.sell", pattern, "things and None") == "if (things and None):"


def test_nothing_else_is_changed() -> None:
    broken = replace_once(SHOP, "Shop.sell", "self.owner", "None")

    assert broken == SHOP.replace("self.owner", "(None)")


def test_a_definition_is_a_method_a_variable_or_the_module() -> None:
    assert line_with("LIMIT", "LIMIT", "3", "4") == "LIMIT: int = (4)"
    assert line_with("LIMIT", "", "3", "4") == "LIMIT: int = (4)"
    assert line_with("pass", "Shop.close", "if things and self.open:", "if not things:") == "pass"


def test_a_header_stands_for_its_condition() -> None:
    assert line_with("False", "Shop.sell", "while things:", "while False:") == "while (False):"


def test_dots_are_any_expression_and_what_was_found() -> None:
    found = line_with("pay", "Shop.sell", "... or self.owner", "...")

    assert found == 'return pay(things, ((by)), why="ü")'


def test_starred_dots_are_any_arguments() -> None:
    assert line_with("return (0)", "Shop.sell", "pay(*...)", "0") == "return (0)"


def test_statements_are_left_out() -> None:
    broken = replace_once(SHOP, "Shop.sell", "while things: ...", "")

    assert "        pass\n        return None\n" in broken


def test_statements_stand_one_after_the_other() -> None:
    broken = replace_once(SHOP, "Shop.sell", "self.count += 1\nreturn pay(*...)", "a()\nb()")

    assert "            a()\n            b()\n        while" in broken


@pytest.mark.parametrize("definition", ["Shop.buy", "sell", "Shop.sell.count"])
def test_a_definition_that_is_not_there_is_an_error(definition: str) -> None:
    with pytest.raises(PlaceError, match="is defined 0 times"):
        replace_once(SHOP, definition, "things", "None")


@pytest.mark.parametrize(("old", "times"), [("self.closed", 0), ("self.open", 2)])
def test_a_place_that_does_not_stand_there_once_is_an_error(old: str, times: int) -> None:
    with pytest.raises(PlaceError, match=f"stands {times} times in Shop, not once"):
        replace_once(SHOP, "Shop", old, "None")
