"""
The ledger's totals and the story of each message over OTLP, for collectors of OpenTelemetry.

Only ``variables`` is imported before it is known that something is to be sent.
"""
