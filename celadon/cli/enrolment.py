"""``celadon router enrol`` and ``celadon gateway certificate``: what lets routers and gateways believe one another."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar

import typer
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from celadon.cli.author_name import author_name
from celadon.cli.faults import CommandError
from celadon.cli.output import OutputFormat, print_answer
from celadon.cli.session import open_session
from celadon.domain.decisions.enrolment import Enrolment, check_identity, check_node, gateway_identity
from celadon.domain.language.base_models import Record
from celadon.domain.language.error_words import what_is_wrong
from celadon.domain.language.moments import utc
from celadon.domain.language.names import RouterNode
from celadon.domain.language.states import Channel
from celadon.ending import ExitCode
from celadon.gateway.addresses import GatewayAddress, SocketAddress, UnixAddress, parse_gateway_address
from celadon.gateway.authority import (
    DEFAULT_VALIDITY,
    LONGEST_VALIDITY,
    CertificateAuthority,
    CertificateAuthoritySettings,
    Issued,
)
from celadon.gateway.certificates import CertificateError, write_version
from celadon.gateway.enrolling import ADMIN_SOCKET, RouterFiles
from celadon.gateway.open_files import connections_of_this_process
from celadon.gateway.routing import LIVE, PREVIEW
from celadon.stack.addresses import StackAddresses
from celadon.stack.layout import DataDirectory
from celadon.table.core.author import Author
from celadon.table.routers.enrolments import NewEnrolment, enrol_router, read_enrolments
from celadon.terminal import Text

DEFAULT_GATEWAY: Final = "127.0.0.1:18000"
_SHORTEST_VALIDITY: Final = timedelta(minutes=1)

ValueT = TypeVar("ValueT")


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolOptions:
    """What the command line says of a router."""

    node: str
    gateways: Sequence[str] = ()
    to: Path | None = None
    at: Path | None = None
    admin: Path | None = None
    listen: str | None = None
    preview_listen: str | None = None
    valid_for: timedelta | None = None
    certificates: Path | None = None
    """Where the router finds certificates of somebody else's CA; with ``identity``."""
    identity: str | None = None
    gateway_identities: Sequence[str] = ()
    serve_tls: Path | None = None
    """Where the router finds the certificate that it shows to clients."""
    max_connections: int | None = None
    """Of clients, at a time; ``None`` for as many as this process's limit of open files allows."""
    rotate: bool = False
    """Only a new certificate; everything else is as it was."""
    by: str | None = None
    reason: str = ""

    @property
    def says_more_than_rotate(self) -> bool:
        """Whether something is said that a rotation leaves as it was."""
        return bool(
            self.gateways
            or self.at
            or self.admin
            or self.listen
            or self.preview_listen
            or self.certificates
            or self.identity
            or self.gateway_identities
            or self.serve_tls
            or self.max_connections
        )


class EnrolledRouter(Record):
    """A router that gateways let in from now on."""

    router: RouterNode
    renewed: bool
    """Whether it was enrolled already, and has a new certificate now."""
    bootstrap: Path
    """What Envoy starts from."""
    identity: str | None
    """What its certificate names; nothing for a router that reaches its gateway by a Unix socket."""
    certificate_expires_at: datetime | None
    """Nothing when others issue its certificates, or it needs none."""


class WrittenCertificate(Record):
    """A gateway's new certificate."""

    directory: Path
    identity: str
    certificate_expires_at: datetime


async def enrol(options: EnrolOptions, data_dir: Path | None, output: OutputFormat) -> ExitCode:
    """Enrol a router and write what it starts from.

    Raises:
        BadParameter: an option has no sensible value.
        CommandError: Postgres is not there, no CA is named, or a file cannot be written.
        RefusedError: another router bears the identity.

    """
    node = _checked(check_node, options.node, "NODE")
    async with open_session(data_dir) as session:
        stack = session.target.stack
        gateways = _gateways(options.gateways, stack)
        needs_certificate = options.rotate or not isinstance(gateways[0], UnixAddress)
        _check_certificate_options(options, needed=needs_certificate)
        authority = _authority(stack) if needs_certificate and options.certificates is None else None
        issued = None if authority is None else authority.issue_router(node, _validity(options.valid_for))
        files = _files(options, node, gateways, stack, authority)
        if options.rotate:
            _check_rotation(options, files, await session.read(read_enrolments))
        wanted = NewEnrolment(
            node=node,
            identity=options.identity if issued is None else issued.identity,
            serial=None if issued is None else issued.serial,
            expires_at=None if issued is None else issued.expires_at,
        )
        author = Author(by=author_name(options.by), door=Channel.CLI, reason=options.reason)

        async def work(tx: AsyncSession) -> bool:
            # The row first, for the table may refuse; it counts once the files are there.
            is_new = await enrol_router(tx, wanted, author)
            _write(files, issued, rotate=options.rotate)
            return is_new

        is_new = await session.read(work)
    answer = EnrolledRouter(
        router=node,
        renewed=not is_new,
        bootstrap=files.bootstrap,
        identity=wanted.identity,
        certificate_expires_at=wanted.expires_at,
    )
    print_answer(answer, output, lambda: [Text(line) for line in _told(answer, files)])
    return ExitCode.DONE


def write_gateway_certificate(to: Path, valid_for: timedelta | None, output: OutputFormat) -> ExitCode:
    """Write the certificate, the key and the CA that ``CELADON_GATEWAY_TLS_DIR`` names.

    Raises:
        BadParameter: the validity is out of range.
        CommandError: no CA is named, or a file cannot be written.

    """
    directory = to.absolute()
    issued = _authority(None).issue_gateway(_validity(valid_for))
    try:
        write_version(directory, issued.serial, issued.files)
    except (CertificateError, OSError) as error:
        raise CommandError(f"the certificate cannot be written: {error}") from error
    answer = WrittenCertificate(
        directory=directory,
        identity=issued.identity,
        certificate_expires_at=issued.expires_at,
    )
    lines = [
        Text(f"The gateway's certificate, until {utc(issued.expires_at)}, is in {directory}."),
        Text(f"Start the gateway with CELADON_GATEWAY_TLS_DIR={directory}; one that runs takes it by itself."),
    ]
    print_answer(answer, output, lambda: lines)
    return ExitCode.DONE


def _gateways(given: Sequence[str], stack: StackAddresses | None) -> list[GatewayAddress]:
    """Return where the router finds gateways: where it was said, in the local stack, or at the usual address."""
    texts = given or (stack.gateways if stack is not None else (DEFAULT_GATEWAY,))
    addresses = [_address(text, "--gateway") for text in texts]
    if len({type(one) for one in addresses}) > 1:
        raise typer.BadParameter("gateways are all on Unix sockets, or all on TCP addresses", param_hint="--gateway")
    return addresses


def _files(
    options: EnrolOptions,
    node: RouterNode,
    gateways: Sequence[GatewayAddress],
    stack: StackAddresses | None,
    authority: CertificateAuthority | None,
) -> RouterFiles:
    usual = Path(node) if stack is None else DataDirectory(stack.data_dir).router_files(node)
    directory = (options.to or usual).absolute()
    addresses = ((LIVE, options.listen, "--listen"), (PREVIEW, options.preview_listen, "--preview-listen"))
    identities = tuple(_checked(check_identity, one, "--gateway-identity") for one in options.gateway_identities)
    return RouterFiles(
        node,
        directory,
        gateways,
        admin=options.admin or (options.at or directory) / ADMIN_SOCKET,
        listens={name: _tcp_address(value, option) for name, value, option in addresses if value is not None},
        at=options.at,
        own_certificates=options.certificates,
        gateway_identities=identities or ((gateway_identity(authority.trust_domain),) if authority else ()),
        clients_certificates=None if options.serve_tls is None else options.serve_tls.absolute(),
        max_connections=options.max_connections or connections_of_this_process(),
    )


def _check_rotation(
    options: EnrolOptions,
    files: RouterFiles,
    enrolments: Mapping[RouterNode, Enrolment],
) -> None:
    """Refuse a rotation that would leave a router with a certificate that it does not use."""
    if options.says_more_than_rotate:
        raise typer.BadParameter("it changes the certificate alone; leave it out to change more", param_hint="--rotate")
    enrolment = enrolments.get(files.node)
    if enrolment is None or not enrolment.serials:
        raise CommandError(
            f"router {files.node} is not enrolled with a certificate that Celadon issued, so there is none to replace; "
            "enrol it without --rotate",
        )
    if not files.bootstrap.exists():
        raise CommandError(
            f"there are no files of a router in {files.directory}; say with --to where they were written",
        )


def _check_certificate_options(options: EnrolOptions, *, needed: bool) -> None:
    """Refuse options that contradict one another, or that would have no effect."""
    own = options.certificates is not None
    if not needed and (own or options.identity or options.valid_for or options.gateway_identities):
        raise typer.BadParameter("a router that reaches its gateway by a Unix socket has no certificate")
    if own != (options.identity is not None):
        raise typer.BadParameter(
            "certificates of your own need both, where the router finds them and what they name",
            param_hint="--certificates, --identity",
        )
    if options.identity is not None:
        _checked(check_identity, options.identity, "--identity")
    if own and options.valid_for is not None:
        raise typer.BadParameter("whoever issues the certificates decides that", param_hint="--valid-for")
    if own and not options.gateway_identities:
        raise typer.BadParameter(
            "say by which name in its certificate the router knows a gateway",
            param_hint="--gateway-identity",
        )


def _authority(stack: StackAddresses | None) -> CertificateAuthority:
    settings = CertificateAuthoritySettings()
    directory = settings.authority_dir or (DataDirectory(stack.data_dir).authority if stack is not None else None)
    if directory is None:
        raise CommandError(
            "certificates need the key of the installation's CA, and nobody said where it is; set "
            "CELADON_AUTHORITY_DIR to a directory that only you can read (the key is made there at the first use), or "
            "bring certificates of your own with --certificates and --identity",
        )
    try:
        return CertificateAuthority.of_directory(directory, settings.trust_domain)
    except (CertificateError, OSError) as error:
        raise CommandError(f"the CA in {directory} cannot be used: {error}") from error


def _validity(given: timedelta | None) -> timedelta:
    valid_for = given or DEFAULT_VALIDITY
    if not _SHORTEST_VALIDITY <= valid_for <= LONGEST_VALIDITY:
        raise typer.BadParameter(f"from 1m to {LONGEST_VALIDITY.days}d are possible", param_hint="--valid-for")
    return valid_for


def _write(files: RouterFiles, issued: Issued | None, *, rotate: bool) -> None:
    try:
        if rotate and issued is not None:
            write_version(files.directory, issued.serial, issued.files)
        else:
            files.write(issued)
    except (CertificateError, OSError, ValueError) as error:
        raise CommandError(
            f"the files of router {files.node} cannot be written: {error}; nothing was enrolled"
        ) from error


def _told(answer: EnrolledRouter, files: RouterFiles) -> list[str]:
    node = answer.router
    bootstrap = (files.at or files.directory) / files.bootstrap.name
    how = f"by the certificate of {answer.identity}" if answer.identity else "on this machine, by the gateway's socket"
    until = f", until {utc(answer.certificate_expires_at)}" if answer.certificate_expires_at else ""
    if answer.renewed and answer.certificate_expires_at:
        return [
            f"Router {node} has a new certificate{until} in {files.directory}.",
            "One that runs takes it by itself at its next connection, without losing a request.",
        ]
    return [f"Router {node} is enrolled: gateways let it in {how}{until}.", f"Start it with: envoy -c {bootstrap}"]


def _address(text: str, option: str) -> GatewayAddress:
    address = _checked(parse_gateway_address, text, option)
    if not isinstance(address, SocketAddress | UnixAddress):
        raise TypeError(text)
    return address


def _tcp_address(text: str, option: str) -> SocketAddress:
    return _checked(SocketAddress.model_validate, text, option)


def _checked(parse: Callable[[str], ValueT], text: str, option: str) -> ValueT:
    """Parse an option's text.

    Raises:
        BadParameter: it is not what the option takes.

    """
    try:
        return parse(text)
    except ValidationError as error:
        problem = what_is_wrong(error.errors(include_url=False)[0])
        raise typer.BadParameter(problem, param_hint=option) from error
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error
