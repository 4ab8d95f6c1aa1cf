#!/usr/bin/env python3
"""Golden numbers for tests/nn/golden_test.cpp: a small GPT in PyTorch, in f64 and f32.

    pip install torch==2.15.0 safetensors numpy
    python3 tests/golden/make_gpt_golden.py      writes gpt_plain and gpt_bias .safetensors here

The stored files were made with PyTorch 2.15.0 on a CPU. Each holds the configuration, ten batches,
    weight/NAME   initial weights, f32 (wider than a fresh model's, so that every part matters)
    logits        of the first batch, f64
    grad/NAME     gradients of the first batch's loss, before clipping, f64
    losses, grad_norms   of ten AdamW steps, one batch each, f64
    after/NAME    weights after the ten steps, f64; zeros in place of the key biases, on which the
                  loss does not depend, so that AdamW steps along their rounding errors
and in the metadata, as f32_error/..., how far the same run in f32 is: rms(f32 - f64) / rms(f64).
"""
import math
import pathlib

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

STEPS, BATCH = 10, 3
ADAMW = dict(lr=1e-2, betas=(0.9, 0.99), eps=1e-8)
DECAY, CLIP = 0.1, 1.0
SIZES = dict(n_layer=2, n_head=4, n_embd=16, block_size=12, vocab_size=19)
CONFIGS = {
    "gpt_plain": dict(SIZES, n_kv_head=4, bias=False, activation="gelu"),
    "gpt_bias": dict(SIZES, n_kv_head=2, bias=True, activation="gelu_tanh"),
}


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.heads, self.kv_heads = c["n_head"], c["n_kv_head"]
        self.size = c["n_embd"] // c["n_head"]
        rows = (self.heads + 2 * self.kv_heads) * self.size
        self.qkv = nn.Linear(c["n_embd"], rows, bias=c["bias"])
        self.proj = nn.Linear(c["n_embd"], c["n_embd"], bias=c["bias"])

    def forward(self, x):
        batch, time, width = x.shape
        packed = self.qkv(x).view(batch, time, -1, self.size).transpose(1, 2)
        q, k, v = packed.split([self.heads, self.kv_heads, self.kv_heads], dim=1)
        k, v = (z.repeat_interleave(self.heads // self.kv_heads, dim=1) for z in (k, v))
        scores = q @ k.transpose(2, 3) / math.sqrt(self.size)
        hidden = torch.ones(time, time, dtype=torch.bool).triu(1)
        y = scores.masked_fill(hidden, -math.inf).softmax(-1) @ v
        return self.proj(y.transpose(1, 2).reshape(batch, time, width))


class Mlp(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.fc = nn.Linear(c["n_embd"], 4 * c["n_embd"], bias=c["bias"])
        self.proj = nn.Linear(4 * c["n_embd"], c["n_embd"], bias=c["bias"])
        self.approximate = "tanh" if c["activation"] == "gelu_tanh" else "none"

    def forward(self, x):
        return self.proj(F.gelu(self.fc(x), approximate=self.approximate))


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.ln_1, self.ln_2 = (nn.LayerNorm(c["n_embd"], bias=c["bias"]) for _ in range(2))
        self.attn, self.mlp = Attention(c), Mlp(c)

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Gpt(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.wte = nn.Embedding(c["vocab_size"], c["n_embd"])
        self.wpe = nn.Embedding(c["block_size"], c["n_embd"])
        self.blocks = nn.ModuleList(Block(c) for _ in range(c["n_layer"]))
        self.ln_f = nn.LayerNorm(c["n_embd"], bias=c["bias"])

    def forward(self, ids):
        x = self.wte(ids) + self.wpe(torch.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.ln_f(x) @ self.wte.weight.T


def train(config, weights, ids, targets, dtype):
    """Everything that is stored, as f64 arrays by name, computed in `dtype`."""
    model = Gpt(config).to(dtype)
    model.load_state_dict({name: w.to(dtype) for name, w in weights.items()})
    params = dict(model.named_parameters())
    optimizer = torch.optim.AdamW(
        [dict(params=[p for p in params.values() if p.ndim >= 2], weight_decay=DECAY),
         dict(params=[p for p in params.values() if p.ndim < 2], weight_decay=0.0)], **ADAMW)
    out, losses, norms = {}, [], []
    for step in range(STEPS):
        logits = model(ids[step])
        loss = F.cross_entropy(logits.flatten(0, 1), targets[step].flatten())
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            out["logits"] = logits
            out.update({f"grad/{name}": p.grad.clone() for name, p in params.items()})
        norm = nn.utils.clip_grad_norm_(params.values(), CLIP)
        optimizer.step()
        losses.append(loss.item()), norms.append(norm.item())
    out.update({f"after/{name}": p.detach() for name, p in params.items()})
    queries, packed = config["n_embd"], out["after/blocks.0.attn.qkv.weight"].shape[0]
    for name in (n for n in out if n.startswith("after/") and n.endswith("attn.qkv.bias")):
        out[name][queries : (queries + packed) // 2] = 0
    out["losses"] = torch.tensor(losses, dtype=torch.float64)
    out["grad_norms"] = torch.tensor(norms, dtype=torch.float64)
    return {name: t.detach().double().contiguous().clone() for name, t in out.items()}


def main():
    torch.manual_seed(1)
    for stem, config in CONFIGS.items():
        weights = {}
        for name, p in Gpt(config).named_parameters():
            gain = name.split(".")[-2].startswith("ln_") and name.endswith("weight")
            mean, deviation = 1.0 if gain else 0.0, 0.3 if p.ndim == 2 else 0.1
            weights[name] = mean + deviation * torch.randn(p.shape)
        shape = (STEPS, BATCH, config["block_size"] + 1)
        tokens = torch.randint(0, config["vocab_size"], shape)
        ids, targets = tokens[..., :-1].contiguous(), tokens[..., 1:].contiguous()
        exact = train(config, weights, ids, targets, torch.float64)
        rough = train(config, weights, ids, targets, torch.float32)
        metadata = {key: str(value).lower() for key, value in config.items()}
        metadata["made_with"] = f"PyTorch {torch.__version__.split('+')[0]}"
        for name, want in exact.items():
            error = (rough[name] - want).square().mean().sqrt() / want.square().mean().sqrt()
            metadata[f"f32_error/{name}"] = repr(error.item())
        tensors = {f"weight/{name}": w for name, w in weights.items()}
        tensors.update(exact, ids=ids.int(), targets=targets.int())
        path = pathlib.Path(__file__).with_name(f"{stem}.safetensors")
        save_file(tensors, path, metadata)
        path.chmod(0o644)
        print(path.name, path.stat().st_size, "bytes; losses", exact["losses"].tolist())


if __name__ == "__main__":
    main()
