"""Which host names deployments may claim."""

import pytest
from pydantic import ValidationError

from celadon.domain.decisions.hosts import ClaimableHosts
from celadon.domain.language.errors import RefusalCode
from celadon.host_settings import HostSettings


def claimable(hosts: str, domains: str = "localhost") -> ClaimableHosts:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CELADON_HOSTS", hosts)
        patch.setenv("CELADON_DOMAINS", domains)
        return HostSettings().claimable


@pytest.mark.parametrize(
    ("listed", "host", "may"),
    [
        ("", "llm.example.com", False),
        ("llm.example.com", "llm.example.com", True),
        (" other.example.com , LLM.example.com ", "llm.example.com", True),
        ("llm.example.com", "a.llm.example.com", False),
        ("*.example.com", "llm.example.com", True),
        ("*.Example.com", "a.b.example.com", True),
        ("*.internal", "llm.internal", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "evilexample.com", False),
        ("*.example.com", "llm.example.com.evil.test", False),
    ],
)
def test_a_deployment_may_claim_what_the_operator_lists(listed: str, host: str, may: bool) -> None:  # noqa: FBT001
    refusal = claimable(listed).refuse(host)
    assert (refusal is None) is may
    if refusal is not None:
        assert refusal.code is RefusalCode.HOST_NOT_ALLOWED
        assert "CELADON_HOSTS" in refusal.next_step


@pytest.mark.parametrize("host", ["chat.models.example.com", "chat-preview.models.example.com"])
def test_an_address_of_a_name_may_not_be_claimed_although_it_is_listed(host: str) -> None:
    rules = claimable("*.example.com", "localhost,models.example.com")
    refusal = rules.refuse(host)
    assert refusal is not None
    assert "deployment chat" in refusal.message
    assert rules.refuse(f"a.{host}") is None


def test_nobody_may_claim_anything_where_nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CELADON_HOSTS", raising=False)
    assert HostSettings().hosts == ()
    assert HostSettings().claimable.refuse("llm.example.com") is not None


@pytest.mark.parametrize("listed", ["*", "*.", "example", "*example.com", "a.*.example.com", "10.0.0.1", "*.com:80"])
def test_what_is_no_host_is_refused_at_the_start(listed: str) -> None:
    with pytest.raises(ValidationError):
        claimable(listed)
