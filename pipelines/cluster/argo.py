"""Argo's defaults for workflows, and what disks of a storage class need in them.

KFP configures Argo with the config map `workflow-controller-configmap`. Its key `workflowDefaults`
holds defaults for all workflows. Two are added, in their `spec`:

    podSpecPatch    gives pods the fsGroup of the images' user: a new disk is owned by root
    podGC           deletes pods that have succeeded, and with them their disks

A compiled pipeline cannot carry them: KFP has no fields for them. The text is edited in place, for
comments and the order of keys to stay, and an annotation keeps what it was, for the way back.
"""

import contextlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from components.shared.stage.errors import UserError

# KFP's own namespace, where Argo runs, too.
NAMESPACE = "kubeflow"
CONFIG_MAP = "workflow-controller-configmap"
DEFAULTS = "workflowDefaults"
# Of the config map: the defaults `before` and `after` they were changed, as JSON.
ANNOTATION = "webly/workflow-defaults"
_USER = 1000  # of the images
_FREE_DISKS = ("OnPodSuccess", "OnPodCompletion")
# As an administrator writes them.
_PATCH = json.dumps({"securityContext": {"fsGroup": _USER}})
_COLLECTION = {"strategy": _FREE_DISKS[0]}
# In the config maps of KFP 2.15 to 2.17.
_KFPS = ("artifactRepository", "executor")


@dataclass(frozen=True, slots=True)
class Change:
    """A change of Argo's config map.

    Attributes:
        before: The defaults as they are; None if there are none.
        after: What they become.
        annotation: The annotation with it; None for no such annotation.
        problems: What is left as an administrator chose it, though disks need something else.
    """

    before: str | None
    after: str | None
    annotation: str | None
    problems: tuple[str, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether there is anything to change."""
        return self.before != self.after


def applied(data: Mapping[str, str], annotations: Mapping[str, str]) -> Change:
    """Return the change that adds what the defaults lack.

    Args:
        data: The config map's content.
        annotations: Its annotations.

    Raises:
        UserError: The defaults are not understood.
    """
    if "config" in data:
        raise UserError(
            f"{CONFIG_MAP}: has all in one key, config, in which Argo allows no other: add "
            f"{_PATCH} as spec.podSpecPatch and {json.dumps(_COLLECTION)} as spec.podGC to its "
            f"{DEFAULTS}"
        )
    before, annotation = data.get(DEFAULTS), annotations.get(ANNOTATION)
    after, problems = _added(before)
    if after != before:
        # What is left of an earlier change becomes a part of this one.
        original = _removed(before, **json.loads(annotation)) if annotation else before
        after, problems = _added(original)
        annotation = json.dumps({"before": original, "after": after})
    return Change(before, after, annotation, (*problems, *_lost(data)))


def undone(data: Mapping[str, str], annotations: Mapping[str, str]) -> Change:
    """Return the change that takes away what was added.

    The arguments and errors are those of `applied`.
    """
    before, annotation = data.get(DEFAULTS), annotations.get(ANNOTATION)
    after = _removed(before, **json.loads(annotation)) if annotation else before
    return Change(before, after, None)


def retries(data: Mapping[str, str]) -> tuple[str, str]:
    """Return the policy and number of retries of all templates; empty where there are none."""
    strategy: dict[str, Any] = {}
    with contextlib.suppress(UserError):
        spec = _spec(data.get(DEFAULTS))
        strategy = spec.get("templateDefaults", {}).get("retryStrategy", {})
    return str(strategy.get("retryPolicy", "")), str(strategy.get("limit", ""))


def _lost(data: Mapping[str, str]) -> Iterator[str]:
    absent = ", ".join(name for name in _KFPS if name not in data)
    if absent:
        yield (
            f"no {absent}: so logs are not kept, and pods may be refused; earlier versions of this "
            "project removed them with k8s/argo: apply KFP's manifests again"
        )


def _added(text: str | None) -> tuple[str | None, tuple[str, ...]]:
    """Return the defaults with what they lacked, and what is set differently."""
    spec = _spec(text)
    patch, collection = _patch(spec), spec.get("podGC")
    context = patch.setdefault("securityContext", {})
    changes: dict[str, Any] = {}
    problems = []
    if "fsGroup" not in context:
        context["fsGroup"] = _USER
        # By default, Kubernetes changes the owner of all files whenever it mounts a disk.
        context.setdefault("fsGroupChangePolicy", "OnRootMismatch")
        changes["podSpecPatch"] = json.dumps(patch)
    elif context["fsGroup"] != _USER:
        problems.append(f"fsGroup is {context['fsGroup']}, but the images' user is {_USER}")
    if collection is None:
        changes["podGC"] = _COLLECTION
    elif collection.get("strategy") not in _FREE_DISKS:
        chosen = json.dumps(collection)
        problems.append(f"podGC is {chosen}: finished pods keep their disks, which quotas count")
    return _edited(text, changes), tuple(problems)


def _removed(text: str | None, before: str | None, after: str | None) -> str | None:
    """Return the defaults without what was added when `before` became `after`."""
    if text == after:
        return before
    spec, original, added = _spec(text), _spec(before), _spec(after)
    changes: dict[str, Any] = {}
    if "podGC" in spec and "podGC" not in original and spec["podGC"] == added.get("podGC"):
        changes["podGC"] = None
    patch = _patch(spec)
    context = patch.pop("securityContext", {})
    kept = _patch(original).get("securityContext", {})
    ours = _patch(added).get("securityContext", {})
    rest = {key: value for key, value in context.items() if key in kept or ours.get(key) != value}
    if rest != context:
        patch |= {"securityContext": rest} if rest else {}
        same = patch == _patch(original)
        changes["podSpecPatch"] = original.get("podSpecPatch") if same else json.dumps(patch)
    return _edited(text, changes)


def _spec(text: str | None) -> dict[str, Any]:
    try:
        content = yaml.safe_load(text or "") or {}
    except yaml.YAMLError as error:
        raise UserError(f"{DEFAULTS}: not YAML: {error}") from None
    spec = (content.get("spec") or {}) if isinstance(content, dict) else None
    if not isinstance(spec, dict) or not isinstance(spec.get("podGC") or {}, dict):
        raise UserError(f"{DEFAULTS}: not a workflow's: {text}")
    return spec


def _patch(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is patched into all pods."""
    text = spec.get("podSpecPatch") or ""
    try:
        patch = yaml.safe_load(text) or {}
    except yaml.YAMLError:  # it may have expressions, such as {{workflow.parameters.nodes}}
        patch = None
    if not isinstance(patch, dict) or not isinstance(patch.get("securityContext", {}), dict):
        raise UserError(f"{DEFAULTS}: merge {_PATCH} into its podSpecPatch by hand: {text}")
    return patch


def _edited(text: str | None, changes: Mapping[str, Any]) -> str | None:
    """Return a text with values of its `spec` set, or removed if they are None."""
    if not changes:
        return text
    spec = {name: value for name, value in {**_spec(text), **changes}.items() if value is not None}
    expected = (yaml.safe_load(text or "") or {}) | {"spec": spec}
    edited = text or ""
    with contextlib.suppress(yaml.YAMLError):
        for name, value in changes.items():
            edited = _with_line(edited, name, value)
        if yaml.safe_load(edited) == expected:
            return edited
    # Comments are lost where values have no lines of their own, as in {spec: {…}}.
    return yaml.safe_dump(expected, sort_keys=False)


def _with_line(text: str, name: str, value: Any) -> str:
    """Set a value of `spec` in a line of its own, or remove its lines."""
    flow = yaml.safe_dump({name: value}, default_flow_style=True, width=math.inf)
    new = f"{flow.strip()[1:-1]}\n"
    lines = text.splitlines(keepends=True)
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    entries = {key.value: (key, node) for key, node in root.value} if root else {}
    if "spec" not in entries:
        return "".join([*lines, "spec:\n", f"  {new}"])
    key, spec = entries["spec"]
    first = last = key.start_mark.line + 1
    indent = key.start_mark.column + 2
    for entry, node in spec.value:
        indent = entry.start_mark.column
        if entry.value == name:
            first = entry.start_mark.line
            last = node.end_mark.line + (node.end_mark.column > 0)
    lines[first:last] = [] if value is None else [f"{' ' * indent}{new}"]
    return "".join(lines)
