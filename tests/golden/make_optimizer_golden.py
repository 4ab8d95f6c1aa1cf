#!/usr/bin/env python3
"""Golden trajectories for tests/optim/golden_test.cpp: 50 updates by the libraries' own optimizers.

    pip install -r tests/golden/optimizer_requirements.txt
    python3 tests/golden/make_optimizer_golden.py [NAME...]      writes optimizers/NAME.safetensors

A row of rows() is one configuration: its name, our options for it, and how the reference runs. Each
file holds the weights after some updates, UPDATE/PARAMETER, and where those to evaluate are others
UPDATE/eval/PARAMETER, in f64, and in the metadata
    made_with         library and version
    dtype             of the reference's arithmetic: f64 where it can, else f32
    option/NAME       ours; what is not named is bare: constant rate, no clipping, no decay

The problem: minimise sum c (w - target)^2 / 2 with a gradient that is off by noise of its own in
each update. All its numbers come from `number`, in integers, so that they are the same bits there.
"""
import importlib.metadata
import json
import pathlib
import sys
from unittest import mock

import numpy
import torch

UPDATES, KEPT, NOISE, SAMPLED = 50, (1, 2, 5, 20, 50), 0.5, 500
# The order counts: a parameter's place decides its numbers. Decay is for ranks of 2 and more.
SHAPES = {"wide": (4, 6), "tall": (6, 3), "vector": (5,), "stack": (2, 3, 4)}


def number(stream, index):
    """In (-1, 1), of 20 bits: exact in f32. (The finaliser of MurmurHash3.)"""
    x = (stream << 16) + index
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        x = ((x ^ (x >> shift)) * factor) & 0xFFFFFFFF
    return ((x >> 12) - 2**19 + 0.5) / 2**19


def numbers(name, kind):
    """kind 0: start, 1: target, 2: curvature, 2 + t: noise of update t, SAMPLED + t: gradient of
    that update against labels drawn from the model, for rules that ask for it."""
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


def run_torch(make, dtype=torch.float64, split=False, bfloat16_as=None, evaluated=False,
              step=lambda optimizer, t: optimizer.step()):
    """`make` gives an optimizer or a list of them. split: the stack's matrices are parameters of
    their own. bfloat16_as: what the library's own casts to bfloat16 become. evaluated: the weights
    to evaluate are others than those that are trained."""
    weights = {name: torch.tensor(numbers(name, 0), dtype=dtype) for name in SHAPES}
    pieces = {name: list(w) if split and w.ndim == 3 else [w] for name, w in weights.items()}
    tensors = [piece.requires_grad_() for name in SHAPES for piece in pieces[name]]
    made = make(TorchParameters(tensors))
    optimizers = made if isinstance(made, list) else [made]

    def current(prefix=""):
        return {prefix + name: w.detach().double().numpy().copy() for name, w in weights.items()}

    for t in range(1, UPDATES + 1):
        for name, w in weights.items():
            g = torch.tensor(gradient(name, w.detach().double().numpy(), t)).to(dtype)
            for piece, part in zip(pieces[name], list(g) if len(pieces[name]) > 1 else [g]):
                piece.grad = part.contiguous()
        with mock.patch.object(torch, "bfloat16", bfloat16_as or torch.bfloat16):
            for optimizer in optimizers:
                step(optimizer, t)
        out = current()
        if evaluated:
            optimizers[0].eval()
            out.update(current("eval/"))
            optimizers[0].train()
        yield out


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
def rows():
    import adabelief_pytorch
    import adopt
    import prodigyopt
    import pytorch_optimizer
    import schedulefree
    import timm.optim
    O = torch.optim

    def adabelief(rectify):
        return lambda p: adabelief_pytorch.AdaBelief(
            p.groups(.1), lr=.02, eps=1e-16, betas=(.9, .99), weight_decouple=True, rectify=rectify,
            print_change_log=False)

    def schedule_free(module, **more):
        def make(p):
            optimizer = module(p.groups(.1), lr=.05, **more)
            optimizer.train()
            return optimizer
        return lambda: run_torch(make, evaluated=True)

    def sophia_step(optimizer, t):
        curvature = [torch.tensor(numbers(name, SAMPLED + t)) ** 2
                     for name in ("wide", "tall", "stack", "vector")]  # as TorchParameters.groups
        optimizer.step(hessian=curvature if t % 10 == 1 else None)

    prodigy = {"optimizer": "prodigy", "weight_decay": .1, "prodigy.d0": .001}
    return [
        ("sgd_torch", {"optimizer": "sgd", "lr": .05, "sgd.momentum": .9}, "torch",
         lambda: run_torch(lambda p: O.SGD(p.groups(), lr=.05, momentum=.9))),
        ("sgd_nesterov_torch", {"optimizer": "sgd", "lr": .05, "sgd.momentum": .9,
                                "sgd.nesterov": "true"}, "torch",
         lambda: run_torch(lambda p: O.SGD(p.groups(), lr=.05, momentum=.9, nesterov=True))),
        ("sgd_dampening_l2_torch", {"optimizer": "sgd", "lr": .05, "sgd.momentum": .9,
                                    "sgd.dampening": .5, "sgd.l2": "true", "weight_decay": .1},
         "torch",
         lambda: run_torch(lambda p: O.SGD(p.groups(.1), lr=.05, momentum=.9, dampening=.5))),
        ("sgd_nesterov_optax", {"optimizer": "sgd", "lr": .05, "sgd.nesterov": "true"}, "optax",
         lambda: run_optax(lambda x: x.sgd(.05, momentum=.9, nesterov=True))),
        ("sgd_nesterov_keras", {"optimizer": "sgd", "lr": .05, "sgd.nesterov": "true"}, "keras",
         lambda: run_keras(lambda k: k.SGD(.05, momentum=.9, nesterov=True))),
        ("adam_torch", {"optimizer": "adam", "lr": .02, "weight_decay": .1}, "torch",
         lambda: run_torch(lambda p: O.Adam(p.groups(.1), lr=.02))),
        ("adam_optax", {"optimizer": "adam", "lr": .02}, "optax",
         lambda: run_optax(lambda x: x.adam(.02))),
        ("adamw_torch", {"optimizer": "adamw", "lr": .02, "weight_decay": .1, "adamw.beta2": .95},
         "torch",
         lambda: run_torch(lambda p: O.AdamW(p.groups(.1), lr=.02, betas=(.9, .95)))),
        ("adamw_optax", {"optimizer": "adamw", "lr": .02, "weight_decay": .1, "adamw.beta2": .95},
         "optax",
         lambda: run_optax(lambda x: x.adamw(.02, b2=.95, weight_decay=.1, mask=ranks_2))),
        ("adamw_amsgrad_torch", {"optimizer": "adamw", "lr": .02, "weight_decay": .1,
                                 "adamw.beta2": .95, "adamw.amsgrad": "true"}, "torch",
         lambda: run_torch(lambda p: O.AdamW(p.groups(.1), lr=.02, betas=(.9, .95), amsgrad=True))),
        ("adamw_nadam_optax", {"optimizer": "adamw", "lr": .02, "weight_decay": .1,
                               "adamw.beta2": .999, "adamw.nadam": "true"}, "optax",
         lambda: run_optax(lambda x: x.nadamw(.02, weight_decay=.1, mask=ranks_2))),
        ("rmsprop_torch", {"optimizer": "rmsprop", "lr": .01}, "torch",
         lambda: run_torch(lambda p: O.RMSprop(p.groups(), lr=.01))),
        ("rmsprop_centered_momentum_l2_torch",
         {"optimizer": "rmsprop", "lr": .002, "rmsprop.centered": "true", "rmsprop.momentum": .9,
          "rmsprop.alpha": .9, "rmsprop.l2": "true", "weight_decay": .1}, "torch",
         lambda: run_torch(lambda p: O.RMSprop(p.groups(.1), lr=.002, alpha=.9, centered=True,
                                               momentum=.9))),
        ("adagrad_torch", {"optimizer": "adagrad", "lr": .1, "adagrad.lr_decay": .01,
                           "adagrad.l2": "true", "weight_decay": .1}, "torch",
         lambda: run_torch(lambda p: O.Adagrad(p.groups(.1), lr=.1, lr_decay=.01))),
        ("adabelief_pytorch", {"optimizer": "adabelief", "lr": .02, "weight_decay": .1,
                               "adabelief.beta2": .99}, "adabelief-pytorch",
         lambda: run_torch(adabelief(True))),
        ("adabelief_plain_pytorch", {"optimizer": "adabelief", "lr": .02, "weight_decay": .1,
                                     "adabelief.beta2": .99, "adabelief.rectify": "false"},
         "adabelief-pytorch", lambda: run_torch(adabelief(False))),
        ("lion_optax", {"optimizer": "lion", "lr": .01, "weight_decay": .1}, "optax",
         lambda: run_optax(lambda x: x.lion(.01, weight_decay=.1, mask=ranks_2))),
        ("lion_keras", {"optimizer": "lion", "lr": .01}, "keras",
         lambda: run_keras(lambda k: k.Lion(.01))),
        ("signum_pytorch_optimizer", {"optimizer": "signum", "lr": .01}, "pytorch_optimizer",
         lambda: run_torch(lambda p: pytorch_optimizer.SignSGD(p.groups(), lr=.01, momentum=.9))),
        ("ademamix_optax", {"optimizer": "ademamix", "lr": .01, "weight_decay": .1,
                            "ademamix.beta3": .999}, "optax",
         lambda: run_optax(lambda x: x.contrib.ademamix(.01, b3=.999, weight_decay=.1,
                                                        mask=ranks_2))),
        ("ademamix_warmup_pytorch_optimizer",
         {"optimizer": "ademamix", "lr": .01, "weight_decay": .1, "ademamix.warmup": 40},
         "pytorch_optimizer",
         lambda: run_torch(lambda p: pytorch_optimizer.AdEMAMix(
             p.groups(.1), lr=.01, weight_decouple=True, t_alpha_beta3=40))),
        ("mars_timm", {"optimizer": "mars", "lr": .02, "aux_lr": .02, "weight_decay": .1,
                       "adamw.beta1": .95, "adamw.beta2": .99}, "timm",
         lambda: run_torch(lambda p: timm.optim.Mars(p.groups(.1), lr=.02, betas=(.95, .99)))),
        ("adopt_torch", {"optimizer": "adopt", "lr": .02}, "torch-adopt",
         lambda: run_torch(lambda p: adopt.ADOPT(p.groups(), lr=.02))),
        ("adopt_unclipped_torch", {"optimizer": "adopt", "lr": .02, "adopt.clip": "false"},
         "torch-adopt",
         lambda: run_torch(lambda p: adopt.ADOPT(p.groups(), lr=.02, clip_lambda=None))),
        ("adopt_optax", {"optimizer": "adopt", "lr": .02}, "optax",
         lambda: run_optax(lambda x: x.contrib.adopt(.02))),
        ("sophia_pytorch_optimizer", {"optimizer": "sophia_g", "lr": .01 * .04,
                                      "weight_decay": 2.5, "sophia_g.rho": .04},
         "pytorch_optimizer",
         lambda: run_torch(lambda p: pytorch_optimizer.SophiaH(
             p.groups(.1), lr=.01, betas=(.965, .99), p=.04, eps=1e-15), step=sophia_step)),
        ("schedule_free_adamw_schedulefree",
         {"optimizer": "schedule_free_adamw", "lr": .05, "weight_decay": .1}, "schedulefree",
         schedule_free(schedulefree.AdamWScheduleFree)),
        ("schedule_free_adamw_schedulefree_reference",
         {"optimizer": "schedule_free_adamw", "lr": .05, "weight_decay": .1,
          "schedule_free_adamw.r": 1}, "schedulefree",
         schedule_free(schedulefree.AdamWScheduleFreeReference, r=1)),
        ("prodigy_prodigyopt", dict(prodigy, lr=1), "prodigyopt",
         lambda: run_torch(lambda p: prodigyopt.Prodigy(p.groups(.1), d0=.001))),
        ("prodigy_safeguard_prodigyopt",
         dict(prodigy, lr=.5, **{"prodigy.d_coef": .5,
                                 "prodigy.bias_correction": "true",
                                 "prodigy.safeguard_warmup": "true"}), "prodigyopt",
         lambda: run_torch(lambda p: prodigyopt.Prodigy(
             p.groups(.1), lr=.5, d0=.001, d_coef=.5, use_bias_correction=True,
             safeguard_warmup=True))),
        ("muon_torch", {"optimizer": "muon", "muon.scale": "spectral", "lr": .02,
                        "weight_decay": .1, "aux_lr": .02, "adamw.beta2": .999}, "torch",
         lambda: run_torch(lambda p: [O.Muon(p.matrices, lr=.02, weight_decay=.1),
                                      O.AdamW(p.vectors, lr=.02, weight_decay=0)],
                           split=True, bfloat16_as=torch.float64)),
    ]


def save(path, tensors, metadata):
    """In the safetensors layout, byte for byte the same in every run (the library's is not)."""
    header, data = {"__metadata__": metadata}, b""
    for name in sorted(tensors):
        raw = tensors[name].astype("<f8").tobytes()
        header[name] = {"dtype": "F64", "shape": tensors[name].shape,
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def main(rows):
    wanted = set(sys.argv[1:])
    folder = pathlib.Path(__file__).with_name("optimizers")
    for name, options, library, run in rows:
        if wanted and name not in wanted:
            continue
        kept, weights = {}, {}
        for t, weights in enumerate(run(), 1):
            if t in KEPT:
                kept.update({f"{t}/{key}": w for key, w in weights.items()})
        exact = any((w.astype(numpy.float32) != w).any() for w in weights.values())
        metadata = {f"option/{key}": str(value) for key, value in options.items()}
        metadata["made_with"] = f"{library} {importlib.metadata.version(library).split('+')[0]}"
        metadata["dtype"] = "f64" if exact else "f32"
        path = folder / f"{name}.safetensors"
        save(path, kept, metadata)
        print(path.name, path.stat().st_size, "bytes,", metadata["made_with"], metadata["dtype"])


if __name__ == "__main__":
    main(rows())
