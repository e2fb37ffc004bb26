"""Ceph's radosgw, a second real S3 server, for as long as a `with` block lasts: one monitor, one disk in memory.

Needs Debian's packages ceph-mon, ceph-osd, radosgw and ceph-common; `make test-ceph` installs them.
"""

import os
import secrets
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from infra.local.processes import Child
from tests.servers.s3_server import S3Server, free_ports

_START_TIMEOUT = 60.0  # seconds
_PROGRAMS = ("ceph", "ceph-authtool", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin")
_CONFIGURATION = """
[global]
fsid = {fsid}
mon_initial_members = a
mon_host = v2:127.0.0.1:{mon_port}
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
keyring = {folder}/keyring
mon_data = {folder}/mon
osd_data = {folder}/osd
osd_objectstore = memstore
memstore_device_bytes = 2147483648
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
mon_data_avail_crit = 0
rgw_frontends = beast endpoint=127.0.0.1:{s3_port}
rgw_data = {folder}/rgw
run_dir = {folder}
admin_socket =
pid_file =
log_file = {folder}/$name.log
"""


@contextmanager
def ceph(folder: Path) -> Iterator[S3Server]:
    """Start a cluster below `folder` (a short path: it holds sockets), on free loopback ports; end it afterwards."""
    missing = [program for program in _PROGRAMS if shutil.which(program) is None]
    if missing:
        raise FileNotFoundError(f"{', '.join(missing)}: not installed; make test-ceph installs them (as root)")
    for name in ("mon", "osd", "rgw"):
        (folder / name).mkdir(parents=True)
    mon_port, s3_port = free_ports(2)
    server = S3Server(f"http://127.0.0.1:{s3_port}", secrets.token_hex(10), secrets.token_hex(20), "labelloop")
    fsid, disk = str(uuid.uuid4()), str(uuid.uuid4())
    configuration = folder / "ceph.conf"
    configuration.write_text(_CONFIGURATION.format(fsid=fsid, mon_port=mon_port, s3_port=s3_port, folder=folder))

    def run(*command: str, said: str | None = None) -> None:
        done = subprocess.run(command, cwd=folder, input=said, capture_output=True, text=True, timeout=_START_TIMEOUT)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command[:3])} failed: {done.stderr[-2000:]}")

    for entity, rights in {
        "mon.": ("mon",),
        "client.admin": ("mon", "osd"),
        "osd.0": ("mon", "osd"),
        "client.rgw": ("mon", "osd"),
    }.items():
        allowed = [part for right in rights for part in ("--cap", right, "allow *")]
        create = [] if (folder / "keyring").exists() else ["--create-keyring"]
        run("ceph-authtool", *create, "keyring", "--gen-key", "--name", entity, *allowed)
    run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", f"[v2:127.0.0.1:{mon_port}]", "monmap")
    run("ceph-mon", "-c", "ceph.conf", "--mkfs", "-i", "a", "--monmap", "monmap", "--keyring", "keyring")
    with ExitStack() as stack:

        def start(*command: str) -> Child:
            log = folder / f"{command[0]}.out"
            process = Child(command[0], [*command, "-f", "-c", "ceph.conf"], log, environ=os.environ, cwd=folder)
            stack.callback(process.stop)
            return process

        start("ceph-mon", "-i", "a")
        run("ceph", "-c", "ceph.conf", "--connect-timeout", "30", "osd", "new", disk)
        run("ceph-osd", "-c", "ceph.conf", "--mkfs", "-i", "0", "--osd-uuid", disk)
        start("ceph-osd", "-i", "0")
        gateway = start("radosgw", "-n", "client.rgw")
        user = ("--uid", "labelloop", "--display-name", "labelloop")
        keys = ("--access-key", server.access_key, "--secret-key", server.secret_key)
        run("radosgw-admin", "-c", "ceph.conf", "-n", "client.rgw", "user", "create", *user, *keys)
        server.wait_until_ready(gateway, _START_TIMEOUT, create_bucket=True)
        yield server
