"""What a control plane and its callers are known by: keys of service accounts, tokens, and kubeconfig files."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

_CONTEXT: Final = "celadon-tests"
_RSA_BITS: Final = 2048
_RSA_EXPONENT: Final = 65537


@dataclass(frozen=True)
class Credentials:
    """The files that an API server is started with."""

    token: str
    """The administrator's bearer token."""
    token_file: Path
    private_key: Path
    """Signs the tokens of service accounts."""
    public_key: Path


def make_credentials(directory: Path) -> Credentials:
    """Write new credentials into ``directory``, which must be the user's alone."""
    key = rsa.generate_private_key(public_exponent=_RSA_EXPONENT, key_size=_RSA_BITS)
    private, public = directory / "service-accounts.key", directory / "service-accounts.pub"
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    token = secrets.token_urlsafe(32)
    tokens = directory / "tokens.csv"
    tokens.write_text(f'{token},administrator,administrator,"system:masters"\n', encoding="ascii")
    return Credentials(token, tokens, private, public)


def write_kubeconfig(file: Path, cluster: Mapping[str, object], token: str, namespace: str = "default") -> Path:
    """Write how to reach a cluster, in a kubeconfig's own words, as the owner of ``token``; return the file."""
    user = {"token": token}
    context = {"cluster": _CONTEXT, "user": _CONTEXT, "namespace": namespace}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": _CONTEXT,
        "clusters": [{"name": _CONTEXT, "cluster": {**cluster}}],
        "users": [{"name": _CONTEXT, "user": user}],
        "contexts": [{"name": _CONTEXT, "context": context}],
    }
    file.touch(mode=0o600)
    file.write_text(json.dumps(content, indent=2), encoding="utf-8")  # JSON is valid YAML
    return file
