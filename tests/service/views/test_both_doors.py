"""The terminal and the console draw the same view: every word of it stands at both."""

import html
import io
import re
from collections.abc import Iterator

import pytest

from celadon.api.console.rendering import Person, render
from celadon.api.console.views import deployment_page
from celadon.cli.tree import rollout_tree
from celadon.service.door_words import Door, said_at
from celadon.service.rollout_view import RolloutView
from celadon.service.views.deployment import DeploymentDetail, deployment_detail
from celadon.terminal import TerminalConsole
from tests.sample_views import NOW, VIEWS

REGISTERED = {name: view for name, view in VIEWS.items() if view.deployment is not None}


def words_of(shown: DeploymentDetail) -> Iterator[str]:
    """Yield everything that people are to read of a deployment."""
    yield from (shown.name, shown.lifecycle, shown.live.text, shown.router_summary.text)
    if shown.rollout is not None:
        yield from (shown.rollout.move, shown.rollout.reason, shown.rollout.outcome_reason)
        yield from [step.name for step in shown.rollout.way] if shown.rollout.is_under_way else []
        yield from [] if shown.rollout.is_under_way else (f"after {shown.rollout.took}, {shown.rollout.ended}",)
        yield "" if shown.rollout.cut is None else shown.rollout.cut.text
    yield from (freeze.text for freeze in shown.freezes)
    yield "" if shown.next is None else shown.next.text
    yield f"refused messages: {shown.refused_total}" if shown.refused_total else ""
    yield from (timer.what for timer in shown.timers)
    yield from (note.text for note in shown.notes)
    yield from (warned.text for warned in shown.warnings)
    yield from (event.text for event in shown.events)
    yield from (refused.text for refused in shown.refused)
    for router in shown.routers:
        yield from (router.name, router.state.text)
    for one in shown.sets:
        yield from (one.colour, one.revision, one.traffic.text, one.error)
        yield from (note.text for note in one.notes)
        for replica in one.replicas:
            yield from (replica.mark, replica.address, replica.state, replica.leaving, replica.error)
            yield "" if replica.cut is None else f"{replica.cut.what} in"
        if one.drain is not None:
            yield f"running requests: {one.drain.running}"
            yield "" if one.drain.cut is None else f"{one.drain.cut.what} in"
            yield from (f"{load.router}: {load.running}" for load in one.drain.loads)
        for failure in one.failures:
            yield from (failure.title, *failure.output)
        yield f"and {one.more} more" if one.more else ""


def as_tree(view: RolloutView) -> str:
    """Return what the terminal shows, without line breaks inside of a line."""
    stream = io.StringIO()
    TerminalConsole(stream, width=1000).show(rollout_tree(view, NOW))
    return stream.getvalue().casefold()


def as_page(view: RolloutView) -> str:
    """Return what the console shows, without its markup."""
    page = deployment_page(view, (), "", NOW)
    shown = render("deployment", Person(name="ann", roles=(), csrf="x"), page=page)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", "", shown))).casefold()


@pytest.mark.parametrize("view_name", REGISTERED)
@pytest.mark.parametrize("door", [as_tree, as_page], ids=["terminal", "console"])
def test_a_door_shows_every_word_of_the_view(door: object, view_name: str) -> None:
    view = REGISTERED[view_name]
    shown = deployment_detail(view, NOW)
    assert isinstance(shown, DeploymentDetail)
    assert callable(door)

    drawn = door(view)

    said = [said_at(Door.CONSOLE, words) if door is as_page else words for words in words_of(shown)]
    assert [words for words in said if words.casefold() not in drawn] == []
