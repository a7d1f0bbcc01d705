"""What Lightning's logger uses of MLflow, kept in memory, where the package itself is not installed."""

import sys
from itertools import count
from types import ModuleType, SimpleNamespace

runs = {}
numbers = count(1)


class MlflowClient:
    def __init__(self, tracking_uri):
        pass

    def get_experiment_by_name(self, name):
        return None

    def create_experiment(self, name, artifact_location):
        return name

    def create_run(self, experiment_id, tags):
        info = SimpleNamespace(run_id=f"run{next(numbers)}", experiment_id=experiment_id, status="RUNNING")
        data = SimpleNamespace(metrics={}, params={}, tags=tags)
        runs[info.run_id] = SimpleNamespace(info=info, data=data, steps=[])
        return runs[info.run_id]

    def get_run(self, run_id):
        return runs[run_id]

    def get_metric_history(self, run_id, key):
        return [metric for metric in runs[run_id].steps if metric.key == key]

    def log_batch(self, run_id, metrics=(), params=()):
        runs[run_id].data.params |= {p.key: p.value for p in params}
        runs[run_id].data.metrics |= {m.key: m.value for m in metrics}
        runs[run_id].steps += metrics

    def set_terminated(self, run_id, status):
        runs[run_id].info.status = status


def install(patch):
    """Put the modules where they are imported from."""
    modules = {
        "mlflow": {"set_tracking_uri": lambda uri: None, "get_tracking_uri": lambda: "file:mlruns"},
        "mlflow.tracking": {"MlflowClient": MlflowClient, "context": SimpleNamespace(registry=True)},
        "mlflow.tracking.context.registry": {"resolve_tags": dict},
        "mlflow.entities": {"Metric": SimpleNamespace, "Param": SimpleNamespace},
        "mlflow.utils.mlflow_tags": {"MLFLOW_RUN_NAME": "mlflow.runName"},
    }
    for name, content in modules.items():
        module = ModuleType(name)
        module.__spec__, module.__path__ = SimpleNamespace(), []
        vars(module).update(content)
        patch.setitem(sys.modules, name, module)
    patch.setattr("pytorch_lightning.loggers.mlflow._MLFLOW_AVAILABLE", True)
