"""What the memo of a start may say: it travels with the first step, and the database keeps it."""

from celadon.domain.language.errors import Refusal, RefusalCode
from celadon.domain.language.limits import ISSUER_BYTES, NAME_BYTES
from celadon.domain.language.messages import StartMemo
from celadon.domain.language.permissions import Verb
from celadon.domain.language.shown_text import find_control


def refuse_memo(memo: StartMemo) -> Refusal | None:
    """Return why a start with this memo is refused, or ``None`` when it is not."""
    texts = (
        ("request_id", memo.request_id, NAME_BYTES),
        ("issuer", memo.issuer, ISSUER_BYTES),
        ("signature", memo.signature, NAME_BYTES),
    )
    for key, text, limit in texts:
        if len(text.encode("utf-8", "replace")) > limit:
            return _refused(f"{key} has more than {limit} bytes in UTF-8")
        character = find_control(text)
        if character:
            return _refused(f"{key} holds {character}, a character that cannot be shown")
    if len(memo.rights) > len(Verb):
        return _refused(f"there are {len(Verb)} rights, and it names {len(memo.rights)}")
    return None


def _refused(why: str) -> Refusal:
    return Refusal(
        code=RefusalCode.INVALID_PAYLOAD,
        message=f"the start's memo is refused: {why}",
        next_step="start the rollout through Celadon, or without this memo",
    )
