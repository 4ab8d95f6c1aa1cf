#!/usr/bin/env python3
"""As make_optimizer_golden.py, which says everything, for the rules of matrices. Where no library
serves, a rule is written a second time here, in numpy.

    python3 tests/golden/make_matrix_golden.py [NAME...]         writes optimizers/NAME.safetensors
"""
from unittest import mock

import numpy
import torch

import make_optimizer_golden as base
from make_optimizer_golden import SHAPES, UPDATES, gradient, numbers, run_optax, run_torch

O = torch.optim


def in_f64(optimizer):
    """The optimizer with its own casts to shorter types left out."""
    step = optimizer.step

    def exact():
        with mock.patch.object(torch, "bfloat16", torch.float64), \
                mock.patch.object(torch, "float32", torch.float64):
            step()
    optimizer.step = exact
    return optimizer


def exact_pytorch_optimizer():
    """pytorch_optimizer with its Newton-Schulz iteration in f64 instead of bf16."""
    import pytorch_optimizer
    from pytorch_optimizer.optimizer.utils import matrix
    f = matrix.zero_power_via_newton_schulz_5
    f.__defaults__ = tuple(torch.float64 if d is torch.bfloat16 else d for d in f.__defaults__)
    return pytorch_optimizer


def run_keras_muon():
    """The stack's matrices are variables of their own, since Keras takes matrices alone. It has its
    scale of a shape in f32, so the weights are no better."""
    import os
    os.environ["KERAS_BACKEND"] = "torch"
    import keras
    keras.config.set_floatx("float64")

    def pieces(name, whole):
        return list(whole) if len(SHAPES[name]) == 3 else [whole]

    variables = {name: [keras.Variable(w, name=name) for w in pieces(name, numbers(name, 0))]
                 for name in SHAPES}

    def weights():
        values = {name: [keras.ops.convert_to_numpy(w) for w in v] for name, v in variables.items()}
        return {name: numpy.array(v).reshape(SHAPES[name]) for name, v in values.items()}

    optimizer = keras.optimizers.Muon(.02, weight_decay=.1, epsilon=1e-14)
    optimizer.exclude_from_weight_decay(var_names=["vector"])
    for t in range(1, UPDATES + 1):
        g = [keras.ops.convert_to_tensor(piece) for name, w in weights().items()
             for piece in pieces(name, gradient(name, w, t))]
        optimizer.apply(g, [w for v in variables.values() for w in v])
        yield {name: w.astype(numpy.float32) for name, w in weights().items()}


def optax_muon(x):
    """Rows are outputs; no momentum for the vector, since optax would look ahead along it."""
    axes = x.contrib.MuonDimensionNumbers
    return x.contrib.muon(
        .02, weight_decay=.1, adam_b1=0, adam_weight_decay=0,
        muon_weight_dimension_numbers={"wide": axes(1, 0), "tall": axes(1, 0), "vector": None,
                                       "stack": axes(2, 1)})


# --- Our own second writing: update(w, g, state, t) of a matrix gives its new value. ---


def run_formula(update, vector):
    weights = {name: numbers(name, 0) for name in SHAPES}
    states = {}
    for t in range(1, UPDATES + 1):
        for name, w in weights.items():
            g = gradient(name, w, t)
            stack = list(zip(w, g)) if w.ndim == 3 else [(w, g)]
            rule = vector if w.ndim == 1 else update
            weights[name] = numpy.array([rule(*wg, states.setdefault((name, k), {}), t)
                                         for k, wg in enumerate(stack)]).reshape(w.shape)
        yield {name: w.copy() for name, w in weights.items()}


def adamw(w, g, s, t):
    s["m"] = .9 * s.get("m", 0) + .1 * g
    s["v"] = .999 * s.get("v", 0) + .001 * g * g
    return w - .02 * s["m"] / (1 - .9**t) / ((s["v"] / (1 - .999**t))**.5 + 1e-8)


def on_singular_values(x, f):
    u, sigma, vt = numpy.linalg.svd(x, full_matrices=False)
    return u * f(sigma) @ vt


def jordan(x):
    x = x / max(numpy.linalg.norm(x), 1e-7)
    for _ in range(5):
        x = on_singular_values(x, lambda s: 3.4445 * s - 4.775 * s**3 + 2.0315 * s**5)
    return x


def adamuon(w, g, s, t):
    s["m"] = .95 * s.get("m", 0) + .05 * g
    o = jordan(numpy.sign(.05 * g + .95 * s["m"]))
    s["v"] = .95 * s.get("v", 0) + .05 * o * o
    o = o / (s["v"]**.5 + 1e-8)
    return w - .02 * (.2 * w.size**.5 * o / (numpy.linalg.norm(o) + 1e-8) + .1 * w)


def dion2(w, g, s, t):
    scale = (w.shape[0] / w.shape[1])**.5
    turn = numpy.transpose if w.shape[0] > w.shape[1] else numpy.array  # the choice is of columns
    m = turn(s.get("m", 0 * w) + g)
    rows = numpy.argsort(-abs(m).sum(1), kind="stable")[:int(numpy.ceil(.5 * len(m)))]
    u = numpy.zeros_like(m)
    u[rows] = scale * jordan(m[rows])
    m[rows] *= .95
    s["m"] = turn(m)
    return w - .02 * (turn(u) + .1 * w)


def coupled_muon(w, g, s, t):
    s["m"] = .95 * s.get("m", 0) + .05 * g
    u = .05 * g + .95 * s["m"]
    x = u / numpy.linalg.norm(u)
    for _ in range(6):
        x = on_singular_values(x, lambda sigma: 1.5 * sigma - .5 * sigma**3)
    return w - .02 * (.2 * max(w.shape)**.5 * x + .1 * w)


def filtered_adam(w, g, s, t):
    m, v = s.get("m", 0 * g), s.get("v", 0 * g)
    if t > 3:
        bound, r = numpy.maximum(v - m * m, 0)**.5 + 1e-8, g - m
        g = g - .5 * (r - numpy.clip(r, -bound, bound))
    s["m"], s["v"] = .9 * m + .1 * g, .99 * v + .01 * g * g
    return w - .02 * (s["m"] / (s["v"]**.5 + 1e-8) + (.1 * w if w.ndim > 1 else 0))


# --- The configurations, as in make_optimizer_golden.py. ---


def rows():
    P = exact_pytorch_optimizer()

    def with_vector(p, optimizer):
        """The vector is AdamW's."""
        return [optimizer, O.AdamW(p.vectors, lr=.02, weight_decay=0)]

    def main(optimizer, **more):
        return {"optimizer": optimizer, "lr": .02, "weight_decay": .1, "aux_lr": .02,
                "adamw.beta2": .999} | more

    return [
        ("muon_optax", main("muon", **{"muon.preset": "optax", "adamw.beta1": 0}), "optax",
         lambda: run_optax(optax_muon)),
        ("muon_keras", main("muon", **{"muon.preset": "keras", "adamw.eps": 1e-14}), "keras",
         run_keras_muon),
        ("normuon_pytorch_optimizer", main("normuon"), "pytorch_optimizer",
         lambda: run_torch(lambda p: with_vector(p, P.NorMuon(
             [dict(params=p.matrices, use_muon=True)], lr=.02, weight_decay=.1, foreach=False)),
             split=True)),
        ("shampoo_pytorch_optimizer", main("shampoo", **{"shampoo.preset": "paper"}),
         "pytorch_optimizer",
         lambda: run_torch(lambda p: with_vector(p, P.Shampoo(
             p.matrices, lr=.02, matrix_eps=1e-4, weight_decay=.1, weight_decouple=True)),
             split=True)),
        # Sides above 4 have no basis: the first gradient leaves them a null space, in which any is
        # as good.
        ("soap_pytorch_optimizer", main("soap", **{"soap.interval": 3, "soap.max_dim": 4}),
         "pytorch_optimizer",
         lambda: run_torch(lambda p: with_vector(p, in_f64(P.SOAP(
             p.matrices, lr=.02, betas=(.95, .95), weight_decay=.1, precondition_frequency=3,
             max_precondition_dim=4))), split=True)),
        ("adafactor_torch", {"optimizer": "adafactor", "lr": .3, "weight_decay": .1}, "torch",
         lambda: run_torch(lambda p: O.Adafactor(p.groups(.1), lr=.3, eps=(2**-23, 1e-3)),
                           split=True)),
        ("scion_pytorch_optimizer", {"optimizer": "scion", "lr": .01, "scion.radius": 4,
                                     "scion.radius_vector": 2}, "pytorch_optimizer",
         lambda: run_torch(lambda p: [
             P.SCION(w, lr=.01, momentum=.1, constraint=True, norm_type=norm, scale=radius,
                     foreach=False) for w, norm, radius in ((p.matrices, 2, 4), (p.vectors, 5, 2))],
             split=True)),
        ("scion_free_pytorch_optimizer", {"optimizer": "scion", "scion.constrained": "false",
                                          "lr": .01, "weight_decay": .1, "scion.radius": 2},
         "pytorch_optimizer",
         lambda: run_torch(lambda p: [
             P.SCION(p.matrices, lr=.01, momentum=.1, norm_type=2, scale=2, weight_decay=.1,
                     foreach=False),
             P.SCION(p.vectors, lr=.01, momentum=.1, norm_type=5, foreach=False)], split=True)),
        ("adamuon_formula", main("adamuon"), "numpy", lambda: run_formula(adamuon, adamw)),
        ("dion2_formula", main("dion2", **{"dion2.fraction": .5}), "numpy",
         lambda: run_formula(dion2, adamw)),
        ("coupled_muon_formula", main("coupled_muon", **{"coupled_muon.iterations": 6,
                                                         "coupled_muon.rel_eps": 0}), "numpy",
         lambda: run_formula(coupled_muon, adamw)),
        ("filtered_adam_formula", {"optimizer": "filtered_adam", "lr": .02, "weight_decay": .1,
                                   "filtered_adam.beta2": .99, "filtered_adam.gamma": 1,
                                   "filtered_adam.t0": 3}, "numpy",
         lambda: run_formula(filtered_adam, filtered_adam)),
    ]


if __name__ == "__main__":
    base.main(rows())
