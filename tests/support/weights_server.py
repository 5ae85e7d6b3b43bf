"""For tests of downloads: an HTTP server on the loopback that serves one file, well or badly."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Iterator
from typing import Any, Callable

Handler = http.server.BaseHTTPRequestHandler


class FileServer:
    """Serves `data` under every path. `answer` may write an answer of its own; `requests` are those that came."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.answer: Callable[[Handler, FileServer], Any] = lambda handler, server: server.whole(handler)
        self.requests: list[tuple[str, str]] = []  # path, and the range
        self.gate = threading.Event()  # for answers that wait
        outer = self

        class Answers(Handler):
            def do_GET(self) -> None:
                outer.requests.append((self.path, self.headers.get("Range", "")))
                with contextlib.suppress(OSError):  # the other side went away
                    outer.answer(self, outer)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}/"

    def whole(self, handler: Handler, length: int | None = None, first: int | None = None) -> None:
        """The rest that was asked for; `length` is announced in the place of its own, and `first` bytes are sent."""
        start = int(handler.headers.get("Range", "bytes=0-")[6:-1])
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(self.data) - 1}/{len(self.data)}")
        handler.send_header("Content-Length", str(len(self.data) - start if length is None else length))
        handler.end_headers()
        handler.wfile.write(self.data[start:] if first is None else self.data[start : start + first])


@contextlib.contextmanager
def serving(data: bytes) -> Iterator[FileServer]:
    server = FileServer(data)
    thread = threading.Thread(target=server.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.gate.set()
        server.server.shutdown()
        thread.join(600)
        server.server.server_close()
