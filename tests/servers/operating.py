"""An operator who rolls a model server out with its deployment file, and decides on the rollout."""

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from celadon.client.rollouts import RolloutClient
from celadon.domain.language.commands import AbortCommand, PromoteCommand
from celadon.domain.language.states import RolloutOutcome, RolloutPhase
from celadon.stack.addresses import StackAddresses

DEADLINE_SECONDS: Final = 900.0
"""How long anything may take: some servers need minutes on a busy machine until they answer."""


@dataclass(frozen=True, slots=True)
class Operator:
    """Gives commands about one deployment."""

    name: str
    addresses: StackAddresses
    rollouts: RolloutClient
    working_dir: Path
    """Where the server's files are; it takes the place of the ``working_dir`` that the deployment file names."""

    async def deploy(self, revision: str, *options: str) -> None:
        """Roll out the deployment file, with ``revision`` as ``REVISION`` in the server's environment."""
        settings = (f"revision.working_dir={self.working_dir}", f"revision.env.REVISION={revision}")
        given = [word for setting in settings for word in ("--set", setting)]
        await self._celadon("deploy", "-f", str(self.working_dir / "deployment.yaml"), "--yes", *given, *options)

    async def until_green_is_verified(self) -> None:
        """Wait until the rollout awaits its promotion."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while (now := await self.rollouts.status(self.name)).phase is not RolloutPhase.AWAITING_PROMOTION:
                assert now.phase not in {RolloutPhase.ROLLING_BACK, RolloutPhase.COMPLETED}, now
                await asyncio.sleep(0.5)

    async def promote(self) -> None:
        """Switch to green."""
        await self.rollouts.promote(self.name, PromoteCommand())

    async def roll_back(self) -> None:
        """Switch back to blue."""
        await self.rollouts.rollback(self.name, AbortCommand(by="ann"))

    async def outcome(self) -> RolloutOutcome:
        """Wait for the end of the rollout; return how it ended."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            ended = await self.rollouts.wait(self.name)
        assert ended.result is not None, ended
        return ended.result.outcome

    async def delete(self) -> None:
        """Delete the deployment and wait until its last replica has stopped."""
        await self._celadon("deployment", "delete", self.name, "--abort", "--yes", "--wait")

    async def _celadon(self, *words: str) -> None:
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).parent / "celadon"),
            *words,
            env={**os.environ, **self.addresses.environment, "NO_COLOR": "1", "COLUMNS": "200"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(DEADLINE_SECONDS):
            printed, _ = await process.communicate()
        assert process.returncode == 0, f"celadon {' '.join(words)}:\n{printed.decode()}"
