"""HRM's training step in PyTorch: what hrm/training/step.ts does, and hrm/model/model.ts, act.ts and loss.ts with it.

One segment whose last L and H updates carry the gradient, the second forward for the target of the Q value (unless halting
is all that is learned), the losses and metrics, Adam-atan2 on all weights at once and sign-SGD on the puzzle embedding. The batch
that halted rows are refilled from is always the same. Nothing waits for the device.

With `dtype` bf16, activations and the weights' copies for a step are bf16 as in the official code; norms, rotation, losses, the weights
themselves and their update stay fp32. `compiling` makes what is to be called of levels, losses and update.
"""

import math

import torch
import torch.nn.functional as F

IGNORED = -100


def rotary_tables(length, size, theta):
    frequencies = 1.0 / theta ** (torch.arange(0, size, 2, dtype=torch.float32) / size)
    angles = torch.outer(torch.arange(length, dtype=torch.float32), frequencies)
    angles = torch.cat((angles, angles), -1)[None, :, None, :]
    return angles.cos(), angles.sin()


def rotate(x, tables):
    cos, sin = tables
    a, b = x.chunk(2, -1)
    return (x * cos + torch.cat((-b, a), -1) * sin).to(x.dtype)


def level(parts, layers, heads, tables, eps, causal):
    """The layers in turn, on the sum of the parts."""
    h = parts[0]
    for part in parts[1:]:
        h = h + part
    batch, length, width = h.shape
    for qkv, o, gate_up, down in layers:
        q, k, v = F.linear(h, qkv).view(batch, length, 3, heads, width // heads).unbind(2)
        if tables is not None:
            q, k = rotate(q, tables), rotate(k, tables)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        attended = attended.transpose(1, 2).reshape(batch, length, width)
        h = F.rms_norm(h + F.linear(attended, o), (width,), eps=eps)
        gate, up = F.linear(h, gate_up).chunk(2, -1)
        h = F.rms_norm(h + F.linear(F.silu(gate) * up, down), (width,), eps=eps)
    return h


def q_values(z, weight, bias):
    return F.linear(z[:, 0], weight, bias).float().unbind(-1)


def cross_entropy(logits, labels, stablemax):
    """Of every cell; 0 where it has no label."""
    labelled = labels != IGNORED
    index = torch.where(labelled, labels, 0).unsqueeze(-1)
    if stablemax:
        # x + 1 above 0, 1 / (1 - x) below.
        s = F.relu(logits) + 1 / (1 + F.relu(-logits))
        lost = s.sum(-1).log() - s.gather(-1, index).squeeze(-1).log()
    else:
        lost = logits.logsumexp(-1) - logits.gather(-1, index).squeeze(-1)
    return torch.where(labelled, lost, 0)


def outcome(z, head, q_weight, q_bias, labels, steps, minimum, target, config):
    """Total loss over the batch's rows, metrics [8] in the order of METRICS of hrm/model/loss.ts, and which rows halt."""
    max_steps, halt_only, stablemax = config
    prefix = z.shape[1] - labels.shape[1]
    logits = F.linear(z[:, prefix:], head).float()
    q_halt, q_continue = q_values(z, q_weight, q_bias)
    halted = last = steps >= max_steps
    if max_steps > 1:
        wants = q_halt > (0 if halt_only else q_continue)
        halted = (last | wants) & (steps >= minimum)
    labelled = labels != IGNORED
    counts = labelled.sum(-1)
    right = (labelled & (logits.argmax(-1) == labels)).sum(-1)
    divisor = counts.clamp(min=1).float()
    solved = right == counts
    lm = cross_entropy(logits, labels, stablemax).sum(-1) / divisor
    halt = F.binary_cross_entropy_with_logits(q_halt, solved.float(), reduction="none")
    go_on = torch.zeros_like(halt)
    if target is not None:
        next_halt, next_continue = target
        goal = torch.where(last, next_halt, torch.maximum(next_halt, next_continue)).sigmoid()
        go_on = F.binary_cross_entropy_with_logits(q_continue, goal, reduction="none")
    total = (lm + 0.5 * (halt + go_on)).sum() / labels.shape[0]
    counted = halted & (counts > 0)
    rows = (
        lm.detach(),
        halt.detach(),
        go_on.detach(),
        counted.float(),
        counted * right / divisor,
        (counted & solved).float(),
        (counted & ((q_halt.detach() >= 0) == solved)).float(),
        (counted * steps).float(),
    )
    return total, torch.stack(rows).sum(-1), halted


def adam_atan2(p, m, v, g, betas, powers, lr, decay, beta1, beta2):
    """In place, on all weights as one vector. `powers` [2]: the betas to the number of steps."""
    powers.mul_(betas)
    m.lerp_(g, 1 - beta1)
    v.lerp_(g.square(), 1 - beta2)
    first, second = (1 - powers).unbind()
    step = torch.atan2(m, v.sqrt() / second.sqrt()) / first
    p.mul_(1 - lr * decay).sub_(step * lr)


class HrmStep:
    """`weights`: tensors on the device by official name, `inputs` and `labels` int64 [B, S] on it."""

    def __init__(self, config, train, weights, inputs, labels, dtype, compiling):
        self.config, self.train, self.dtype = config, train, dtype
        device = inputs.device
        self.level, self.outcome, self.adam = compiling(level), compiling(outcome), compiling(adam_atan2)
        fixed = ("inner.H_init", "inner.L_init", "inner.puzzle_emb.weights")
        self.starts = [weights[name].to(dtype) for name in fixed[:2]]
        self.puzzle = weights.get(fixed[2])
        self.shapes = {name: w.shape for name, w in weights.items() if name not in fixed}
        self.flat = torch.cat([weights[name].flatten() for name in self.shapes]).requires_grad_()
        self.moments = [torch.zeros_like(self.flat, requires_grad=False) for _ in range(2)]
        self.betas = torch.tensor([train["beta1"], train["beta2"]], device=device)
        self.powers = torch.ones_like(self.betas)
        batch, length, width = *inputs.shape, config["hidden_size"]
        self.prefix = -(-config["puzzle_emb_ndim"] // width)
        self.tables = None
        if config["pos_encodings"] == "rope":
            tables = rotary_tables(self.prefix + length, width // config["num_heads"], config["rope_theta"])
            self.tables = [table.to(device) for table in tables]
        identifiers = torch.zeros(batch, dtype=torch.int64, device=device)
        self.batch = (inputs, labels, identifiers)
        latents = torch.zeros(batch, self.prefix + length, width, dtype=dtype, device=device)
        self.carry = (latents, latents.clone(), identifiers.clone(), *(t.clone() for t in self.batch))
        self.halted = torch.ones(batch, dtype=torch.bool, device=device)

    def weights(self):
        """Views of one vector, whose gradient is one vector too."""
        pieces = self.flat.to(self.dtype).split([shape.numel() for shape in self.shapes.values()])
        return {name: piece.view(shape) for piece, (name, shape) in zip(pieces, self.shapes.items())}

    def layers(self, w, name):
        parts = ("self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj")
        count = self.config[f"{name[0]}_layers"]
        return [[w[f"inner.{name}.layers.{i}.{part}.weight"] for part in parts] for i in range(count)]

    def refill(self):
        """Halted rows start over with the batch's data."""
        rows, latents = self.halted.view(-1, 1), self.halted.view(-1, 1, 1)
        z_h, z_l, steps, inputs, labels, identifiers = self.carry
        new_inputs, new_labels, new_identifiers = self.batch
        return (
            torch.where(latents, self.starts[0], z_h),
            torch.where(latents, self.starts[1], z_l),
            torch.where(self.halted, 0, steps),
            torch.where(rows, new_inputs, inputs),
            torch.where(rows, new_labels, labels),
            torch.where(self.halted, new_identifiers, identifiers),
        )

    def embed(self, w, inputs, puzzle):
        # The factors of all rows are those of the few weights.
        learned = self.config["pos_encodings"] == "learned"
        scale = math.sqrt(self.config["hidden_size"]) * (0.707106781 if learned else 1)
        x = F.embedding(inputs, w["inner.embed_tokens.embedding_weight"] * scale)
        if puzzle is not None:
            padded = F.pad(puzzle * scale, (0, self.prefix * x.shape[-1] - puzzle.shape[-1]))
            x = torch.cat((padded.to(x.dtype).view(x.shape[0], self.prefix, -1), x), 1)
        return x + w["inner.embed_pos.embedding_weight"] * scale if learned else x

    def segment(self, w, z_h, z_l, x):
        config = self.config
        same = (config["num_heads"], self.tables, config["rms_norm_eps"], config["causal"])
        h_layers, l_layers = self.layers(w, "H_level"), self.layers(w, "L_level")
        with torch.no_grad():
            cycles = config["H_cycles"] * config["L_cycles"]
            for i in range(1, cycles):
                z_l = self.level((z_l, z_h, x), l_layers, *same)
                if i % config["L_cycles"] == 0:
                    z_h = self.level((z_h, z_l), h_layers, *same)
        z_l = self.level((z_l, z_h, x), l_layers, *same)
        return self.level((z_h, z_l), h_layers, *same), z_l

    def run(self, _):
        config, train = self.config, self.train
        max_steps, halt_only = config["halt_max_steps"], config["halt_only"]
        z_h, z_l, steps, inputs, labels, identifiers = self.refill()
        w = self.weights()
        puzzle = None
        if self.puzzle is not None:
            puzzle = self.puzzle[identifiers].requires_grad_()
        x = self.embed(w, inputs, puzzle)
        z_h, z_l = self.segment(w, z_h, z_l, x)
        q_head = (w["inner.q_head.weight"], w["inner.q_head.bias"])
        target = None
        if max_steps > 1 and not halt_only:
            with torch.no_grad():
                target = q_values(self.segment(w, z_h.detach(), z_l.detach(), x)[0], *q_head)
        steps = steps + 1
        draws = torch.rand(steps.shape, device=steps.device) < config["halt_exploration_prob"]
        minimum = draws * torch.randint(2, max(3, max_steps + 1), steps.shape, device=steps.device)
        stablemax = config["loss_type"] == "stablemax_cross_entropy"
        choices = (max_steps, halt_only, stablemax)
        total, self.sums, self.halted = self.outcome(
            z_h, w["inner.lm_head.weight"], *q_head, labels, steps, minimum, target, choices
        )
        self.carry = (z_h.detach(), z_l.detach(), steps, inputs, labels, identifiers)
        leaves = [self.flat] if puzzle is None else [self.flat, puzzle]
        self.gradient, *rest = torch.autograd.grad(total, leaves)
        with torch.no_grad():
            rates = (train["lr"], train["weight_decay"], train["beta1"], train["beta2"])
            self.adam(self.flat.detach(), *self.moments, self.gradient, self.betas, self.powers, *rates)
            if puzzle is not None:
                self.sign_sgd(identifiers, rest[0])

    def sign_sgd(self, identifiers, gradient):
        """Rows of the batch, by the sign of the sum of their gradients."""
        lr, decay = self.train["puzzle_emb_lr"], self.train["puzzle_emb_weight_decay"]
        summed = torch.zeros_like(self.puzzle).index_add_(0, identifiers, gradient)
        touched = torch.zeros_like(self.puzzle[:, :1]).index_fill_(0, identifiers, 1)
        self.puzzle.sub_(touched * lr * (decay * self.puzzle + summed.sign()))

    def metrics(self, _):
        """What the last step is compared by; waits for the device."""
        lm, halt, *_ = self.sums.tolist()
        return {"lm_loss": lm, "q_halt_loss": halt, "gradientNorm": self.gradient.norm().item()}
