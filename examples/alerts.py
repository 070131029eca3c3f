"""Be told when an agent fails too often: a rule, an evaluator, and a webhook that checks who calls.

    python examples/alerts.py

The receiver is a server of this program; in earnest it is another one, or Slack, and the evaluator
is `curio-persistence alerts watch`.
"""

import hashlib
import hmac
import json
import os
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

from curio_persistence import AlertSink, InMemoryPersistence

KEY = os.environ["ALERTS_KEY"] = "a key that both sides know"


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        signed = self.headers["X-Curio-Timestamp"].encode() + b"." + body
        digest = hmac.new(KEY.encode(), signed, hashlib.sha256).hexdigest()
        genuine = hmac.compare_digest(f"sha256={digest}", self.headers["X-Curio-Signature"])
        told = json.loads(body)
        print("genuine:" if genuine else "forged:", told["told"], "·", told["message"])
        self.send_response(204 if genuine else 403)
        self.end_headers()

    def log_message(self, *_):
        pass


def main():
    with HTTPServer(("127.0.0.1", 0), Receiver) as server, InMemoryPersistence() as persistence:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        sink = AlertSink.webhook(url, secret_env="ALERTS_KEY", allow_private=True)
        persistence.alerts.create("failures", "error_rate", 0.2, window="15m", sinks=[sink])
        for number in range(12):
            run_an_agent(persistence, fails=number in (1, 2))
            persistence.alerts.evaluate()
        server.shutdown()
        for alert in persistence.alerts.history():
            print(alert.state, alert.name, [told["state"] for told in alert.deliveries])


def run_an_agent(persistence, *, fails):
    with persistence.record_run(agent_id="weather") as run:
        run.finish("Rain in Bergen", status="error" if fails else "completed")


if __name__ == "__main__":
    main()
