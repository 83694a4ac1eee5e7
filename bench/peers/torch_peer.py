"""PyTorch beside the benchmark: reads one JSON object a line, answers one; bench/torch.ts writes and reads them.

The first line names the version and the ways of computing that this machine has: eager fp32 on the CPU; on a CUDA machine there
instead eager fp32 (TF32 off), eager bf16, and bf16 with the steps compiled. Of a step in bf16, weights and update stay fp32. Numbers
come in base64, or in a file that is removed once it is read; they go in files where the command line names a folder for them. A request
that fails is answered by its error.
"""

import base64
import ctypes
import gc
import itertools
import json
import os
import sys
import warnings

warnings.filterwarnings("ignore")
sys.dont_write_bytecode = True
# Whatever libraries print goes to stderr.
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
try:
    import torch
    import torch.nn.functional as F
    from torch_hrm import HrmStep
except ImportError as error:
    sys.exit("PyTorch is not installed" if error.name == "torch" else str(error))

EPS = 1e-5
# bf16 keeps 8 bits of a number: at most 2**-8 a rounding, some dozens of them, against the whole loss or gradient's length.
BF16 = {"dtype": torch.bfloat16, "stepTolerance": 5e-2, "rounding": 2**-8}
torch.backends.cuda.matmul.allow_tf32 = False
cuda = torch.cuda.is_available()
DEVICE = "cuda" if cuda else "cpu"
FP32 = {"dtype": torch.float32, "matmul": cuda}
if cuda:
    MODES = {"CUDA fp32": FP32, "CUDA bf16": {**BF16, "matmul": True}, "CUDA bf16 compiled": {**BF16, "matmul": False, "compiled": True}}
else:
    MODES = {f"CPU fp32, {torch.get_num_threads()} threads": FP32}
FOLDER = sys.argv[1] if len(sys.argv) > 1 else None
files = itertools.count()


def tensor(packed):
    if "file" in packed:
        with open(packed["file"], "rb") as file:
            data = bytearray(file.read())
        os.remove(packed["file"])
    else:
        data = bytearray(base64.b64decode(packed["data"]))
    return torch.frombuffer(data, dtype=getattr(torch, packed["dtype"])).reshape(packed["shape"]).to(DEVICE)


def packed(t):
    t = t.detach().float().contiguous().cpu()
    data = ctypes.string_at(t.data_ptr(), t.numel() * 4)
    if FOLDER is None:
        return {"data": base64.b64encode(data).decode()}
    path = os.path.join(FOLDER, f"answer{next(files)}")
    with open(path, "wb") as file:
        file.write(data)
    return {"file": path}


def drain():
    if cuda:
        torch.cuda.synchronize()


class Matmul:
    def __init__(self, request):
        dtype = MODES[request["mode"]]["dtype"]
        a, b = tensor(request["a"]).to(dtype), tensor(request["b"]).to(dtype)
        self.a = a.T if request["layout"] == "tn" else a
        self.b = b.T if request["layout"] == "nt" else b

    def run(self, _):
        self.c = self.a @ self.b

    def read(self, _):
        return {"c": packed(self.c)}


def compiler(mode):
    """What makes a function ready to be called: torch.compile, or nothing."""
    if not mode.get("compiled"):
        return lambda f: f
    # Work has its own shapes, and only so many are compiled for one function.
    torch._dynamo.reset()
    return lambda f: torch.compile(f, fullgraph=True, dynamic=False)


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
        mode = MODES[request["mode"]]
        self.bf16 = mode["dtype"] == torch.bfloat16
        self.start = {name: tensor(w) for name, w in request["weights"].items()}
        self.x = tensor(request["x"])
        self.forward = compiler(mode)(stack)
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


def hrm_step(request):
    mode = MODES[request["mode"]]
    weights = {name: tensor(w) for name, w in request["weights"].items()}
    inputs, labels = tensor(request["inputs"]).long(), tensor(request["labels"]).long()
    return HrmStep(request["config"], request["train"], weights, inputs, labels, mode["dtype"], compiler(mode))


works = {}


def answer(request):
    kinds = {"matmul": Matmul, "step": Step, "hrm": hrm_step}
    if request["do"] in kinds:
        number = max(works, default=0) + 1
        works[number] = kinds[request["do"]](request)
        return {"id": number}
    if request["do"] == "drain":
        drain()
        return {}
    if request["do"] == "dispose":
        del works[request["id"]]
        gc.collect()
        # Others compute on the device too.
        torch.cuda.empty_cache()
        return {}
    return getattr(works[request["id"]], request["do"])(request) or {}


def write(message):
    print(json.dumps(message, allow_nan=False), file=answers, flush=True)


told = ("matmul", "stepTolerance", "rounding")
modes = [{"name": name, **{key: mode[key] for key in told if key in mode}} for name, mode in MODES.items()]
write({"version": torch.__version__, "modes": modes})
for line in sys.stdin:
    try:
        write(answer(json.loads(line)))
    except Exception as error:
        write({"error": f"{type(error).__name__}: {error}"[:300]})
