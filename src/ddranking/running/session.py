"""A connection to Ray: to a cluster of this process, or to one at an address.

Without an address there is a cluster for this process alone: on the loopback interface, with token
authentication, without dashboard, gone when it is closed. Ray is imported when it is used.
"""

from __future__ import annotations

import importlib
import importlib.util
import ipaddress
import os
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ddranking.errors import BadInput, DDRankingError
from ddranking.running.local import cores
from ddranking.running.store import DAY

LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Ray's own name; on any system, 0 in it keeps every one of its servers on loopback."""


@dataclass
class Session:
    """A connection to Ray: to a cluster of this process, or to one at an address."""

    address: str | None
    room: int
    workers: int | None
    folder: tempfile.TemporaryDirectory[str] | None = field(default=None, init=False)
    ours: bool = field(default=False, init=False)

    def open(self) -> Any:
        """Connects and returns the module ``ray``."""
        own = self.address is None
        _guard(own)
        ray = ray_module()
        if ray.is_initialized():
            return ray  # a script's own connection: it stays as it is
        quiet = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}
        if own:
            self._start(ray, quiet)
        else:
            self._join(ray, quiet)
        self.ours = True
        return ray

    def close(self) -> None:
        if self.ours:
            ray_module().shutdown()
            self.ours = False
        if self.folder is not None:
            self.folder.cleanup()
            self.folder = None

    def _start(self, ray: Any, quiet: Mapping[str, Any]) -> None:
        # Ray opens its folder to everybody, so it lies in one that nobody else may enter. The
        # names of the sockets in it have 107 bytes at most, 89 of them below this place.
        usual = tempfile.gettempdir()
        place = Path(usual if len(usual) <= 16 else "/tmp")
        _sweep(place)
        self.folder = tempfile.TemporaryDirectory(
            prefix=f"ddr-{os.getpid()}-", dir=place, ignore_cleanup_errors=True
        )
        try:
            ray.init(
                num_cpus=self.workers or cores(),
                include_dashboard=False,
                object_store_memory=self.room,
                _temp_dir=str(Path(self.folder.name, "ray")),
                _system_config={"worker_niceness": 0},  # Ray's 15 gives way to everything
                **quiet,
            )
            where = ray.util.get_node_ip_address()
            if not ipaddress.ip_address(where).is_loopback:
                raise DDRankingError(
                    f"Ray listens on {where} instead of the loopback interface: start "
                    "ddranking before anything else of this process imports Ray"
                )
        except BaseException as error:
            ray.shutdown()
            self.folder.cleanup()
            if isinstance(error, DDRankingError) or not isinstance(error, Exception):
                raise
            raise DDRankingError(f"Ray cannot be started here: {brief(error)}") from None

    def _join(self, ray: Any, quiet: Mapping[str, Any]) -> None:
        assert self.address is not None
        try:
            _knock(self.address)  # Ray itself tries for minutes
            ray.init(address=self.address, **quiet)
        except (ray.exceptions.RayError, ValueError, RuntimeError, OSError) as error:
            if _about_tokens(error):
                raise BadInput(
                    f"--address {self.address}",
                    expected="this cluster's token, in RAY_AUTH_TOKEN or in the file that "
                    "RAY_AUTH_TOKEN_PATH names",
                    got="none, or another one",
                    hint="On the head node, 'ray get-auth-token' prints it.",
                ) from None
            raise BadInput(
                f"--address {self.address}",
                expected="a running Ray cluster of which this machine is a node",
                got=brief(error),
                hint="Start one with 'ray start' and give its token in RAY_AUTH_TOKEN, or leave "
                "--address out.",
            ) from None


def _about_tokens(error: BaseException | None) -> bool:
    """Whether Ray was turned away; it says so in one of the errors that led to this one."""
    return error is not None and (
        "authenticat" in f"{type(error).__name__} {error}".lower()
        or _about_tokens(error.__cause__ or error.__context__)
    )


def _sweep(place: Path) -> None:
    """Removes what killed processes of this user left a day ago or more: sockets and logs."""
    for left in place.glob("ddr-*-*"):
        with suppress(OSError):
            status, process = left.stat(), Path("/proc", left.name.split("-")[1])
            old = time.time() - status.st_mtime > DAY and status.st_uid == os.getuid()
            if old and Path("/proc/self").exists() and not process.exists():
                shutil.rmtree(left, ignore_errors=True)


def _knock(address: str) -> None:
    """Raises an OSError at once where nothing listens at ``HOST:PORT``; other forms pass."""
    host, _, port = address.rpartition(":")
    if port.isdigit() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def _guard(own: bool) -> None:
    """Keeps token authentication on; a cluster of this process listens on loopback alone.

    Ray reads these once a process, so they stay. A token of one's own cluster is made up here and
    never written to a file; that of another cluster is looked for where Ray looks for it.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not own:
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        return
    os.environ["RAY_AUTH_MODE"] = "token"
    if not os.environ.get("RAY_AUTH_TOKEN_PATH"):
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    os.environ[LOOPBACK] = "0"


def installed() -> bool:
    """Whether Ray is there."""
    return importlib.util.find_spec("ray") is not None


def ray_module() -> Any:
    """The module ``ray``, an optional dependency that nothing else imports."""
    # Under 'uv run' Ray would copy this folder to every node and start its workers in a fresh
    # environment there; they are to run what is installed.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    return importlib.import_module("ray")


def brief(error: Exception) -> str:
    """The last line that says something, without Ray's advice."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join((lines[0] if lines else type(error).__name__)[:300].split())
