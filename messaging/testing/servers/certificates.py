"""A certificate authority of a test's own, made by the program openssl: for servers that speak TLS."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from messaging.core.errors import NexusError

DAYS = 2


class CertificateError(NexusError):
    """No certificate could be made."""


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """Files that a server needs, readable by every user: they protect nothing outside a test.

    Args:
        authority: the certificate of who signed it; clients need it too.
        certificate: PEM.
        key: PEM.
    """

    authority: Path
    certificate: Path
    key: Path


class CertificateAuthority:
    """Signs certificates of servers.

    Args:
        folder: for its files; made when it is missing.

    Raises:
        CertificateError: openssl is missing or failed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.certificate = folder / "ca.pem"
        self._key = folder / "ca.key"
        _openssl(
            "req", "-x509", *_key_options(self._key), "-subj", "/CN=Nexus test CA", "-days", str(DAYS),
            "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-out", str(self.certificate),
        )  # fmt: skip

    @classmethod
    def missing(cls) -> str | None:
        """Why none can be made here, or None."""
        return None if shutil.which("openssl") else "openssl is not installed (Debian: apt-get install openssl)"

    def issue(self, name: str) -> ServerCertificate:
        """Make a certificate for a host name or "127.0.0.1"."""
        key, request, made = (self._folder / f"{name}.{ending}" for ending in ("key", "csr", "pem"))
        kind = "IP" if name.replace(".", "").isdecimal() else "DNS"
        _openssl("req", *_key_options(key), "-subj", f"/CN={name}", "-out", str(request))
        extensions = self._folder / f"{name}.cnf"
        extensions.write_text(f"subjectAltName={kind}:{name}\n")
        _openssl(
            "x509", "-req", "-in", str(request), "-CA", str(self.certificate), "-CAkey", str(self._key),
            "-CAcreateserial", "-days", str(DAYS), "-extfile", str(extensions), "-out", str(made),
        )  # fmt: skip
        key.chmod(0o644)
        return ServerCertificate(self.certificate, made, key)


def _key_options(key: Path) -> list[str]:
    return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(key)]


def _openssl(*arguments: str) -> None:
    program = shutil.which("openssl")
    if program is None:
        raise CertificateError(CertificateAuthority.missing() or "")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=30)
    if done.returncode != 0:
        raise CertificateError(f"openssl {arguments[0]} failed: {done.stderr}")
