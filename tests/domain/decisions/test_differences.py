"""Differences of revisions, as people may be shown them."""

from typing import Any

from celadon.domain.decisions.differences import MOST_CHANGES, differences
from celadon.domain.language.revision import Revision


def _changes(before: dict[str, Any], after: dict[str, Any]) -> dict[str, tuple[str, str]]:
    old, new = (Revision.model_validate({"command": ["serve"], **one}, strict=False) for one in (before, after))
    changes, left_out = differences(old, new)
    assert left_out == 0
    return {one.field: (one.before, one.after) for one in changes}


def test_the_same_content_differs_in_nothing() -> None:
    assert _changes({"env": {"A": "1"}}, {"env": {"A": "1"}}) == {}


def test_each_field_that_differs_is_named() -> None:
    changes = _changes(
        {"env": {"MODEL": "small", "OLD": "1"}, "health_check": {"path": "/a"}},
        {"env": {"MODEL": "large"}, "health_check": {"path": "/b"}, "command": ["serve", "--fast"]},
    )

    assert changes == {
        "command": ("serve", "serve --fast"),
        "env.MODEL": ("small", "large"),
        "env.OLD": ("1", ""),
        "health_check.path": ("/a", "/b"),
    }


def test_a_reference_to_another_secret_is_shown_by_its_name() -> None:
    changes = _changes({"env": {"TOKEN": {"secret": "one"}}}, {"env": {"TOKEN": {"secret": "two"}}})

    assert changes == {"env.TOKEN": ('{"secret": "one"}', '{"secret": "two"}')}


def test_plain_values_under_names_that_look_like_secrets_are_hidden() -> None:
    assert _changes({"env": {"API_KEY": "abcd"}}, {"env": {"API_KEY": "efgh"}}) == {
        "env.API_KEY": ("[hidden]", "[hidden]")
    }


def test_a_variable_called_secret_is_no_reference_to_one() -> None:
    assert _changes({"env": {"SECRET": "abcd"}}, {"env": {"SECRET": "efgh", "secret": "ijkl"}}) == {
        "env.SECRET": ("[hidden]", "[hidden]"),
        "env.secret": ("", "[hidden]"),
    }
    assert _changes({"env": {"secret": "abcd"}}, {}) == {"env.secret": ("[hidden]", "")}


def test_secrets_among_arguments_are_hidden() -> None:
    changes = _changes(
        {"command": ["serve", "--api-key", "abcdefgh"]},
        {"command": ["serve", "--api-key", "ijklmnop", "--password=qrstuvwx", "hf_abcdefghijklmnopqrst"]},
    )

    assert changes == {"command": ("serve --api-key [hidden]", "serve --api-key [hidden] --password=[token] [token]")}


def test_more_changes_than_people_read_are_counted() -> None:
    old = Revision(command=("serve",), env={f"V{number}": "1" for number in range(MOST_CHANGES + 7)})
    new = Revision(command=("serve",), env={f"V{number}": "2" for number in range(MOST_CHANGES + 7)})

    changes, left_out = differences(old, new)

    assert (len(changes), left_out) == (MOST_CHANGES, 7)


def test_a_long_value_is_shown_in_part() -> None:
    [(_, after)] = _changes({}, {"env": {"PROMPT": "x" * 100_000}}).values()

    assert len(after) < 400
