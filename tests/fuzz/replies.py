"""An endpoint on this machine that sends what is to be tried, whatever it is asked."""

import json
import socketserver
import threading
from functools import lru_cache
from pathlib import Path

from changes import unclear

from regap.analyses.judges.endpoint_judge import Endpoint, EndpointJudge
from regap.analyses.judges.judge_prompts import EXAMPLE, FOR_CHAT, JUDGE_PROMPTS
from regap.interventions.generation import Completion

ANSWER = Completion("example", "text", "an answer", 2, True, 1)


def said(text: str) -> bytes:
    """Return the body of a reply with this text."""
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return json.dumps({"choices": [choice], "usage": {"total_tokens": 3}}).encode()


def response(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    """Return a whole HTTP response."""
    lines = (f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers)
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def chunked(body: bytes) -> bytes:
    """Return a whole HTTP response in two chunks."""
    parts = (body[:20], body[20:], b"")
    sent = b"".join(f"{len(part):x}".encode() + b"\r\n" + part + b"\r\n" for part in parts)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + sent


BODIES = {
    "says": said("refused"),
    "thinks": said("<think>so</think> yes"),
    "fails": json.dumps({"error": {"message": "too long", "code": 3}}).encode(),
}
RESPONSES = {
    "says": response(said("complied")),
    "chunks": chunked(said("refused")),
    "too_long": response(BODIES["fails"], "400 Bad Request"),
    "busy": response(BODIES["fails"], "429 Too Many Requests", "Retry-After: 1"),
    "moved": response(b"", "307 Temporary Redirect", "Location: http://127.0.0.1:1/"),
    "no_key": response(b"<html>no</html>", "401 Unauthorized"),
}


class Sending(socketserver.StreamRequestHandler):
    """Reads a question and sends the content."""

    content = b""

    def handle(self) -> None:
        length = 0
        while line := self.rfile.readline().strip():
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        self.rfile.read(length)
        self.wfile.write(self.content)


@lru_cache
def judges() -> tuple[EndpointJudge, ...]:
    """Return a judge for each prompt, all at one endpoint."""
    socketserver.ThreadingTCPServer.daemon_threads = True
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Sending)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = Endpoint(f"http://127.0.0.1:{server.server_address[1]}/v1", "m", timeout=5.0, attempts=1)
    return tuple(EndpointJudge(name, JUDGE_PROMPTS[name], endpoint) for name in FOR_CHAT)


def judged_by_response(path: Path) -> object:
    """Return the verdict of a judge whose endpoint sends the file; raises ValueError for an unclear reason."""
    Sending.content = path.read_bytes()
    judge = judges()[len(Sending.content) % len(judges())]
    found = judge(EXAMPLE, ANSWER)
    if wrong := unclear(f"{found.verdict}: {found.reason}"):
        raise ValueError(wrong)
    return found


def judged_by_body(path: Path) -> object:
    """The same, where the file is a body in a proper response."""
    body = path.read_bytes()
    status = "400 Bad Request" if path.stem == "fails" else "200 OK"
    path.write_bytes(response(body, status))
    return judged_by_response(path)
