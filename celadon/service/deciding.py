"""What commands to a rollout's workflow have in common."""

from collections.abc import Iterable
from typing import TypeVar

from celadon.domain.language.commands import Command as Message
from celadon.domain.language.names import RolloutId
from celadon.domain.language.permissions import Verb
from celadon.service.command import Call, RequestT

MessageT = TypeVar("MessageT", bound=Message)


def sent_command(call: Call[RequestT], kind: type[MessageT], rights: Iterable[Verb], **said: object) -> MessageT:
    """Return the message to the rollout that is meant: whose, why, what its door vouches for, and what else is said.

    Of ``said`` what is ``None`` is left out.
    """
    request = call.request
    content = {
        **said,
        "rollout": getattr(request, "rollout", None) or call.target_rollout.rollout,
        "by": call.who.name,
        "reason": getattr(request, "reason", ""),
        **call.service.vouched(call.who, rights),
    }
    return kind.model_validate({key: value for key, value in content.items() if value is not None})


def rollout_of(message: Message) -> RolloutId | None:
    """Return the rollout that a message names."""
    return None if message.rollout is None else RolloutId(message.rollout)
