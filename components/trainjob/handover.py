"""What a TrainJob's launcher hands over to its nodes, and they give back, by way of the store.

KFP's launcher copies artifacts into one pod; a stage on several nodes runs in others. In the folder
of a hand-over lie

    inputs/<name>          each input artifact, a file or a folder
    request.json           the ExecutorInput, once all inputs are there
    signature              of who follows the nodes: it changes as long as somebody does
    outputs/<name>         each output artifact, likewise
    executor_output.json   the stage's output file and the names of all files, once they are there

No path of one side is used on the other: each has a place for an artifact by its name.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.shared.stage.container import artifact_path
from components.shared.stage.errors import UserError
from components.shared.storage import filesystem, formats

FORMAT = 1  # of what either side writes for the other: their images may be of different versions


class Handover:
    """The folder that the launcher of a TrainJob and its nodes share.

    What one side has given is there complete or not at all.
    """

    def __init__(self, uri: str) -> None:
        """Use a folder, which need not be there."""
        self._uri = uri.rstrip("/")
        self._request = f"{self._uri}/request.json"
        self._signature = f"{self._uri}/signature"
        self._output = f"{self._uri}/executor_output.json"

    def give(self, executor_input: Mapping[str, Any]) -> None:
        """Hand over an ExecutorInput with its input artifacts; the launcher does."""
        # Of nodes that ended after what they shared was removed: new ones would think all is done.
        filesystem.remove(self._output)
        for name, artifacts in _inputs(executor_input).items():
            _put(artifact_path(artifacts), f"{self._uri}/inputs/{name}")
        with filesystem.uploading(self._request) as path:
            path.write_text(json.dumps({"format": FORMAT, **executor_input}))

    def take(self, folder: Path) -> dict[str, Any]:
        """Fetch what was handed over; a node does.

        Args:
            folder: For the inputs, and for the outputs that are to be made.

        Returns:
            The ExecutorInput, with paths in that folder.

        Raises:
            UserError: Nothing was handed over, or in another format.
        """
        try:
            content = filesystem.read(self._request)
        except FileNotFoundError:
            raise UserError(
                f"{self._uri}: nothing was handed over there, or it is removed: nodes are started "
                "by components.trainjob"
            ) from None
        with formats.reading(content, FORMAT, self._request) as request:
            outputs = request["outputs"]
        for name, artifacts in _inputs(request).items():
            uri = f"{self._uri}/inputs/{name}"
            names = [entry.name for entry in filesystem.listed(uri)]
            _fetch(uri, folder / "inputs" / name, names)
            _place(artifacts, folder / "inputs" / name)
        for name, artifacts in outputs.get("artifacts", {}).items():
            _place(artifacts, folder / "outputs" / name)
        outputs["outputFile"] = str(folder / "executor_output.json")
        return request

    def give_back(self, executor_input: Mapping[str, Any]) -> None:
        """Upload the outputs that a stage has made; the node with the first rank does.

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
        """Fetch the outputs and write the executor's output file; the launcher does.

        Args:
            executor_input: As it was given.

        Returns:
            Whether all of them have been given back, and are still there.

        Raises:
            UserError: They were given back in another format.
        """
        outputs = executor_input["outputs"]
        try:
            content = filesystem.read(self._output)
            with formats.reading(content, FORMAT, self._output) as given:
                made, files = given["made"], given["files"]
            for name, artifacts in made["artifacts"].items():
                # By name: of a folder that is being removed there may be a part.
                path = artifact_path(outputs["artifacts"][name])
                _fetch(f"{self._uri}/outputs/{name}", path, files[name])
                # The metadata are what the stage has measured; the place is this side's.
                (there,), (here,) = artifacts["artifacts"], outputs["artifacts"][name]["artifacts"]
                there |= {"name": here.get("name", ""), "uri": here["uri"]}
        except FileNotFoundError:
            return False
        with filesystem.complete(Path(outputs["outputFile"])) as path:
            path.write_text(json.dumps(made))
        return True

    def sign(self) -> None:
        """Say that somebody follows the nodes; the launcher does, once a minute at least."""
        with filesystem.uploading(self._signature) as path:
            path.write_text(datetime.now(UTC).isoformat())

    def signature(self) -> datetime | None:
        """Return when somebody has signed last, by the signer's clock; None if nobody has."""
        try:
            return datetime.fromisoformat(filesystem.read(self._signature).decode())
        except FileNotFoundError:
            return None

    def remove(self) -> None:
        """Remove all of it, once no node runs any more."""
        filesystem.remove_folder(self._uri)


def _inputs(executor_input: Mapping[str, Any]) -> dict[str, Any]:
    artifacts: dict[str, Any] = executor_input.get("inputs", {}).get("artifacts", {})
    return artifacts


def _place(artifacts: dict[str, Any], path: Path) -> None:
    """Say where an artifact lies on this node."""
    (artifact,) = artifacts["artifacts"]
    artifact.pop("customPath", None)
    artifact["uri"] = str(path)


def _put(path: Path, uri: str) -> list[str]:
    """Copy a local file or folder; of a folder return the files below it."""
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
