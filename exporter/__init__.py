"""
Count AWS CodeCommit events from CloudTrail log files, each once, for Prometheus.
"""
