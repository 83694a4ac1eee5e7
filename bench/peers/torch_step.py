"""PyTorch's time for the block-stack step of bench/core/block_stack.ts, on a CUDA machine.

Prints one JSON object a line: eager fp32 with TF32 off, and bf16 compiled. Exits with a message where there is no CUDA.
"""

import json
import statistics
import sys
import time

try:
    import torch
    import torch.nn.functional as F
except ImportError:
    sys.exit("PyTorch is not installed")
if not torch.cuda.is_available():
    sys.exit("PyTorch sees no CUDA device")

torch.backends.cuda.matmul.allow_tf32 = False
STACKS = [
    ("small D128 L2 S81 B32", 32, 81, 128, 4, 512, 11),
    ("official/32 D512 L2 S82 B32", 32, 82, 512, 8, 1536, 11),
]
LAYERS, EPS, LEARNING_RATE = 2, 1e-5, 0.5


def rms(x):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPS)


def stack(x, labels, weights, heads):
    batch, length, width = x.shape
    h = x
    for qkv, o, gate_up, down in weights[:-1]:
        q, k, v = (h @ qkv.T).view(batch, length, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, length, width)
        h = rms(h + attended @ o.T)
        gate, up = (h @ gate_up.T).chunk(2, -1)
        h = rms(h + (F.silu(gate) * up) @ down.T)
    logits = h @ weights[-1].T
    return F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten())


def measure(name, batch, length, width, heads, inner, classes, mode):
    def weight(rows, columns):
        w = torch.randn(rows, columns, device="cuda") * columns**-0.5
        return w.requires_grad_()

    weights = [
        (weight(3 * width, width), weight(width, width), weight(2 * inner, width), weight(width, inner))
        for _ in range(LAYERS)
    ] + [weight(classes, width)]
    flat = [w for group in weights for w in (group if isinstance(group, tuple) else (group,))]
    x = torch.randn(batch, length, width, device="cuda")
    labels = torch.randint(0, classes, (batch, length), device="cuda")
    forward = torch.compile(stack) if mode == "bf16 compiled" else stack

    def step():
        with torch.autocast("cuda", torch.bfloat16, enabled=mode == "bf16 compiled"):
            loss = forward(x, labels, weights, heads)
        gradients = torch.autograd.grad(loss, flat)
        with torch.no_grad():
            for w, g in zip(flat, gradients):
                w -= LEARNING_RATE * g

    for _ in range(10):
        step()
    times = []
    for _ in range(20):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(10):
            step()
        torch.cuda.synchronize()
        times.append((time.perf_counter() - start) * 100)
    deciles = statistics.quantiles(times, n=10)
    line = {"peer": f"torch {torch.__version__} {mode}", "kernel": "block_stack_step", "shape": name}
    print(json.dumps({**line, "n": 20, "ms": statistics.median(times), "p10": deciles[0], "p90": deciles[-1]}))


for shape in STACKS:
    for mode in ("eager fp32", "bf16 compiled"):
        measure(*shape, mode)
