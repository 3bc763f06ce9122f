"""Makes the Prometheus operator's PrometheusRule out of the alerts, on stdout.

prometheus_rule.py deploy/prometheus/alerts.yaml
"""

import sys
from pathlib import Path

import yaml


def prometheus_rule(alerts: str) -> str:
    """The resource whose spec is a file of alerts."""
    rule = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "turnkeep"},
        "spec": yaml.safe_load(alerts),
    }
    text = yaml.safe_dump(rule, sort_keys=False, allow_unicode=True, width=100)
    return f"# Made from deploy/prometheus/alerts.yaml by `make kubernetes`.\n{text}"


if __name__ == "__main__":
    sys.stdout.write(prometheus_rule(Path(sys.argv[1]).read_text()))
