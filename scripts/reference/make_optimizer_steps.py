#!/usr/bin/env python3
"""Twenty steps of each optimizer in f64, by others' code or papers: tests/optim/steps.jsonl.

    pip install torch pytorch_optimizer heavyball optax
    python scripts/reference/make_optimizer_steps.py > tests/optim/steps.jsonl

Three parameters, whose values and gradients are integer arithmetic that the test repeats: two
matrices as torch.nn.Linear has them, [out, in], and a vector. A line is an optimizer, the keys that
it is given, its learning rate at the first step, and what the parameters are after the last.
"""
import functools
import json
import sys
from unittest import mock

import heavyball
import heavyball.utils
import jax
import numpy as np
import optax
import pytorch_optimizer as po
import torch
from pytorch_optimizer.optimizer import scion as po_scion
from pytorch_optimizer.optimizer.muon import base as po_muon
from pytorch_optimizer.optimizer.utils import matrix as po_matrix

jax.config.update("jax_enable_x64", True)
torch.set_default_dtype(torch.float64)

STEPS = 20
SHAPES = [(5, 8), (4, 9), (7,)]
DECAY = [0.1, 0.1, 0.0]


def number(which, step, i):
    """In [-1, 1): step -1 is the parameter."""
    x = ((i + 1) * 7919 + (step + 1) * 104729 + which * 1299709) * 2654435761 % 2**32
    x = (x ^ (x >> 15)) * 2246822519 % 2**32
    x = (x ^ (x >> 13)) % 2**32
    return x / 2**31 - 1


def array(which, step):
    shape = SHAPES[which % 3]
    values = [number(which, step, i) for i in range(int(np.prod(shape)))]
    return np.array(values, dtype=np.float64).reshape(shape)


def rate(lr, step):
    return lr * (1 - 0.02 * step)


def run_torch(make, lr, evaluate=False, factors=(1, 1, 1), skip_first=False):
    """`make` gets one dict a parameter."""
    params = [torch.nn.Parameter(torch.tensor(array(k, -1))) for k in range(3)]
    groups = [{"params": [p], "weight_decay": DECAY[k]} for k, p in enumerate(params)]
    optimizer = make(groups)
    for step in range(STEPS):
        for k, (group, p) in enumerate(zip(optimizer.param_groups, params)):
            group["lr"] = 0.0 if skip_first and step == 0 else rate(lr, step) * factors[k]
            p.grad = torch.tensor(array(k, step))
        optimizer.step()
    if evaluate:
        optimizer.eval()
    return [p.detach().numpy() for p in params]


def run_optax(make, lr):
    params = [array(k, -1) for k in range(3)]
    optimizer = make(lambda step: rate(lr, step))
    state = optimizer.init(params)
    for step in range(STEPS):
        updates, state = optimizer.update([array(k, step) for k in range(3)], state, params)
        params = optax.apply_updates(params, updates)
    return [np.asarray(p) for p in params]


def cautious(lr, beta1=0.9, beta2=0.95, eps=1e-8):
    """C-AdamW of https://github.com/kyleliang919/C-Optim."""
    out = []
    for k in range(3):
        p, m, v = array(k, -1), 0.0, 0.0
        for step in range(STEPS):
            g = array(k, step)
            m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
            t = step + 1
            denominator = np.sqrt(v / (1 - beta2**t)) + eps
            mask = (m * g > 0).astype(np.float64)
            mask /= max(mask.mean(), 1e-3)
            p = p - rate(lr, step) * (mask * m / (1 - beta1**t) / denominator + DECAY[k] * p)
        out.append(p)
    return out


def adamc(lr, beta1=0.9, beta2=0.95, eps=1e-8):
    """AdamC (arXiv:2506.02285): decay times lr^2 / peak."""
    out = []
    for k in range(3):
        p, m, v = array(k, -1), 0.0, 0.0
        for step in range(STEPS):
            g, eta, t = array(k, step), rate(lr, step), step + 1
            m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
            u = m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps)
            p = p - eta * u - eta * eta / lr * DECAY[k] * p
        out.append(p)
    return out


def in_f64(module, name):
    setattr(module, name, functools.partial(po_matrix.zero_power_via_newton_schulz_5,
                                            dtype=torch.float64))


def muon(groups, **options):
    for k, group in enumerate(groups):
        group["use_muon"] = k < 2
        if k == 2:
            group.update(betas=(0.9, 0.95), eps=1e-8)
    return po.Muon(groups, foreach=False, **options)


def scion(groups):
    for k, group in enumerate(groups):
        group["norm_type"] = po_scion.LMONorm.SPECTRAL if k < 2 else po_scion.LMONorm.NONE
        group["norm_kwargs"] = {"num_steps": 10} if k < 2 else {}
    return po.SCION(groups, momentum=0.05, foreach=False)


def scion_steps(lr):
    """SCION has no sign of a vector."""
    params = run_torch(scion, lr)
    p, m = array(2, -1), 0.0
    for step in range(STEPS):
        m = 0.95 * m + 0.05 * array(2, step)
        p = p - 0.25 * rate(lr, step) * np.sign(m)
    return [*params[:2], p]


def sophia(lr, beta1=0.965, beta2=0.99, rho=0.05, interval=10, tokens=50):
    """SophiaG of https://github.com/Liuhong99/Sophia, its estimates from gradients of their own."""
    out = []
    for k in range(3):
        p, m, h = array(k, -1), 0.0, np.zeros(SHAPES[k])
        for step in range(STEPS):
            m = beta1 * m + (1 - beta1) * array(k, step)
            ratio = np.minimum(np.abs(m) / (rho * tokens * h + 1e-15), 1)
            p = p * (1 - rate(lr, step) * DECAY[k]) - rate(lr, step) * np.sign(m) * ratio
            if step % interval == interval - 1:
                drawn = 0.1 * array(k + 3, step)
                h = beta2 * h + (1 - beta2) * drawn * drawn
        out.append(p)
    return out


def kron(lr, beta1=0.9, precond_lr=0.1):
    """heavyball's PSGD-PRO, without the noise that it adds to the gradient."""
    heavyball.utils.compile_mode = None
    out = []
    for k in range(3):
        p, m = torch.tensor(array(k, -1)), torch.zeros(SHAPES[k])
        matrix = len(SHAPES[k]) == 2
        q = [torch.eye(n)[None] if matrix else torch.ones(1, n) for n in SHAPES[k]]
        bounds = [torch.zeros(1) for _ in q]
        for step in range(STEPS):
            m = beta1 * m + (1 - beta1) * torch.tensor(array(k, step))
            g = m[None] / (1 - beta1 ** (step + 1))
            with mock.patch("torch.randn_like", torch.zeros_like):
                heavyball.utils.psgd_pro_update_precond(g, precond_lr, q, bounds, 0.9, 2, 1e-9)
            u = heavyball.utils.psgd_precond_grad(g, q)[0]
            u = u / max(1, u.square().mean().sqrt() / 1.1)
            p = p - rate(lr, step) * (u + DECAY[k] * p)
        out.append(p.numpy())
    return out


def soap(lr, beta1=0.95, beta2=0.95, shampoo_beta=0.95, eps=1e-8, frequency=10, longest=10000,
         one_sided=False):
    """Algorithm 3 of the paper (arXiv:2409.11321), in NumPy, with what its authors' code adds: the
    first step only begins, vectors are ordered by their Rayleigh quotients, the momentum is turned
    with them. One eigenbasis of the first step is not given by its gradient, that of the zeros of
    the longer side: it is the one that LAPACK's reflections fill up."""
    out = []
    for k in range(3):
        p = array(k, -1)
        matrix = p.ndim == 2
        left = matrix and p.shape[0] <= longest and not (one_sided and p.shape[1] < p.shape[0])
        right = matrix and p.shape[1] <= longest and not (one_sided and p.shape[0] <= p.shape[1])
        rows, columns = p.shape if matrix else (1, p.size)
        p = p.reshape(rows, columns)
        gram_l, gram_r = np.zeros((rows, rows)), np.zeros((columns, columns))
        q_l, q_r = np.eye(rows), np.eye(columns)
        m, v = np.zeros((rows, columns)), np.zeros((rows, columns))
        for step in range(STEPS):
            g = array(k, step).reshape(rows, columns)
            if step > 0:
                turned = q_l.T @ g @ q_r
                m = beta1 * m + (1 - beta1) * turned
                v = beta2 * v + (1 - beta2) * turned**2
                u = m / (1 - beta1**step) / (np.sqrt(v / (1 - beta2**step)) + eps)
                p = p - rate(lr, step) * (q_l @ u @ q_r.T + DECAY[k] * p)
            gram_l = shampoo_beta * gram_l + (1 - shampoo_beta) * g @ g.T
            gram_r = shampoo_beta * gram_r + (1 - shampoo_beta) * g.T @ g
            if step == 0:
                if left and (rows <= columns or not right):
                    q_l = np.linalg.eigh(gram_l)[1][:, ::-1]
                    if right:
                        q_r = np.linalg.qr(np.pad(g.T @ q_l, ((0, 0), (0, columns - rows))))[0]
                elif right:
                    q_r = np.linalg.eigh(gram_r)[1][:, ::-1]
                    if left:
                        q_l = np.linalg.qr(np.pad(g @ q_r, ((0, 0), (0, rows - columns))))[0]
                for gram, q in ((gram_l, q_l), (gram_r, q_r)):  # whichever way, an eigenbasis
                    if not np.array_equal(q, np.eye(len(q))):
                        inside = q.T @ gram @ q
                        assert np.abs(inside - np.diag(np.diag(inside))).max() < 1e-12
            elif step % frequency == 0:
                momentum = q_l @ m @ q_r.T
                if left:
                    order = np.argsort(-np.diag(q_l.T @ gram_l @ q_l))
                    q_l, v = np.linalg.qr(gram_l @ q_l[:, order])[0], v[order]
                if right:
                    order = np.argsort(-np.diag(q_r.T @ gram_r @ q_r))
                    q_r, v = np.linalg.qr(gram_r @ q_r[:, order])[0], v[:, order]
                m = q_l.T @ momentum @ q_r
        out.append(p)
    return out


CASES = []


def case(optimizer, keys, lr, params):
    CASES.append({"optimizer": optimizer, "keys": keys, "learning_rate": lr,
                  "params": [[round(float(x), 12) for x in p.ravel()] for p in params]})


def main():
    for module in (po_muon, po_scion):
        in_f64(module, "zero_power_via_newton_schulz_5")

    case("adam", {}, 0.01,
         run_torch(lambda g: torch.optim.AdamW(g, betas=(0.9, 0.95), eps=1e-8), 0.01))
    mask = [True, True, False]
    case("adam", {"nesterov": "true"}, 0.01,
         run_optax(lambda lr: optax.adamw(lr, b1=0.9, b2=0.95, eps=1e-8, weight_decay=0.1,
                                          mask=mask, nesterov=True), 0.01))
    case("adam", {"cautious": "true"}, 0.01, cautious(0.01))
    case("adam", {"adamc_weight_decay": "true"}, 0.01, adamc(0.01))
    case("lion", {}, 0.01, run_torch(lambda g: po.Lion(g, betas=(0.9, 0.95)), 0.01))
    case("adopt", {"beta2": "0.95"}, 0.01,
         run_torch(lambda g: po.ADOPT(g, betas=(0.9, 0.95), weight_decouple=True, foreach=False,
                                      clip_lambda=lambda step: (step - 1) ** 0.25), 0.01,
                   skip_first=True))
    case("ademamix", {}, 0.01, run_torch(lambda g: po.AdEMAMix(g, weight_decouple=True), 0.01))
    case("ademamix", {"t_alpha_beta3": "30"}, 0.01,
         run_torch(lambda g: po.AdEMAMix(g, weight_decouple=True, t_alpha_beta3=30), 0.01))
    case("mars", {}, 0.01, run_torch(lambda g: po.MARS(g, optimize_1d=True, foreach=False), 0.01))
    adafactor = functools.partial(po.AdaFactor, betas=(None, 0.999), relative_step=False,
                                  foreach=False)
    case("adafactor", {}, 0.01, run_torch(lambda g: adafactor(g, scale_parameter=True), 0.01))
    case("adafactor", {"scale_parameter": "false"}, 0.01,
         run_torch(lambda g: adafactor(g, scale_parameter=False), 0.01))
    case("muon", {}, 0.02, run_torch(muon, 0.02, factors=(1, 1, 6e-4 / 0.02)))
    case("muon", {"use_kimi_scaling": "true", "nesterov": "false", "adam_lr": "0.02"}, 0.02,
         run_torch(functools.partial(muon, nesterov=False, use_adjusted_lr=True), 0.02))
    case("schedule_free", {}, 0.01,
         run_torch(lambda g: po.ScheduleFreeAdamW(g, foreach=False), 0.01))
    case("scion", {}, 0.02, scion_steps(0.02))
    case("sophia", {}, 0.01, sophia(0.01))
    case("kron", {}, 0.01, kron(0.01))
    case("soap", {}, 0.01, soap(0.01))
    case("soap", {"precondition_frequency": "3", "shampoo_beta": "0.9"}, 0.01,
         soap(0.01, frequency=3, shampoo_beta=0.9))
    case("soap", {"one_sided": "true"}, 0.01, soap(0.01, one_sided=True))
    case("soap", {"max_precond_dim": "8", "precondition_frequency": "1"}, 0.01,
         soap(0.01, longest=8, frequency=1))
    for one in CASES:
        print(json.dumps(one))


if __name__ == "__main__":
    sys.exit(main())
