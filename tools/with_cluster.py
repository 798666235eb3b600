"""Start the whole system, run a command against it, stop it: `with_cluster.py [--tls] -- COMMAND`.

The command finds FILEFLUX_TEST_ENDPOINT, FILEFLUX_TEST_ACCESS_KEY, FILEFLUX_TEST_SECRET_KEY and
(with --tls) FILEFLUX_TEST_CA in its environment. The exit code is the command's.
"""

import argparse
import datetime
import ipaddress
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fileflux.console.cluster import Cluster
from fileflux.console.services import ClusterOptions
from fileflux.console.steps import Step


def main() -> int:
    options = _parse()
    with tempfile.TemporaryDirectory(prefix="fileflux-", dir=options.dir) as name:
        directory = Path(name)
        directory.chmod(0o755)  # As root, PostgreSQL runs as somebody else.
        cert, key = make_certificate(directory) if options.tls else (None, None)
        cluster = Cluster(
            ClusterOptions(
                data_dir=directory / "data",
                cache_dir=Path(options.cache_dir),
                port=0,
                nodes=options.nodes,
                workers=options.workers,
                tls_cert=str(cert or ""),
                tls_key=str(key or ""),
                kafka_bootstrap_servers=os.environ.get("KAFKA_BOOTSTRAP_SERVERS", ""),
                database_url=os.environ.get("DATABASE_URL", ""),
            ),
            on_step=_say,
        )
        cluster.start()
        try:
            return _run(cluster, options.command, cert)
        finally:
            cluster.stop()


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tls", action="store_true", help="serve HTTPS with a fresh certificate")
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--cache-dir", default=os.environ.get("FILEFLUX_CACHE_DIR", ".cache"))
    parser.add_argument("--dir", default=None, help="where the data directory is made")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    options.command = [word for word in options.command if word != "--"]
    if not options.command:
        parser.error("no command")
    return options


def _say(one: Step) -> None:
    if one.state == "ended":
        print(f"  {one.name}: {one.seconds:.1f} s {one.detail}", file=sys.stderr)


def _run(cluster: Cluster, command: list[str], cert: Path | None) -> int:
    env = {
        **os.environ,
        "FILEFLUX_TEST_ENDPOINT": cluster.endpoint,
        "FILEFLUX_TEST_ACCESS_KEY": cluster.credentials.root_access_key,
        "FILEFLUX_TEST_SECRET_KEY": cluster.credentials.root_secret_key,
        "FILEFLUX_TEST_CA": str(cert or ""),
        "FILEFLUX_TEST_DATA_DIR": str(cluster.data.root),
    }
    return subprocess.run(command, env=env, check=False).returncode  # noqa: S603  # Ours.


def make_certificate(directory: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 and localhost, and its key, valid for a week."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=7))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert_path, key_path = directory / "tls.crt", directory / "tls.key"
    cert_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return cert_path, key_path


if __name__ == "__main__":
    sys.exit(main())
