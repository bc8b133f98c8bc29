#!/usr/bin/env python3
"""Small models with made-up weights, computed by Transformers in f64: what levanter is compared with.

usage: check_hf_models.py golden [CASE..] writes tests/golden/hf_models.jsonl, or the lines of these
                                          cases alone: other lines stay to the byte
       check_hf_models.py LEVANTER TESTS  compares the programs levanter and levanter_tests, and
                                          writes the table of docs/models.md

The golden file holds a line for each case: config.json, the loss of two rows of made ids, the logits
behind the last id of each, and the norm of each gradient; then the same of options that no class of
Transformers has, which are put together of its parts. The comparison takes all logits of
10,080 positions and all gradients, and the folders that `levanter export` writes of each folder, in
f32 and in bf16: their tensors' bytes, and their logits when Transformers loads them.
needs torch, transformers, safetensors and numpy
"""
import copy
import json
import os
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import torch
import transformers as hf
from safetensors.torch import load_file, save_file
from transformers.models.gemma2 import modeling_gemma2
from transformers.models.llama import modeling_llama
from transformers.models.phi import modeling_phi

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GOLDEN = os.path.join(ROOT, "tests", "golden", "hf_models.jsonl")
LENGTH = 48
APPLY_ROTARY = modeling_llama.apply_rotary_pos_emb

# A padding id would take its gradient from an embedding.
SMALL = dict(vocab_size=64, hidden_size=32, intermediate_size=40, num_hidden_layers=2,
             num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
             bos_token_id=0, eos_token_id=1, pad_token_id=None)
GEMMA = dict(head_dim=12, hidden_activation="gelu_pytorch_tanh", query_pre_attn_scalar=20)
LOCAL = dict(num_hidden_layers=6, sliding_window=16)


def rope(kind, theta=1e4, **more):
    return dict(rope_parameters=dict(rope_type=kind, rope_theta=theta, **more))


def two_ropes(theta, **more):
    return dict(rope_parameters=dict(full_attention=dict(rope_theta=theta, **more),
                                     sliding_attention=dict(rope_type="default", rope_theta=1e4)))


# Name of the case, class of Transformers, settings beside SMALL.
CASES = [
    ("gpt2", "GPT2", dict(n_positions=64, n_embd=32, n_layer=2, n_head=4, vocab_size=64)),
    ("gpt2_relu", "GPT2", dict(n_positions=64, n_embd=32, n_layer=1, n_head=2, vocab_size=64,
                               n_inner=48, activation_function="relu")),
    ("llama", "Llama", {}),
    ("llama_theta", "Llama", rope("default", 5e5)),
    ("llama_linear", "Llama", rope("linear", factor=3.0)),
    ("llama_dynamic", "Llama", {**rope("dynamic", factor=2.0), "max_position_embeddings": 32}),
    ("llama_llama3", "Llama", rope("llama3", 5e5, factor=8.0, low_freq_factor=1.0,
                                   high_freq_factor=4.0, original_max_position_embeddings=32)),
    ("llama_yarn", "Llama", rope("yarn", factor=4.0, original_max_position_embeddings=16)),
    ("llama_head_dim", "Llama", dict(head_dim=12, tie_word_embeddings=True)),
    ("llama_bias", "Llama", dict(attention_bias=True, mlp_bias=True)),
    ("llama_gelu", "Llama", dict(hidden_act="gelu_pytorch_tanh", num_key_value_heads=4)),
    ("mistral", "Mistral", dict(sliding_window=16)),
    ("mistral_no_window", "Mistral", dict(sliding_window=None, head_dim=12)),
    ("qwen2", "Qwen2", {}),
    ("qwen2_window", "Qwen2", dict(use_sliding_window=True, sliding_window=16,
                                   max_window_layers=1)),
    ("qwen3", "Qwen3", dict(head_dim=12)),
    ("qwen3_window", "Qwen3", dict(attention_bias=True, use_sliding_window=True, head_dim=12,
                                   sliding_window=16, max_window_layers=1)),
    ("gemma", "Gemma", dict(head_dim=12)),
    ("gemma2", "Gemma2", {**GEMMA, **LOCAL, "attn_logit_softcapping": 3.0,
                          "final_logit_softcapping": 2.0}),
    ("gemma3", "Gemma3", {**GEMMA, **LOCAL}),
    ("gemma3_linear", "Gemma3", {**GEMMA, **LOCAL, **two_ropes(1e6, rope_type="linear",
                                                               factor=8.0)}),
    ("olmo2", "Olmo2", {}),
    ("olmo3", "Olmo3", LOCAL),
    ("mixtral", "Mixtral", dict(num_local_experts=5, num_experts_per_tok=2)),
    ("mixtral_window", "Mixtral", dict(num_local_experts=4, num_experts_per_tok=3, head_dim=12,
                                       sliding_window=16)),
    ("qwen3_moe", "Qwen3Moe", dict(num_experts=6, num_experts_per_tok=2, head_dim=12,
                                   moe_intermediate_size=24, norm_topk_prob=False)),
    ("qwen3_moe_sum", "Qwen3Moe", dict(num_experts=6, num_experts_per_tok=4, head_dim=12,
                                       moe_intermediate_size=24, norm_topk_prob=True)),
    ("gpt2_inverse_layer", "GPT2", dict(n_positions=64, n_embd=32, n_layer=3, n_head=4,
                                        vocab_size=64, scale_attn_by_inverse_layer_idx=True)),
    ("llama_gelu_fast", "Llama", dict(hidden_act="gelu_fast", attention_bias=True)),
    ("llama_yarn_mscale", "Llama", rope("yarn", factor=4.0, original_max_position_embeddings=16,
                                        mscale=0.7, mscale_all_dim=1.3, truncate=False)),
    ("smollm3", "SmolLM3", dict(num_hidden_layers=4, no_rope_layer_interval=2)),
    ("olmo3_yarn", "Olmo3", {**LOCAL, **two_ropes(5e5, rope_type="yarn", factor=4.0,
                                                  original_max_position_embeddings=16)}),
]


# Options of levanter's that Transformers' Llama lacks, made of parts that other classes of it have.


class HybridLayer(torch.nn.Module):
    """Llama's block with norms where Gemma 2 has them."""

    gradient_checkpointing = False

    def __init__(self, layer):
        super().__init__()
        self.self_attn, self.mlp = layer.self_attn, layer.mlp
        self.input_layernorm, self.pre_feedforward_layernorm = (
            layer.input_layernorm, layer.post_attention_layernorm)
        self.post_attention_layernorm, self.post_feedforward_layernorm = (
            copy.deepcopy(layer.input_layernorm) for _ in range(2))

    forward = modeling_gemma2.Gemma2DecoderLayer.forward


def hybrid_norm(model):
    model.model.layers = torch.nn.ModuleList(map(HybridLayer, model.model.layers))


def partial_rotary(model):
    """Half of each head turns, as in Phi."""
    c = model.config
    phi = hf.PhiConfig(hidden_size=c.hidden_size, num_attention_heads=c.num_attention_heads,
                       rope_parameters=dict(rope_type="default", rope_theta=1e4,
                                            partial_rotary_factor=0.5))
    model.model.rotary_emb = modeling_phi.PhiRotaryEmbedding(phi)
    whole = modeling_phi.apply_rotary_pos_emb

    def of_a_part(q, k, cos, sin, unsqueeze_dim=1):
        n = cos.shape[-1]
        turned = whole(q[..., :n], k[..., :n], cos, sin, unsqueeze_dim)
        return tuple(torch.cat((t, x[..., n:]), -1) for t, x in zip(turned, (q, k)))

    modeling_llama.apply_rotary_pos_emb = of_a_part


# Name of the case, keys of [model] beside the folder's, what makes Llama that model.
VARIANTS = [
    ("hybrid_norm", dict(hybrid_norm=True), hybrid_norm),
    ("norms_without_weights", dict(use_layer_norm_weight=False), lambda model: None),
    ("partial_rotary", dict(partial_rotary_factor=0.5), partial_rotary),
]


def variant_line(name, keys, change):
    model = hf.LlamaForCausalLM(hf.LlamaConfig(**SMALL))
    model.config._attn_implementation = "eager"
    change(model)
    model.double().eval()
    weighed = keys.get("use_layer_norm_weight", True)
    for path, parameter in model.named_parameters():
        parameter.data = (torch.ones_like(parameter) if is_norm(path) and not weighed else
                          made_weight(path, parameter.shape, is_norm(path)).double())
    ids = scramble("ids", np.arange(2 * (LENGTH + 1))) % 64
    logits, loss = loss_of(model, *rows_of(ids, 2))
    loss.backward()
    gradients = {path: float(f"{p.grad.norm().item():.9g}")
                 for path, p in model.named_parameters() if weighed or not is_norm(path)}
    config = {"model_type": "llama", **SMALL}
    modeling_llama.apply_rotary_pos_emb = APPLY_ROTARY
    return {"case": name, "config": config, "keys": keys, "loss": loss.item(),
            "logits": [float(f"{x:.7g}") for x in logits[:, -1].flatten().tolist()],
            "gradients": gradients}


def scramble(name, indices):
    """32 bits that look random, of each index and a name."""
    x = 2166136261
    for c in name.encode():
        x = (x ^ c) * 16777619 % 2**32
    x = (x + indices.astype(np.uint64) * 2654435761) % 2**32
    x = ((x ^ (x >> 15)) * 2246822519) % 2**32
    return x ^ (x >> 13)


def made_weight(name, shape, around_one):
    x = (scramble(name, np.arange(int(np.prod(shape)))) / 2.0**32 - 0.5) * 0.6
    return torch.tensor((1 + x if around_one else x).reshape(shape)).float()


def is_norm(name):
    return name.endswith("norm.weight") or ".ln_" in name and name.endswith("weight")


def made_model(family, options, folder):
    """A model whose saved tensors are made, in f64; `folder` holds it in f32."""
    config = getattr(hf, family + ("TextConfig" if family == "Gemma3" else "Config"))
    kind = getattr(hf, family + ("LMHeadModel" if family == "GPT2" else "ForCausalLM"))
    base = {} if family == "GPT2" else SMALL
    kind(config(**{**base, **options})).save_pretrained(folder)
    path = os.path.join(folder, "model.safetensors")
    one = family[:5] != "Gemma"
    tensors = {name: made_weight(name, tensor.shape, one and is_norm(name))
               for name, tensor in load_file(path).items()}
    save_file(tensors, path, metadata={"format": "pt"})
    return kind.from_pretrained(folder, attn_implementation="eager",
                                experts_implementation="eager").double().eval()


def saved_gradients(model):
    """Gradients under the names that their tensors have in a file."""
    for parameter in model.parameters():
        parameter.data = parameter.grad
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return load_file(os.path.join(folder, "model.safetensors"))


def rows_of(ids, count):
    rows = torch.tensor(ids[:count * (LENGTH + 1)].astype(np.int64)).reshape(count, LENGTH + 1)
    return rows[:, :-1], rows[:, 1:]


def loss_of(model, inputs, targets):
    logits = model(inputs).logits
    return logits, torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


def case_line(name, family, options):
    with tempfile.TemporaryDirectory() as folder:
        model = made_model(family, options, folder)
        config = json.load(open(os.path.join(folder, "config.json")))
    ids = scramble("ids", np.arange(2 * (LENGTH + 1))) % 64
    logits, loss = loss_of(model, *rows_of(ids, 2))
    loss.backward()
    gradients = {key: float(f"{g.double().norm().item():.9g}")
                 for key, g in saved_gradients(model).items()}
    last = [float(f"{x:.7g}") for x in logits[:, -1].flatten().tolist()]
    return {"case": name, "config": config, "loss": loss.item(), "logits": last,
            "gradients": gradients}


def golden(wanted):
    """Writes the lines of the cases in `wanted`, of all where it is empty."""
    made = [(case_line, case) for case in CASES] + [(variant_line, case) for case in VARIANTS]
    unknown = set(wanted) - {case[0] for _, case in made}
    if unknown:
        sys.exit(f"no such case: {', '.join(sorted(unknown))}")
    with open(GOLDEN) as file:
        old = {json.loads(line)["case"]: line for line in file}
    lines = []
    for line_of, case in made:
        stays = wanted and case[0] not in wanted
        if stays and case[0] not in old:
            sys.exit(f"{case[0]} has no line yet: name it too")
        lines.append(old[case[0]] if stays else json.dumps(line_of(*case)) + "\n")
    with open(GOLDEN, "w") as out:
        out.writelines(lines)


ROWS = 210
MOST = dict(logits=1e-4, gradient=1e-5)

# An exported folder gives the logits of the folder that it was made of, to the bit, but where it
# gives the activation another name: all forms of the tanh GELU are exported as gelu_pytorch_tanh.
# With that name in the first folder too the error is 0 in these cases as well, which is checked.
#   gelu_new   the same formula, in another order of operations (x**3 by pow): the last bit of an f64
GELU_NEW_ROUNDS = 1e-14
#   gelu_fast  has sqrt(2 / pi) to ten digits, 1e-12 of an activation. The norms and the softmax of
#              Transformers' Llama are f32 in a model of f64 too, where that turns last bits of an f32
GELU_FAST_ROUNDS = 1e-6
MOST_OF_EXPORT = {"gpt2": GELU_NEW_ROUNDS, "gpt2_inverse_layer": GELU_NEW_ROUNDS,
                  "llama_gelu_fast": GELU_FAST_ROUNDS}
MARKS = ["<!-- the table of scripts/reference/check_hf_models.py -->", "<!-- its end -->"]


def write_reference(folder, family, options):
    """A case's folder, and what Transformers gives for it."""
    model = made_model(family, options, folder)
    ids = scramble("ids", np.arange(ROWS * (LENGTH + 1))) % 64
    logits, loss = loss_of(model, *rows_of(ids, ROWS))
    loss.backward()
    tensors = {key: g.contiguous() for key, g in saved_gradients(model).items()}
    tensors["logits"] = logits.detach().contiguous()
    tensors["ids"] = torch.tensor(ids.astype(np.int64)).reshape(ROWS, LENGTH + 1)
    save_file(tensors, os.path.join(folder, "reference.safetensors"))


def copy_in_bf16(folder, copy):
    os.makedirs(copy)
    config = json.load(open(os.path.join(folder, "config.json")))
    config["dtype"] = "bfloat16"
    json.dump(config, open(os.path.join(copy, "config.json"), "w"))
    tensors = load_file(os.path.join(folder, "model.safetensors"))
    save_file({name: t.bfloat16() for name, t in tensors.items()},
              os.path.join(copy, "model.safetensors"), metadata={"format": "pt"})


def raw_tensors(folder):
    """Type, shape and bytes of each tensor."""
    with open(os.path.join(folder, "model.safetensors"), "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        data = file.read()
    header.pop("__metadata__", None)
    return {name: (t["dtype"], t["shape"], data[slice(*t["data_offsets"])])
            for name, t in header.items()}


def all_logits(family, folder):
    kind = getattr(hf, family + ("LMHeadModel" if family == "GPT2" else "ForCausalLM"))
    model, info = kind.from_pretrained(folder, attn_implementation="eager",
                                       experts_implementation="eager", dtype=torch.float32,
                                       output_loading_info=True)
    assert not any(info.values()), info
    ids = scramble("ids", np.arange(ROWS * (LENGTH + 1))) % 64
    with torch.no_grad():
        return model.double().eval()(rows_of(ids, ROWS)[0]).logits


def with_activation_of(out, folder, renamed):
    """A copy of the folder that calls its activation as the exported one does."""
    shutil.copytree(folder, renamed)
    config, exported = (json.load(open(os.path.join(f, "config.json"))) for f in (folder, out))
    key = "activation_function" if "activation_function" in config else "hidden_act"
    json.dump({**config, key: exported[key]}, open(os.path.join(renamed, "config.json"), "w"))


def check_export(levanter, name, family, folder, out):
    """The error of the exported folder's logits, whether they are as equal as they should be, and
    whether the tensors are the same bytes."""
    subprocess.run([levanter, "export", "--checkpoint", folder, "--out", out], check=True,
                   capture_output=True)
    logits = all_logits(family, out)
    error = (logits - all_logits(family, folder)).abs().max().item()
    good = error <= MOST_OF_EXPORT.get(name, 0)
    if name in MOST_OF_EXPORT:
        with_activation_of(out, folder, out + ".renamed")
        good = good and torch.equal(logits, all_logits(family, out + ".renamed"))
    return error, good, raw_tensors(out) == raw_tensors(folder)


def write_table(rows):
    path = os.path.join(ROOT, "docs", "models.md")
    text = open(path).read()
    head, rest = text.split(MARKS[0])
    tail = rest.split(MARKS[1])[1]
    lines = ["| case | largest error of a logit | other best token, of positions | worst gradient | "
             "logits of the export | same bytes |", "|---|---|---|---|---|---|", *rows]
    open(path, "w").write(head + MARKS[0] + "\n\n" + "\n".join(lines) + "\n\n" + MARKS[1] + tail)


def compare(levanter, tests):
    with tempfile.TemporaryDirectory() as root:
        made = os.path.join(root, "models")
        for name, family, options in CASES:
            write_reference(os.path.join(made, name), family, options)
        run = subprocess.run([tests, "[.hf_models]"], env={**os.environ, "LEVANTER_HF_MODELS": made},
                             capture_output=True, text=True)
        found = {}
        for line in run.stdout.splitlines():
            if line.startswith("{"):
                found[json.loads(line)["case"]] = json.loads(line)
        if run.returncode != 0:
            sys.exit(run.stdout[-2000:] + run.stderr[-2000:])
        rows, wrong = [], []
        for name, family, _ in CASES:
            folder, half = os.path.join(made, name), os.path.join(root, "bf16", name)
            copy_in_bf16(folder, half)
            exports = [check_export(levanter, name, family, f, os.path.join(root, "out", kind, name))
                       for kind, f in (("f32", folder), ("bf16", half))]
            errors, good, same = zip(*exports)
            error, good, same = max(errors), all(good), all(same)
            c = found[name]
            rows.append(f"| `{name}` | {c['logit_error']:.1e} | {c['argmax_mismatches']} of "
                        f"{c['positions']:,} | {c['gradient_error']:.1e} | {error:.1g} | "
                        f"{'yes' if same else 'no'} |")
            print(rows[-1], flush=True)
            if (c["logit_error"] > MOST["logits"] or c["gradient_error"] > MOST["gradient"] or
                    c["argmax_mismatches"] or not good or not same):
                wrong.append(name)
        write_table(rows)
        print(f"{len(rows)} cases, wrong: {wrong or 'none'}")
        return 1 if wrong else 0


if __name__ == "__main__":
    torch.manual_seed(0)
    if sys.argv[1:2] == ["golden"]:
        golden(sys.argv[2:])
    elif len(sys.argv) == 3:
        sys.exit(compare(*map(os.path.abspath, sys.argv[1:])))
    else:
        sys.exit(__doc__)
