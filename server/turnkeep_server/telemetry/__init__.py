"""Who listens to the calls: metrics for Prometheus, traces for OpenTelemetry."""
