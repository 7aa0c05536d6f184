"""OpenTelemetry: a span of each call, and metrics of calls, budgets and queues. Reads what a session tells, and sends nothing."""
