"""``router enrol`` and ``gateway certificate``: what they write, and what they refuse."""

import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509

from tests.cli.conftest import Command
from tests.table.rows import Rows


@pytest.fixture
def authority(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Name a directory for the CA, which is not there yet."""
    monkeypatch.setenv("CELADON_AUTHORITY_DIR", str(tmp_path / "authority"))
    return tmp_path / "authority"


def _certificate(directory: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate((directory / "tls.crt").read_bytes())


async def test_an_enrolment_writes_what_a_router_starts_from(
    command: Command,
    rows: Rows,
    authority: Path,
    tmp_path: Path,
) -> None:
    to = tmp_path / "edge-1"
    options = ("--gateway", "gateway.internal:18000", "--to", str(to), "--by", "ann", "--valid-for", "90d")

    told = await command("router", "enrol", "edge-1", *options)
    listed = await command("router", "list")

    assert told.exit_code == 0, told.stderr
    assert f"envoy -c {to}/envoy.json" in told.stdout
    assert "edge-1" in listed.stdout
    assert "89d" in listed.stdout
    names = _certificate(to).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://celadon/router/edge-1"]
    bootstrap = json.loads(_bootstrap(to))
    assert bootstrap["node"]["id"] == "edge-1"
    assert bootstrap["admin"]["address"]["pipe"] == {"path": f"{to}/admin.sock", "mode": 0o600}
    assert stat.S_IMODE((authority / "ca.key").stat().st_mode) == 0o600
    [row] = await rows.rows("select * from routers")
    assert row["serial"] == f"{_certificate(to).serial_number:x}"
    [event] = await rows.rows("select * from router_events")
    assert (event["kind"], event["actor"]) == ("enrolled", "ann")


async def test_a_rotation_changes_the_certificate_alone(
    command: Command,
    rows: Rows,
    authority: Path,
    tmp_path: Path,
) -> None:
    to = tmp_path / "edge-1"
    await command("router", "enrol", "edge-1", "--gateway", "gateway.internal:18000", "--to", str(to))
    before, bootstrap = _certificate(to), _bootstrap(to)

    told = await command("router", "enrol", "edge-1", "--rotate", "--to", str(to), "-o", "json")

    assert told.exit_code == 0, told.stderr
    assert json.loads(told.stdout)["renewed"] is True
    assert _certificate(to).serial_number != before.serial_number
    assert _bootstrap(to) == bootstrap
    [row] = await rows.rows("select serial, previous_serial from routers")
    assert row["previous_serial"] == f"{before.serial_number:x}"
    assert "ca.key" in _names(authority)


@pytest.mark.usefixtures("authority")
async def test_a_router_is_told_where_the_certificate_for_clients_is(
    command: Command, rows: Rows, tmp_path: Path
) -> None:
    to = tmp_path / "edge-1"
    options = ("--gateway", "gateway.internal:18000", "--to", str(to), "--at", "/etc/edge", "--serve-tls", "/etc/tls")

    told = await command("router", "enrol", "edge-1", *options)

    assert told.exit_code == 0, told.stderr
    metadata = json.loads(_bootstrap(to))["node"]["metadata"]
    assert metadata == {"celadon.certificate_secret": "/etc/edge/clients-certificate.secret.json"}
    [secret] = json.loads((to / "clients-certificate.secret.json").read_text())["resources"]
    assert secret["tls_certificate"]["private_key"] == {"filename": "/etc/tls/tls.key"}
    assert len(await rows.rows("select * from routers")) == 1


async def test_certificates_of_another_ca_are_named_and_not_written(
    command: Command,
    rows: Rows,
    tmp_path: Path,
) -> None:
    to, own = tmp_path / "edge-1", "/etc/certificates"
    names = ("--identity", "edge-1.example.com", "--gateway-identity", "gateway.example.com")

    told = await command("router", "enrol", "edge-1", "--to", str(to), "--certificates", own, *names)

    assert told.exit_code == 0, told.stderr
    assert _names(to) == ["ca.secret.json", "certificate.secret.json", "envoy.json"]
    assert f"{own}/tls.crt" in (to / "certificate.secret.json").read_text()
    assert '"san_type": "DNS"' in (to / "envoy.json").read_text()
    [row] = await rows.rows("select identity, serial from routers")
    assert (row["identity"], row["serial"]) == ("edge-1.example.com", None)


def _bootstrap(directory: Path) -> str:
    return (directory / "envoy.json").read_text()


def _names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def _link(to: Path) -> None:
    (to.parent / "elsewhere").mkdir()
    to.symlink_to(to.parent / "elsewhere")


def _open(to: Path) -> None:
    to.mkdir()
    to.chmod(0o777)


@pytest.mark.parametrize(("prepare", "why"), [(_link, "is not a directory"), (_open, "others may write")])
async def test_what_cannot_be_written_safely_enrols_nobody(
    command: Command,
    rows: Rows,
    authority: Path,
    tmp_path: Path,
    prepare: Callable[[Path], None],
    why: str,
) -> None:
    to = tmp_path / "prepared"
    prepare(to)

    told = await command("router", "enrol", "edge-1", "--to", str(to))

    assert told.exit_code == 1
    assert why in " ".join(told.stderr.split())
    assert "nothing was enrolled" in " ".join(told.stderr.split())
    assert await rows.rows("select * from routers") == []
    assert _names(to) == []
    assert "ca.key" in _names(authority)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("a/b",), "cannot name a router"),
        (("..",), "cannot name a router"),
        (("a", "--gateway", "9901"), "is no address"),
        (("a", "--gateway", "a:1", "--gateway", "unix:/run/a.sock"), "all on Unix sockets, or all on TCP"),
        (("a", "--gateway", "unix:/run/a.sock", "--valid-for", "1d"), "has no certificate"),
        (("a", "--identity", "a.example.com"), "need both"),
        (("a", "--certificates", "/c", "--identity", "A b", "--gateway-identity", "g"), "is not an identity"),
        (("a", "--certificates", "/c", "--identity", "a.b"), "by which name in its certificate"),
        (("a", "--valid-for", "20y"), "is no duration"),
        (("a", "--valid-for", "2000d"), "from 1m to 825d"),
        (("a", "--rotate", "--gateway", "a:1"), "changes the certificate alone"),
    ],
)
async def test_options_that_make_no_sense_are_refused(
    command: Command,
    rows: Rows,
    authority: Path,
    arguments: tuple[str, ...],
    why: str,
) -> None:
    told = await command("router", "enrol", *arguments)

    assert told.exit_code == 2, told.stderr
    assert why in " ".join(told.stderr.replace("│", " ").split())
    assert await rows.rows("select * from routers") == []
    del authority


async def test_without_a_place_for_the_ca_the_setting_is_named(command: Command, rows: Rows, tmp_path: Path) -> None:
    enrolled = await command("router", "enrol", "edge-1", "--to", str(tmp_path / "edge-1"))
    written = await command("gateway", "certificate", "--to", str(tmp_path / "gateway"))

    for told in (enrolled, written):
        assert told.exit_code == 1
        assert "CELADON_AUTHORITY_DIR" in told.stderr
    assert await rows.rows("select * from routers") == []


async def test_only_an_issued_certificate_is_rotated(command: Command, rows: Rows, authority: Path) -> None:
    await rows.enrol("edge-1")

    told = await command("router", "enrol", "edge-1", "--rotate")

    assert told.exit_code == 1
    assert "there is none to replace" in " ".join(told.stderr.split())
    del authority


async def test_a_gateways_certificate_is_of_the_same_ca(command: Command, authority: Path, tmp_path: Path) -> None:
    told = await command("gateway", "certificate", "--to", str(tmp_path / "gateway"), "-o", "json")

    assert told.exit_code == 0, told.stderr
    assert json.loads(told.stdout)["identity"] == "spiffe://celadon/gateway"
    ca = x509.load_pem_x509_certificate((authority / "ca.crt").read_bytes())
    _certificate(tmp_path / "gateway").verify_directly_issued_by(ca)
    assert (tmp_path / "gateway" / "ca.crt").read_bytes() == (authority / "ca.crt").read_bytes()
