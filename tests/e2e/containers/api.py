"""api.py ADDRESS CERTIFICATE TOKEN FILE: as much of Kubernetes' interface as pods of ours use: list pods by labels, and
patch labels. FILE holds {POD: {LABEL: VALUE}}, and is written anew at each change."""
import http.server
import json
import os
import ssl
import sys
import threading
import urllib.parse

PODS = "/api/v1/namespaces/test/pods"
LOCK = threading.Lock()


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, status, body):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def is_let_in(self):
        if self.headers["Authorization"] == "Bearer " + self.server.token:
            return True
        self.answer(401, {"message": "Unauthorized"})
        return False

    def do_GET(self):
        asked = urllib.parse.urlsplit(self.path)
        if not self.is_let_in():
            return
        if asked.path != PODS:
            return self.answer(404, {"message": asked.path})
        selector = urllib.parse.parse_qs(asked.query)["labelSelector"][0]
        wanted = dict(one.split("=") for one in selector.split(",")).items()
        with LOCK, open(self.server.file) as file:
            found = [name for name, labels in json.load(file).items() if wanted <= labels.items()]
        self.answer(200, {"items": [{"metadata": {"name": name}} for name in found]})

    def do_PATCH(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.is_let_in():
            return
        if self.headers["Content-Type"] != "application/merge-patch+json":
            return self.answer(415, {"message": self.headers["Content-Type"]})
        with LOCK:
            with open(self.server.file) as file:
                pods = json.load(file)
            name = self.path[len(PODS) + 1 :]
            if not self.path.startswith(PODS + "/") or name not in pods:
                return self.answer(404, {"message": self.path})
            pods[name].update(body["metadata"]["labels"])
            with open(self.server.file + ".new", "w") as file:
                json.dump(pods, file)
            os.rename(self.server.file + ".new", self.server.file)
        self.answer(200, {"metadata": {"name": name, "labels": pods[name]}})

    def log_message(self, *args):
        pass


def main(address, certificate, token, file):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = http.server.ThreadingHTTPServer((address, 443), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.token, server.file = token, file
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
