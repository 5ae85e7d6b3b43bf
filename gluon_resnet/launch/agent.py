"""The agent: runs the command of one role on its machine, for a launcher to which it keeps one TCP connection.

It is started by its file name, on machines where this package need not be importable, so it uses only the standard
library. The first bytes that the agent sends are the run's token, without which the launcher reads no further.
Everything after that, in both directions, is JSON objects, one per line. The agent introduces itself (`role`, `host`,
`pid`, and a free `port`); the launcher tells it what to run (`command`, `environment`, `folder`); then the agent sends
each `line` of output with its `stream` (1 or 2), and finally how the command `ended` (the returncode of subprocess).
The launcher may send a `signal` to pass on.

The variable LAUNCHER holds the launcher's address and the token: ADDRESS:PORT:TOKEN. If the variable has to be part of
a command line, which everybody on a machine can read, it is ADDRESS:PORT, and the token comes through standard input.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import IO, Any, NoReturn, Optional

LAUNCHER = "GLUON_RESNET_LAUNCHER"
LOST = 14  # seconds after which a peer that does not answer counts as gone
GRACE = 5  # seconds between SIGTERM and SIGKILL if nobody waits for a state to be saved
_PATIENCE = 30  # seconds to connect, and for a command to end after somebody else sends the agent a signal
_LONGEST = 2**16  # bytes of a line, which is cut after them


def keep_alive(connection: socket.socket) -> None:
    """Let the kernel find out within 15 s that the other machine is gone.

    Kernels also answer for a process that is stopped (Ctrl-Z) or starved, unlike heartbeats from the process itself.
    """
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", 5),
        ("TCP_KEEPINTVL", 5),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", 1000 * LOST),  # for data in transit, for which there are no keep-alives
    ):
        connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


class Leash:
    """A process group for the command, whose leader ends it when the agent is gone, even through kill -9."""

    def __init__(self) -> None:
        read, self._write = os.pipe()  # the kernel closes this end, whatever ends this process
        self._group = os.fork()
        if self._group == 0:
            os.close(self._write)
            _lead(read)
        os.close(read)
        self.join(self._group)

    def join(self, process: int = 0) -> None:
        """Put `process`, a child or this one, into the group."""
        os.setpgid(process, self._group)

    def send(self, number: int) -> None:
        """Send a signal to the group. The group's number stays reserved, since nobody waits for its leader."""
        os.killpg(self._group, number)


def _lead(agent: int) -> NoReturn:
    """The life of the leader; `agent` is a pipe whose other end the agent holds."""
    try:
        os.setpgid(0, 0)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for stream in range(3):  # so that this process does not keep the agent's streams open
            os.dup2(os.open(os.devnull, os.O_RDWR), stream)
        os.read(agent, 1)
        os.killpg(0, signal.SIGTERM)
        time.sleep(GRACE)
        os.killpg(0, signal.SIGKILL)
    finally:
        os._exit(1)


class Agent:
    """Runs one command, from the launcher's order to its end.

    Args:
        connection: the connection to the launcher, owned by the agent.
        leash: the command's process group, made before the connection so that its leader does not hold that open.
        port: a socket bound to a free port, which is released just before the command starts.
    """

    def __init__(self, connection: socket.socket, leash: Leash, port: socket.socket) -> None:
        self._connection = connection
        self._messages = connection.makefile("rb")
        self._lock = threading.Lock()
        self._leash = leash
        self._port = port
        self._done = threading.Event()

    def introduce(self, token: str, role: str) -> None:
        with contextlib.suppress(OSError):  # `_receive` notices it, too
            self._connection.sendall(token.encode())
        self._send(
            role=role,
            host=socket.gethostname(),
            pid=os.getpid(),
            port=self._port.getsockname()[1],
        )

    def run(self) -> int:
        """Run until the command has ended; the exit status of this process is 0 if the launcher knows everything."""
        order = self._receive()
        self._port.close()
        if order is None or "command" not in order:  # the run ended before it began
            return 1
        try:
            command = self._start(order)
        except OSError as error:
            self._send(line=f"{error.filename or order['command'][0]}: {error.strerror}", stream=2)
            self._send(ended=127)  # as in a shell
            while self._receive():  # the launcher closes the connection
                pass
            return 0
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # from mpirun, srun or an administrator
            signal.signal(number, lambda number, frame: self._stop_soon())
        watcher = threading.Thread(target=self._watch, args=(command,), daemon=True)
        watcher.start()
        while True:
            message = self._receive()
            if message is None:  # the launcher knows of the end, or is gone
                break
            self._leash.send(message["signal"])
        if self._done.is_set():
            return 0
        self._leash.send(signal.SIGTERM)
        if not self._done.wait(GRACE):
            self._leash.send(signal.SIGKILL)
            self._done.wait(GRACE)
        return 1

    def _start(self, order: dict[str, Any]) -> subprocess.Popen[bytes]:
        environment = {**os.environ, **order["environment"]}
        # `python` is the launcher's Python, even on machines where nobody has activated an environment.
        environment["PATH"] = (
            os.path.dirname(sys.executable) + os.pathsep + environment.get("PATH", os.defpath)
        )
        return subprocess.Popen(
            order["command"],
            cwd=order["folder"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=self._leash.join,
        )

    def _watch(self, command: subprocess.Popen[bytes]) -> None:
        forwards = [
            threading.Thread(target=self._forward, args=(stream, number), daemon=True)
            for number, stream in ((1, command.stdout), (2, command.stderr))
        ]
        for thread in forwards:
            thread.start()
        status = command.wait()
        self._leash.send(signal.SIGKILL)  # whatever it has left behind
        for thread in forwards:
            thread.join(GRACE)  # a process that left the group may still hold the stream
        self._done.set()
        self._send(ended=status)

    def _forward(self, stream: IO[bytes], number: int) -> None:
        for line in iter(lambda: stream.readline(_LONGEST), b""):
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            self._send(line=text.rsplit("\r", 1)[-1], stream=number)  # only the last state of a progress bar

    def _stop_soon(self) -> None:
        self._leash.send(signal.SIGTERM)
        timer = threading.Timer(_PATIENCE, self._leash.send, [signal.SIGKILL])
        timer.daemon = True
        timer.start()

    def _send(self, **message: Any) -> None:
        data = json.dumps(message).encode() + b"\n"
        try:
            with self._lock:
                self._connection.sendall(data)
        except OSError:
            pass  # `_receive` notices it, too; go on reading the command's output, or it would block

    def _receive(self) -> Optional[dict[str, Any]]:
        """The next message; None if the launcher is gone."""
        try:
            line = self._messages.readline()
        except OSError:
            return None
        return json.loads(line) if line.endswith(b"\n") else None


def _free_port() -> socket.socket:
    """A socket bound to a port below those that the system assigns by itself, so that it stays free for a while."""
    for number in random.sample(range(15000, 30000), 1000):
        bound = socket.socket()
        try:
            bound.bind(("", number))
            return bound
        except OSError:
            bound.close()
    raise OSError("no port from 15000 to 29999 is free")


def main() -> int:
    """Connect to the launcher that the environment names; return the exit status."""
    try:
        leash = Leash()
        try:
            return _work(leash)
        finally:
            leash.send(signal.SIGKILL)  # nothing is left in the group but its leader
    except (BlockingIOError, RuntimeError) as error:  # from fork and from threads
        print(
            f"{socket.gethostname()} cannot start more processes or threads ({error}): end others, or raise the limit "
            "(ulimit -u)",
            file=sys.stderr,
        )
        return 1


def _launcher() -> tuple[str, str, str]:
    """Address, port and token, which are removed from the command's environment."""
    address, port, *token = os.environ.pop(LAUNCHER).split(":")
    return address, port, token[0] if token else sys.stdin.buffer.readline(64).decode().strip()


def _work(leash: Leash) -> int:
    address, port, token = _launcher()
    try:
        connection = socket.create_connection((address, int(port)), _PATIENCE)
    except OSError as error:
        print(
            f"{socket.gethostname()} cannot reach the launcher at {address}:{port} ({error}): "
            "is there a firewall between them? --host-ip chooses another address",
            file=sys.stderr,
        )
        return 1
    connection.settimeout(None)
    keep_alive(connection)
    agent = Agent(connection, leash, _free_port())
    agent.introduce(token, os.environ["DMLC_ROLE"])
    return agent.run()


if __name__ == "__main__":
    sys.exit(main())
