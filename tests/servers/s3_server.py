"""A running S3 server of the tests, whichever it is."""

import socket
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from infra.local.processes import Child


@dataclass(frozen=True, slots=True)
class S3Server:
    """A server with one bucket. The keys are made up for this server."""

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

    def wait_until_ready(self, process: Child, timeout: float, *, create_bucket: bool = False) -> None:
        """Return once the bucket takes an object. Raises RuntimeError if the process ends or takes too long (s)."""
        client = self.client()
        deadline = time.monotonic() + timeout
        while True:
            try:
                if create_bucket:
                    client.create_bucket(Bucket=self.bucket)
                    create_bucket = False
                client.put_object(Bucket=self.bucket, Key="ready", Body=b"")
                client.delete_object(Bucket=self.bucket, Key="ready")
            except (BotoCoreError, ClientError) as error:
                if process.exit_code is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{process.name} did not start ({error}): {process.last_lines()}") from error
                time.sleep(0.1)
            else:
                client.close()
                return


def free_ports(count: int) -> list[int]:
    """Ports of the loopback address that nobody listens on now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [listening.getsockname()[1] for listening in sockets]
