"""Kubeflow Pipelines' API, through the SDK's client."""

import contextlib
import functools
import io
import json
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import kfp
from kfp.client.set_volume_credentials import ServiceAccountTokenVolumeCredentials
from kfp_server_api import (
    ApiException,
    V2beta1Pipeline,
    V2beta1PipelineVersionReference,
    V2beta1Run,
    V2beta1RuntimeConfig,
)
from urllib3.exceptions import HTTPError

from components.shared.stage import retry
from components.shared.stage.errors import TransientError, UserError, shortened
from pipelines.cluster.submission import digest
from pipelines.run import graph
from pipelines.run.graph import Graph, canonical

logger = logging.getLogger(__name__)
Answer = TypeVar("Answer")
# An API server that is updated or moved to another node is back within minutes; a port-forward,
# when its user looks at it.
_PATIENCE, _FIRST_PAUSE, _LONGEST_PAUSE = 3600.0, 1.0, 15.0  # seconds
_SECONDS_TO_ANSWER = 20.0  # a look at a run; behind a dead port-forward no answer ever comes
# What KFP calls the documents of a compiled file.
_DOCUMENTS = ("pipeline_spec", "platform_spec")
_REMEDIES = {
    401: "give a valid token with --token-file, KFP_TOKEN or KF_PIPELINES_SA_TOKEN_PATH",
    403: "ask for these permissions, or give another --namespace or --token-file",
    404: "check the id, --endpoint and --namespace",
}


class ClusterError(TransientError):
    """The API does not answer, or not as it should."""


class _Client(kfp.Client):  # type: ignore[misc]
    def get_kfp_healthz(self, sleep_duration: int = 5) -> Any:
        """Ask once: the SDK's own retries are silent for half a minute, then print tracebacks."""
        return self._healthz_api.healthz_service_get_healthz()


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach an API; empty values leave it to the environment.

    Attributes:
        endpoint: Its URL, such as http://localhost:8080.
        namespace: The user's namespace.
        token_file: A file with a bearer token; read again for each request.
    """

    endpoint: str = ""
    namespace: str = ""
    token_file: str = ""

    def options(self) -> str:
        """Return the equivalent command-line options."""
        given = {
            "endpoint": self.endpoint,
            "namespace": self.namespace,
            "token-file": self.token_file,
        }
        return "".join(f" --{name} {value}" for name, value in given.items() if value)

    def pods(self) -> str:
        """Return the namespace that the pods run in."""
        return self.namespace or "kubeflow"

    def url(self) -> str:
        """Return the endpoint's URL, if it is known here.

        Raises:
            UserError: It is none.
        """
        names = ("KFP_ENDPOINT", "KF_PIPELINES_ENDPOINT")
        url = self.endpoint or next(filter(None, map(os.environ.get, names)), "")
        if url and "://" not in url:
            known = shortened(url)
            raise UserError(f"{known}: write https://{known} or http://{known}")
        if url and not _is_http(url):
            raise UserError(f"{shortened(url)}: must be a URL such as http://localhost:8080")
        return url.rstrip("/")


class Cluster:
    """The pipelines, experiments and runs of a namespace.

    Attributes:
        say: Called with a line when the API stops answering, and when it answers again.
    """

    def __init__(self, access: Access) -> None:
        """Connect.

        Raises:
            UserError: The API's address is missing, or it refuses access.
            ClusterError: It does not answer.
        """
        self.say: Callable[[str], None] = logger.warning
        self._url = access.url()
        configured = Path(os.environ.get("KUBECONFIG", "~/.kube/config")).expanduser()
        in_cluster = "KUBERNETES_SERVICE_HOST" in os.environ
        if not (self._url or in_cluster or configured.is_file()):
            raise UserError(
                "give the API's URL with --endpoint or KFP_ENDPOINT, such as http://localhost:8080 "
                "after: kubectl port-forward --namespace kubeflow svc/ml-pipeline-ui 8080:80"
            )
        # `_ask` says what is wrong, once.
        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", category=FutureWarning, module="kfp")
        self._client = self._ask(lambda: self._connect(access), again=False)
        health = self._ask(self._client.get_kfp_healthz, again=False)
        self._namespace = access.namespace or self._client.get_user_namespace()
        if health.multi_user and not self._namespace:
            raise UserError("give your --namespace: this Kubeflow has several users")
        if not health.multi_user:  # it refuses requests that name one
            self._namespace = None

    def _connect(self, access: Access) -> _Client:
        path = access.token_file or os.environ.get(kfp.client.KF_PIPELINES_SA_TOKEN_ENV, "")
        if path and not Path(path).is_file():
            raise UserError(f"{path}: no such file; it should contain a token")
        credentials = ServiceAccountTokenVolumeCredentials(path) if path else None
        token = None if path else os.environ.get("KFP_TOKEN")
        if path:
            _check_token(path, Path(path).read_text(errors="replace").strip())
        elif token:
            _check_token("KFP_TOKEN", token)
        with _quiet():
            return _Client(
                host=self._url or None,
                namespace=access.pods(),
                existing_token=token,
                credentials=credentials,
            )

    def upload(
        self, file: Path, name: str, version: str, description: str = ""
    ) -> tuple[str, str, str]:
        """Upload a version of a pipeline, unless there is one with the same name and content.

        Args:
            file: The compiled pipeline.
            name: The pipeline's name; it is created if necessary.
            version: The version's name. If it is taken by another content, a hash is added.
            description: What the pipeline is for.

        Returns:
            The ids of pipeline and version, and the version's name.
        """
        pipeline = self.pipeline(name) or self._create(name, description)
        for each in (version, f"{version}-{digest(file)}"):
            found = self._version(pipeline, each)
            if found is None:
                with _quiet():
                    upload = functools.partial(
                        self._client.upload_pipeline_version,
                        str(file),
                        each,
                        pipeline_id=pipeline,
                        # In the URL, where there is no room for much.
                        description=description.partition("\n\n")[0],
                    )
                    found = self._ask(upload, again=False)
                break
            # A name that ends with the content's hash says what is in it.
            if each.endswith(digest(file)):
                break
            if canonical(_documents(found)) == canonical(graph.documents(file)):
                break
        return pipeline, found.pipeline_version_id, each

    def pipeline(self, name: str) -> str | None:
        """Return a pipeline's id, if there is one of that name."""
        found = self._ask(
            lambda: self._client.list_pipelines(filter=_named(name), namespace=self._namespace)
        )
        return found.pipelines[0].pipeline_id if found.pipelines else None

    def _create(self, name: str, description: str) -> str:
        pipeline = V2beta1Pipeline(
            name=name, display_name=name, description=description, namespace=self._namespace
        )
        create = self._client.pipelines.pipeline_service_create_pipeline
        identity: str = self._ask(lambda: create(pipeline), again=False).pipeline_id
        return identity

    def _version(self, pipeline: str, name: str) -> Any:
        found = self._ask(
            lambda: self._client.list_pipeline_versions(pipeline, filter=_named(name))
        )
        return found.pipeline_versions[0] if found.pipeline_versions else None

    def experiment(self, name: str) -> str:
        """Return an experiment's id; it is created if necessary."""
        with _quiet():
            found = self._ask(
                lambda: self._client.create_experiment(name, namespace=self._namespace)
            )
        identity: str = found.experiment_id
        return identity

    def start(
        self,
        experiment: str,
        name: str,
        values: Mapping[str, Any],
        source: tuple[str, str] | Path,
        service_account: str = "",
        description: str = "",
    ) -> str:
        """Start a run, and return its id.

        Args:
            experiment: The id of its experiment.
            name: The run's name.
            values: Values of the form.
            source: The ids of a pipeline and a version, or a compiled file.
            service_account: Of its pods; empty for KFP's own.
            description: What it is for.
        """
        run = V2beta1Run(
            experiment_id=experiment,
            display_name=name,
            description=description,
            runtime_config=V2beta1RuntimeConfig(parameters=dict(values)),
            service_account=service_account or None,
        )
        if isinstance(source, Path):
            spec, *platforms = graph.documents(source)
            both = dict(zip(_DOCUMENTS, [spec, *platforms], strict=True)) if platforms else spec
            run.pipeline_spec = both
        else:
            run.pipeline_version_reference = V2beta1PipelineVersionReference(*source)
        create = self._client.runs.run_service_create_run
        identity: str = self._ask(lambda: create(run), again=False).run_id
        return identity

    def run(self, run: str) -> Any:
        """Return a run as the API describes it."""
        get = self._client.runs.run_service_get_run
        return self._ask(lambda: get(run, _request_timeout=_SECONDS_TO_ANSWER))

    def retry(self, run: str) -> None:
        """Retry a run's failed tasks, with the pipeline that it was started with."""
        self._ask(lambda: self._client.runs.run_service_retry_run(run), again=False)

    def latest(self, experiment: str, number: int) -> list[str]:
        """Return the ids of the latest runs of an experiment, the newest first."""
        try:
            found = self._ask(
                lambda: self._client.get_experiment(
                    experiment_name=experiment, namespace=self._namespace
                )
            )
        except ValueError:  # the SDK's word for none
            return []
        runs = self._ask(
            lambda: self._client.list_runs(
                page_size=number,
                sort_by="created_at desc",
                experiment_id=found.experiment_id,
            )
        )
        return [run.run_id for run in runs.runs or []]

    def graph(self, run: Any) -> Graph:
        """Return the pipeline that a run was started from, with the values of its form."""
        source, holder = run.pipeline_version_reference, run
        if not run.pipeline_spec and source is not None:
            holder = self._ask(
                lambda: self._client.get_pipeline_version(
                    source.pipeline_id, source.pipeline_version_id
                )
            )
        values = run.runtime_config.parameters if run.runtime_config else None
        return graph.from_documents(_documents(holder), values or {})

    def link(self, run: str) -> str:
        """Return the address of a run in the UI."""
        prefix = os.environ.get("KF_PIPELINES_UI_ENDPOINT", self._url).rstrip("/")
        return f"{prefix}/#/runs/details/{run}"

    def _ask(self, request: Callable[[], Answer], again: bool = True) -> Answer:
        """Return a request's result, retrying, if that is safe, while the API cannot answer."""
        patience = _PATIENCE if again else 0.0
        pauses = retry.pauses(patience, first=_FIRST_PAUSE, longest=_LONGEST_PAUSE)
        away = False
        while True:
            try:
                answer = request()
            except (ApiException, HTTPError) as error:
                if not _transient(error):
                    raise _refusal(error) from None
                pause = next(pauses, None)
                if pause is None:
                    raise ClusterError(f"{self._url or 'the API'}: {_text(error)}") from None
                if not away:
                    self.say(f"{_text(error)}; asking again for {patience / 60:.0f} minutes")
                away = True
                time.sleep(pause)
            else:
                if away:
                    self.say("the API answers again")
                return answer


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets, or a port, that cannot be
        return False


def _check_token(source: str, token: str) -> None:
    """Refuse what no header can hold, without showing it."""
    if not (token and token.isascii() and token.isprintable()):
        raise UserError(f"{source}: holds no token: one is a line of ASCII")


def _documents(holder: Any) -> list[Any]:
    """Return the documents of the compiled file in a run or a version."""
    spec = holder.pipeline_spec
    if not spec:
        raise UserError("the API does not say which pipeline the run was started from")
    if "pipeline_spec" not in spec:
        return [spec]
    return [spec[name] for name in _DOCUMENTS if spec.get(name)]


def _named(name: str) -> str:
    equals = {"operation": 1, "key": "display_name", "stringValue": name}
    return json.dumps({"predicates": [equals]})


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the SDK from printing links of its own."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def _transient(error: Exception) -> bool:
    if isinstance(error, ApiException):
        return error.status in (408, 429) or error.status >= 500
    return True


def _refusal(error: Any) -> UserError:
    remedy = _REMEDIES.get(error.status)
    return UserError(_text(error) + (f": {remedy}" if remedy else ""))


def _text(error: Exception) -> str:
    """Return the error on one line, without the headers in the SDK's own text."""
    if not isinstance(error, ApiException):
        reason = getattr(error, "reason", None) or error.args[-1]
        return f"no answer ({str(reason).rpartition(': ')[2]})"
    try:
        body = json.loads(error.body)
        message = body.get("message") or body.get("error") or ""
    except (TypeError, ValueError, AttributeError):
        message = ""
    return f"the API answers {error.status} {error.reason}" + (f" ({message})" if message else "")
