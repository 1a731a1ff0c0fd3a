"""The CPU engine: one fused C++ loop per architecture, one model at a time, one thread."""

import ctypes
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from zoo_builder.engines.native.compiler import instruction_set, library
from zoo_builder.errors import InputError
from zoo_builder.networks.architecture import Architecture
from zoo_builder.recipes.hyperparameters import OPTIMIZERS
from zoo_builder.training.state import Active


class _Settings(ctypes.Structure):
    """The struct of the same name in network.hpp."""

    _fields_ = (
        ("optimizer", ctypes.c_int32),
        ("learning_rate", ctypes.c_float),
        ("l2", ctypes.c_float),
        ("momentum", ctypes.c_float),
        ("dropout", ctypes.c_double),
    )


class NativeEngine:
    """Trains and evaluates with compiled code. A model's results do not depend on the other models, to the last bit.

    Args:
        target: the processor to compile for; see ``compiler.library``.

    Raises:
        CompilerError: from every method, if an architecture cannot be compiled.
    """

    name = "native"
    device = torch.device("cpu")
    dtype = torch.float32

    def __init__(self, target: str = "native") -> None:
        self.target = target

    @property
    def instruction_set(self) -> str:
        return instruction_set(self.target)

    def epoch(
        self, architecture: Architecture, active: Active, batch_size: int, images: Tensor, labels: Tensor
    ) -> Iterator[Active]:
        """See ``Engine.epoch``."""
        train = library(architecture, self.target).gengap_train
        train.restype = ctypes.c_int64
        runs = active.runs
        finite = np.ones(len(active), dtype=bool)
        for model, size in enumerate(runs.sizes.tolist()):
            settings = _Settings(
                OPTIMIZERS.index(runs.optimizers[model]),
                *(float(column[model]) for column in (runs.learning_rate, runs.l2, runs.momentum)),
                float(runs.dropout[model]),
            )
            buffers = _flat(active.buffers, model)
            order = np.ascontiguousarray(active.indices[model, :size])
            steps = train(
                ctypes.byref(settings),
                _pointer(_seeds(active, model)),
                _pointer(active.weights[model]),
                _pointer(buffers),
                _pointer(active.first[model]),
                _pointer(active.second[model]),
                _pointer(images),
                _pointer(labels),
                _pointer(order),
                ctypes.c_int64(size),
                ctypes.c_int64(batch_size),
                ctypes.c_int64(int(active.steps[model])),
            )
            _check_memory(steps)
            _put_buffers(active, model, buffers)
            active.steps[model] += steps
            finite[model] = steps == -(-size // batch_size) and bool(active.weights[model].isfinite().all())
        if not finite.all():
            yield active.split_off(~finite)

    def gradient(
        self,
        architecture: Architecture,
        weights: Tensor,
        buffers: dict[str, Tensor],
        images: Tensor,
        labels: Tensor,
        indices: np.ndarray,
    ) -> Tensor:
        """See ``Engine.gradient``."""
        weights, images, labels = weights.contiguous(), images.contiguous(), labels.contiguous()
        gradients = torch.empty_like(weights)
        for model, own in enumerate(weights):
            running = _flat(buffers, model)
            self.differentiate(architecture, own, running, images, labels, indices[model], gradients[model])
        return gradients

    def differentiate(
        self,
        architecture: Architecture,
        weights: Tensor,
        buffers: Tensor,
        images: Tensor,
        labels: Tensor,
        indices: np.ndarray,
        gradient: Tensor,
        *,
        training: bool = False,
        dropout: float = 0.0,
        seeds: Sequence[int] = (),
        step: int = 0,
    ) -> float:
        """The mean cross-entropy of one batch of one model; its gradient is written into ``gradient``.

        Args:
            weights, gradient: float32 [P].
            buffers: float32 [Q], running statistics in the order of ``architecture.buffers``; updated if ``training``.
            images, labels: uint8 [N, C, H, W] and int64 [N].
            indices: int64 [B].
            dropout, seeds, step: the rate, a seed per dropout layer, and the number of steps before this one.
        """
        differentiate = library(architecture, self.target).gengap_differentiate
        differentiate.restype = ctypes.c_double
        chosen, keys = np.ascontiguousarray(indices), np.array(seeds, dtype=np.int64)
        loss = differentiate(
            ctypes.c_double(dropout),
            _pointer(keys),
            ctypes.c_int64(step),
            _pointer(weights),
            _pointer(buffers),
            _pointer(images),
            _pointer(labels),
            _pointer(chosen),
            ctypes.c_int64(len(chosen)),
            ctypes.c_int32(training),
            _pointer(gradient),
        )
        _check_memory(loss)
        return loss

    def logits(
        self,
        architecture: Architecture,
        parameters: dict[str, Tensor],
        images: Tensor,
        indices: np.ndarray | None = None,
    ) -> Tensor:
        """See ``Engine.logits``."""
        evaluate = library(architecture, self.target).gengap_evaluate
        evaluate.restype = ctypes.c_int32
        models = len(next(iter(parameters.values())))
        rows = np.broadcast_to(np.arange(len(images)), (models, len(images))) if indices is None else indices
        images = images.contiguous()
        out = torch.empty(models, rows.shape[1], architecture.classes)
        for model in range(models):
            chosen = np.ascontiguousarray(rows[model])
            weights, buffers = (
                torch.cat([parameters[name][model].flatten().float() for name in names] or [torch.empty(0)])
                for names in (architecture.parameters, architecture.buffers)
            )
            status = evaluate(
                _pointer(weights),
                _pointer(buffers),
                _pointer(images),
                _pointer(chosen),
                ctypes.c_int64(len(chosen)),
                _pointer(out[model]),
            )
            _check_memory(status)
        return out


def _check_memory(result: float) -> None:
    if result < 0:
        raise InputError("out of memory for this network and batch size: use a smaller batch, or fewer `workers`")


def _pointer(values: Tensor | np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(values.data_ptr() if isinstance(values, Tensor) else values.ctypes.data)


def _seeds(active: Active, model: int) -> np.ndarray:
    return np.array([int(seeds[model]) for seeds in active.runs.seeds.values()], dtype=np.int64)


def _flat(buffers: dict[str, Tensor], model: int) -> Tensor:
    return torch.cat([value[model] for value in buffers.values()] or [torch.empty(0)])


def _put_buffers(active: Active, model: int, flat: Tensor) -> None:
    sizes = [value.shape[1] for value in active.buffers.values()]
    for value, part in zip(active.buffers.values(), flat.split(sizes) if sizes else (), strict=True):
        value[model] = part
