"""Approvals of a promotion: whose count, how many are missing, when they are spent, and how people read of them.

A person is a name and who vouches for it. The table counts, under the deployment's lock; a workflow shows what the
table has answered.
"""

from collections.abc import Callable, Sequence
from typing import Final

from celadon.domain.language.approval import Approval, ApprovalRule
from celadon.domain.language.errors import Refusal, RefusalCode
from celadon.domain.language.moments import utc
from celadon.domain.language.states import RolloutPhase

APPROVALS: Final = "approvals"
NEEDED: Final = "needed"
"""What lines of the audit log carry as evidence of how many people have approved and how many must."""

_SPENDING: Final = frozenset({RefusalCode.NO_HEALTHY_GREEN, RefusalCode.GREEN_CHANGED})
"""Refusals of a switch that send green back to its verification. Others, such as a freeze, leave approvals as they
are."""


def needs_force(phase: RolloutPhase) -> bool:
    """Whether only forced promotions count in ``phase``: green is not verified."""
    return phase is not RolloutPhase.AWAITING_PROMOTION


def counted(approvals: Sequence[Approval], phase: RolloutPhase) -> tuple[Approval, ...]:
    """Return the approvals that count in ``phase``: force counts only where every counted approval says it."""
    return tuple(one for one in approvals if one.force or not needs_force(phase))


def refuse_approver(  # noqa: PLR0913 - two people, each with who vouches for the name
    rule: ApprovalRule,
    deployment: str,
    *,
    by: str,
    issuer: str,
    verified: bool,
    requested_by: str,
    requester_issuer: str,
) -> Refusal | None:
    """Return why a promotion is no approval, or ``None`` when it is one.

    Args:
        rule: what the rollout's policy asks for.
        deployment: whose rollout.
        by: who promotes.
        issuer: who vouches for that name.
        verified: whether a door has signed the promotion.
        requested_by: who requested the rollout.
        requester_issuer: who vouches for that name; empty when nobody does.

    """
    if not verified or not issuer:
        return Refusal(
            code=RefusalCode.UNSIGNED,
            message=f"an unsigned promotion is no approval: rollouts of {deployment} need {_people(rule.count)}, and "
            "nobody vouches for this sender",
            next_step=f"approve with 'celadon promote {deployment}' or the API, which sign what they send",
        )
    if rule.exclude_requester and (by, issuer) == (requested_by, requester_issuer):
        return Refusal(
            code=RefusalCode.REQUESTER_EXCLUDED,
            message=f"{by} requested this rollout, and its policy does not count the requester's approval",
            next_step="ask somebody else who has the right to promote",
        )
    return None


def refuse_unknown_requester(rule: ApprovalRule | None, deployment: str, *, verified: bool) -> Refusal | None:
    """Return why a rollout whose policy excludes its requester may not begin, or ``None`` when it may."""
    if rule is None or not rule.exclude_requester or verified:
        return None
    return Refusal(
        code=RefusalCode.UNSIGNED,
        message=f"approvals of {deployment} exclude the requester, and nobody vouches for who requests this rollout",
        next_step="start it with 'celadon deploy -f FILE' or the API, which sign what they send",
    )


def eases_approvals(own: ApprovalRule | None, wanted: ApprovalRule | None) -> bool:
    """Whether ``wanted`` lets green go live with fewer approvals than ``own``, or with the requester's."""
    if own is None:
        return False
    if wanted is None or wanted.count < own.count:
        return True
    return own.exclude_requester and not wanted.exclude_requester


def spends_approvals(refusal: Refusal | None, *, scaled: bool) -> bool:
    """Whether a refused switch spends the approvals that there are: what people approved was a verified green.

    That green grows because somebody scaled it is not its own doing.
    """
    return refusal is not None and refusal.code in _SPENDING and not scaled


def missing_approvals(rule: ApprovalRule, deployment: str, approvals: Sequence[Approval]) -> Refusal:
    """Return the refusal of a timer's switch that too few people have approved."""
    return Refusal(
        code=RefusalCode.APPROVALS_MISSING,
        message=tell_missing(rule, approvals),
        next_step=f"approve with 'celadon promote {deployment}'",
    )


def tell_missing(rule: ApprovalRule, approvals: Sequence[Approval], quote: Callable[[str], str] = str) -> str:
    """Return in words who has approved and when, how many are missing, and who may approve."""
    left = rule.count - len(approvals)
    who = "who has the right to promote" + (", but not who requested the rollout" if rule.exclude_requester else "")
    more = "1 approval is missing, by" if left == 1 else f"{left} approvals are missing, each by"
    return f"{tell_approvals(rule, approvals, quote)}; {more} another verified person {who}"


def tell_approvals(rule: ApprovalRule, approvals: Sequence[Approval], quote: Callable[[str], str] = str) -> str:
    """Return in words how many approvals there are, by whom and when."""
    names = ", ".join(f"{quote(one.by)} at {utc(one.at)}{' (forced)' if one.force else ''}" for one in approvals)
    return f"{len(approvals)} of {rule.count} approved" + (f" ({names})" if names else "")


def approvals_evidence(given: int, needed: int) -> dict[str, str]:
    """Return what a line of the audit log tells of how many have approved and how many must."""
    return {APPROVALS: str(given), NEEDED: str(needed)}


def _people(count: int) -> str:
    return "the approval of a verified person" if count == 1 else f"the approvals of {count} verified people"
