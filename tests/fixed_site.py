"""
A small HTTP server that answers what it has been told.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

Answers = Mapping[str, list[tuple[int, str]]]
"""By path, the status and text of each answer in turn; the last one is given again and again."""


class FixedSite:
    """
    The server, there inside the ``with`` block.

    ``port`` is where it listens, on 127.0.0.1.
    """

    def __init__(self, answers: Answers) -> None:
        left = {path: iter(said) for path, said in answers.items()}

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, text = next(left[self.path], answers[self.path][-1])
                self.send_response(status)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                """
                Keep quiet.
                """

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,)).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
