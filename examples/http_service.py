"""An HTTP service that enqueues jobs and tells how they are, without a framework.

    python http_service.py [PORT]
    curl -d 'some text' localhost:8080/jobs         {"id": "1"}
    curl localhost:8080/jobs/1                      {"id": "1", "state": "completed", "exit_code": 0}

202 is answered once the job is on disk: nothing that was accepted is lost. What comes from outside is passed as one
word of an argv, never through a shell. A Queue belongs to one thread, so the server has one; each request takes a
millisecond or so, and the work is done by workers.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

from queuectl import NotFound, Queue

CHECKSUM = "import hashlib, sys; print(hashlib.sha256(sys.argv[1].encode()).hexdigest())"


class Handler(BaseHTTPRequestHandler):
    """`POST /jobs` with a text enqueues its checksum; `GET /jobs/ID` tells how that job is."""

    queue: Queue

    def do_POST(self) -> None:
        """Enqueue."""
        if self.path != "/jobs":
            return self.answer(404, {"error": "POST to /jobs"})
        text = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        return self.answer(202, {"id": self.queue.enqueue(["python3", "-c", CHECKSUM, text], queue="web")})

    def do_GET(self) -> None:
        """Tell how a job is."""
        try:
            job = self.queue.job(self.path.removeprefix("/jobs/"))
        except NotFound as error:
            return self.answer(404, {"error": str(error)})
        return self.answer(200, {"id": job.id, "state": job.state, "exit_code": job.exit_code})

    def answer(self, status: int, body: dict[str, object]) -> None:
        """Send a JSON document."""
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode() + b"\n")


def main(port: int) -> None:
    """Serve until Ctrl-C."""
    with Queue() as Handler.queue, HTTPServer(("localhost", port), Handler) as server:
        print(f"http://localhost:{server.server_port}/jobs", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 8080)
