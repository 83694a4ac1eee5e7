"""PyTorch beside the benchmark: reads one JSON object a line, answers one; bench/torch.ts writes and reads them.

The first line names the version and the ways of computing that this machine has: eager fp32 (TF32 off) on the CPU; on a CUDA
machine eager fp32 and bf16 (the step compiled, weights and update in fp32) there instead. The step is the one of
bench/core/block_stack.ts. A request that fails is answered by its error.
"""

import base64
import ctypes
import json
import sys
import warnings

warnings.filterwarnings("ignore")
try:
    import torch
    import torch.nn.functional as F
except ImportError:
    sys.exit("PyTorch is not installed")

EPS = 1e-5
# bf16 keeps 8 bits of a number: 2**-9 a rounding, some dozens of them, against the whole gradient's length.
BF16_TOLERANCE = 3e-2
torch.backends.cuda.matmul.allow_tf32 = False
cuda = torch.cuda.is_available()
DEVICE = "cuda" if cuda else "cpu"
if cuda:
    MODES = [{"name": "CUDA fp32", "matmul": True}, {"name": "CUDA bf16", "matmul": False, "stepTolerance": BF16_TOLERANCE}]
else:
    MODES = [{"name": f"CPU fp32, {torch.get_num_threads()} threads", "matmul": False}]


def tensor(packed):
    flat = torch.frombuffer(bytearray(base64.b64decode(packed["data"])), dtype=getattr(torch, packed["dtype"]))
    return flat.reshape(packed["shape"]).to(DEVICE)


def packed(t):
    t = t.detach().float().contiguous().cpu()
    return base64.b64encode(ctypes.string_at(t.data_ptr(), t.numel() * 4)).decode()


def drain():
    if cuda:
        torch.cuda.synchronize()


class Matmul:
    def __init__(self, request):
        a, b = tensor(request["a"]), tensor(request["b"])
        self.a = a.T if request["layout"] == "tn" else a
        self.b = b.T if request["layout"] == "nt" else b

    def run(self, _):
        self.c = self.a @ self.b

    def read(self, _):
        return {"data": packed(self.c)}


def rms(x):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPS)


def stack(x, labels, weights, heads, layers):
    batch, length, width = x.shape
    h = x
    for i in range(layers):
        qkv = (h @ weights[f"{i}.qkv"].T).view(batch, length, 3, heads, width // heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, length, width)
        h = rms(h + attended @ weights[f"{i}.o"].T)
        gate, up = (h @ weights[f"{i}.gate_up"].T).chunk(2, -1)
        h = rms(h + (F.silu(gate) * up) @ weights[f"{i}.down"].T)
    logits = h @ weights["head"].T
    return F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), ignore_index=-100)


class Step:
    def __init__(self, request):
        self.spec = request["spec"]
        self.bf16 = request["mode"] == "CUDA bf16"
        self.start = {name: tensor(w) for name, w in request["weights"].items()}
        self.x = tensor(request["x"])
        self.forward = torch.compile(stack) if self.bf16 else stack
        self.labels(request)
        self.reset(None)

    def labels(self, request):
        self.y = tensor(request["labels"]).long()

    def reset(self, _):
        self.w = {name: w.clone().requires_grad_() for name, w in self.start.items()}

    def run(self, _):
        with torch.autocast(DEVICE, torch.bfloat16, enabled=self.bf16):
            self.value = self.forward(self.x, self.y, self.w, self.spec["heads"], self.spec["layers"])
        gradients = torch.autograd.grad(self.value, list(self.w.values()))
        with torch.no_grad():
            for w, g in zip(self.w.values(), gradients):
                w -= self.spec["learningRate"] * g

    def loss(self, _):
        return {"loss": self.value.item()}

    def weights(self, _):
        return {"weights": {name: packed(w) for name, w in self.w.items()}}


works = {}


def answer(request):
    kinds = {"matmul": Matmul, "step": Step}
    if request["do"] in kinds:
        number = max(works, default=0) + 1
        works[number] = kinds[request["do"]](request)
        return {"id": number}
    if request["do"] == "drain":
        drain()
        return {}
    if request["do"] == "dispose":
        del works[request["id"]]
        return {}
    return getattr(works[request["id"]], request["do"])(request) or {}


print(json.dumps({"version": torch.__version__, "modes": MODES}), flush=True)
for line in sys.stdin:
    try:
        print(json.dumps(answer(json.loads(line))), flush=True)
    except Exception as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"[:300]}), flush=True)
