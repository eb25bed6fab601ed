"""``router``: the Envoys that take their routes from the gateways."""

# ruff: noqa: PLC0415 - a command loads what it needs when it runs, so that '--help' answers at once

from pathlib import Path
from typing import Annotated

import typer

from celadon.cli.named_commands import DeclaringGroup
from celadon.cli.options import ByOption, DataDirOption, OutputOption, ReasonOption, ValidForOption
from celadon.cli.output import OutputFormat
from celadon.cli.running import run
from celadon.cli.target import TargetChoice
from celadon.cli.targeting import speaks_to_celadon

router_app = typer.Typer(cls=DeclaringGroup, no_args_is_help=True, rich_markup_mode="markdown")


@router_app.command(name="list")
@speaks_to_celadon
def list_(target: TargetChoice, output: OutputOption = OutputFormat.TEXT) -> None:
    """List routers: who serves the present routes, who is cut off or refuses them, and who is gone.

    Promotions and drains wait for routers that are live or cut off: blue is not stopped before they have acknowledged.
    Nothing waits for a router that is new or gone.

    Examples:
    ```console
    celadon router list
    celadon router list -o json | jq -r '.routers[] | select(.state == "cut_off") | .router'
    ```
    """
    from celadon.cli.routers import show_routers

    run(lambda: show_routers(target, output), output)


@router_app.command()
def enrol(  # noqa: PLR0913 - each is an option that a person can give
    node: Annotated[
        str,
        typer.Argument(help="The router's name; each router has one of its own.", metavar="NODE"),
    ],
    *,
    gateways: Annotated[
        list[str] | None,
        typer.Option(
            "--gateway",
            metavar="HOST:PORT",
            help="Where the router reaches the gateway; unix:/path on the same machine. May be repeated: the router "
            "goes to another one when its own is away.",
            show_default="127.0.0.1:18000, or the local stack's",
        ),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="DIR", help="Where its files are written.", show_default="./NODE"),
    ] = None,
    at: Annotated[
        Path | None,
        typer.Option("--at", metavar="DIR", help="Where the router finds them.", show_default="where they are written"),
    ] = None,
    admin: Annotated[
        Path | None,
        typer.Option(
            "--admin", metavar="PATH", help="The Unix socket of Envoy's admin.", show_default="DIR/admin.sock"
        ),
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Where this router listens, if not where the gateway says."),
    ] = None,
    preview_listen: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="The same for requests to green."),
    ] = None,
    valid_for: ValidForOption = None,
    certificates: Annotated[
        Path | None,
        typer.Option(
            "--certificates",
            metavar="DIR",
            help="Where the router finds tls.crt, tls.key and ca.crt of your own CA.",
        ),
    ] = None,
    identity: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What such a certificate names: a SPIFFE ID or a DNS name."),
    ] = None,
    gateway_identities: Annotated[
        list[str] | None,
        typer.Option(
            "--gateway-identity",
            metavar="NAME",
            help="What a gateway's certificate names. May be repeated.",
            show_default="what 'celadon gateway certificate' writes",
        ),
    ] = None,
    serve_tls: Annotated[
        Path | None,
        typer.Option(
            "--serve-tls",
            metavar="DIR",
            help="Where the router finds tls.crt and tls.key of the host names that clients use; its listeners speak "
            "TLS then. It takes new ones by itself.",
        ),
    ] = None,
    max_connections: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            max=10_000_000,
            help="How many connections of clients the router holds at a time; it closes more than that at once.",
            show_default="half of the open files that a process may have here, at most 262,144, less 1,000",
        ),
    ] = None,
    rotate: Annotated[
        bool,
        typer.Option("--rotate", help="Write only a new certificate, for a router whose files are in DIR."),
    ] = False,
    by: ByOption = None,
    reason: ReasonOption = "",
    data_dir: DataDirOption = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Enrol a router: let gateways trust it, and write the files that its Envoy starts from.

    A gateway speaks to enrolled routers alone: by a certificate that names the router, or, on one machine, by a Unix
    socket. The certificate comes from the installation's own CA (CELADON_AUTHORITY_DIR, made at the first use), or
    from yours. With --rotate a router gets a new certificate: one that runs takes it without losing a request, and
    the one before counts until the next rotation.

    Examples:
    ```console
    export CELADON_AUTHORITY_DIR=/etc/celadon/authority
    celadon router enrol edge-1 --gateway gateway.internal:18000 --to /etc/celadon/router
    envoy -c /etc/celadon/router/envoy.json
    celadon router enrol edge-2 --gateway gateway-1.internal:18000 --gateway gateway-2.internal:18000
    celadon router enrol edge-3 --listen 127.0.0.1:8003     # a second router on one machine
    celadon router enrol edge-4 --serve-tls /etc/celadon/clients
    celadon router enrol edge-1 --rotate --to /etc/celadon/router
    ```
    """
    from celadon.cli.enrolment import EnrolOptions
    from celadon.cli.enrolment import enrol as enrol_router

    options = EnrolOptions(
        node=node,
        gateways=gateways or (),
        to=to,
        at=at,
        admin=admin,
        listen=listen,
        preview_listen=preview_listen,
        valid_for=valid_for,
        certificates=certificates,
        identity=identity,
        gateway_identities=gateway_identities or (),
        serve_tls=serve_tls,
        max_connections=max_connections,
        rotate=rotate,
        by=by,
        reason=reason,
    )
    run(lambda: enrol_router(options, data_dir, output), output)
