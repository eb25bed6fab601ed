"""The provisioner ``local``: each replica is a process of its own session on this machine.

Replicas outlive the worker: a killed worker's replicas are found again by their claims (see ``launcher``).
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Collection
from collections.abc import Set as AbstractSet
from datetime import timedelta
from typing import Final

import structlog

from celadon.domain.language.masking import mask
from celadon.domain.language.names import RouteId
from celadon.domain.language.revision import Revision
from celadon.provisioners.claims import ROUTE_VARIABLE, ProcessClaim
from celadon.provisioners.inherited import inherited_environment
from celadon.provisioners.launches import Launch, Launches
from celadon.provisioners.listeners import ListeningSocket, describe_user, held_sockets, listening_sockets
from celadon.provisioners.placeholders import at_place
from celadon.provisioners.ports import choose_free, is_free
from celadon.provisioners.protocol import (
    Address,
    Ended,
    Listener,
    ListenerCheck,
    NeverStarted,
    Observation,
    Place,
    Replica,
    Running,
    StartError,
)
from celadon.provisioners.replica_files import ReplicaFiles
from celadon.provisioners.replica_processes import ReplicaProcesses, until_exit
from celadon.provisioners.secret_files import SecretFiles
from celadon.provisioners.settings import LocalSettings

_HOST: Final = "127.0.0.1"
_CLAIM_WITHIN_SECONDS: Final = 15.0
_CLAIM_POLL_SECONDS: Final = 0.005
_HOUSEKEEPING_SECONDS: Final = 30.0
_LEFTOVER_GRACE: Final = timedelta(seconds=2)
"""For what a replica leaves behind that has ended by itself."""

_SECOND_LOOK_SECONDS: Final = 0.2
"""Before another program is held for the one that listens."""

_STRAY_GRACE: Final = timedelta(seconds=5)

log = structlog.get_logger()


class LocalProvisioner:
    """Runs replicas as processes on loopback ports."""

    def __init__(self, settings: LocalSettings) -> None:
        """Make the state directory private.

        Raises:
            OSError: that is not possible.

        """
        self._files = ReplicaFiles(settings.state_dir.absolute())
        self._secrets = SecretFiles(settings.secrets_dir)
        self._known: dict[RouteId, dict[str, str]] = {}
        """The secrets that replicas began with, by name."""
        self._user = settings.replica_user
        self._inherited = settings.replica_environment
        self._processes = ReplicaProcesses()
        self._launches = Launches()

    def choose_place(
        self,
        revision: Revision,
        of_set: AbstractSet[Address],
        in_use: AbstractSet[Address],
    ) -> Place | None:
        """Return a free port of the loopback interface for each port of the revision."""
        taken, numbers = of_set | in_use, dict[str, int]()
        for name in revision.ports:
            address = choose_free(_HOST, taken)
            if address is None:
                return None
            taken |= {address}
            numbers[name] = address.port
        return Place(_HOST, numbers)

    async def start(self, replica: Replica) -> None:
        """Launch a replica unless it is claimed already, and wait until it is.

        Raises:
            StartError: a secret is missing, the port is taken, or the launcher cannot run.

        """
        if self._files.claim(replica.route) is None and not self._launches.is_running(replica.route):
            self._launch(replica)
        deadline = time.monotonic() + _CLAIM_WITHIN_SECONDS
        while self._files.claim(replica.route) is None:
            if time.monotonic() >= deadline:
                await self.stop(replica)
                raise StartError(
                    f"the launcher did not begin within {_CLAIM_WITHIN_SECONDS:.0f}s: is the machine overloaded?",
                    self.last_output(replica),
                    failed=False,
                )
            if not self._launches.is_running(replica.route) and self._files.claim(replica.route) is None:
                raise StartError("the launcher failed, see its output", self.last_output(replica), failed=False)
            await asyncio.sleep(_CLAIM_POLL_SECONDS)

    async def look(self, replica: Replica) -> Observation:
        """Return how a replica is, by its claim and its process."""
        claim = self._files.claim(replica.route)
        if claim is None:
            return NeverStarted()
        return Running() if claim.is_running(replica.route) else self._ended(replica, claim)

    async def until_ended(self, replica: Replica) -> Ended:
        """Wait until the replica's process has ended; keep its output from growing without bound meanwhile."""
        while (claim := self._files.claim(replica.route)) is not None and claim.is_running(replica.route):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_HOUSEKEEPING_SECONDS):
                    await until_exit(claim, replica.route)
            self._files.trim_output(replica.route)
        return self._ended(replica, claim or ProcessClaim(None))

    async def check_listener(self, replica: Replica) -> ListenerCheck:
        """Return whether the replica's own processes hold every socket that listens where routers send requests."""
        checks = [await self._check_listener(replica, address) for address in replica.traffic_addresses]
        for worst in (Listener.FOREIGN, Listener.NONE):
            for check in checks:
                if check.listener is worst:
                    return check
        return ListenerCheck(Listener.OWN)

    async def _check_listener(self, replica: Replica, address: Address) -> ListenerCheck:
        sockets = await asyncio.to_thread(listening_sockets, address)
        if sockets is None:
            return ListenerCheck(Listener.OWN)
        foreign = await self._foreign(replica, sockets)
        if foreign:
            # A socket that was closed, or handed from process to process, between the two looks is nobody's.
            await asyncio.sleep(_SECOND_LOOK_SECONDS)
            again = await asyncio.to_thread(listening_sockets, address) or ()
            foreign = await self._foreign(replica, again) & foreign
            sockets = again
        if foreign:
            users = " and ".join(sorted({describe_user(one.uid) for one in foreign}))
            return ListenerCheck(
                Listener.FOREIGN,
                f"another program, of {users}, listens on {address}: it would get the replica's requests, so "
                "none is sent there; see who it is with 'ss -ltnp'",
            )
        if not sockets:
            return ListenerCheck(Listener.NONE, f"nobody listens on {address}")
        return ListenerCheck(Listener.OWN)

    def last_output(self, replica: Replica) -> str:
        """Return the end of what a replica has printed, without secrets."""
        return self._files.last_output(replica.route, lambda text: self.mask(replica, text))

    def mask(self, replica: Replica, text: str) -> str:
        """Strike out the values of a replica's secrets, also those that it began with, and what looks like a token."""
        revision = replica.revision
        plain_secrets = {name: at_place(value, replica) for name, value in revision.plain_secrets().items()}
        # A secret may have been changed since the replica has it; what was known of it goes with this process.
        for known in (dict(self._secrets.values(revision)), self._known.get(replica.route, {})):
            text = mask(text, known | plain_secrets)
        return text

    async def stop(self, replica: Replica) -> None:
        """End a replica's processes: SIGTERM, then SIGKILL after its ``termination_grace``."""
        await self._end(replica.route, replica.revision.termination_grace)

    async def forget(self, route: RouteId) -> None:
        """Remove a replica's files."""
        self._known.pop(route, None)
        self._launches.forget(route)
        self._files.forget(route)

    async def remembered(self) -> frozenset[RouteId]:
        """Return every replica that has files here; claims that protect nothing any more are removed first."""
        self._files.remove_old_claims()
        return self._files.remembered()

    async def end_stray(self, route: RouteId) -> None:
        """End and forget a replica that nobody wants any more."""
        await self._end(route, _STRAY_GRACE)
        await self.forget(route)

    async def _end(self, route: RouteId, grace: timedelta) -> None:
        claim = self._files.claim_for_stop(route)
        await self._processes.end(route, claim, grace if claim.is_running(route) else min(grace, _LEFTOVER_GRACE))

    async def _foreign(self, replica: Replica, sockets: Collection[ListeningSocket]) -> frozenset[ListeningSocket]:
        """Return the sockets that none of the replica's processes holds."""
        claim = self._files.claim(replica.route)
        if claim is None:
            return frozenset(sockets)
        # Most replicas listen in their first process, which is quick to look at.
        held = held_sockets(set() if claim.pid is None or not claim.is_running(replica.route) else {claim.pid})
        if sockets and not {one.inode for one in sockets} <= held:
            held = await asyncio.to_thread(held_sockets, await self._processes.own(replica.route, claim))
        return frozenset(one for one in sockets if one.inode not in held)

    def _launch(self, replica: Replica) -> None:
        environment = self._environment(replica)
        command = [at_place(part, replica) for part in replica.revision.command]
        taken = sorted(str(address) for address in replica.place.addresses if not is_free(address))
        if taken and self._files.claim(replica.route) is None:
            raise StartError(f"another program listens on {' and '.join(taken)}", failed=False)
        launch = Launch(
            directory=str(self._files.directory),
            command=command,
            environment=environment,
            identity="" if self._user is None else self._user.identity,
            working_dir=replica.revision.working_dir or "",
        )
        try:
            with self._files.open_output(replica.route) as output:
                self._launches.launch(replica.route, launch, output)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise StartError(f"the command cannot be launched: {reason}") from error

    def _environment(self, replica: Replica) -> dict[str, str]:
        inherited = inherited_environment(os.environ, self._inherited)
        of_user = {} if self._user is None else self._user.environment
        secrets = replica.revision.secrets
        of_revision = {
            name: value if name in secrets else at_place(value, replica)
            for name, value in self._secrets.resolve(replica.revision, replica.labels).items()
        }
        self._known[replica.route] = {name: of_revision[variable] for variable, name in secrets.items()}
        return inherited | of_user | of_revision | {ROUTE_VARIABLE: replica.route}

    def _ended(self, replica: Replica, claim: ProcessClaim) -> Ended:
        if claim.pid is None:
            return Ended("it was stopped before it began", failed=False)
        if not claim.of_this_boot:
            return Ended("it ended with a restart of the machine", self.last_output(replica), failed=False)
        error = self._files.error(replica.route) or self._describe_exit(replica.route, claim)
        return Ended(error, self.last_output(replica))

    def _describe_exit(self, route: RouteId, claim: ProcessClaim) -> str:
        code = None if claim.pid is None else self._launches.exit_code(route, claim.pid)
        if code is None:
            return "it ended; how is known only to the worker that started it"
        return f"exited with code {code}" if code >= 0 else f"was ended by {signal.Signals(-code).name}"
