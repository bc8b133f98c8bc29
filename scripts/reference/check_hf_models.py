#!/usr/bin/env python3
"""Compares small random models, as Transformers saves them, with `levanter eval` on the same text.

usage: check_hf_models.py LEVANTER [FOLDER]
needs torch and transformers; prints both losses of each model and fails where they differ by more
than 2e-6 of them.
"""
import json
import os
import subprocess
import sys
import tempfile

import torch
import transformers as hf

WINDOW, WINDOWS, TOLERANCE = 64, 8, 2e-6

SMALL = dict(vocab_size=256, hidden_size=64, intermediate_size=112, num_hidden_layers=3,
             num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
             initializer_range=0.2, bos_token_id=0, eos_token_id=1)


def rope(kind, theta=1e4, **more):
    return dict(rope_parameters=dict(rope_type=kind, rope_theta=theta, **more))


LLAMAS = {
    "llama": {},
    "llama_theta": rope("default", 5e5),
    "llama_linear": rope("linear", factor=3.0),
    "llama_dynamic": rope("dynamic", factor=2.0),
    "llama_llama3": rope("llama3", 5e5, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                         original_max_position_embeddings=32),
    "llama_yarn": rope("yarn", factor=4.0, original_max_position_embeddings=16),
    "llama_head_dim": dict(head_dim=32, tie_word_embeddings=True),
    "llama_bias": dict(attention_bias=True, mlp_bias=True),
    "llama_gelu": dict(hidden_act="gelu_pytorch_tanh"),
    "llama_multi_head": dict(num_key_value_heads=4),
}


def models():
    for name, options in LLAMAS.items():
        yield name, hf.LlamaForCausalLM(hf.LlamaConfig(**{**SMALL, **options}))
    yield "gpt2", hf.GPT2LMHeadModel(
        hf.GPT2Config(vocab_size=256, n_positions=64, n_embd=64, n_layer=3, n_head=4,
                      initializer_range=0.2, bos_token_id=0, eos_token_id=1))


def loss_of(model, ids):
    inputs, targets = ids[:-1].reshape(WINDOWS, WINDOW), ids[1:].reshape(WINDOWS, WINDOW)
    with torch.no_grad():
        logits = model.double()(inputs).logits
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten()).item()


def main():
    levanter = os.path.abspath(sys.argv[1])
    folder = sys.argv[2] if len(sys.argv) > 2 else tempfile.mkdtemp()
    torch.manual_seed(0)
    ids = torch.randint(97, 123, (WINDOW * WINDOWS + 1,))
    for file in ("train.txt", "valid.txt"):
        with open(os.path.join(folder, file), "wb") as out:
            out.write(bytes(ids.tolist()))
    failed = 0
    for name, model in models():
        for path, parameter in model.named_parameters():
            if parameter.dim() == 1:  # norms and biases begin at ones and zeros
                torch.nn.init.normal_(parameter, 1.0 if path.endswith("weight") else 0.0, 0.2)
        model.eval().save_pretrained(os.path.join(folder, name))
        config = os.path.join(folder, name + ".toml")
        with open(config, "w") as out:
            out.write(f'[model]\ntype = "from_hf"\npath = "{name}"\n[data]\ntokenizer = "bytes"\n'
                      '[data.components.c]\ntrain = ["train.txt"]\nvalidation = ["valid.txt"]\n')
        run = subprocess.run([levanter, "eval", "--checkpoint", os.path.join(folder, name),
                              "--config", config, "--json"], capture_output=True, text=True)
        if run.returncode != 0:
            sys.exit(f"{name}: {run.stderr}")
        ours, theirs = json.loads(run.stdout)["eval/loss"], loss_of(model, ids)
        good = abs(ours - theirs) <= TOLERANCE * theirs
        failed += not good
        print(f"{name:18} {theirs:.9f} {ours:.9f} {'' if good else 'differs'}")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
