"""What the console's forms send, and what is said when they have been carried out."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl

from fastapi import Request

from celadon.api.console.rendering import Notice
from celadon.api.orders import BackOrder, Promoted, PromoteOrder, Rescaled, ScaleRequest, WentBack
from celadon.api.problems import DoorError
from celadon.client.wording import in_words, revision_name
from celadon.domain.payload import parse_payload
from celadon.domain.states import RolloutOutcome

_MOST_FIELDS: Final = 20
_LONGEST_FIELD: Final = 10_000
_LONGEST_FORM: Final = 128 * 1024
"""In bytes; the form to log in is read before anybody is known."""

_FORM_TYPE: Final = "application/x-www-form-urlencoded"


async def read_form(request: Request) -> dict[str, str]:
    """Return the fields of a form.

    Raises:
        DoorError: it is none of the console's: in another form, with bytes that are no UTF-8, with too many fields, two
            of the same name, or one that is too long.

    """
    body = b""
    length = 0
    # Read to its end, so that whoever sends it can hear the answer, but not kept.
    async for chunk in request.stream():
        length += len(chunk)
        body = body + chunk if length <= _LONGEST_FORM else b""
    if length > _LONGEST_FORM:
        raise _malformed()
    kind = request.headers.get("content-type", _FORM_TYPE).partition(";")[0].strip().lower()
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict")
    except ValueError:
        pairs = None
    if kind != _FORM_TYPE or pairs is None or not _is_sound(pairs):
        raise _malformed()
    return dict(pairs)


def _malformed() -> DoorError:
    return DoorError(
        HTTPStatus.BAD_REQUEST,
        "MALFORMED_FORM",
        "the form cannot be read",
        f"send '{_FORM_TYPE}' in UTF-8, at most {_MOST_FIELDS} fields of {_LONGEST_FIELD} characters, each once",
    )


def _is_sound(pairs: Sequence[tuple[str, str]]) -> bool:
    once = len({name for name, _ in pairs}) == len(pairs)
    return once and all("\0" not in name + value and len(name + value) <= _LONGEST_FIELD for name, value in pairs)


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
    if answer.outcome is None:
        return Notice(tone="warn", text=f"Recorded: {answer.why}.")
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
