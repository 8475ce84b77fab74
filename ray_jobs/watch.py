"""Ends the command where Ray is killed under it: Ray itself would end it without a word, or wait for minutes."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time

from core.errors import ResourceError

SILENCE = 10.0  # seconds without an answer after which the cluster's head is lost; the raylet, on this host, is at once


class Watch:
    """Looks, from its making until `close`, whether this host's raylet and the cluster's head are there."""

    def __init__(self, raylet: str, head: str) -> None:
        """raylet: the path of its socket; head: host:port of the GCS."""
        self._over = threading.Event()
        for name, address, silence in (("raylet", raylet, 0.0), ("head (GCS)", head, SILENCE)):
            threading.Thread(target=self._until_gone, args=(name, address, silence), daemon=True).start()

    def close(self) -> None:
        """From here on Ray may end."""
        self._over.set()

    def _until_gone(self, name: str, address: str, silence: float) -> None:
        answered = time.monotonic()
        while not self._over.wait(0.1):
            try:
                with _connected(address) as line:
                    while line.recv(4096):
                        pass
                answered = time.monotonic()
            except OSError:
                if time.monotonic() - answered > silence and not self._over.is_set():
                    _end(ResourceError(f"Ray's {name} at {address} is gone. The same command goes on from here."))


def _connected(address: str) -> socket.socket:
    if address.startswith("/"):
        line = socket.socket(socket.AF_UNIX)
        line.connect(address)
        return line
    host, _, port = address.rpartition(":")
    line = socket.create_connection((host.strip("[]"), int(port)), timeout=5)
    line.settimeout(None)
    return line


def _end(error: ResourceError) -> None:
    """Ends the process from a thread: the main one may wait in Ray for ever."""
    print(f"error: {error}", file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(error.exit_code)
