"""Parse compiled pipelines with the protos of some version of KFP: `strict_parse.py SITE FILE …`.

In a process of its own, for protobuf takes one version of a message only. The modules are the same
as in `kfp`, whose own `__init__` is not wanted.
"""

import importlib
import sys
import types
from typing import Any

import yaml
from google.protobuf import json_format


def main(site: str, *paths: str) -> None:
    package = types.ModuleType("kfp")
    package.__path__ = [f"{site}/kfp"]
    kubernetes = types.ModuleType("kfp.kubernetes")
    kubernetes.__path__ = [f"{site}/kfp/kubernetes"]
    sys.modules |= {"kfp": package, "kfp.kubernetes": kubernetes}
    pipelines: Any = importlib.import_module("kfp.pipeline_spec.pipeline_spec_pb2")
    pods: Any = importlib.import_module("kfp.kubernetes.kubernetes_executor_config_pb2")
    assert pipelines.__file__.startswith(site) and pods.__file__.startswith(site)
    for path in paths:
        with open(path) as file:
            spec, platform = yaml.safe_load_all(file)
        json_format.ParseDict(spec, pipelines.PipelineSpec())
        # Structs in the message above: what the backend makes of them is stricter.
        deployment = pipelines.PipelineDeploymentConfig()
        json_format.ParseDict(spec["deploymentSpec"], deployment)
        json_format.ParseDict(platform, pipelines.PlatformSpec())
        executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
        for executor in executors.values():
            json_format.ParseDict(executor, pods.KubernetesExecutorConfig())
        assert set(executors) == set(deployment.executors)
        print(path)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except json_format.ParseError as error:
        sys.exit(f"{error}")
