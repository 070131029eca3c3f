"""Send each trace to a receiver of OpenTelemetry when it has ended; here to one in this program."""

import gzip
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from curio_persistence import SQLitePersistence, UnavailableError, export_otlp


class Receiver(BaseHTTPRequestHandler):
    """Prints the names of the spans that come, and is busy once."""

    is_busy = True

    def do_POST(self):
        body = gzip.decompress(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(503 if Receiver.is_busy else 200)
        self.send_header("Retry-After", "3600")
        self.end_headers()
        if not Receiver.is_busy:
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for span in resource.scope_spans[0].spans:
                    print("received", span.name)
        Receiver.is_busy = False

    def log_message(self, *args):
        """Print nothing of the requests."""


receiver = HTTPServer(("127.0.0.1", 0), Receiver)
Thread(target=receiver.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{receiver.server_port}"

with SQLitePersistence("sent.db") as persistence:
    with persistence.record_run(agent_id="forecaster", objective="Weather in Bergen") as run:
        with run.tool("look_up", {"city": "Bergen"}) as call:
            call.result = "rain"
        run.finish("It rains.")
    try:
        export_otlp(persistence, url, name="receiver")
    except UnavailableError as error:
        print("not taken:", str(error).partition(": ")[2])

    # The receiver asked to be left alone for an hour, which another program does not know.
    report = export_otlp(persistence, url, name="receiver")
    print(report.traces, "trace sent;", export_otlp(persistence, url, name="receiver").traces)

    with persistence.record_run(agent_id="forecaster"):
        waiting = export_otlp(persistence, url, name="receiver").waiting
        print(waiting, "trace waits for its end")
    export_otlp(persistence, url, name="receiver")
receiver.shutdown()
receiver.server_close()
