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


def load(name, folder):
    if name == "llama":
        from transformers import LlamaForCausalLM

        return LlamaForCausalLM.from_pretrained(folder)
    import fla.layers.delta_net as layer
    from fla.models import DeltaNetForCausalLM

    if not torch.cuda.is_available():
        layer.chunk_delta_rule = layer.fused_recurrent_delta_rule = plain_delta_rule
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
