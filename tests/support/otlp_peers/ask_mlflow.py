"""Prints what a server of MLflow has, as JSON; runs in the environment of MLflow."""

import json
import sys

import mlflow

SHOWN = ("agent.name", "tool.name", "session.id", "tag.tags", "metadata")

mlflow.set_tracking_uri(sys.argv[1])
[trace] = mlflow.search_traces(locations=["0"], return_type="list")
info = trace.info
print(
    json.dumps(
        {
            "state": str(info.state),
            "request": info.request_preview,
            "response": info.response_preview,
            "tokens": info.token_usage,
            "metadata": dict(info.trace_metadata),
            "tags": dict(info.tags),
            "spans": [
                {
                    "name": span.name,
                    "type": span.span_type,
                    "parent": span.parent_id,
                    "id": span.span_id,
                    "status": str(span.status.status_code),
                    "message": span.status.description,
                    "inputs": span.inputs,
                    "outputs": span.outputs,
                    "attributes": {
                        name: value
                        for name, value in span.attributes.items()
                        if name.startswith(("mlflow.chat", "mlflow.llm")) or name in SHOWN
                    },
                    "events": [event.name for event in span.events],
                }
                for span in trace.data.spans
            ],
        },
        default=str,
    )
)
