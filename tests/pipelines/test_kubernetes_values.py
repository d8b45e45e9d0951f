from collections.abc import Callable
from typing import Any

import pytest

from components.shared.stage.errors import UserError
from pipelines import kubernetes_values as values

Rule = Callable[[object], None]


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        (values.cpu, "4"),
        (values.cpu, "0.5"),
        (values.cpu, "500m"),
        (values.memory, "32Gi"),
        (values.disk, "500M"),
        (values.disk, "1.5Ti"),
        (values.count, "0"),
        (values.count, "16"),
        (values.resource, "nvidia.com/gpu"),
        (values.resource, "nvidia.com/mig-1g.5gb"),
        (values.object_name, "fast.ssd-1"),
        (values.queue, "team-a"),
        (values.node_selector, {}),
        (values.node_selector, {"pool": "gpu", "example.com/kind": "a_1.b", "empty": ""}),
        (values.tolerations, []),
        (values.tolerations, [{"operator": "Exists"}]),
        (values.tolerations, [{"key": "pool", "value": "gpu", "effect": "NoSchedule"}]),
        (
            values.tolerations,
            [
                {
                    "key": "a.b/c",
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": 300.0,  # as the API returns a number
                }
            ],
        ),
    ],
)
def test_what_kubernetes_accepts_is_accepted(rule: Rule, value: object) -> None:
    rule(value)


@pytest.mark.parametrize(
    ("rule", "value", "message"),
    [
        (values.cpu, 4, "as text, such as '4'"),
        (values.cpu, "0", "must be a number of cores"),
        (values.cpu, "0.5m", "must be a number of cores"),
        (values.cpu, "-1", "must be a number of cores"),
        (values.memory, "1.5Gi", "in whole numbers, such as '32Gi'"),
        (values.memory, "32", "such as '32Gi'"),
        (values.disk, "32GB", "such as '128Gi'"),
        (values.disk, "0.0Gi", "such as '128Gi'"),
        (values.memory, "32K", "such as '32Gi'"),
        (values.count, 1, "as text, such as '8'"),
        (values.count, "-1", "must be a whole number"),
        (values.count, "1.5", "must be a whole number"),
        (values.count, "", "must be a whole number"),
        (values.resource, "gpu", "such as nvidia.com/gpu"),
        (values.resource, "NVIDIA.com/gpu", "such as nvidia.com/gpu"),
        (values.resource, "nvidia.com/", "such as nvidia.com/gpu"),
        (values.object_name, "Fast", "must be a name"),
        (values.object_name, "", "must be a name"),
        (values.queue, "team.a", "must be a name"),
        (values.queue, "q" * 64, "at most 63"),
        (values.node_selector, ["pool"], "such as {'pool': 'gpu'}"),
        (values.node_selector, {"pool": True}, 'pool: True must be text: write "true"'),
        (values.node_selector, {"pool": "a b"}, "pool: 'a b' must be at most 63 letters"),
        (values.node_selector, {"a pool": "b"}, "'a pool' is no key"),
        (values.node_selector, {"Example.com/pool": "b"}, "is no key"),
        (values.node_selector, {"/pool": "b"}, "is no key"),
        (values.tolerations, {"key": "pool"}, "must be a list of tolerations"),
        (values.tolerations, ["pool"], "toleration 'pool': must be a mapping with some of key"),
        (values.tolerations, [{"name": "x"}], "no key 'name'; there are key, operator, value"),
        (values.tolerations, [{"key": "a", "operator": "exists"}], "did you mean Exists"),
        (values.tolerations, [{"key": "a", "effect": "Never"}], "choose one of NoSchedule, P"),
        (values.tolerations, [{"value": "x"}], "the operator must be Exists"),
        (values.tolerations, [{"key": "a b", "value": "x"}], "'a b' is no key"),
        (values.tolerations, [{"key": "a", "operator": "Exists", "value": "x"}], "takes no value"),
        (values.tolerations, [{"key": "a", "value": 1}], 'a: 1 must be text: write "1"'),
        (values.tolerations, [{"key": "a", "tolerationSeconds": 5}], "for the effect NoExecute"),
        (
            values.tolerations,
            [{"key": "a", "effect": "NoExecute", "tolerationSeconds": "5"}],
            "must be a whole number",
        ),
    ],
)
def test_what_kubernetes_would_refuse_or_drop_is_refused(
    rule: Rule, value: Any, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        rule(value)
