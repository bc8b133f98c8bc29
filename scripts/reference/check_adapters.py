#!/usr/bin/env python3
"""Adapters of small models with made-up weights, trained by levanter and by PEFT from the same start.

usage: check_adapters.py LEVANTER [CASE..]

Each case: a model of Transformers in f32 and an adapter of PEFT whose B is not zero. Both programs
begin with them and train for 20 steps of AdamW on the same rows; PEFT does it in f64. Compared are the
losses, the norms of the gradients and the trained adapters; log-probabilities of sampled texts, of
PEFT's adapter in levanter, of levanter's in PEFT, and of levanter's merged model in Transformers.
needs torch, transformers, peft, safetensors and numpy
"""
import json
import os
import subprocess
import sys
import tempfile

import peft
import torch
import transformers as hf
from safetensors.torch import load_file
from tokenizers import Tokenizer, models

STEPS, ROWS, LENGTH, VOCAB = 20, 8, 24, 64
TOLERANCE = 1e-5
RATE = 3e-3

GPT2 = lambda **more: hf.GPT2LMHeadModel(hf.GPT2Config(
    n_positions=LENGTH, n_embd=32, n_layer=2, n_head=4, vocab_size=VOCAB, resid_pdrop=0, embd_pdrop=0,
    attn_pdrop=0, bos_token_id=None, eos_token_id=None, **more))
SMALL = dict(vocab_size=VOCAB, hidden_size=32, intermediate_size=40, num_hidden_layers=2,
             num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=LENGTH,
             bos_token_id=None, eos_token_id=None, pad_token_id=None)
LLAMA = lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**SMALL))
QWEN2 = lambda: hf.Qwen2ForCausalLM(hf.Qwen2Config(**SMALL))
QWEN3 = lambda: hf.Qwen3ForCausalLM(hf.Qwen3Config(**SMALL, head_dim=12))
GEMMA2 = lambda: hf.Gemma2ForCausalLM(hf.Gemma2Config(**SMALL, head_dim=12, query_pre_attn_scalar=20))
EACH = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

# Name, model, settings of PEFT's LoraConfig.
CASES = [
    ("gpt2", GPT2, dict(r=4, lora_alpha=8, target_modules=["c_attn", "c_proj", "c_fc"],
                        fan_in_fan_out=True)),
    ("gpt2_c_attn", GPT2, dict(r=3, lora_alpha=5, target_modules=["c_attn"], fan_in_fan_out=True)),
    ("gpt2_dora", GPT2, dict(r=4, lora_alpha=8, target_modules=["c_attn", "c_fc"], use_dora=True,
                             fan_in_fan_out=True)),
    ("llama", LLAMA, dict(r=4, lora_alpha=16, target_modules=EACH)),
    ("llama_regex", LLAMA, dict(r=4, lora_alpha=16, target_modules=r".*\.1\.self_attn\.[qv]_proj")),
    ("llama_rslora", LLAMA, dict(r=8, lora_alpha=8, target_modules=["q_proj", "v_proj"],
                                 use_rslora=True)),
    ("llama_dora", LLAMA, dict(r=4, lora_alpha=8, target_modules=EACH, use_dora=True)),
    ("qwen2", QWEN2, dict(r=4, lora_alpha=8, target_modules=EACH)),
    ("qwen2_dora", QWEN2, dict(r=4, lora_alpha=8, target_modules=["q_proj", "o_proj"], use_dora=True)),
    ("qwen3", QWEN3, dict(r=4, lora_alpha=8, target_modules=EACH)),
    ("gemma2", GEMMA2, dict(r=4, lora_alpha=8, target_modules=EACH)),
]


def letter(i):
    return chr(ord("0") + i)


def make_start(name, make, settings, folder):
    """The model and an adapter whose B is not zero, as folders; returns the model under PEFT, f64."""
    torch.manual_seed(sum(map(ord, name)))
    model = make()
    with torch.no_grad():
        for path, parameter in model.named_parameters():
            if "norm" in path or "ln_" in path:
                parameter.add_(0.2 * torch.randn_like(parameter))
            elif parameter.dim() > 1:
                parameter.mul_(4)
    model.save_pretrained(folder + "/model")
    letters = {letter(i): i for i in range(VOCAB)}
    Tokenizer(models.BPE(vocab=letters, merges=[])).save(folder + "/model/tokenizer.json")
    adapted = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", **settings))
    with torch.no_grad():
        for path, parameter in adapted.named_parameters():
            if "lora_B" in path:
                parameter.normal_(0, 0.05)
            if "magnitude" in path:
                parameter.mul_(1 + 0.1 * torch.randn_like(parameter))
    adapted.save_pretrained(folder + "/start")
    return adapted.double()


def make_rows(folder):
    rows = torch.randint(0, VOCAB, (ROWS, LENGTH), generator=torch.Generator().manual_seed(7))
    with open(folder + "/rows.jsonl", "w") as out:
        for row in rows.tolist():
            print(json.dumps({"input_ids": row}), file=out)
    return rows


def train_peft(model, rows):
    """Loss and norm of the gradients of each step; the trained adapter."""
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=RATE, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.0)
    losses, norms = [], []
    model.train()
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = model(input_ids=rows, labels=rows).loss
        loss.backward()
        norms.append(torch.sqrt(sum((p.grad ** 2).sum() for p in trained)).item())
        losses.append(loss.item())
        optimizer.step()
    model.eval()
    return losses, norms


def adapter_keys(settings):
    targets = settings["target_modules"]
    keys = {"type": "lora", "r": settings["r"], "alpha": float(settings["lora_alpha"]),
            "target_modules": targets, "path": "start"}
    keys["rslora"] = settings.get("use_rslora", False)
    keys["dora"] = settings.get("use_dora", False)
    return ", ".join(f"{key} = {json.dumps(value)}" for key, value in keys.items())


def run(levanter, folder, *words, text=None):
    done = subprocess.run([levanter, *words], cwd=folder, capture_output=True, text=True, input=text)
    if done.returncode != 0:
        sys.exit(f"levanter {' '.join(words)}: {done.stderr or done.stdout}")
    return done.stdout


def train_levanter(levanter, settings, folder):
    with open(folder + "/run.toml", "w") as out:
        out.write(f"""adapter = {{ {adapter_keys(settings)} }}
[model]
type = "from_hf"
path = "model"
[data.components.rows]
train = ["rows.jsonl"]
format = {{ type = "prebuilt" }}
pack = "greedy"
[optimizer]
learning_rate = {RATE}
lr_schedule = "constant"
warmup = 0
weight_decay = 0.0
max_grad_norm = 1e9
[trainer]
num_train_steps = {STEPS}
train_batch_size = {ROWS}
microbatch_size = 2
log_dir = "logs"
tracker = ["jsonl"]
""")
    run(levanter, folder, "train", "--config", "run.toml")
    lines = [json.loads(line) for line in open(folder + "/logs/run/metrics.jsonl")]
    steps = [line for line in lines if "train/loss" in line]
    run(levanter, folder, "export", "--checkpoint", "logs/run", "--adapter", "--out", "ours")
    run(levanter, folder, "export", "--checkpoint", "logs/run", "--merge", "--out", "merged")
    return [s["train/loss"] for s in steps], [s["grad/norm/total"] for s in steps]


def logprobs_of(model, ids, new):
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1)
    first = len(ids) - new
    return [logits[i - 1, ids[i]].item() for i in range(first, len(ids))]


def sampled(levanter, folder, *words):
    """Texts that levanter samples: their ids, how many are new, and its log-probabilities of these."""
    prompts = "".join(json.dumps({"prompt": "".join(map(letter, ids))}) + "\n" for ids in ([3, 9], [7], [5, 1, 60]))
    out = run(levanter, folder, "generate", "--json", "--logprobs", "--max-new-tokens", "16", *words,
              text=prompts)
    for line in out.splitlines():
        text = json.loads(line)
        yield text["prompt_ids"] + text["ids"], len(text["ids"]), text["logprobs"]


def worst_logprob(levanter, folder, model, *words):
    worst = 0
    for ids, new, ours in sampled(levanter, folder, *words):
        theirs = logprobs_of(model, ids, new)
        worst = max([worst] + [abs(a - b) for a, b in zip(ours, theirs)])
    return worst


def worst(ours, theirs):
    assert len(ours) == len(theirs)
    return max(abs(a - b) / max(1, abs(b)) for a, b in zip(ours, theirs))


def trained_difference(folder, model):
    ours = load_file(folder + "/ours/adapter_model.safetensors")
    theirs = peft.get_peft_model_state_dict(model)
    assert set(ours) == set(theirs), set(ours) ^ set(theirs)
    return max((ours[name].double() - theirs[name]).abs().max().item() for name in ours)


def check(levanter, name, make, settings):
    with tempfile.TemporaryDirectory() as folder:
        model = make_start(name, make, settings, folder)
        rows = make_rows(folder)
        differences = {"theirs in ours": worst_logprob(levanter, folder, model, "--checkpoint", "model",
                                                       "--adapter", "start")}
        losses, norms = train_levanter(levanter, settings, folder)
        their_losses, their_norms = train_peft(model, rows)
        differences["losses"] = worst(losses, their_losses)
        differences["gradients"] = worst(norms, their_norms)
        differences["trained"] = trained_difference(folder, model)
        bare = make().__class__.from_pretrained(folder + "/model")
        ours = peft.PeftModel.from_pretrained(bare, folder + "/ours").double().eval()
        differences["ours in theirs"] = worst_logprob(levanter, folder, ours, "--checkpoint", "logs/run")
        merged = make().__class__.from_pretrained(folder + "/merged").double().eval()
        differences["merged"] = worst_logprob(levanter, folder, merged, "--checkpoint", "logs/run")
    good = all(value <= TOLERANCE for value in differences.values())
    print(f"{name:14}", *(f"{key} {value:.1e}" for key, value in differences.items()),
          "" if good else "WORSE THAN 1e-5", sep="  ", flush=True)
    return good


def main():
    levanter = os.path.abspath(sys.argv[1])
    wanted = sys.argv[2:]
    results = [check(levanter, *case) for case in CASES if not wanted or case[0] in wanted]
    sys.exit(0 if results and all(results) else 1)


if __name__ == "__main__":
    main()
