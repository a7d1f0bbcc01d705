"""What our logger uses of MLflow, kept in memory, where the package itself is not installed."""

import re
import sys
from collections import namedtuple
from itertools import count
from types import ModuleType, SimpleNamespace

runs = {}
numbers = count(1)


Metric = namedtuple("Metric", "key value timestamp step")


class MlflowClient:
    def __init__(self, tracking_uri):
        pass

    def get_experiment_by_name(self, name):
        return None

    def create_experiment(self, name):
        return name

    def create_run(self, experiment_id, run_name):
        info = SimpleNamespace(run_id=f"run{next(numbers)}", experiment_id=experiment_id, status="RUNNING")
        data = SimpleNamespace(metrics={}, params={})
        runs[info.run_id] = SimpleNamespace(info=info, data=data, steps=[])
        return runs[info.run_id]

    def get_run(self, run_id):
        return runs[run_id]

    def get_metric_history(self, run_id, key):
        return [metric for metric in runs[run_id].steps if metric.key == key]

    def log_batch(self, run_id, metrics=(), params=()):
        assert not [m.key for m in metrics if re.search(r"[^\w/. -]", m.key)], "MLflow refuses such names"
        runs[run_id].data.params |= {p.key: p.value for p in params}
        runs[run_id].data.metrics |= {m.key: m.value for m in metrics}
        runs[run_id].steps += metrics

    def update_run(self, run_id, status):
        runs[run_id].info.status = status

    def set_terminated(self, run_id, status):
        runs[run_id].info.status = status


def install(patch):
    """Put the modules where they are imported from."""
    modules = {
        "mlflow": {"get_tracking_uri": lambda: "file:mlruns"},
        "mlflow.tracking": {"MlflowClient": MlflowClient},
        "mlflow.entities": {"Metric": Metric, "Param": namedtuple("Param", "key value")},
    }
    for name, content in modules.items():
        module = ModuleType(name)
        module.__spec__, module.__path__ = SimpleNamespace(), []
        vars(module).update(content)
        patch.setitem(sys.modules, name, module)
