"""What a door signs when it has verified who asks: the text that says what is asked, of whom, and by whose right.

Anybody whom Temporal lets in can write any name into a signal. A door that has verified who asks therefore signs what
it sends. The workflow holds no keys: it hands the message on as it came, and the activity that carries it out rebuilds
the text from what it was given and checks the signature.
"""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from celadon.domain.language.commands import Command
from celadon.domain.language.messages import RolloutRequest, StartMemo
from celadon.domain.language.payload import parse_payload

START: Final = "start"
"""The verb of a rollout's start; the others are the names of messages."""

START_MEMO: Final = "celadon_start"
"""The memo of a workflow that a door has signed."""

START_VALID: Final = timedelta(minutes=10)
"""How long Temporal may take a signed start."""


def text_of_command(installation: str, deployment: str, verb: str, request_id: str, command: Command) -> str:
    """Return what is signed of a command: itself, where and for whose rollout it counts, and the update's id.

    Keys that say what a command that omits them says too are left out, so that the text is the same however far the
    command has travelled.
    """
    content = command.model_dump(mode="json", exclude_defaults=True, exclude={"signature"})
    return _canonical(
        {
            "installation": installation,
            "deployment": deployment,
            "verb": verb,
            "request_id": request_id,
            "command": content,
        },
    )


def text_of_start(installation: str, request: RolloutRequest, memo: StartMemo) -> str:
    """Return what is signed of a start: the request, and what its door says of it."""
    # As it is after its journey: a request that a caller built may hold values of other types.
    travelled = parse_payload(RolloutRequest, request.model_dump(mode="json", exclude_unset=True))
    content = travelled.model_dump(mode="json", exclude_defaults=True, exclude={"policy"})
    # A policy says something by naming a key, also with the key's default.
    content["policy"] = travelled.policy.model_dump(mode="json")
    return _canonical(
        {
            "installation": installation,
            "deployment": request.deployment,
            "verb": START,
            "memo": memo.model_dump(mode="json", exclude={"signature"}),
            "request": content,
        },
    )


def _canonical(content: Mapping[str, object]) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
