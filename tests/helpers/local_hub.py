"""A hub of models on this machine, that huggingface_hub sends to and fetches from."""

import base64
import hashlib
import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from huggingface_hub import constants


class Hub(ThreadingHTTPServer):
    """What of the Hub's protocol a push and a download need, in memory."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answers)
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.made, self.commits, self.files, self.refused = [], [], {}, 0


class Answers(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        hub = self.server
        if hub.refused:
            return self.answer({"error": "no"}, status=hub.refused)
        if self.path == "/api/repos/create":
            hub.made.append(json.loads(body))
            return self.answer({"url": f"{hub.address}/me/net"})
        if self.path == "/api/validate-yaml":
            return self.answer({"errors": [], "warnings": []})
        if "/preupload/" in self.path:
            named = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            return self.answer({"files": named})
        said = [json.loads(line) for line in body.splitlines()]
        files = {e["value"]["path"]: base64.b64decode(e["value"]["content"]) for e in said if e["key"] == "file"}
        hub.commits.append((said[0]["value"]["summary"], sorted(files)))
        hub.files |= files
        return self.answer({"success": True, "commitUrl": f"{hub.address}/me/net/commit/1", "commitOid": "1" * 40})

    def do_HEAD(self):
        self.do_GET(body=False)

    def do_GET(self, body=True):
        content = self.server.files.get(self.path.rsplit("/", 1)[-1])
        if content is None:
            return self.answer({"error": "Entry not found"}, status=404)
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", "1" * 40)
        self.end_headers()
        self.wfile.write(content if body else b"")
        return None

    def answer(self, value, status=200):
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@contextmanager
def local_hub(monkeypatch, cache):
    """A hub on this machine, where tests are offline otherwise."""
    with Hub() as server:
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        monkeypatch.setattr(constants, "is_offline_mode", lambda: False)
        monkeypatch.setattr(constants, "ENDPOINT", server.address)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.address + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
        monkeypatch.setenv("HF_TOKEN", "hf_test")
        yield server
        server.shutdown()
