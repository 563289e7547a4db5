"""Loads folders written by savePretrained in the public Python programs and compares the logits."""

import json
import pathlib
import sys

import torch


def relative_rms(a, b):
    return ((a - b).pow(2).mean().sqrt() / b.pow(2).mean().sqrt()).item()


def plain_delta_rule(q, k, v, beta, scale=None, initial_state=None, output_final_state=False, use_qk_l2norm_in_kernel=False, **_):
    """The recurrence of spec 2.3.5 as a loop, for machines where Triton has no device."""
    if use_qk_l2norm_in_kernel:
        q, k = (x / (x.pow(2).sum(-1, keepdim=True) + 1e-6).sqrt() for x in (q, k))
    batch, tokens, heads, width = q.shape
    state = torch.zeros(batch, heads, width, v.shape[-1]) if initial_state is None else initial_state
    outputs = []
    for t in range(tokens):
        error = v[:, t] - torch.einsum("bhkv,bhk->bhv", state, k[:, t])
        state = state + torch.einsum("bhk,bhv->bhkv", k[:, t], error * beta[:, t, :, None])
        outputs.append(torch.einsum("bhkv,bhk->bhv", state, q[:, t]) * (scale or width**-0.5))
    return torch.stack(outputs, 1), state if output_final_state else None


def replace_kernels():
    """Plain torch in place of every Triton kernel that a DeltaNet's forward pass uses; its own model and layer code runs."""
    import fla.layers.delta_net as layer
    import fla.modules as modules
    import fla.modules.mlp as mlp
    import torch.nn.functional as F

    def rms_norm(self, x, residual=None, prenorm=False, **_):
        total = x if residual is None else x + residual
        y = total * (total.pow(2).mean(-1, keepdim=True) + self.eps).rsqrt() * self.weight
        return (y, total) if prenorm else y

    def convolution(self, x, *_, **__):
        width = self.weight.shape[-1]
        y = F.conv1d(F.pad(x.transpose(1, 2), (width - 1, 0)), self.weight, self.bias, groups=x.shape[-1])
        return F.silu(y).transpose(1, 2), None

    layer.chunk_delta_rule = layer.fused_recurrent_delta_rule = plain_delta_rule
    modules.RMSNorm.forward = rms_norm
    modules.ShortConvolution.forward = convolution
    mlp.swiglu = lambda x, y: F.silu(x) * y
    mlp.SwiGLULinear.forward = lambda self, x, y, weight, bias: F.linear(F.silu(x) * y, weight, bias)


def load(name, folder):
    if name == "llama":
        from transformers import LlamaForCausalLM

        return LlamaForCausalLM.from_pretrained(folder)
    from fla.models import DeltaNetForCausalLM

    if not torch.cuda.is_available():
        replace_kernels()
    return DeltaNetForCausalLM.from_pretrained(folder)


def main(root):
    worst = 0.0
    for folder in sorted(p for p in pathlib.Path(root).iterdir() if p.is_dir()):
        expected = json.loads((folder / "logits.json").read_text())
        try:
            model = load(folder.name, folder).float().eval()
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([expected["ids"]])).logits
        except Exception as error:  # one peer missing must not hide the other's result
            print(f"{folder.name}: not compared ({type(error).__name__}: {error})")
            continue
        error = relative_rms(logits, torch.tensor(expected["logits"]).reshape(expected["shape"]))
        worst = max(worst, error)
        print(f"{folder.name}: relative RMS {error:.2e}")
    sys.exit(worst > 1e-5)


if __name__ == "__main__":
    main(sys.argv[1])
