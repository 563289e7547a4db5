"""One trial in PyTorch: reads a job as JSON, solves its problem, prints the samples and checks as JSON.

The counterpart of bench/trial.ts. Mixers: a chunkwise form written for PyTorch (the fastest of a few chunk sizes, or
compiled), the one of Hugging Face's transformers, and on a card the kernels of flash-linear-attention.
"""

import importlib
import inspect
import json
import math
import resource
import sys
import time

import numpy
import torch
import torch.nn.functional as F

NUMPY = "numpy"
FLA = "fla bfloat16"
TOLERANCE = {torch.float32: (1e-5, 1e-4, 1e-4), torch.bfloat16: (0.005, 0.008, 0.02)}
"""Of the output, of gradients, of those of gates and strengths."""

WARM_SECONDS = 0.2
"""As long as the library's own trials."""

WARM_CALLS = 3
"""At least; a trial may say otherwise."""

SAMPLE_MS = 20
"""Events of a card stand this far apart, so that launches do not show."""


def chunkwise(q, k, v, beta, gate, chunk):
    """Delta rule on [B, H, T, D]; gate [B, H, T] or None. One triangular solve for all chunks, then a loop over them."""
    B, H, T, D = q.shape
    n = T // chunk
    q, k, v = (x.reshape(B, H, n, chunk, D) for x in (q * D**-0.5, k, v))
    beta = beta.reshape(B, H, n, chunk, 1)
    lower = torch.ones(chunk, chunk, dtype=torch.bool).tril()
    kk, qk = k @ k.transpose(-1, -2), q @ k.transpose(-1, -2)
    bk = beta * k
    if gate is None:
        qk = qk.masked_fill(~lower, 0)
        to_end, total = k, None
    else:
        g = gate.reshape(B, H, n, chunk, 1).cumsum(-2)
        decay = (g - g.transpose(-1, -2)).masked_fill(~lower, -torch.inf).exp()
        kk, qk = kk * decay, qk * decay
        q, bk = q * g.exp(), bk * g.exp()
        total = g[..., -1:, :]
        to_end, total = k * (total - g).exp(), total.exp()
    system = (beta * kk).tril(-1) + torch.eye(chunk, dtype=q.dtype)
    u, w = torch.linalg.solve_triangular(system, torch.cat([beta * v, bk], -1), upper=False, unitriangular=True).split(D, -1)
    state = q.new_zeros(B, H, D, D)
    outputs = []
    for i in range(n):
        written = u[:, :, i] - w[:, :, i] @ state
        outputs.append(q[:, :, i] @ state + qk[:, :, i] @ written)
        state = (state if total is None else state * total[:, :, i]) + to_end[:, :, i].transpose(-1, -2) @ written
    return torch.stack(outputs, 2).reshape(B, H, T, D)


def token_loop(q, k, v, beta, gate, state=None):
    """The reference, token by token: a delta rule, or without beta one that only writes; a gate per head or per key."""
    state = q.new_zeros(*q.shape[:2], q.shape[3], v.shape[3]) if state is None else state
    outputs = []
    for t in range(q.shape[2]):
        if gate is not None:
            state = state * gate[:, :, t].reshape(*gate.shape[:2], -1, 1).exp()
        written = v[:, :, t]
        if beta is not None:
            written = beta[:, :, t, None] * (written - (state * k[:, :, t, :, None]).sum(-2))
        state = state + k[:, :, t, :, None] * written[:, :, None]
        outputs.append((state * q[:, :, t, :, None]).sum(-2) * q.shape[3] ** -0.5)
    return torch.stack(outputs, 2)


def transformers_form():
    from transformers.models.qwen3_next.modeling_qwen3_next import torch_chunk_gated_delta_rule

    # Its decorator prefers the kernels of flash-linear-attention where that is installed, which need a GPU.
    form = inspect.unwrap(torch_chunk_gated_delta_rule)

    def run(q, k, v, beta, gate):
        q, k, v, beta, gate = (x.transpose(1, 2) for x in (q, k, v, beta, torch.zeros_like(beta) if gate is None else gate))
        return form(q, k, v, gate, beta)[0].transpose(1, 2)

    return run


def fla_form(problem, single):
    """The kernel of flash-linear-attention for a mixer, on [B, T, H, D]."""
    name = {"none": "delta_rule", "scalar": "gated_delta_rule"}.get(problem["gate"], "kda" if problem["delta"] else "gla")
    kernel = getattr(importlib.import_module(f"fla.ops.{name}"), f"{'fused_recurrent' if single else 'chunk'}_{name}")

    def run(q, k, v, beta, gate, **states):
        given = {name: x for name, x in {"g": gate, "beta": beta}.items() if x is not None}
        return kernel(q, k, v, **given, **states)

    return run


def mixer_inputs(problem, B, T, dtype):
    """As bench/inputs.ts: [B, T, H, D], gates in float32, what a mixer does not have is None."""
    H, D = problem["H"], problem["D"]
    unit = lambda: F.normalize(torch.randn(B, T, H, D), dim=-1).to(dtype)
    q, k, v = unit(), unit(), (torch.rand(B, T, H, D) * 2 - 1).to(dtype)
    beta = (torch.rand(B, T, H) * 0.9 + 0.05).to(dtype) if problem["delta"] else None
    width = {"none": None, "scalar": (), "vector": (D,)}[problem["gate"]]
    return {"q": q, "k": k, "v": v, "beta": beta, "gate": None if width is None else -0.1 * torch.rand(B, T, H, *width)}


def finding(quantity, x, reference, tolerance):
    error = ((x.double() - reference).pow(2).mean() / reference.pow(2).mean()).sqrt().item()
    return {"quantity": quantity, "error": error if math.isfinite(error) else 1e30, "tolerance": tolerance}


class Sequence:
    def __init__(self, problem, contender):
        B, T, H, D = (problem[name] for name in "BTHD")
        self.training = problem["pass"] == "training"
        self.dtype = torch.bfloat16 if contender == FLA else getattr(torch, problem["dtype"])
        # Each in its own layout: [B, T, H, D], or [B, H, T, D] for what is written in PyTorch.
        self.heads_first = (lambda x: x) if contender != FLA else (lambda x: x.transpose(1, 2))
        layout = (lambda x: x) if contender == FLA else (lambda x: x.transpose(1, 2).contiguous())
        made = mixer_inputs(problem, B, T, self.dtype)
        self.inputs = {name: x if x is None else layout(x).requires_grad_(self.training) for name, x in made.items()}
        self.direction = layout((torch.rand(B, T, H, D) * 2 - 1).to(self.dtype))
        self.form = self.choose(problem, contender)

    def choose(self, problem, contender):
        if contender == "transformers":
            return transformers_form()
        if contender == FLA:
            kernel = fla_form(problem, single=False)
            return lambda **inputs: kernel(**inputs)[0]
        form = lambda chunk: lambda **inputs: chunkwise(chunk=chunk, **inputs)
        if contender == "torch compiled":
            return torch.compile(form(64))
        return min((form(chunk) for chunk in (16, 32, 64)), key=self.seconds)

    def seconds(self, form):
        self.form = form
        times = []
        for _ in range(3):
            self.setup()
            begin = time.perf_counter()
            self.run()
            finish()
            times.append(time.perf_counter() - begin)
        return min(times)

    def setup(self):
        for x in self.inputs.values():
            if x is not None:
                x.grad = None

    def run(self):
        with torch.set_grad_enabled(self.training):
            self.output = self.form(**self.inputs)
            if self.training:
                self.output.backward(self.direction)

    def check(self):
        self.setup()
        self.run()
        head = lambda x: self.heads_first(x.detach())[-1:, -1:].double()
        part = {name: x if x is None else head(x).requires_grad_(self.training) for name, x in self.inputs.items()}
        reference = token_loop(**part)
        forward, gradient, of_gates = TOLERANCE[self.dtype]
        findings = [finding("output", head(self.output), reference.detach(), forward)]
        if self.training:
            reference.backward(head(self.direction))
            for name, x in self.inputs.items():
                if x is not None:
                    tolerance = of_gates if name in ("beta", "gate") else gradient
                    findings.append(finding(f"d{name}", head(x.grad), part[name].grad, tolerance))
        return findings


def delta_write(W, key, v, beta):
    return W + (beta[..., None] * (v - (key[..., None, :] @ W).squeeze(-2)))[..., None, :] * key[..., None]


def read_state(W, q):
    return (q[..., None, :] @ W).squeeze(-2)


def self_referential(x, wY, wQ, wK, wB):
    D = x.shape[-1]
    W = torch.cat([wY, wQ, wK, wB], -1).expand(x.shape[0], -1, -1, -1)
    rows = torch.tensor([D, D, D, 4], device=x.device)
    outputs = []
    for t in range(x.shape[1]):
        y, q, k, b = read_state(W, x[:, t]).split([D, D, D, 4], -1)
        outputs.append(y)
        q, k = q.softmax(-1), k.softmax(-1)
        beta = b.sigmoid().repeat_interleave(rows, -1)
        W = W + k[..., None] * (beta * read_state(W, q - k))[..., None, :]
    return torch.stack(outputs, 1)


def recurrent_delta(q, k, v, beta, recurrentQ, recurrentK, recurrentV, recurrentBeta):
    B, T, H, D = q.shape
    W, y, outputs = q.new_zeros(B, H, D, D), q.new_zeros(B, H, D), []
    for t in range(T):
        h = y.tanh()
        key = (k[:, t] + read_state(recurrentK, h)).softmax(-1)
        query = (q[:, t] + read_state(recurrentQ, h)).softmax(-1)
        strength = (beta[:, t] + (h * recurrentBeta).sum(-1)).sigmoid()
        W = delta_write(W, key, v[:, t] + read_state(recurrentV, h), strength)
        y = read_state(W, query)
        outputs.append(y)
    return torch.stack(outputs, 1)


def sum_normed(x):
    x = F.elu(x) + 1
    return x / x.sum(-1, keepdim=True)


def delta_rnn(q, k, v, beta, recurrentK, recurrentV, recurrentBeta):
    B, T, H, D = q.shape
    q, k, beta = sum_normed(q), sum_normed(k), beta.sigmoid()
    keys, strengths = recurrentK.softmax(-1), recurrentBeta.sigmoid()
    W = R = q.new_zeros(B, H, D, D)
    y, outputs = q.new_zeros(B, H, D), []
    for t in range(T):
        W = delta_write(W, k[:, t], v[:, t], beta[:, t])
        R = delta_write(R, keys[:, t], recurrentV[:, t], strengths[:, t])
        y = read_state(W, q[:, t]) + read_state(R, y.softmax(-1))
        outputs.append(y)
    return torch.stack(outputs, 1)


def delta_lstm(**inputs):
    gates = "IUO"
    B, T, H, D = inputs["qI"].shape
    mapped = {g: [sum_normed(inputs[f"q{g}"]), sum_normed(inputs[f"k{g}"]), inputs[f"beta{g}"].sigmoid()] for g in gates}
    fed = {g: [inputs[f"recurrentK{g}"].softmax(-1), inputs[f"recurrentBeta{g}"].sigmoid()] for g in gates}
    zero = inputs["qI"].new_zeros
    W, R = {g: zero(B, H, D, D) for g in gates}, {g: zero(B, H, D, D) for g in gates}
    c, h, outputs = zero(B, H, D), zero(B, H, D), []
    for t in range(T):
        s, p = h.softmax(-1), {}
        for g in gates:
            (q, k, beta), (key, strength) = mapped[g], fed[g]
            W[g] = delta_write(W[g], k[:, t], inputs[f"v{g}"][:, t], beta[:, t])
            R[g] = delta_write(R[g], key[:, t], inputs[f"recurrentV{g}"][:, t], strength[:, t])
            p[g] = read_state(W[g], q[:, t]) + read_state(R[g], s)
        i = p["I"].sigmoid()
        c = i * p["U"] + (1 - i) * c
        h = c * p["O"].sigmoid()
        outputs.append(h)
    return torch.stack(outputs, 1)


class Feedback:
    """A rule whose output feeds back, its equations as they stand in a loop over time."""

    WARM_CALLS = 1
    """A call is thousands of operators and may take seconds."""

    FORMS = {
        "selfReferential": self_referential,
        "recurrentDelta": recurrent_delta,
        "deltaRnn": delta_rnn,
        "deltaLstm": delta_lstm,
    }

    def __init__(self, problem, _):
        B, T, H, D = (problem[name] for name in "BTHD")
        self.training = problem["pass"] == "training"
        self.form = self.FORMS[problem["family"]]
        tokens, strengths, matrix = (B, T, H, D), (B, T, H), (H, D, D)
        delta = {"q": tokens, "k": tokens, "v": tokens, "beta": strengths}
        fed = {**delta, "recurrentK": tokens, "recurrentV": tokens, "recurrentBeta": strengths}
        shapes = {
            "selfReferential": {"x": tokens, "wY": matrix, "wQ": matrix, "wK": matrix, "wB": (H, D, 4)},
            "recurrentDelta": {
                **delta,
                **{f"recurrent{name}": matrix for name in "QKV"},
                "recurrentBeta": (H, D),
            },
            "deltaRnn": fed,
            "deltaLstm": {name + g: shape for g in "IUO" for name, shape in fed.items()},
        }[problem["family"]]
        bound = lambda shape: D**-0.5 if shape[0] == H and len(shape) < 4 and shape != strengths else 1
        self.inputs = {
            name: ((torch.rand(*shape) * 2 - 1) * bound(shape)).requires_grad_(self.training)
            for name, shape in shapes.items()
        }
        self.direction = torch.rand(*tokens) * 2 - 1

    def setup(self):
        for x in self.inputs.values():
            x.grad = None

    def run(self):
        with torch.set_grad_enabled(self.training):
            self.output = self.form(**self.inputs)
            if self.training:
                self.output.backward(self.direction)

    def check(self):
        reference = self.form(**{name: x.detach().double() for name, x in self.inputs.items()})
        return [finding("output", self.output.detach(), reference, TOLERANCE[torch.float32][0])]


class Step:
    """One token of flash-linear-attention; its kernel writes the new states beside the old."""

    def __init__(self, problem, _):
        B, H, D = (problem[name] for name in "BHD")
        self.inputs = mixer_inputs(problem, B, 1, torch.bfloat16)
        self.state = torch.rand(B, H, D, D) * 0.2 - 0.1
        self.kernel = fla_form(problem, single=True)

    def setup(self):
        pass

    def run(self):
        with torch.no_grad():
            self.output, _ = self.kernel(**self.inputs, initial_state=self.state, output_final_state=True)

    def check(self):
        head = lambda x: x.transpose(1, 2)[-1:, -1:].double()
        part = {name: x if x is None else head(x) for name, x in self.inputs.items()}
        reference = token_loop(**part, state=self.state[-1:, -1:].double())
        return [finding("output", head(self.output), reference, TOLERANCE[torch.bfloat16][0])]


class Matmul:
    def __init__(self, problem, _):
        batch, m, n, k, form = (problem[name] for name in ("batch", "m", "n", "k", "form"))
        self.dtype = getattr(torch, problem["dtype"])
        self.tolerance = TOLERANCE[torch.bfloat16 if problem["precision"] == "medium" else self.dtype][0]
        lead = () if batch == 1 else (batch,)
        a, b = torch.randn(*lead, *((k, m) if form == "TN" else (m, k))), torch.randn(*lead, *((n, k) if form == "NT" else (k, n)))
        a, b = a.to(self.dtype), b.to(self.dtype)
        self.a, self.b = a.transpose(-1, -2) if form == "TN" else a, b.transpose(-1, -2) if form == "NT" else b

    def setup(self):
        pass

    def run(self):
        with torch.no_grad():
            self.product = self.a @ self.b

    def check(self):
        rows = slice(0, 16)
        reference = self.a[..., rows, :].double() @ self.b.double()
        return [finding("product", self.product[..., rows, :], reference, self.tolerance)]


class NumpyMatmul(Matmul):
    """The same product by NumPy, whose wheels carry OpenBLAS."""

    def __init__(self, problem, contender):
        super().__init__(problem, contender)
        self.arrays = self.a.numpy(), self.b.numpy()
        self.product = torch.empty(*self.a.shape[:-1], self.b.shape[-1])
        self.out = self.product.numpy()

    def run(self):
        numpy.matmul(*self.arrays, out=self.out)


class Norm(torch.nn.Module):
    def __init__(self, d):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(d))

    def forward(self, x):
        return F.rms_norm(x, self.weight.shape, self.weight, 1e-6)


class Block(torch.nn.Module):
    """DeltaNet without short convolutions and a SwiGLU, as the library's `deltanet` is built."""

    def __init__(self, d, heads, hidden):
        super().__init__()
        linear = lambda i, o: torch.nn.Linear(i, o, bias=False)
        self.heads = heads
        self.norm, self.mlp_norm, self.o_norm = Norm(d), Norm(d), Norm(d // heads)
        self.q, self.k, self.v, self.o, self.b = linear(d, d), linear(d, d), linear(d, d), linear(d, d), linear(d, heads)
        self.gate, self.up, self.down = linear(d, hidden), linear(d, hidden), linear(hidden, d)

    def forward(self, x, mix):
        h = self.norm(x)
        q, k, v = (F.silu(p(h)).unflatten(-1, (self.heads, -1)) for p in (self.q, self.k, self.v))
        q, k = (y * (y.pow(2).sum(-1, keepdim=True) + 1e-6).rsqrt() for y in (q, k))
        x = x + self.o(self.o_norm(mix(q, k, v, self.b(h).sigmoid())).flatten(2))
        h = self.mlp_norm(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


def mix_in_torch(*inputs):
    # A triangular solve has no bfloat16.
    with torch.autocast(inputs[0].device.type, enabled=False):
        return chunkwise(*(x.transpose(1, 2).float() for x in inputs), None, 32).transpose(1, 2)


def mix_in_fla(*inputs):
    kernel = importlib.import_module("fla.ops.delta_rule").chunk_delta_rule
    return kernel(*(x.to(torch.bfloat16) for x in inputs))[0]


class LanguageModel(torch.nn.Module):
    def __init__(self, problem, mix):
        super().__init__()
        d, vocabulary = problem["d"], problem["vocabulary"]
        self.mix = mix
        self.embedding = torch.nn.Embedding(vocabulary, d)
        self.blocks = torch.nn.ModuleList(Block(d, problem["heads"], problem["hidden"]) for _ in range(problem["layers"]))
        self.norm, self.head = Norm(d), torch.nn.Linear(d, vocabulary, bias=False)

    def forward(self, ids):
        x = self.embedding(ids)
        for block in self.blocks:
            x = block(x, self.mix)
        return F.cross_entropy(self.head(self.norm(x))[:, :-1].flatten(0, 1), ids[:, 1:].flatten())


class Training:
    def __init__(self, problem, contender):
        # Of a card the usual way to bfloat16: float32 weights, products in bfloat16.
        narrow = CARD and (problem["precision"] == "medium" or problem["dtype"] == "bfloat16")
        self.autocast = lambda: torch.autocast("cuda", torch.bfloat16, enabled=narrow)
        self.model = LanguageModel(problem, mix_in_fla if contender == FLA else mix_in_torch)
        self.ids = torch.randint(problem["vocabulary"], (problem["B"], problem["T"]))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=3e-4, fused=True)
        with self.autocast():
            self.first = self.model(self.ids).item()
        self.forward = torch.compile(self.model) if contender == "torch compiled" else self.model

    def setup(self):
        pass

    def run(self):
        with self.autocast():
            loss = self.forward(self.ids)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.last = loss.detach()

    def check(self):
        """It learns the batch it is shown; infinity when it does not."""
        return [{"quantity": "loss after / before", "error": self.last.item() / self.first, "tolerance": 1}]


def finish():
    if CARD:
        torch.cuda.synchronize()


def clock(trial, _):
    trial.setup()
    begin = time.perf_counter()
    trial.run()
    return (time.perf_counter() - begin) * 1e3


def card_clock(trial, calls):
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(calls):
        trial.setup()
        trial.run()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / calls


def measure(trial, seconds):
    """Milliseconds of calls, when warm; on a card of batches."""
    timed = card_clock if CARD else clock
    calls, warm = 1, []
    least = getattr(trial, "WARM_CALLS", WARM_CALLS)
    end = time.perf_counter() + WARM_SECONDS
    while len(warm) < least or time.perf_counter() < end:
        warm.append(timed(trial, calls))
    if CARD:
        calls = max(1, math.ceil(SAMPLE_MS / min(warm)))
    samples = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or not samples:
        samples.append(timed(trial, calls))
    return samples


def version(contender):
    if contender == NUMPY:
        return f"numpy {numpy.__version__}, {numpy.show_config('dicts')['Build Dependencies']['blas']['name']}"
    if not CARD:
        return f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, MKL {torch.backends.mkl.is_available()}"
    own = f"torch {torch.__version__}, {torch.cuda.get_device_name()}"
    if contender != FLA:
        return own
    import fla

    return f"flash-linear-attention {fla.__version__}, {own}"


def memory():
    if CARD:
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main(job):
    problem, contender = job["problem"], job["contender"]
    torch.manual_seed(0)
    torch.set_num_threads(job["threads"])
    if CARD:
        torch.set_default_device("cuda")
        torch.set_float32_matmul_precision(problem.get("precision", "highest"))
    product = NumpyMatmul if contender == NUMPY else Matmul
    kinds = {"sequence": Sequence, "feedback": Feedback, "step": Step, "matmul": product, "languageModel": Training}
    trial = kinds[problem["kind"]](problem, contender)
    result = {"samples": measure(trial, job["seconds"]), "memory": memory(), "version": version(contender)}
    if job["check"]:
        result["findings"] = trial.check()
    print(json.dumps(result))


JOB = json.loads(sys.argv[1])
CARD = JOB["problem"]["device"] == "cuda"
main(JOB)
