"""The engine itself: finds the version, runs the operation, answers. Everything heavy is imported when one is made."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.upstream.embedded.messages import EngineReply, EngineRequest, LoadFailure, Refusal

if TYPE_CHECKING:
    from gateway.upstream.embedded.repository import LoadedVersion

BODY_LIMIT_BYTES: Final = 64 * 2**20


class EmbeddedEngine:
    """Serves a Triton model repository from this process. `load` before use; then `answer` from any thread.

    `body_limit_bytes` bounds what a compressed request may unpack to. With `python_models`, models of Triton's Python
    backend are served too: their code runs in this process, with all that it may do.
    """

    def __init__(
        self,
        model_repository: Path,
        *,
        intra_op_threads: int = 1,
        body_limit_bytes: int = BODY_LIMIT_BYTES,
        python_models: bool = False,
    ) -> None:
        from gateway.upstream.embedded import operations, reply, repository

        self._repository = model_repository
        self._terms = repository.Terms(intra_op_threads, python_models)
        self._load_repository = repository.load_repository
        self._other_files = repository.other_files
        self._error_reply = reply.error_reply
        self._operations = operations.Operations(body_limit_bytes)
        self._loaded: Mapping[tuple[str, int], LoadedVersion] = {}
        self._unloaded: Mapping[tuple[str, int], str] = {}
        self._versions: Mapping[tuple[str, int], LoadedVersion] = {}
        self._failures: Mapping[tuple[str, int], str] = {}
        self._names: frozenset[str] = frozenset()
        self._loading = threading.Lock()

    def load(self, registered: Mapping[tuple[str, int], str] | None = None) -> None:
        """Loads what the models' `version_policy` names. A version that fails is kept with its reason; others go on.

        `registered` are the digests of (model, version) pairs; one with other files fails before anything of it runs.
        Raises OSError when the repository itself cannot be read.
        """
        with self._loading:
            versions: dict[tuple[str, int], LoadedVersion] = {}
            failures: dict[tuple[str, int], str] = {}
            terms = msgspec.structs.replace(self._terms, registered=registered or {})
            for key, found in self._load_repository(self._repository, terms):
                if isinstance(found, LoadFailure):
                    failures[key] = str(found)
                else:
                    versions[key] = found
            self._names = frozenset(name for name, _ in (*versions, *failures))
            self._loaded, self._unloaded = versions, failures
            self._versions, self._failures = versions, failures

    def hold(self, registered: Mapping[tuple[str, int], str]) -> Mapping[tuple[str, int], str]:
        """Serve of what is loaded only that which has no other digest than is `registered`; what is not, and why.

        An ensemble is as good as its steps. A version that is registered as it was loaded is served again.
        """
        with self._loading:
            held = {
                key: self._other_files(version.digest or "not known", registered[key])
                for key, version in self._loaded.items()
                if version.digest != registered.get(key, version.digest)
            }
            # Ensembles have no ensembles among their steps.
            held |= {
                key: f"its step {model}@{number} is not served"
                for key, version in self._loaded.items()
                for model, number in sorted(version.steps & held.keys())
            }
            self._failures = {**self._unloaded, **held}
            self._versions = {key: version for key, version in self._loaded.items() if key not in held}
            return held

    def ready_versions(self) -> frozenset[tuple[str, int]]:
        """The (model, version) pairs that can be called."""
        return frozenset(self._versions)

    def failures(self) -> Mapping[tuple[str, int], str]:
        """Why each version that should be served is not. Version 0 stands for a model without a version folder."""
        return dict(self._failures)

    def answer(self, request: EngineRequest) -> EngineReply:
        """Answers one call as Triton's endpoint would; bad input gets an error reply. Blocks while the model runs."""
        if request.protocol == "grpc":
            return self._answer_rpc(request)
        try:
            version = self._find(request)
            if request.operation == "ready":
                return EngineReply(200, ((b"Content-Type", b"text/plain"),), b"")
            return self._operations.run(version, request)
        except Refusal as refusal:
            return self._error_reply(refusal)

    def _answer_rpc(self, request: EngineRequest) -> EngineReply:
        from gateway.upstream.embedded import rpc

        try:
            return rpc.run(self._find(request), request)
        except Refusal as refusal:
            return rpc.error_reply(refusal)

    def close(self) -> None:
        """Forgets all models; calls in flight finish, streams end, later calls find nothing."""
        versions = self._loaded
        self._loaded, self._unloaded = {}, {}
        self._versions, self._failures, self._names = {}, {}, frozenset()
        for version in versions.values():
            version.close()

    def _find(self, request: EngineRequest) -> "LoadedVersion":
        key = (request.model, request.version)
        version = self._versions.get(key)
        if version is not None:
            return version
        known = request.model in self._names
        if request.operation == "ready":
            raise Refusal(400, "Model version not ready")
        if request.operation == "stats":
            words = f"requested model version is not available for model '{request.model}'"
            raise Refusal(400, words if known else f"requested model '{request.model}' is not available")
        if not known:
            raise Refusal(404, f"Request for unknown model: '{request.model}' is not found")
        at = f"Request for unknown model: '{request.model}' version {request.version}"
        raise (
            Refusal(503, f"{at} is not at ready state")
            if key in self._failures
            else Refusal(404, f"{at} is not found")
        )
