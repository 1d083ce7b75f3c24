"""
The AWS services the exporter talks to: the queue and the objects.
"""
