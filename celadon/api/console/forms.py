"""What the console's forms send, and what is said when they have been carried out."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl

from celadon.api.console.rendering import Notice
from celadon.api.orders import BackOrder, Promoted, PromoteOrder, Rescaled, ScaleRequest, WentBack
from celadon.client.wording import in_words, revision_name
from celadon.domain.payload import parse_payload
from celadon.domain.states import RolloutOutcome

_MOST_FIELDS: Final = 20


def read_form(body: bytes) -> dict[str, str]:
    """Return the fields of a form; raises ``ValueError`` for what is none."""
    return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS))


def promote_order(form: Mapping[str, str]) -> PromoteOrder:
    """Return what a form asks for; raises ``RefusedError`` when it asks for nothing sensible."""
    return parse_payload(PromoteOrder, _given(form, numbers=("rollout", "revision")))


def back_order(form: Mapping[str, str]) -> BackOrder:
    """Return what a form asks for; errors as for a promotion."""
    return parse_payload(BackOrder, _given(form, numbers=("rollout",)))


def scale_request(form: Mapping[str, str]) -> ScaleRequest:
    """Return what a form asks for; errors as for a promotion."""
    return parse_payload(ScaleRequest, _given(form, numbers=("replicas",)))


def tell_promotion(done: Promoted) -> Notice:
    """Say what came of a promotion."""
    answer = done.answer
    if answer.epoch is None:
        return Notice(tone="done", text=f"Your promotion is {answer.state.value}.")
    switched = f"{revision_name(done.revision)} is live since epoch {answer.epoch}"
    if answer.silent:
        return Notice(
            tone="warn",
            text=f"{switched}, but routers are silent: {', '.join(answer.silent)}. Blue is kept until they answer.",
        )
    by = f", acknowledged by {', '.join(answer.acknowledged_by)}" if answer.acknowledged_by else ""
    return Notice(tone="done", text=f"{switched}{by} after {answer.ms:.0f} ms.")


def tell_way_back(done: WentBack) -> Notice:
    """Say what came of an abort or a rollback."""
    answer = done.answer
    if answer.outcome is not RolloutOutcome.ROLLED_BACK:
        return Notice(tone="done", text=f"The rollout is {in_words(answer.outcome.value)}: green is being closed.")
    silent = f" Routers are silent: {', '.join(answer.silent)}." if answer.silent else ""
    return Notice(
        tone="warn" if answer.silent else "done",
        text=f"Traffic is back on blue since epoch {answer.epoch}, after {answer.ms:.0f} ms.{silent}",
    )


def tell_scaling(done: Rescaled) -> Notice:
    """Say what came of a scaling."""
    if not done.changed:
        return Notice(tone="done", text=f"It has {done.replicas} replicas already.")
    return Notice(tone="done", text=f"Replicas: {done.before} → {done.replicas}.")


def _given(form: Mapping[str, str], numbers: tuple[str, ...]) -> dict[str, object]:
    """Return the fields that an order has; a number that is none is left for the parser to refuse."""
    given: dict[str, object] = {"reason": form.get("reason", "").strip()}
    for name in numbers:
        text = form.get(name, "").strip()
        if text:
            given[name] = int(text) if text.isdecimal() else text
    return given
