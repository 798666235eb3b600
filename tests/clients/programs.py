"""The programs, each with the same few verbs. Default settings: what its manual says to configure.

Each gets an empty home, so that nothing of this machine leaks in.
"""

import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

TIMEOUT_S: Final = 180
REGION: Final = "us-east-1"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where FileFlux answers. `ca`: file of the certificate to trust, empty for HTTP."""

    url: str
    access_key: str
    secret_key: str
    ca: str

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc


@dataclass(frozen=True, slots=True)
class Programs:
    aws: Path
    s3cmd: Path
    rclone: Path

    @property
    def python(self) -> str:
        """Runs the first two: their first lines name it, but not where its path has a blank."""
        return str(self.aws.with_name("python"))


def find_programs(root: Path) -> Programs | str:
    """Return the programs, or the path of the first one that is missing."""
    paths = [root / ".venv-clients" / "bin" / name for name in ("aws", "s3cmd", "rclone")]
    missing = [path for path in paths if not path.exists()]
    return str(missing[0]) if missing else Programs(*paths)


class Client(Protocol):
    """What a user does with a client. Methods fail when the program does."""

    def make_bucket(self, bucket: str) -> None: ...

    def remove_bucket(self, bucket: str) -> None:
        """With all that is in it."""

    def sync_up(self, directory: Path, bucket: str, prefix: str) -> None: ...

    def sync_down(self, bucket: str, prefix: str, directory: Path) -> None: ...

    def put(self, path: Path, bucket: str, key: str, metadata: dict[str, str]) -> None: ...

    def get(self, bucket: str, key: str, path: Path) -> None: ...

    def pipe(self, data: bytes, bucket: str, key: str) -> None:
        """Upload what comes on standard input, whose size nobody knows."""

    def copy(self, bucket: str, source: str, key: str) -> None: ...

    def names(self, bucket: str, prefix: str) -> list[str]: ...

    def delete(self, bucket: str, key: str) -> None: ...

    def metadata(self, bucket: str, key: str) -> dict[str, str]: ...

    def presign(self, bucket: str, key: str) -> str: ...


def run(argv: list[str], env: dict[str, str], data: bytes | None = None) -> str:
    """Run a program; return what it printed, fail with all of it if it failed."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    done = subprocess.run(
        argv,
        env={"LC_ALL": "C.UTF-8", **kept, **env},
        input=data,
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    said = done.stdout.decode() + done.stderr.decode()
    assert done.returncode == 0, f"{argv}\n{said}"
    return done.stdout.decode()


class Aws:
    """The AWS command line."""

    def __init__(self, endpoint: Endpoint, programs: Programs, home: Path) -> None:
        home.mkdir()
        config = home / "config"
        # For links only: without it this version signs them by SigV2, as for S3's oldest buckets.
        config.write_text("[default]\ns3 =\n    signature_version = s3v4\n")
        self._program = [programs.python, str(programs.aws)]
        self._link_env = {"AWS_CONFIG_FILE": str(config)}
        self._env = {
            "HOME": str(home),
            "AWS_ACCESS_KEY_ID": endpoint.access_key,
            "AWS_SECRET_ACCESS_KEY": endpoint.secret_key,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": endpoint.url,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        if endpoint.ca:
            self._env["AWS_CA_BUNDLE"] = endpoint.ca

    def _s3(self, *words: str, data: bytes | None = None) -> str:
        return run([*self._program, "s3", *words], self._env, data)

    def make_bucket(self, bucket: str) -> None:
        self._s3("mb", f"s3://{bucket}")

    def remove_bucket(self, bucket: str) -> None:
        self._s3("rb", "--force", f"s3://{bucket}")

    def sync_up(self, directory: Path, bucket: str, prefix: str) -> None:
        self._s3("sync", "--no-progress", str(directory), f"s3://{bucket}/{prefix}")

    def sync_down(self, bucket: str, prefix: str, directory: Path) -> None:
        self._s3("sync", "--no-progress", f"s3://{bucket}/{prefix}", str(directory))

    def put(self, path: Path, bucket: str, key: str, metadata: dict[str, str]) -> None:
        pairs = ",".join(f"{name}={value}" for name, value in metadata.items())
        given = ["--metadata", pairs] if pairs else []
        self._s3("cp", *given, str(path), f"s3://{bucket}/{key}")

    def get(self, bucket: str, key: str, path: Path) -> None:
        self._s3("cp", f"s3://{bucket}/{key}", str(path))

    def pipe(self, data: bytes, bucket: str, key: str) -> None:
        self._s3("cp", "-", f"s3://{bucket}/{key}", data=data)

    def copy(self, bucket: str, source: str, key: str) -> None:
        self._s3("cp", f"s3://{bucket}/{source}", f"s3://{bucket}/{key}")

    def names(self, bucket: str, prefix: str) -> list[str]:
        words = ("list-objects-v2", "--bucket", bucket, "--prefix", prefix)
        found = run([*self._program, "s3api", *words, "--output", "json"], self._env)
        listed = json.loads(found or "{}").get("Contents") or []
        return [entry["Key"] for entry in listed]

    def delete(self, bucket: str, key: str) -> None:
        self._s3("rm", f"s3://{bucket}/{key}")

    def metadata(self, bucket: str, key: str) -> dict[str, str]:
        words = ("head-object", "--bucket", bucket, "--key", key, "--output", "json")
        found = json.loads(run([*self._program, "s3api", *words], self._env))
        return dict(found["Metadata"])

    def presign(self, bucket: str, key: str) -> str:
        words = [*self._program, "s3", "presign", f"s3://{bucket}/{key}"]
        return run(words, self._env | self._link_env).strip()


class S3cmd:
    """s3cmd: a code base of its own, which has asked S3's relatives odd questions for 15 years."""

    def __init__(self, endpoint: Endpoint, programs: Programs, home: Path) -> None:
        home.mkdir()
        config = home / ".s3cfg"
        config.write_text(
            "[default]\n"
            f"access_key = {endpoint.access_key}\n"
            f"secret_key = {endpoint.secret_key}\n"
            f"host_base = {endpoint.host}\n"
            f"host_bucket = {endpoint.host}\n"
            f"use_https = {bool(endpoint.ca)}\n"
            f"signurl_use_https = {bool(endpoint.ca)}\n"
            f"ca_certs_file = {endpoint.ca}\n"
        )
        self._argv = [
            programs.python,
            str(programs.s3cmd),
            "--config",
            str(config),
            "--no-progress",
        ]
        self._env = {"HOME": str(home)}

    def _run(self, *words: str, data: bytes | None = None) -> str:
        return run([*self._argv, *words], self._env, data)

    def make_bucket(self, bucket: str) -> None:
        self._run("mb", f"s3://{bucket}")

    def remove_bucket(self, bucket: str) -> None:
        self._run("rb", "--recursive", "--force", f"s3://{bucket}")

    def sync_up(self, directory: Path, bucket: str, prefix: str) -> None:
        self._run("sync", f"{directory}/", f"s3://{bucket}/{prefix}/")

    def sync_down(self, bucket: str, prefix: str, directory: Path) -> None:
        directory.mkdir()
        self._run("sync", f"s3://{bucket}/{prefix}/", f"{directory}/")

    def put(self, path: Path, bucket: str, key: str, metadata: dict[str, str]) -> None:
        given = [f"--add-header=x-amz-meta-{name}:{value}" for name, value in metadata.items()]
        self._run("put", *given, str(path), f"s3://{bucket}/{key}")

    def get(self, bucket: str, key: str, path: Path) -> None:
        self._run("get", f"s3://{bucket}/{key}", str(path))

    def pipe(self, data: bytes, bucket: str, key: str) -> None:
        self._run("put", "-", f"s3://{bucket}/{key}", data=data)

    def copy(self, bucket: str, source: str, key: str) -> None:
        self._run("cp", f"s3://{bucket}/{source}", f"s3://{bucket}/{key}")

    def names(self, bucket: str, prefix: str) -> list[str]:
        listed = self._run("ls", "--recursive", f"s3://{bucket}/{prefix}")
        return re.findall(rf"s3://{bucket}/(.*)", listed)

    def delete(self, bucket: str, key: str) -> None:
        self._run("del", f"s3://{bucket}/{key}")

    def metadata(self, bucket: str, key: str) -> dict[str, str]:
        said = self._run("info", f"s3://{bucket}/{key}")
        return dict(re.findall(r"x-amz-meta-(\S+): *(.*)", said))

    def presign(self, bucket: str, key: str) -> str:
        return self._run("signurl", f"s3://{bucket}/{key}", "+600").strip()


class Rclone:
    """rclone, as it is configured for a provider that it does not know."""

    def __init__(self, endpoint: Endpoint, programs: Programs, home: Path) -> None:
        home.mkdir()
        self._program = str(programs.rclone)
        self._env = {
            "HOME": str(home),
            "RCLONE_CONFIG_FLUX_TYPE": "s3",
            "RCLONE_CONFIG_FLUX_PROVIDER": "Other",
            "RCLONE_CONFIG_FLUX_ENDPOINT": endpoint.url,
            "RCLONE_CONFIG_FLUX_ACCESS_KEY_ID": endpoint.access_key,
            "RCLONE_CONFIG_FLUX_SECRET_ACCESS_KEY": endpoint.secret_key,
        }
        if endpoint.ca:
            self._env["RCLONE_CA_CERT"] = endpoint.ca

    def _run(self, *words: str, data: bytes | None = None) -> str:
        return run([self._program, *words], self._env, data)

    def make_bucket(self, bucket: str) -> None:
        self._run("mkdir", f"flux:{bucket}")

    def remove_bucket(self, bucket: str) -> None:
        self._run("purge", f"flux:{bucket}")

    def sync_up(self, directory: Path, bucket: str, prefix: str) -> None:
        self._run("sync", str(directory), f"flux:{bucket}/{prefix}")

    def sync_down(self, bucket: str, prefix: str, directory: Path) -> None:
        self._run("sync", f"flux:{bucket}/{prefix}", str(directory))

    def put(self, path: Path, bucket: str, key: str, metadata: dict[str, str]) -> None:
        given = [f"--metadata-set={name}={value}" for name, value in metadata.items()]
        self._run("copyto", "--metadata", *given, str(path), f"flux:{bucket}/{key}")

    def get(self, bucket: str, key: str, path: Path) -> None:
        self._run("copyto", f"flux:{bucket}/{key}", str(path))

    def pipe(self, data: bytes, bucket: str, key: str) -> None:
        self._run("rcat", f"flux:{bucket}/{key}", data=data)

    def copy(self, bucket: str, source: str, key: str) -> None:
        self._run("copyto", f"flux:{bucket}/{source}", f"flux:{bucket}/{key}")

    def names(self, bucket: str, prefix: str) -> list[str]:
        # It lists directories, not prefixes.
        listed = self._run("lsf", "--recursive", "--files-only", f"flux:{bucket}").splitlines()
        return [name for name in listed if name.startswith(prefix)]

    def delete(self, bucket: str, key: str) -> None:
        self._run("deletefile", f"flux:{bucket}/{key}")

    def metadata(self, bucket: str, key: str) -> dict[str, str]:
        listed = json.loads(self._run("lsjson", "--metadata", "--stat", f"flux:{bucket}/{key}"))
        assert not listed["IsDir"], "not found: it takes what is not there for a directory"
        return dict(listed["Metadata"])

    def presign(self, bucket: str, key: str) -> str:
        return self._run("link", f"flux:{bucket}/{key}").strip()


CLIENTS: Final = (Aws, S3cmd, Rclone)
