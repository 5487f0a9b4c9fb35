"""Generated keys: a TLS certificate for localhost, and a service account whose tokens this cloud accepts."""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from google.auth import jwt
from google.auth.exceptions import GoogleAuthError

from emulators import atomic_files

_DAYS = 825


@dataclass(frozen=True)
class Keys:
    """The key files of one folder, created when missing."""

    folder: Path

    @property
    def roots(self) -> Path:
        """Path of the certificate that clients must trust: GRPC_DEFAULT_SSL_ROOTS_FILE_PATH."""
        return self.folder / "localhost.pem"

    @property
    def account_file(self) -> Path:
        """Path of the service account's JSON."""
        return self.folder / "service-account.json"

    @cached_property
    def server(self) -> tuple[bytes, bytes]:
        """Private key and certificate of the server, PEM."""
        key_file = self.folder / "localhost.key"
        if not (self.roots.is_file() and key_file.is_file()):
            self.folder.mkdir(parents=True, exist_ok=True)
            key = rsa.generate_private_key(65537, 2048)
            atomic_files.write_file(key_file, _pem(key))
            self.roots.write_bytes(_certificate(key))
        return key_file.read_bytes(), self.roots.read_bytes()

    def service_account(self, project: str, token_uri: str) -> dict[str, Any]:
        """Return the service account's JSON in the console's form; `token_uri` may differ from call to call."""
        key_file = self.folder / "service-account.key"
        if not key_file.is_file():
            self.folder.mkdir(parents=True, exist_ok=True)
            atomic_files.write_file(key_file, _pem(rsa.generate_private_key(65537, 2048)))
        return {
            "type": "service_account",
            "project_id": project,
            "private_key_id": "emulated",
            "private_key": key_file.read_text(encoding="ascii"),
            "client_email": f"emulator@{project}.iam.gserviceaccount.com",
            "client_id": "1",
            "auth_uri": "https://accounts.google.com/o/oauth2/auth",
            "token_uri": token_uri,
        }

    def write_service_account(self, project: str, token_uri: str) -> Path:
        """Write the JSON for GOOGLE_APPLICATION_CREDENTIALS to a file that only its owner may read; return its path."""
        atomic_files.write_file(
            self.account_file, json.dumps(self.service_account(project, token_uri), indent=2).encode()
        )
        return self.account_file

    def accepts_token(self, token: str) -> bool:
        """Whether a token was signed with the service account's key and has not expired."""
        try:
            jwt.decode(token, certs=self._public)
        except (GoogleAuthError, ValueError):
            return False
        return True

    @cached_property
    def _public(self) -> bytes:
        key = serialization.load_pem_private_key((self.folder / "service-account.key").read_bytes(), None)
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return key.public_key().public_bytes(serialization.Encoding.PEM, form)


def _pem(key: rsa.RSAPrivateKey) -> bytes:
    kind = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption())


def _certificate(key: rsa.RSAPrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=_DAYS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
