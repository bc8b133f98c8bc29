#!/usr/bin/env python3
"""Objectives of preferences over 20 steps, against Transformers in f64 and the losses that TRL has.

usage: check_preferences.py LEVANTER    prints a line for each objective; fails above TOLERANCE

A small Llama with made-up weights learns from 16 made-up pairs, four a step. Here it is computed in
f64, each answer behind its prompt in a row of its own: the loss is the published formula, which is
compared with TRL's own functions where it has them, and the update is torch's AdamW. Compared with
the program are the losses, gradient norms, rewards and log-probabilities of every step, and all
parameters after the last.
needs torch, transformers, trl and safetensors
"""
import json
import os
import random
import subprocess
import sys
import tempfile
from types import SimpleNamespace
from unittest.mock import MagicMock

import torch
import torch.nn.functional as F
import transformers as hf
from safetensors.torch import load_file
from trl import DPOTrainer
from trl.experimental.cpo import CPOTrainer
from trl.experimental.orpo import ORPOTrainer

TOLERANCE = 1e-5  # of f32 over 20 steps, relative to the largest of a step's or a parameter's numbers
STEPS, PAIRS, BATCH, MICROBATCH = 20, 16, 4, 2
LR, BETAS = 1e-3, (0.9, 0.95)
EPSILON = 1e-4  # so that AdamW makes no steps of gradients that are roundings of f32
METRICS = ["rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies",
           "logps/chosen", "logps/rejected"]

# Name, the objective as a config says it, and its numbers.
CASES = [
    ("dpo", "dpo", dict(beta=0.3)),
    ("dpo, labels smoothed", "dpo", dict(beta=0.3, label_smoothing=0.2)),
    ("dpo, ipo", "dpo", dict(beta=0.3, loss="ipo")),
    ("dpo, hinge", "dpo", dict(beta=0.3, loss="hinge")),
    ("dpo, no reference", "dpo", dict(beta=0.1, reference_free=True)),
    ("simpo", "simpo", dict(beta=2.0, gamma=0.8)),
    ("orpo", "orpo", dict(beta=0.5)),
    ("kto", "kto", dict(beta=0.3, undesirable_weight=1.2)),
]


def made_pairs():
    rng = random.Random(5)
    words = lambda most: "".join(rng.choice("abcdefgh ") for _ in range(rng.randint(2, most)))
    return [dict(prompt=words(12), chosen=words(15), rejected=words(15)) for _ in range(PAIRS)]


def made_model(folder):
    torch.manual_seed(1)
    model = hf.LlamaForCausalLM(hf.LlamaConfig(
        vocab_size=256, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
        initializer_range=0.15, tie_word_embeddings=False, pad_token_id=None))
    model.save_pretrained(folder)
    return model.double()


def answer(model, prompt, text):
    """The log-probability of an answer, and how many tokens it has."""
    ids = torch.tensor([list((prompt + text).encode())])
    logps = F.log_softmax(model(input_ids=ids).logits[0, :-1], -1)
    each = logps.gather(1, ids[0, 1:, None])[:, 0]
    return each[len(prompt.encode()) - 1:].sum(), float(len(text.encode()))


def answers(model, pairs):
    """Sums and counts of the chosen and of the rejected answers."""
    both = [[answer(model, p["prompt"], p[kind]) for p in pairs] for kind in ("chosen", "rejected")]
    return [(torch.stack([s for s, _ in one]), torch.tensor([n for _, n in one]).double())
            for one in both]


def loss_of(kind, keys, chosen, rejected, reference):
    """The losses of some pairs that are computed together, and the rewards of their answers."""
    (c, cn), (r, rn) = chosen, rejected
    beta, smoothing = keys["beta"], keys.get("label_smoothing", 0.0)
    if kind == "simpo":
        h = beta * (c / cn - r / rn) - keys["gamma"]
        return -F.logsigmoid(h), beta * c / cn, beta * r / rn
    if kind == "orpo":
        odds = (c / cn - r / rn) - (torch.log1p(-torch.exp(c / cn)) - torch.log1p(-torch.exp(r / rn)))
        return -c / cn - beta * F.logsigmoid(odds), beta * c / cn, beta * r / rn
    if not keys.get("reference_free"):
        c, r = c - reference[0], r - reference[1]
    if kind == "kto":
        good, bad = c.mean().clamp(min=0).detach(), r.mean().clamp(min=0).detach()
        losses = ((1 - torch.sigmoid(beta * (c - bad))) +
                  keys["undesirable_weight"] * (1 - torch.sigmoid(beta * (good - r)))) / 2
        return losses, beta * c, beta * r
    h = c - r
    losses = {
        "sigmoid": -(1 - smoothing) * F.logsigmoid(beta * h) - smoothing * F.logsigmoid(-beta * h),
        "ipo": (c / cn - r / rn - 1 / (2 * beta)) ** 2,
        "hinge": torch.relu(1 - beta * h),
    }[keys.get("loss", "sigmoid")]
    return losses, beta * c, beta * r


def trl_loss(kind, keys, chosen, rejected, reference):
    """The mean loss by TRL's own functions, None where it has none."""
    (c, cn), (r, rn) = [(s.detach(), n) for s, n in (chosen, rejected)]
    beta = keys["beta"]
    if kind == "simpo":
        own = SimpleNamespace(alpha=0.0, accelerator=SimpleNamespace(device="cpu"), beta=beta,
                              loss_type="simpo", simpo_gamma=keys["gamma"], label_smoothing=0.0)
        return CPOTrainer.cpo_loss(own, c / cn, r / rn)[0].mean().item()
    if kind == "orpo":  # whose part for the odds is what TRL has as a function
        own = SimpleNamespace(accelerator=SimpleNamespace(device="cpu"), beta=beta)
        losses = ORPOTrainer.odds_ratio_loss(own, (c / cn), (r / rn))[0]
        return (-c / cn - losses).mean().item()
    if kind != "dpo" or keys.get("label_smoothing") or keys.get("reference_free"):
        return None
    # A trainer whose model has said the log-probabilities, all in the first token of an answer.
    counts = torch.cat([cn, rn])
    longest = int(counts.max()) + 1
    mask = (torch.arange(longest)[None] >= 1) & (torch.arange(longest)[None] <= counts[:, None])
    per_token = torch.zeros(len(counts), longest - 1, dtype=torch.float64)
    per_token[:, 0] = torch.cat([c, r])
    own = MagicMock(loss_types=[keys.get("loss", "sigmoid")], loss_weights=[1.0], beta=beta,
                    f_divergence_type="reverse_kl", ld_alpha=None, precompute_ref_logps=True,
                    aux_loss_enabled=False, use_weighting=False, label_smoothing=0.0)
    own.accelerator.device = "cpu"
    class Said:  # its metrics read other values, of which none matters here
        log_probs = per_token
        def __getattr__(self, name):
            return per_token > 0 if name.startswith("is_") else per_token
    inputs = dict(input_ids=mask.long(), completion_mask=mask.long(),
                  attention_mask=torch.ones_like(mask).long(), ref_chosen_logps=reference[0],
                  ref_rejected_logps=reference[1])
    own.accelerator.gather_for_metrics.side_effect = lambda x: x
    own.accelerator.gather.side_effect = lambda x: x
    return DPOTrainer._compute_loss(own, lambda **_: Said(), inputs, False).item()


def expected(model, pairs, kind, keys):
    """What each step reports, and the parameters after the last."""
    with torch.no_grad():
        (c, _), (r, _) = answers(model, pairs)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, betas=BETAS, eps=EPSILON, weight_decay=0)
    steps, worst = [], None
    for step in range(STEPS):
        report = dict.fromkeys(["loss", *METRICS], 0.0)
        optimizer.zero_grad()
        for first in range(0, BATCH, MICROBATCH):
            at = [(step * BATCH + first + i) % PAIRS for i in range(MICROBATCH)]
            chosen, rejected = answers(model, [pairs[i] for i in at])
            reference = (c[at], r[at])
            losses, good, bad = loss_of(kind, keys, chosen, rejected, reference)
            (losses.sum() / BATCH).backward()
            theirs = trl_loss(kind, keys, chosen, rejected, reference)
            if theirs is not None:
                worst = max(worst or 0.0, abs(theirs - losses.mean().item()))
            values = [losses, good, bad, good - bad, (good > bad).double(), chosen[0], rejected[0]]
            for name, value in zip(report, values):
                report[name] += value.sum().item() / BATCH
        report["norm"] = torch.sqrt(sum((p.grad ** 2).sum() for p in model.parameters())).item()
        steps.append(report)
        optimizer.step()
    return steps, {name: p.detach() for name, p in model.named_parameters()}, worst


def toml(value):
    return json.dumps(value)


def trained(levanter, folder, name, kind, keys):
    """What the program reports, and the parameters that it ends with."""
    objective = ", ".join(f"{k} = {toml(v)}" for k, v in dict(type=kind, **keys).items())
    config = os.path.join(folder, "run.toml")
    with open(config, "w") as file:
        file.write(f"""objective = {{ {objective} }}
[model]
type = "from_hf"
path = "model"
[data]
shuffle = false
tokenizer = "bytes"
[data.components.pairs]
train = ["pairs.jsonl"]
format = {{ type = "preference", prompt_field = "prompt", learn = "pair" }}
pack = "alone"
[optimizer]
learning_rate = {LR}
lr_schedule = "constant"
warmup = 0
weight_decay = 0.0
beta1 = {BETAS[0]}
beta2 = {BETAS[1]}
epsilon = {EPSILON}
max_grad_norm = 1e9
[trainer]
id = "{name.replace(' ', '_').replace(',', '')}"
log_dir = "runs"
tracker = ["jsonl"]
num_train_steps = {STEPS}
train_batch_size = {BATCH}
microbatch_size = {MICROBATCH}
""")
    subprocess.run([levanter, "train", "--config", config], check=True, stdout=subprocess.DEVNULL)
    run = os.path.join(folder, "runs", name.replace(" ", "_").replace(",", ""))
    steps = []
    with open(os.path.join(run, "metrics.jsonl")) as file:
        for line in map(json.loads, file):
            if "train/loss" in line:
                steps.append({m: line["train/" + m] for m in ["loss", *METRICS]} |
                             {"norm": line["grad/norm/total"]})
    return steps, load_file(os.path.join(run, "checkpoints", f"step-{STEPS}", "model.safetensors"))


def difference(ours, theirs):
    """Of a step's reports, but for an accuracy where both answers are as good."""
    names = [n for n in theirs if n != "rewards/accuracies" or abs(theirs["rewards/margins"]) > 1e-6]
    return max(abs(ours[n] - theirs[n]) / max(1.0, abs(theirs[n])) for n in names)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    levanter = os.path.abspath(sys.argv[1])
    pairs, failed = made_pairs(), False
    print("| objective | losses and norms | parameters | TRL's losses |\n|---|---|---|---|")
    for name, kind, keys in CASES:
        with tempfile.TemporaryDirectory() as folder:
            model = made_model(os.path.join(folder, "model"))
            with open(os.path.join(folder, "pairs.jsonl"), "w") as file:
                file.writelines(json.dumps(pair) + "\n" for pair in pairs)
            steps, parameters, trl = expected(model, pairs, kind, keys)
            ours, found = trained(levanter, folder, name, kind, keys)
            assert len(ours) == STEPS
            numbers = max(difference(a, b) for a, b in zip(ours, steps))
            largest = max(p.abs().max().item() for p in parameters.values())
            moved = max((found[n].double() - p).abs().max().item() for n, p in parameters.items())
        said = "-" if trl is None else f"{trl:.1e}"
        print(f"| {name} | {numbers:.1e} | {moved / largest:.1e} | {said} |", flush=True)
        failed |= max(numbers, moved / largest, trl or 0.0) > TOLERANCE
    sys.exit("differences above 1e-5" if failed else 0)


if __name__ == "__main__":
    main()
