"""Who may do what: the whole table."""

import pytest

from celadon.domain.language.permissions import (
    ALLOWED,
    Role,
    Verb,
    in_scope,
    may,
    rights_of,
    roles_that_may,
)

V, O, A, D = Role.VIEWER, Role.OPERATOR, Role.APPROVER, Role.ADMIN  # noqa: E741 - the columns of a table

TABLE = {
    Verb.READ: {V, O, A, D},
    Verb.CREATE: {O, D},
    Verb.START: {O, D},
    Verb.ABORT: {O, A, D},
    Verb.SCALE: {O, D},
    Verb.PROMOTE: {A, D},
    Verb.FORCE: {A, D},
    Verb.ROLLBACK: {A, D},
    Verb.PAUSE: {O, A, D},
    Verb.FREEZE: {O, A, D},
    Verb.UNFREEZE: {A, D},
    Verb.FREEZE_ALL: {D},
    Verb.WAIVE_APPROVALS: {D},
    Verb.SCHEDULE: {O, A, D},
    Verb.DELETE: {D},
    Verb.LABEL: {D},
    Verb.SET_HOSTS: {D},
    Verb.SET_TRAFFIC: {D},
    Verb.SET_POLICY: {D},
    Verb.SET_DEFAULTS: {D},
    Verb.FORGET_ROUTER: {D},
    Verb.SCRAPE: {V, O, A, D},
}


def test_the_table_is_total() -> None:
    assert set(TABLE) == set(Verb)
    assert set(ALLOWED) == set(Role)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("verb", Verb)
def test_a_role_may_what_the_table_says(role: Role, verb: Verb) -> None:
    assert may([role], verb) is (role in TABLE[verb])
    assert (role in roles_that_may(verb)) is (role in TABLE[verb])


def test_without_a_role_nothing_is_allowed() -> None:
    assert not any(may([], verb) for verb in Verb)


def test_roles_add_up() -> None:
    assert may([O, A], Verb.START)
    assert may([O, A], Verb.PROMOTE)
    assert rights_of([O, A]) == {verb for verb in Verb if {O, A} & TABLE[verb]}


@pytest.mark.parametrize(
    ("scope", "labels", "seen"),
    [
        ({}, {}, True),
        ({}, {"team": "search"}, True),
        ({"team": "search"}, {}, False),
        ({"team": "search"}, {"team": "ads"}, False),
        ({"team": "search"}, {"team": "search", "env": "prod"}, True),
        ({"team": "search", "env": "prod"}, {"team": "search"}, False),
    ],
)
def test_a_scope_needs_every_label(scope: dict[str, str], labels: dict[str, str], seen: bool) -> None:  # noqa: FBT001
    assert in_scope(scope, labels) is seen
