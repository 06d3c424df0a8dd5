"""Ensembles: models that run one after another, each on what those before it gave."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np

from gateway.upstream.embedded.config import ModelConfig, TensorSpec
from gateway.upstream.embedded.messages import LoadFailure, Refusal, cancelled
from gateway.upstream.embedded.responses import Asker
from gateway.upstream.embedded.statistics import Recorder

Array = np.ndarray[Any, Any]
Run = Callable[[list[str], Mapping[str, Array], Asker], list[Array]]


class Step(msgspec.Struct, frozen=True):
    """One model of an ensemble. `inputs` and `outputs` lead from its tensors' names to those of the ensemble."""

    config: ModelConfig
    run: Run
    recorder: Recorder
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


class Ensemble:
    """The steps of an ensemble, in an order in which each finds its inputs.

    Raises LoadFailure where there is none, or where a tensor's type or shape differs between two ends of it. All steps
    batch, or none does: an array goes from one to the next as it is.
    """

    def __init__(self, config: ModelConfig, steps: list[Step]) -> None:
        self._name = config.name
        self._steps: list[Step] = []
        known = {spec.name: spec for spec in config.inputs}
        waiting = list(steps)
        while ready := [step for step in waiting if known.keys() >= set(step.inputs.values())]:
            for step in ready:
                self._take(config, step, known)
                waiting.remove(step)
        if waiting:
            lacking = {name for step in waiting for name in step.inputs.values()} - known.keys()
            raise self._fault(f"nothing gives tensor(s) {', '.join(sorted(lacking))}")
        for spec in config.outputs:
            if spec.name not in known:
                raise self._fault(f"no step gives its output '{spec.name}'")
            self._match(known[spec.name], spec)

    def run(self, outputs: list[str], feed: Mapping[str, Array], asker: Asker) -> list[Array]:
        """The named outputs for these inputs. Raises Refusal when a step fails on them, and CANCELLED where the asker leaves."""
        arrays = dict(feed)
        for step in self._steps:
            wanted = list(step.outputs)
            inputs = {own: arrays[name] for own, name in step.inputs.items() if name in arrays}
            if asker.left:
                raise cancelled()
            began_ns = time.perf_counter_ns()
            try:
                results = step.run(wanted, inputs, asker)
            except Refusal as refusal:
                step.recorder.failure(time.perf_counter_ns() - began_ns)
                raise Refusal(refusal.status, f"in ensemble '{self._name}', {refusal.words}") from refusal
            rows = len(results[0]) if step.config.max_batch_size else 0
            step.recorder.success(rows, 0, time.perf_counter_ns() - began_ns, 0)
            arrays.update((step.outputs[own], array) for own, array in zip(wanted, results, strict=True))
        return [arrays[name] for name in outputs]

    def _take(self, config: ModelConfig, step: Step, known: dict[str, TensorSpec]) -> None:
        model = step.config
        if model.decoupled or any(spec.reshape is not None for spec in model.inputs + model.outputs):
            raise self._fault(
                f"its step '{model.name}' is decoupled or has a reshape, which steps here may not"
            )
        if (model.max_batch_size > 0) != (
            config.max_batch_size > 0
        ) or model.max_batch_size < config.max_batch_size:
            raise self._fault(
                f"batches of {config.max_batch_size} do not fit its step '{model.name}' ({model.max_batch_size})"
            )
        inputs, outputs = ({spec.name: spec for spec in side} for side in (model.inputs, model.outputs))
        missing = [spec.name for spec in model.inputs if not spec.optional and spec.name not in step.inputs]
        unknown = [*(step.inputs.keys() - inputs.keys()), *(step.outputs.keys() - outputs.keys())]
        if missing or unknown:
            raise self._fault(
                f"its step '{model.name}' lacks or does not have {', '.join(missing + unknown)}"
            )
        for own, name in step.inputs.items():
            self._match(known[name], inputs[own])
        for own, name in step.outputs.items():
            if name in known:
                raise self._fault(f"two steps give tensor '{name}'")
            known[name] = msgspec.structs.replace(outputs[own], name=name)
        self._steps.append(step)

    def _match(self, given: TensorSpec, taken: TensorSpec) -> None:
        alike = len(given.dims) == len(taken.dims) and all(
            have == want or -1 in (have, want) for have, want in zip(given.dims, taken.dims, strict=True)
        )
        if given.datatype is not taken.datatype or not alike:
            raise self._fault(f"tensor '{given.name}' is not what '{taken.name}' of the next model takes")

    def _fault(self, words: str) -> LoadFailure:
        return LoadFailure(f"ensemble '{self._name}': {words}")
