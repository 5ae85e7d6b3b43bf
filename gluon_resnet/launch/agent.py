"""The agent: runs the command of one role on its machine, for a launcher to which it holds one TCP connection.

It is started by its file's name, on machines where this package need not be importable: standard library only.
The first bytes that the agent sends are the run's token, without which the launcher reads no further. What follows,
both ways, are JSON objects, one a line. The agent says who it is (`role`, `host`, `pid`, and a `port` that is free
here); it is told what to run (`command`, `environment`, `folder`); then it sends each `line`, with the `stream` it
comes from (1 or 2), and at last how the command `ended` (as subprocess has it). The launcher may send a `signal` to
pass on.

The variable LAUNCHER says where the launcher is, and the token: ADDRESS:PORT:TOKEN. Where that variable had to stand
in a command line, which everybody on a machine can read, it is ADDRESS:PORT, and the token comes by standard input.
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
LOST = 14  # seconds after which an end of a connection that does not answer counts as gone
GRACE = 5  # seconds between SIGTERM and SIGKILL where nobody waits for a state to be saved
_PATIENCE = (
    30  # seconds to connect; and for a command to end on a signal that somebody else sent to the agent
)
_LONGEST = 2**16  # bytes of a line, which is cut there


def keep_alive(connection: socket.socket) -> None:
    """Let the kernels find out that the other machine is gone, within 15 s.

    Kernels answer for a process that is stopped (Ctrl-Z) or starved, too, which heartbeats of its own would not.
    """
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", 5),
        ("TCP_KEEPINTVL", 5),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", 1000 * LOST),  # of data on the way, for which there are no keep-alives
    ):
        connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


class Leash:
    """A process group for the command, whose leader ends it when the agent is gone, even by kill -9."""

    def __init__(self) -> None:
        read, self._write = os.pipe()  # its end here is closed by the kernel, whatever ends this process
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
        """A signal to all in the group. Its number stays reserved: the leader is never waited for."""
        os.killpg(self._group, number)


def _lead(agent: int) -> NoReturn:
    """The leader's life; `agent` is the end of a pipe that the agent holds."""
    try:
        os.setpgid(0, 0)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for stream in range(3):  # those of the agent are not to stay open by this process
            os.dup2(os.open(os.devnull, os.O_RDWR), stream)
        os.read(agent, 1)
        os.killpg(0, signal.SIGTERM)
        time.sleep(GRACE)
        os.killpg(0, signal.SIGKILL)
    finally:
        os._exit(1)


class Agent:
    """One command, from the launcher's word to its end.

    Args:
        connection: to the launcher; owned.
        leash: made before the connection, which its leader is not to hold open.
        port: a socket bound to a free port, given up just before the command starts.
    """

    def __init__(self, connection: socket.socket, leash: Leash, port: socket.socket) -> None:
        self._connection = connection
        self._messages = connection.makefile("rb")
        self._lock = threading.Lock()
        self._leash = leash
        self._port = port
        self._done = threading.Event()

    def introduce(self, token: str, role: str) -> None:
        with contextlib.suppress(OSError):  # `_receive` sees it, too
            self._connection.sendall(token.encode())
        self._send(
            role=role,
            host=socket.gethostname(),
            pid=os.getpid(),
            port=self._port.getsockname()[1],
        )

    def run(self) -> int:
        """Until the command has ended; the exit status of this process: 0 when the launcher knows all."""
        order = self._receive()
        self._port.close()
        if order is None or "command" not in order:  # the run has ended before it began
            return 1
        try:
            command = self._start(order)
        except OSError as error:
            self._send(line=f"{error.filename or order['command'][0]}: {error.strerror}", stream=2)
            self._send(ended=127)  # as a shell has it
            while self._receive():  # the launcher's end of the connection is the last
                pass
            return 0
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # of mpirun, srun, an administrator
            signal.signal(number, lambda number, frame: self._stop_soon())
        watcher = threading.Thread(target=self._watch, args=(command,), daemon=True)
        watcher.start()
        while True:
            message = self._receive()
            if message is None:  # the launcher has heard the end, or is gone
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
        # `python` is the launcher's Python, on machines where nobody has activated an environment, too.
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
        self._leash.send(signal.SIGKILL)  # what it has left behind
        for thread in forwards:
            thread.join(GRACE)  # a process that has left the group may hold the stream
        self._done.set()
        self._send(ended=status)

    def _forward(self, stream: IO[bytes], number: int) -> None:
        for line in iter(lambda: stream.readline(_LONGEST), b""):
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            self._send(line=text.rsplit("\r", 1)[-1], stream=number)  # of a bar, its last state

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
            pass  # `_receive` sees it, too; the command's output is read on, or it would wait

    def _receive(self) -> Optional[dict[str, Any]]:
        """The next message; None when there is no launcher any more."""
        try:
            line = self._messages.readline()
        except OSError:
            return None
        return json.loads(line) if line.endswith(b"\n") else None


def _free_port() -> socket.socket:
    """A socket bound to one below those that the system gives away by itself: it stays free for a while."""
    for number in random.sample(range(15000, 30000), 1000):
        bound = socket.socket()
        try:
            bound.bind(("", number))
            return bound
        except OSError:
            bound.close()
    raise OSError("no port from 15000 to 29999 is free")


def main() -> int:
    """Connect to the launcher that the environment names; the exit status."""
    try:
        leash = Leash()
        try:
            return _work(leash)
        finally:
            leash.send(signal.SIGKILL)  # not more than its leader
    except (BlockingIOError, RuntimeError) as error:  # of fork, and of threads
        print(
            f"{socket.gethostname()} can start no more processes or threads ({error}): end others, or raise the limit "
            "(ulimit -u)",
            file=sys.stderr,
        )
        return 1


def _launcher() -> tuple[str, str, str]:
    """Address, port and token; the command's environment is to have none of them."""
    address, port, *token = os.environ.pop(LAUNCHER).split(":")
    return address, port, token[0] if token else sys.stdin.buffer.readline(64).decode().strip()


def _work(leash: Leash) -> int:
    address, port, token = _launcher()
    try:
        connection = socket.create_connection((address, int(port)), _PATIENCE)
    except OSError as error:
        print(
            f"{socket.gethostname()} does not reach the launcher at {address}:{port} ({error}): "
            "is a firewall between them? --host-ip chooses another address",
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
