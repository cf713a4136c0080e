"""Serve the built book on this machine only, compressed as public hosts do.

python book/tools/serve.py [--port 8000]
"""

from __future__ import annotations

import argparse
import gzip
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

BUILT = Path(__file__).resolve().parents[2] / "_build" / "html"
COMPRESSED = {".css", ".html", ".js", ".json", ".mjs", ".svg", ".txt"}


class BookHandler(SimpleHTTPRequestHandler):
    """Files of the built book; text is compressed when the browser takes it so."""

    # A system's own table may call modules text/plain, which browsers refuse to run.
    extensions_map = SimpleHTTPRequestHandler.extensions_map | {
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".woff2": "font/woff2",
    }

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        path = path / "index.html" if path.is_dir() else path
        accepted = self.headers.get("Accept-Encoding", "")
        if path.suffix not in COMPRESSED or "gzip" not in accepted or not path.exists():
            return super().do_GET()
        content = gzip.compress(path.read_bytes(), compresslevel=6, mtime=0)
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(str(path)))
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        """A line for every request would bury what the command prints."""


def make_server(folder: Path = BUILT, port: int = 0) -> ThreadingHTTPServer:
    """A server of ``folder`` on the loopback address; port 0 takes any free one."""
    handler = partial(BookHandler, directory=str(folder))
    return ThreadingHTTPServer(("127.0.0.1", port), handler)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--port", type=int, default=8000)
    port = parser.parse_args().port
    if not (BUILT / "index.html").exists():
        print("there is no built book yet; run: make book")
        return 1
    try:
        server = make_server(port=port)
    except OSError as error:
        print(f"port {port}: {error.strerror}; try another: make serve PORT=8001")
        return 1
    print(f"the book is at http://127.0.0.1:{port}/ (stop with Ctrl-C)", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
