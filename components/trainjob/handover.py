"""How a TrainJob's launcher passes inputs to its nodes and gets their outputs, through the store.

KFP's launcher copies artifacts into one pod; a stage on several nodes runs in others. The folder of
a handover contains

    inputs/<name>          each input artifact, a file or a folder
    request.json           the ExecutorInput, once all inputs are there
    signature              the launcher's heartbeat: it changes as long as the launcher runs
    outputs/<name>         each output artifact, a file or a folder
    executor_output.json   the stage's output file and the names of all files, once they are there

Neither side uses the other's paths: each has its own path for an artifact, found by its name.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.shared.stage.container import artifact_path
from components.shared.stage.errors import UserError
from components.shared.storage import filesystem, formats

FORMAT = 1  # of what the sides write for each other: their images may be of different versions


class Handover:
    """The folder shared by the launcher of a TrainJob and its nodes; all writes are atomic."""

    def __init__(self, uri: str) -> None:
        """Use a folder, which need not exist yet."""
        self._uri = uri.rstrip("/")
        self._request = f"{self._uri}/request.json"
        self._heartbeat = f"{self._uri}/signature"
        self._output = f"{self._uri}/executor_output.json"

    def give(self, executor_input: Mapping[str, Any]) -> None:
        """Upload an ExecutorInput with its input artifacts; called by the launcher."""
        # Left by nodes that outlived their handover: new ones would take the job for done.
        filesystem.remove(self._output)
        for name, artifacts in _inputs(executor_input).items():
            _put(artifact_path(artifacts), f"{self._uri}/inputs/{name}")
        with filesystem.uploading(self._request) as path:
            path.write_text(json.dumps({"format": FORMAT, **executor_input}))

    def take(self, folder: Path) -> dict[str, Any]:
        """Fetch the inputs; called by a node.

        Args:
            folder: Where the inputs go, and where the stage is to write its outputs.

        Returns:
            The ExecutorInput, with paths in that folder.

        Raises:
            UserError: There is no handover, or it has another format.
        """
        try:
            content = filesystem.read(self._request)
        except FileNotFoundError:
            raise UserError(
                f"{self._uri}: no handover there, or it has been removed: nodes are started by "
                "components.trainjob"
            ) from None
        with formats.reading(content, FORMAT, self._request) as request:
            outputs = request["outputs"]
        for name, artifacts in _inputs(request).items():
            uri = f"{self._uri}/inputs/{name}"
            names = [entry.name for entry in filesystem.listed(uri)]
            _fetch(uri, folder / "inputs" / name, names)
            _set_path(artifacts, folder / "inputs" / name)
        for name, artifacts in outputs.get("artifacts", {}).items():
            _set_path(artifacts, folder / "outputs" / name)
        outputs["outputFile"] = str(folder / "executor_output.json")
        return request

    def give_back(self, executor_input: Mapping[str, Any]) -> None:
        """Upload the stage's outputs; called by rank 0.

        Args:
            executor_input: As `take` returned it.
        """
        outputs = executor_input["outputs"]
        made = json.loads(Path(outputs["outputFile"]).read_text())
        files = {
            name: _put(artifact_path(outputs["artifacts"][name]), f"{self._uri}/outputs/{name}")
            for name in made["artifacts"]
        }
        with filesystem.uploading(self._output) as path:
            path.write_text(json.dumps({"format": FORMAT, "made": made, "files": files}))

    def is_given_back(self) -> bool:
        """Return whether the outputs are there."""
        return filesystem.exists(self._output)

    def take_back(self, executor_input: Mapping[str, Any]) -> bool:
        """Fetch the outputs and write the executor's output file; called by the launcher.

        Args:
            executor_input: As passed to `give`.

        Returns:
            Whether all of them have been given back, and are still there.

        Raises:
            UserError: They have another format.
        """
        outputs = executor_input["outputs"]
        try:
            content = filesystem.read(self._output)
            with formats.reading(content, FORMAT, self._output) as given:
                made, files = given["made"], given["files"]
            for name, artifacts in made["artifacts"].items():
                # By name: a folder that is being removed may be incomplete.
                path = artifact_path(outputs["artifacts"][name])
                _fetch(f"{self._uri}/outputs/{name}", path, files[name])
                # The metadata are the stage's measurements; the URI is this side's.
                (there,), (here,) = artifacts["artifacts"], outputs["artifacts"][name]["artifacts"]
                there |= {"name": here.get("name", ""), "uri": here["uri"]}
                if "location" in there.get("metadata", {}):
                    there["metadata"]["location"] = here["uri"]
        except FileNotFoundError:
            return False
        with filesystem.complete(Path(outputs["outputFile"])) as path:
            path.write_text(json.dumps(made))
        return True

    def beat(self) -> None:
        """Write a heartbeat; called by the launcher, at least once a minute."""
        with filesystem.uploading(self._heartbeat) as path:
            path.write_text(datetime.now(UTC).isoformat())

    def last_heartbeat(self) -> datetime | None:
        """Return the time of the last heartbeat, by the launcher's clock; None before the first."""
        try:
            return datetime.fromisoformat(filesystem.read(self._heartbeat).decode())
        except FileNotFoundError:
            return None

    def remove(self) -> None:
        """Remove the folder, once no node runs any more."""
        filesystem.remove_folder(self._uri)


def _inputs(executor_input: Mapping[str, Any]) -> dict[str, Any]:
    artifacts: dict[str, Any] = executor_input.get("inputs", {}).get("artifacts", {})
    return artifacts


def _set_path(artifacts: dict[str, Any], path: Path) -> None:
    """Set an artifact's path on this node."""
    (artifact,) = artifacts["artifacts"]
    artifact.pop("customPath", None)
    artifact["uri"] = str(path)


def _put(path: Path, uri: str) -> list[str]:
    """Copy a local file or folder; return the names of the files in a folder."""
    if not path.is_dir():
        filesystem.put(path, uri)
        return []
    names = [entry.name for entry in filesystem.listed(str(path))]
    for name in names:
        filesystem.put(path / name, f"{uri}/{name}")
    return names


def _fetch(uri: str, path: Path, names: Sequence[str]) -> None:
    """Copy a file, or the named files of a folder, to a local path, complete or not at all."""
    if not names:
        filesystem.fetch(uri, path)
        return
    with filesystem.complete(path) as folder:
        for name in names:
            filesystem.fetch(f"{uri}/{name}", folder / name)
