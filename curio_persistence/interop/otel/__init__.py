"""OpenTelemetry: spans, logs and metrics that others send, and our runs as spans."""
