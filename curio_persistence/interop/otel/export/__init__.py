"""Our traces, exported to receivers of OpenTelemetry by OTLP over HTTP."""

from curio_persistence.interop.otel.export.exporting import (
    OtlpOptions,
    OtlpOutcome,
    export_otlp,
    follow_otlp,
)
from curio_persistence.interop.otel.export.report import OtlpReport

__all__ = ["OtlpOptions", "OtlpOutcome", "OtlpReport", "export_otlp", "follow_otlp"]
