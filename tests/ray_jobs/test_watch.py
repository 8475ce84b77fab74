"""A command whose Ray is killed under it ends by itself, with a plain word."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

WATCHED = """
import sys, time
from ray_jobs import watch
watch.SILENCE = 0.3
watching = watch.Watch(*sys.argv[1:])
input()
watching.close()
print("done with it", flush=True)
input()
time.sleep(1)
print("went on")
"""


class Part:
    """A listening socket, as a part of Ray has, on which nothing is ever said."""

    def __init__(self, family: socket.AddressFamily, address: str | tuple[str, int]) -> None:
        self.listening = socket.socket(family)
        self.listening.bind(address)
        self.listening.listen()
        name = self.listening.getsockname()
        self.address = name if isinstance(name, str) else f"{name[0]}:{name[1]}"
        self.accepted: list[socket.socket] = []

    def accept(self) -> None:
        self.accepted.append(self.listening.accept()[0])

    def die(self) -> None:
        """What the kernel does with the sockets of a process that is killed."""
        for each in (self.listening, *self.accepted):
            each.close()


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[list[Part]]:
    """A raylet and a head."""
    made = [Part(socket.AF_UNIX, str(tmp_path / "raylet")), Part(socket.AF_INET, ("127.0.0.1", 0))]
    yield made
    for part in made:
        part.die()


@pytest.fixture
def command(parts: list[Part]) -> Iterator[subprocess.Popen[str]]:
    """A command that works on them."""
    arguments = [sys.executable, "-c", WATCHED, *(part.address for part in parts)]
    pipe = subprocess.PIPE
    with subprocess.Popen(arguments, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as started:
        for part in parts:
            part.accept()
        yield started
        started.kill()


@pytest.mark.parametrize(("dies", "name"), [(0, "raylet"), (1, "head (GCS)")])
def test_a_command_ends_with_3_where_a_part_of_ray_is_gone(parts, command, dies, name):
    parts[dies].die()
    assert command.wait(60) == 3
    said = f"error: Ray's {name} at {parts[dies].address} is gone. The same command goes on from here.\n"
    assert command.stderr.read() == said


def test_a_head_that_hangs_up_and_answers_again_is_no_loss(parts, command):
    for _ in range(3):
        parts[1].accepted.pop().close()
        parts[1].accept()
    out, _ = command.communicate("\n\n", timeout=60)
    assert (command.returncode, out) == (0, "done with it\nwent on\n")


def test_a_ray_that_ends_after_the_command_is_done_with_it_is_no_loss(parts, command):
    command.stdin.write("\n")
    command.stdin.flush()
    assert command.stdout.readline() == "done with it\n"
    for part in parts:
        part.die()
    out, _ = command.communicate("\n", timeout=60)
    assert (command.returncode, out) == (0, "went on\n")
