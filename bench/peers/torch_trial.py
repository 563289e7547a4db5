"""One trial in PyTorch: reads a job as JSON, solves its problem, prints the samples and checks as JSON.

The counterpart of bench/trial.ts. Mixers: a chunkwise form written for PyTorch (the fastest of a few chunk sizes, or
compiled), and the one of Hugging Face's transformers.
"""

import inspect
import json
import math
import resource
import sys
import time

import torch
import torch.nn.functional as F

FORWARD, GRADIENT = 1e-5, 1e-4


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


def token_loop(q, k, v, beta, gate):
    """The same rule token by token: the reference."""
    state = q.new_zeros(*q.shape[:2], q.shape[3], v.shape[3])
    outputs = []
    for t in range(q.shape[2]):
        if gate is not None:
            state = state * gate[:, :, t, None, None].exp()
        error = v[:, :, t] - (state * k[:, :, t, :, None]).sum(-2)
        state = state + k[:, :, t, :, None] * (beta[:, :, t, None] * error)[:, :, None]
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


def finding(quantity, x, reference, tolerance):
    error = ((x.double() - reference).pow(2).mean() / reference.pow(2).mean()).sqrt().item()
    return {"quantity": quantity, "error": error if math.isfinite(error) else 1e30, "tolerance": tolerance}


class Sequence:
    def __init__(self, problem, contender):
        B, T, H, D = (problem[name] for name in "BTHD")
        self.training = problem["pass"] == "training"
        unit = lambda: F.normalize(torch.randn(B, H, T, D), dim=-1)
        self.inputs = {"q": unit(), "k": unit(), "v": torch.rand(B, H, T, D) * 2 - 1, "beta": torch.rand(B, H, T) * 0.9 + 0.05}
        self.inputs["gate"] = None if problem["gate"] == "none" else -0.1 * torch.rand(B, H, T)
        for x in self.inputs.values():
            if x is not None:
                x.requires_grad_(self.training)
        self.direction = torch.rand(B, H, T, D) * 2 - 1
        self.form = self.choose(contender)

    def choose(self, contender):
        if contender == "transformers":
            return transformers_form()
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
        head = lambda x: x.detach()[-1:, -1:].double()
        part = {name: x if x is None else head(x).requires_grad_(self.training) for name, x in self.inputs.items()}
        reference = token_loop(**part)
        findings = [finding("output", head(self.output), reference.detach(), FORWARD)]
        if self.training:
            reference.backward(head(self.direction))
            for name, x in self.inputs.items():
                if x is not None:
                    findings.append(finding(f"d{name}", head(x.grad), part[name].grad, GRADIENT))
        return findings


class Matmul:
    def __init__(self, problem, _):
        batch, m, n, k, form = (problem[name] for name in ("batch", "m", "n", "k", "form"))
        lead = () if batch == 1 else (batch,)
        a, b = torch.randn(*lead, *((k, m) if form == "TN" else (m, k))), torch.randn(*lead, *((n, k) if form == "NT" else (k, n)))
        self.a, self.b = a.transpose(-1, -2) if form == "TN" else a, b.transpose(-1, -2) if form == "NT" else b

    def setup(self):
        pass

    def run(self):
        with torch.no_grad():
            self.product = self.a @ self.b

    def check(self):
        rows = slice(0, 16)
        return [finding("product", self.product[..., rows, :], self.a[..., rows, :].double() @ self.b.double(), FORWARD)]


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

    def forward(self, x, chunk):
        h = self.norm(x)
        q, k, v = (F.silu(p(h)).unflatten(-1, (self.heads, -1)).transpose(1, 2) for p in (self.q, self.k, self.v))
        q, k = (y * (y.pow(2).sum(-1, keepdim=True) + 1e-6).rsqrt() for y in (q, k))
        mixed = chunkwise(q, k, v, self.b(h).sigmoid().transpose(1, 2), None, chunk)
        x = x + self.o(self.o_norm(mixed).transpose(1, 2).flatten(2))
        h = self.mlp_norm(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class LanguageModel(torch.nn.Module):
    def __init__(self, problem):
        super().__init__()
        d, vocabulary = problem["d"], problem["vocabulary"]
        self.chunk = 32
        self.embedding = torch.nn.Embedding(vocabulary, d)
        self.blocks = torch.nn.ModuleList(Block(d, problem["heads"], problem["hidden"]) for _ in range(problem["layers"]))
        self.norm, self.head = Norm(d), torch.nn.Linear(d, vocabulary, bias=False)

    def forward(self, ids):
        x = self.embedding(ids)
        for block in self.blocks:
            x = block(x, self.chunk)
        return F.cross_entropy(self.head(self.norm(x))[:, :-1].flatten(0, 1), ids[:, 1:].flatten())


class Training:
    def __init__(self, problem, contender):
        self.model = LanguageModel(problem)
        self.ids = torch.randint(problem["vocabulary"], (problem["B"], problem["T"]))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=3e-4, fused=True)
        self.first = self.model(self.ids).item()
        self.forward = torch.compile(self.model) if contender == "torch compiled" else self.model

    def setup(self):
        pass

    def run(self):
        loss = self.forward(self.ids)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.last = loss.item()

    def check(self):
        """It learns the batch it is shown; infinity when it does not."""
        return [{"quantity": "loss after / before", "error": self.last / self.first, "tolerance": 1}]


# As long as the library's own trials.
WARM_SECONDS = 0.2


def main(job):
    torch.manual_seed(0)
    torch.set_num_threads(job["threads"])
    kinds = {"sequence": Sequence, "matmul": Matmul, "languageModel": Training}
    trial = kinds[job["problem"]["kind"]](job["problem"], job["contender"])
    samples = []

    def timed():
        trial.setup()
        begin = time.perf_counter()
        trial.run()
        return (time.perf_counter() - begin) * 1e3

    warm = time.perf_counter() + WARM_SECONDS
    calls = 0
    while calls < 3 or time.perf_counter() < warm:
        timed()
        calls += 1
    end = time.perf_counter() + job["seconds"]
    while time.perf_counter() < end or not samples:
        samples.append(timed())
    result = {
        "samples": samples,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        "version": f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, MKL {torch.backends.mkl.is_available()}",
    }
    if job["check"]:
        result["findings"] = trial.check()
    print(json.dumps(result))


main(json.loads(sys.argv[1]))
