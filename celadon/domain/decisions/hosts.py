"""Which host names a deployment may have as its own: what the operator lists, and what is nobody's address yet."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Final, TypeAlias

from pydantic import BeforeValidator

from celadon.domain.language.base_models import Record
from celadon.domain.language.domains import deployment_of_host
from celadon.domain.language.errors import Refusal, RefusalCode
from celadon.domain.language.traffic import check_host

_BELOW: Final = re.compile(r"\*\.(.+)")


class ClaimableHosts(Record):
    """The operator's list, as whoever carries a change out knows it; what deployments have already, they keep."""

    listed: tuple[str, ...] = ()
    """Host names that a deployment may claim, and ``*.example.com`` for all below a name, in small letters."""
    domains: tuple[str, ...] = ()
    """The installation's domains: a name below one of them is the address of the deployment of that name."""

    def refuse(self, host: str) -> Refusal | None:
        """Return why no deployment may claim a host name; ``None`` when one may.

        Args:
            host: in small letters.

        """
        named = deployment_of_host(host, self.domains)
        if named is not None:
            return Refusal(
                code=RefusalCode.HOST_NOT_ALLOWED,
                message=f"{host} is the address of the deployment {named}, be there one or not, because "
                f"{host.partition('.')[2]} is one of the installation's domains (CELADON_DOMAINS)",
                next_step="leave it out, or name a host outside of these domains",
            )
        if any(host.endswith(one[1:]) if one.startswith("*") else host == one for one in self.listed):
            return None
        return Refusal(
            code=RefusalCode.HOST_NOT_ALLOWED,
            message=f"no deployment may claim the host {host}: the operator's list does not have it",
            next_step="leave it out, or let the operator add it to CELADON_HOSTS of the API and of all workers",
        )


NO_HOSTS: Final = ClaimableHosts()
"""What deployments may claim where the operator lists nothing."""


def _nobody_sees(labels: Mapping[str, object]) -> bool:
    del labels
    return False


@dataclass(frozen=True, slots=True)
class HostRules:
    """Which host names a change may claim, and which other deployments its refusal may name."""

    claimable: ClaimableHosts = NO_HOSTS
    sees: Callable[[Mapping[str, object]], bool] = _nobody_sees
    """Whether whoever asks may know of a deployment with these labels."""


NOTHING_CLAIMABLE: Final = HostRules()


def parse_listed(value: object) -> object:
    """Return the host names of a text, and those below which all are meant; anything else as it is.

    Raises:
        ValueError: one is neither a host name, nor one after ``*.``.

    """
    if not isinstance(value, str):
        return value
    listed = (one.strip() for one in value.split(","))
    return tuple(dict.fromkeys(_check_listed(one) for one in listed if one))


def _check_listed(value: str) -> str:
    """Return what is listed in small letters; a name below which all may be claimed needs no dot itself."""
    wildcard = _BELOW.fullmatch(value)
    return check_host(value) if wildcard is None else f"*{check_host(f'any.{wildcard[1]}').removeprefix('any')}"


ListedHosts: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(parse_listed)]
"""For example ``("llm.example.com", "*.models.example.net")``."""
