"""The Python half of the peer check: loads folders saved by fast-weights, and saves folders for it.

python theirs.py ROOT: for every family of ROOT/names.json the logits of ROOT/ours/FAMILY against those beside it, then a
model of its own with random weights and its logits in ROOT/theirs/FAMILY; what came of it in ROOT/theirs.json.
"""

import functools
import importlib.metadata
import json
import os
import pathlib
import sys
import traceback

# flash-linear-attention's own kernels run in Triton's interpreter, which needs no card. transformers would call them, too, where
# it finds them: it runs its own, in plain torch.
os.environ["TRITON_INTERPRET"] = "1"
sys.modules["fla"] = None

import torch
import torch.nn.functional as F
import transformers


class Index(int):
    """A loop's counter. Compiled kernels cast theirs, which the interpreter leaves as integers of Python."""

    def to(self, *_, **__):
        return self

    def __add__(self, other):
        return Index(int(self) + other) if isinstance(other, int) else int(self) + other

    def __sub__(self, other):
        return Index(int(self) - other) if isinstance(other, int) else int(self) - other

    def __mul__(self, other):
        return Index(int(self) * other) if isinstance(other, int) else int(self) * other


def indices(*bounds):
    return map(Index, range(*map(int, bounds)))


def attention(q, k, v, causal, window_size):
    """flash_attn_func [B, T, H, D], which is there for cards only, in plain torch."""
    T, groups = q.shape[1], q.shape[2] // k.shape[2]
    k, v = (x.repeat_interleave(groups, 2) for x in (k, v))
    ago = torch.arange(T)[:, None] - torch.arange(T)
    seen = (ago >= 0) & ((window_size[0] < 0) | (ago <= window_size[0]))
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=seen).transpose(1, 2)


def exact_mesa(q, k, v, g, beta, lamb, **_):
    """The package's own reference: its kernel's conjugate gradients, rounded to float16, do not end in the interpreter."""
    from fla.modules.l2norm import l2_norm
    from fla.ops.mesa_net.naive import naive_mesa_net_exact

    return naive_mesa_net_exact(l2_norm(q), l2_norm(k), v, g, lamb, beta)


def log_linear(q, k, v, g, level_scales, scale, **_):
    """The package's own reference, since the interpreter does not take the masks of its kernel for states."""
    from fla.ops.log_linear_attn.naive import naive_log_linear_attn

    return naive_log_linear_attn(q, k, v, g, level_scales, scale), None


def cyclic_flow(checkpoint_level=0, **operands):
    """The package's own reference: its kernels are for cards only."""
    from fla.ops.cyfa.naive import naive_recurrent_cyfa

    return naive_recurrent_cyfa(**operands)


def on_cards_alone(self, hidden_states, attention_mask=None, **_):
    """The forward pass that the layer has, without the question whether it is on a card."""
    return self.cuda_kernels_forward(hidden_states, None, False, attention_mask)[0], None, None


@functools.cache
def interpreted():
    """Takes the first of each kernel's configurations, since none can be timed, and gives kernels counters that they can cast."""
    import triton.language as tl
    from triton.runtime.autotuner import Autotuner

    Autotuner.do_bench = property(lambda _: lambda *_, **__: [1.0] * 3)
    del sys.modules["fla"]
    import fla
    import fla.models

    import fla.layers.attn
    import fla.layers.cyfa
    import fla.layers.log_linear_mamba2
    import fla.layers.mesa_net
    import fla.layers.mla
    import fla.layers.rodimus
    import fla.ops.deltaformer.parallel
    import fla.ops.utils.op

    for name, module in list(sys.modules.items()):
        if name.startswith(("fla.ops", "fla.modules")):
            module.range = indices
    # LightNet's gate asks for a function of the card's own library.
    fla.ops.utils.op.tldevice.log1p = lambda x: tl.log(1 + x)
    fla.layers.attn.flash_attn_func = fla.layers.rodimus.flash_attn_func = attention
    fla.layers.mla.flash_attn_func = fla.ops.deltaformer.parallel.flash_attn_func = attention
    # FlashAttention alone asks for half precision.
    fla.layers.rodimus.autocast_to_fp16 = lambda x: x
    # A card's sort keeps tokens of one of MoM's memories in their order, a processor's does not.
    torch.Tensor.argsort = functools.partialmethod(torch.Tensor.argsort, stable=True)
    fla.layers.mesa_net.chunk_mesa_net = exact_mesa
    fla.layers.log_linear_mamba2.chunk_log_linear_attn = log_linear
    fla.layers.cyfa.chunk_cyfa = fla.layers.cyfa.fused_recurrent_cyfa = cyclic_flow
    fla.layers.log_linear_mamba2.LogLinearMamba2.forward = on_cards_alone
    return fla.models


def class_of(name):
    package, name = name.split(".")
    return getattr(transformers if package == "transformers" else interpreted(), name)


def logits_of(model, ids):
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids]), use_cache=False).logits.float()


def read(folder):
    stored = json.loads((folder / "logits.json").read_text())
    return stored["ids"], torch.tensor(stored["logits"]).reshape(stored["shape"])


def difference(found, expected):
    """The largest one, over the root mean square of the logits."""
    return ((found - expected).abs().max() / expected.pow(2).mean().sqrt()).item()


def save(cls, config, ids, folder):
    torch.manual_seed(5)
    model = cls(cls.config_class(**config)).float().eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.05 * torch.randn_like(p))
    model.save_pretrained(folder)
    logits = logits_of(model, ids)
    text = {"ids": ids, "shape": list(logits.shape), "logits": logits.flatten().tolist()}
    (folder / "logits.json").write_text(json.dumps(text))


def attempt(run):
    try:
        return run()
    except Exception as error:  # one family that cannot run must not hide the others
        traceback.print_exc()
        return f"{type(error).__name__}: {error}"[:300]


def main(root):
    families = json.loads(pathlib.Path(__file__).with_name("families.json").read_text())
    results = {}
    for name in json.loads((root / "names.json").read_text()):
        family = families[name]
        print(name, flush=True)
        folder = root / "ours" / name
        cls = attempt(lambda: class_of(family["class"]))
        if isinstance(cls, str):
            results[name] = {"loaded": cls, "saved": cls}
            continue
        config = json.loads((root / "config.json").read_text()) | family["config"]
        ids, expected = read(folder) if (folder / "logits.json").exists() else (list(range(40)), None)
        loaded = attempt(lambda: difference(logits_of(cls.from_pretrained(folder).float().eval(), ids), expected))
        target = root / "theirs" / name
        target.mkdir(parents=True, exist_ok=True)
        saved = attempt(lambda: save(cls, config, ids, target))
        results[name] = {"loaded": loaded, "saved": saved}
        print("   ", results[name], flush=True)
    packages = ("torch", "triton", "transformers", "flash-linear-attention")
    versions = {package: importlib.metadata.version(package) for package in packages}
    (root / "theirs.json").write_text(json.dumps({"versions": versions, "results": results}))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
