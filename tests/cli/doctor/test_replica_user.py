"""As whom replicas run."""

from celadon.cli.doctor.findings import Verdict
from celadon.cli.doctor.replica_user import judge_users


def test_replicas_of_root_are_worth_a_look() -> None:
    diagnosis = judge_users([0, 1000, 0, None])
    assert diagnosis is not None
    assert diagnosis.finding.verdict is Verdict.ODD
    assert diagnosis.finding.told == "2 processes of replicas run as root"
    assert "CELADON_REPLICA_USER" in diagnosis.finding.next_step


def test_replicas_of_another_user_and_no_replicas_are_not_told_of() -> None:
    assert judge_users([1000, None]) is None
    assert judge_users([]) is None
