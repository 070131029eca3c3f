"""What connects a persistence with other programs: OpenTelemetry, frameworks, Prometheus."""
