#!/usr/bin/env python3
"""Golden trajectories for tests/optim/golden_test.cpp: 50 updates by the libraries' own optimizers.

    pip install -r tests/golden/optimizer_requirements.txt
    python3 tests/golden/make_optimizer_golden.py [NAME...]      writes optimizers/NAME.safetensors

A row of ROWS is one configuration: its name, our options for it, and how the reference runs. Each
file holds the weights after some updates, STEP/PARAMETER, in f64, and in the metadata
    made_with         library and version
    dtype             of the reference's arithmetic: f64 where it can, else f32
    option/NAME       ours; what is not named is bare: constant rate, no clipping, no decay

The problem: minimise sum c (w - target)^2 / 2 with a gradient that is off by noise of its own in
each update. All its numbers come from `number`, in integers, so that they are the same bits there.
"""
import importlib.metadata
import pathlib
import sys
from unittest import mock

import numpy
import torch
from safetensors.numpy import save_file

UPDATES, KEPT, NOISE = 50, (1, 2, 5, 20, 50), 0.5
# The order counts: a parameter's place decides its numbers. Decay is for ranks of 2 and more.
SHAPES = {"wide": (4, 6), "tall": (6, 3), "vector": (5,), "stack": (2, 3, 4)}


def number(stream, index):
    """In (-1, 1), of 20 bits: exact in f32. (The finaliser of MurmurHash3.)"""
    x = (stream << 16) + index
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        x = ((x ^ (x >> shift)) * factor) & 0xFFFFFFFF
    return ((x >> 12) - 2**19 + 0.5) / 2**19


def numbers(name, kind):
    """kind 0: start, 1: target, 2: curvature, 2 + t: noise of update t."""
    shape, place = SHAPES[name], list(SHAPES).index(name)
    flat = [number(1000 * place + kind, i) for i in range(int(numpy.prod(shape)))]
    return numpy.array(flat).reshape(shape)


def gradient(name, w, t):
    curvature = 1 + numbers(name, 2) / 2
    return curvature * (w - numbers(name, 1)) + NOISE * numbers(name, 2 + t)


# --- How the libraries are run. Each yields all weights, by name, after each update. ---


class TorchParameters:
    """What a row's optimizer is made of."""

    def __init__(self, tensors):
        self.tensors = tensors
        self.vectors = [w for w in tensors if w.ndim < 2]
        self.matrices = [w for w in tensors if w.ndim >= 2]

    def groups(self, decay=0.0):
        return [dict(params=self.matrices, weight_decay=decay),
                dict(params=self.vectors, weight_decay=0.0)]


def run_torch(make, dtype=torch.float64, split=False, bfloat16_as=None, after=None):
    """`make` gives an optimizer or a list of them. split: the stack's matrices are parameters of
    their own. bfloat16_as: what the library's own casts to bfloat16 become."""
    weights = {name: torch.tensor(numbers(name, 0), dtype=dtype) for name in SHAPES}
    pieces = {name: list(w) if split and w.ndim == 3 else [w] for name, w in weights.items()}
    tensors = [piece.requires_grad_() for name in SHAPES for piece in pieces[name]]
    made = make(TorchParameters(tensors))
    optimizers = made if isinstance(made, list) else [made]
    for t in range(1, UPDATES + 1):
        for name, w in weights.items():
            g = torch.tensor(gradient(name, w.detach().double().numpy(), t)).to(dtype)
            for piece, part in zip(pieces[name], list(g) if len(pieces[name]) > 1 else [g]):
                piece.grad = part.contiguous()
        with mock.patch.object(torch, "bfloat16", bfloat16_as or torch.bfloat16):
            for optimizer in optimizers:
                optimizer.step()
        yield {name: w.detach().double().numpy().copy() for name, w in weights.items()}


def run_optax(make):
    import jax
    jax.config.update("jax_enable_x64", True)
    import optax
    weights = {name: jax.numpy.array(numbers(name, 0)) for name in SHAPES}
    optimizer = make(optax)
    state = optimizer.init(weights)
    for t in range(1, UPDATES + 1):
        g = {name: jax.numpy.array(gradient(name, numpy.array(w), t)) for name, w in weights.items()}
        updates, state = optimizer.update(g, state, weights)
        weights = optax.apply_updates(weights, updates)
        yield {name: numpy.array(w) for name, w in weights.items()}


def run_keras(make):
    import os
    os.environ["KERAS_BACKEND"] = "torch"
    import keras
    keras.config.set_floatx("float64")
    variables = {name: keras.Variable(numbers(name, 0), name=name) for name in SHAPES}
    optimizer = make(keras.optimizers)
    optimizer.exclude_from_weight_decay(var_names=["vector"])
    for t in range(1, UPDATES + 1):
        g = [keras.ops.convert_to_tensor(gradient(name, keras.ops.convert_to_numpy(w), t))
             for name, w in variables.items()]
        optimizer.apply(g, list(variables.values()))
        yield {name: keras.ops.convert_to_numpy(w).copy() for name, w in variables.items()}


def ranks_2(weights):
    """optax's mask for the decay."""
    return {name: w.ndim >= 2 for name, w in weights.items()}


# --- The configurations: name, our options, library, how it runs. ---
O = torch.optim
ROWS = [
    ("sgd_torch", {"optimizer": "sgd", "lr": .05, "sgd.momentum": .9}, "torch",
     lambda: run_torch(lambda p: O.SGD(p.groups(), lr=.05, momentum=.9))),
    ("sgd_nesterov_torch", {"optimizer": "sgd", "lr": .05, "sgd.momentum": .9,
                            "sgd.nesterov": "true"}, "torch",
     lambda: run_torch(lambda p: O.SGD(p.groups(), lr=.05, momentum=.9, nesterov=True))),
    ("adamw_torch", {"optimizer": "adamw", "lr": .02, "weight_decay": .1, "adamw.beta2": .95},
     "torch",
     lambda: run_torch(lambda p: O.AdamW(p.groups(.1), lr=.02, betas=(.9, .95)))),
    ("adamw_optax", {"optimizer": "adamw", "lr": .02, "weight_decay": .1, "adamw.beta2": .95},
     "optax",
     lambda: run_optax(lambda x: x.adamw(.02, b2=.95, weight_decay=.1, mask=ranks_2))),
    ("muon_torch", {"optimizer": "muon", "muon.scale": "spectral", "lr": .02, "weight_decay": .1,
                    "aux_lr": .02, "adamw.beta2": .999}, "torch",
     lambda: run_torch(lambda p: [O.Muon(p.matrices, lr=.02, weight_decay=.1),
                                  O.AdamW(p.vectors, lr=.02, weight_decay=0)],
                       split=True, bfloat16_as=torch.float64)),
]


def main():
    wanted = set(sys.argv[1:])
    for name, options, library, run in ROWS:
        if wanted and name not in wanted:
            continue
        kept, dtype = {}, None
        for t, weights in enumerate(run(), 1):
            if t in KEPT:
                kept.update({f"{t}/{key}": w.astype(numpy.float64) for key, w in weights.items()})
            exact = all((w.astype(numpy.float32) == w).all() for w in weights.values())
            dtype = "f32" if exact else "f64"
        metadata = {f"option/{key}": str(value) for key, value in options.items()}
        metadata["made_with"] = f"{library} {importlib.metadata.version(library).split('+')[0]}"
        metadata["dtype"] = dtype
        folder = pathlib.Path(__file__).with_name("optimizers")
        folder.mkdir(exist_ok=True)
        path = folder / f"{name}.safetensors"
        save_file({key: numpy.ascontiguousarray(w) for key, w in kept.items()}, path, metadata)
        path.chmod(0o644)
        print(path.name, path.stat().st_size, "bytes,", metadata["made_with"], dtype)


if __name__ == "__main__":
    main()
