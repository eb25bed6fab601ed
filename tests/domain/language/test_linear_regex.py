"""Regular expressions of health checks never take long."""

import pytest

from celadon.domain.language.linear_regex import check_size, is_found, why_invalid


@pytest.mark.parametrize(
    ("expression", "text", "found"),
    [
        ("ready", "is ready now", True),
        ("^ready$", "is ready now", False),
        (r"v\d{1,3}", "v12", True),
        ("(?i)READY", "ready", True),
        ("é+", "caféé", True),
    ],
)
def test_an_expression_matches_somewhere(expression: str, text: str, found: bool) -> None:  # noqa: FBT001
    assert is_found(expression, text) is found


@pytest.mark.parametrize("expression", ["(a", r"(a)\1", "a(?=b)", "(?<!a)b", r"\p{Nonsense}"])
def test_what_the_engine_does_not_know_is_invalid_with_a_reason(expression: str) -> None:
    assert why_invalid(expression)
    assert not is_found(expression, "ab")


@pytest.mark.parametrize("expression", ["a{1}", "a{8}b{4}", "a{3,}", "{", "a{x}"])
def test_few_repetitions_are_let_through(expression: str) -> None:
    assert check_size(expression) == expression


@pytest.mark.parametrize("expression", ["", "a{33}", "a{1,33}", "(a{8}){8}", "a{999999999999}", "x" * 201])
def test_an_expression_that_could_cost_much_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match=r"a regex has|counts of a regex"):
        check_size(expression)


@pytest.mark.timeout(60)
def test_an_expression_that_python_would_never_finish_ends() -> None:
    """Python's ``re`` would look at this text for longer than the machine will last."""
    assert not is_found("^(a|a)*(a|a)*$", "a" * 16_000 + "!")
