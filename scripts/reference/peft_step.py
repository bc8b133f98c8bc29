#!/usr/bin/env python3
"""Times a LoRA step of PEFT on PyTorch: GPT-2 of 124M parameters, every linear layer adapted.

usage: peft_step.py [--batch N] [--seq N] [--r N] [--steps N] [--threads N] [--full]

The same shape here: levanter bench step --config configs/gpt2/gpt2_124m.toml --model.max_seq_len=SEQ
--trainer.microbatch_size=N --trainer.train_batch_size=N --adapter='{type = "lora", r = 16}'; --full
trains the whole model instead, here and, without --adapter, there. f32, AdamW, no dropout.
needs torch, transformers and peft
"""
import argparse
import statistics
import time

import peft
import torch
import transformers as hf

a = argparse.ArgumentParser()
for name, value in (("batch", 4), ("seq", 512), ("r", 16), ("steps", 5), ("threads", 2)):
    a.add_argument("--" + name, type=int, default=value)
a.add_argument("--full", action="store_true")
a = a.parse_args()

torch.set_num_threads(a.threads)
model = hf.GPT2LMHeadModel(hf.GPT2Config(n_positions=a.seq, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0))
if not a.full:
    model = peft.get_peft_model(model, peft.LoraConfig(
        r=a.r, lora_alpha=a.r, target_modules=["c_attn", "c_proj", "c_fc"], fan_in_fan_out=True))
trained = [p for p in model.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(trained, lr=1e-4)
ids = torch.randint(0, 50257, (a.batch, a.seq))
times = []
for _ in range(a.steps + 1):
    start = time.perf_counter()
    optimizer.zero_grad()
    model(input_ids=ids, labels=ids).loss.backward()
    torch.nn.utils.clip_grad_norm_(trained, 1.0)
    optimizer.step()
    times.append(time.perf_counter() - start)
seconds = statistics.median(times[1:])
print(f"{seconds:.3f} s a step, {a.batch * a.seq / seconds:.0f} tokens/s")
