"""Brokers that ask for TLS and a password: the adapter's clients, and Faust's, give them."""

import asyncio
import datetime
import ipaddress
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from fileflux.console.kafka_jars import KafkaJarsUnavailable
from fileflux.console.kafka_server import KafkaServer
from fileflux.console.loopback_ports import LOOPBACK, free_tcp_ports
from fileflux.core.clock import SystemClock
from fileflux.core.errors import BrokerUnavailable
from fileflux.core.settings import CommonSettings
from fileflux.events.kafka import open_kafka
from fileflux.events.topics import PLACEMENT_MAP
from fileflux.placement.map_view import MapView

pytestmark = [pytest.mark.kafka, pytest.mark.slow]
USER, PASSWORD = "fileflux", "a password"

LISTENERS = """
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller},SASL_SSL://{host}:{secure}
advertised.listeners=PLAINTEXT://{host}:{port},SASL_SSL://{host}:{secure}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_ssl.plain.sasl.jaas.config=\
org.apache.kafka.common.security.plain.PlainLoginModule required user_{user}="{password}";
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
"""


class SecureKafka(KafkaServer):
    """The usual broker with one more listener, which wants TLS and a password."""

    secure_port: int
    keystore: Path

    def _write_settings(self) -> None:
        super()._write_settings()
        text = LISTENERS.format(
            host=LOOPBACK,
            port=self.port,
            controller=self._controller_port,
            secure=self.secure_port,
            user=USER,
            password=PASSWORD,
            keystore=self.keystore,
        )
        with self._settings_path.open("a") as settings:
            settings.write(text)


def write_certificate(directory: Path) -> tuple[Path, Path]:
    """Write a certificate of its own authority for the loopback; return (certificate, keystore)."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a broker of a test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(LOOPBACK))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    paths = directory / "ca.pem", directory / "keystore.pem"
    paths[0].write_bytes(pem)
    paths[1].write_bytes(private + pem)
    return paths


@pytest.fixture(scope="module")
def authority(server_dir: Path) -> Path:
    directory = server_dir / "kafka-secure-keys"
    directory.mkdir()
    write_certificate(directory)
    return directory / "ca.pem"


@pytest.fixture(scope="module")
def server(server_dir: Path, cache_dir: Path, authority: Path) -> Iterator[SecureKafka]:
    made = SecureKafka(server_dir / "kafka-secure", cache_dir=cache_dir)
    (made.secure_port,) = free_tcp_ports(1)
    made.keystore = authority.parent / "keystore.pem"
    try:
        made.start()
    except KafkaJarsUnavailable as problem:
        pytest.skip(f"no Kafka: {problem}; `make setup` with a network")
    yield made
    made.stop()


def settings_for(server: SecureKafka, authority: Path, password: str = PASSWORD) -> CommonSettings:
    return CommonSettings(
        kafka_bootstrap_servers=f"{LOOPBACK}:{server.secure_port}",
        kafka_security_protocol="SASL_SSL",
        kafka_sasl_mechanism="PLAIN",
        kafka_sasl_username=USER,
        kafka_sasl_password=SecretStr(password),
        kafka_ca_file=str(authority),
    )


async def test_records_pass_through_tls_and_a_password(
    server: SecureKafka, authority: Path
) -> None:
    broker = open_kafka(settings_for(server, authority))
    await broker.ensure_topics()
    publisher = await broker.safe_publisher()
    await publisher.publish(PLACEMENT_MAP, b"secret way", partition=0)
    source = await broker.source([(PLACEMENT_MAP, 0)])

    async with asyncio.timeout(10):
        while not (records := await source.fetch()):
            pass
    await broker.close()

    assert [record.value for record in records] == [b"secret way"]


@pytest.mark.parametrize("wrong", ["password", "authority"])
async def test_a_wrong_password_or_authority_is_refused(
    server: SecureKafka, authority: Path, tmp_path: Path, wrong: str
) -> None:
    other, _ = write_certificate(tmp_path)
    settings = (
        settings_for(server, authority, password="another")
        if wrong == "password"
        else settings_for(server, other)
    )
    broker = open_kafka(settings)

    with pytest.raises(BrokerUnavailable):
        await broker.fast_publisher()
    await broker.close()


def start_placement(
    server: SecureKafka, authority: Path, directory: Path
) -> subprocess.Popen[bytes]:
    with (directory / "log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "fileflux.placement"],
            stdout=log,
            stderr=log,
            env={
                "PATH": os.environ["PATH"],
                "KAFKA_BOOTSTRAP_SERVERS": f"{LOOPBACK}:{server.secure_port}",
                "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
                "KAFKA_SASL_MECHANISM": "PLAIN",
                "KAFKA_SASL_USERNAME": USER,
                "KAFKA_SASL_PASSWORD": PASSWORD,
                "KAFKA_CA_FILE": str(authority),
                "FILEFLUX_PLACEMENT_DATA_DIR": str(directory / "placement"),
            },
        )


async def test_placement_and_its_faust_pass_too(
    server: SecureKafka, authority: Path, tmp_path: Path
) -> None:
    """Without any node it says after a while, by an empty map, that it leads and hears nobody."""
    broker = open_kafka(settings_for(server, authority))
    await broker.ensure_topics()
    view = MapView(broker, clock=SystemClock())
    await view.start()
    worker = await asyncio.to_thread(start_placement, server, authority, tmp_path)
    try:
        async with asyncio.timeout(60):
            while view.current.epoch == 0:
                await asyncio.sleep(0.1)
    finally:
        worker.terminate()
        await asyncio.to_thread(worker.wait, 20)
        await view.close()
        await broker.close()

    assert PASSWORD not in (tmp_path / "log").read_text()
