// RWKV-4, -6 and -7: what their configurations mean, how their weights begin, and what their layers hand on.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';
import { expectClose } from '../support/tolerance';

const SIZES = { vocabSize: 11, hiddenSize: 16, numLayers: 2, numHeads: 2, device: 'js', dtype: 'float64' } as const;

const idsOf = (ids: number[]): fw.Tensor => fw.tensor([ids], { dtype: 'int32', device: 'js' });

function logitsOf(model: fw.models.CausalLM, ids: number[]): Float64Array {
  return fw.noGrad(() => fw.scope(() => Float64Array.from(model.forward(idsOf(ids)).logits.dataSync())));
}

/** Weights of some size everywhere: the published first ones leave parts of the model out. */
function loud(model: fw.models.CausalLM): void {
  fw.noGrad(() => {
    for (const t of model.parameters()) t.add_(fw.randn(t.shape, { device: 'js', dtype: t.dtype, std: 0.3 }));
  });
}

describe('configurations of RWKV', () => {
  const config7 = { model_type: 'rwkv7', vocab_size: 11, hidden_size: 128, num_hidden_layers: 2 } as const;

  it('derive what is null or left out', () => {
    const shapes = (config: object): Record<string, readonly number[]> => {
      const model = fw.AutoModelForCausalLM.fromConfig({ ...config7, ...config }, { device: 'js' });
      const found = Object.fromEntries(model.namedParameters().map(([name, t]) => [name, t.shape]));
      model.dispose();
      return found;
    };
    const usual = shapes({});
    expect(usual['model.layers.1.attn.r_k']).to.deep.equal([2, 64]);
    expect(usual['model.layers.1.attn.w_lora.lora.0.weight']).to.deep.equal([64, 128]);
    expect(usual['model.layers.1.attn.g_lora.lora.0.weight']).to.deep.equal([128, 128]);
    expect(usual['model.layers.1.ffn.key.weight']).to.deep.equal([512, 128]);
    expect(usual).not.to.have.property('model.layers.0.attn.v_lora.lora.0.weight');
    expect(usual).not.to.have.property('model.layers.1.pre_norm.weight');
    const derived = shapes({ decay_low_rank_dim: null, gate_low_rank_dim: null, num_heads: 4, head_dim: null });
    expect(derived['model.layers.1.attn.r_k']).to.deep.equal([4, 32]);
    expect(derived['model.layers.1.attn.w_lora.lora.0.weight']).to.deep.equal([32, 128]);
    expect(derived['model.layers.1.attn.g_lora.lora.0.weight']).to.deep.equal([64, 128]);
  });

  it('refuse what cannot be, by name', () => {
    const wrong: [object, string, string][] = [
      [{ head_dim: 48 }, 'INVALID_ARGUMENT', 'head_dim'],
      [{ head_dim: 64, num_heads: 4 }, 'INVALID_ARGUMENT', 'head_dim'],
      [{ value_dim: [128, 256] }, 'INVALID_ARGUMENT', 'value_dim'],
      [{ value_dim: [128, 128, 128] }, 'INVALID_ARGUMENT', 'value_dim'],
      [{ value_dim: 192 }, 'INVALID_ARGUMENT', 'value_dim'],
      [{ attn: { layers: [0], num_heads: 2 } }, 'UNSUPPORTED', 'attn'],
      [{ hidden_act: 'relu' }, 'UNSUPPORTED', 'hidden_act'],
      [{ attnres_block_size: 2 }, 'UNSUPPORTED', 'attnres_block_size'],
      [{ hidden_ratio: 0 }, 'INVALID_ARGUMENT', 'hidden_ratio'],
      [{ model_type: 'rwkv6', expand_k: 0.3 }, 'INVALID_ARGUMENT', 'num_heads'],
      [{ model_type: 'rwkv6', proj_low_rank_dim: 0 }, 'INVALID_ARGUMENT', 'proj_low_rank_dim'],
      [{ model_type: 'rwkv', rescale_every: -1 }, 'INVALID_ARGUMENT', 'rescale_every'],
    ];
    for (const [change, code, argument] of wrong) {
      const make = (): unknown => fw.AutoModelForCausalLM.fromConfig({ ...config7, ...change });
      expect(expectError(code as fw.ErrorCode, /./, make).argument, JSON.stringify(change)).to.equal(argument);
    }
  });
});

describe('RWKV', () => {
  it('7: reads older files, which hold the mixes of a layer as one', async () => {
    fw.manualSeed(5);
    const dir = await mkdtemp(path.join(tmpdir(), 'fast-weights-rwkv-'));
    const model = fw.createModel('rwkv7', SIZES);
    loud(model);
    const file = path.join(dir, 'model.safetensors');
    try {
      await model.savePretrained(dir);
      const weights = await fw.loadSafetensors(file, { device: 'js' });
      for (const layer of [0, 1]) {
        const names = ['r', 'w', 'k', 'v', 'a', 'g'].map((mix) => `model.layers.${layer}.attn.x_${mix}`);
        weights[`model.layers.${layer}.attn.x_x`] = fw.stack(names.map((name) => weights[name].reshape(-1)));
        for (const name of names) delete weights[name];
      }
      await fw.saveSafetensors(file, weights);
      const again = await fw.AutoModelForCausalLM.fromPretrained(dir, { device: 'js', dtype: 'float64' });
      expect(logitsOf(again, [1, 2, 3])).to.deep.equal(logitsOf(model, [1, 2, 3]));
      again.dispose();
      weights['model.layers.1.attn.x_x'] = fw.zeros([5, 16], { device: 'js', dtype: 'float64' });
      await fw.saveSafetensors(file, weights);
      const error = await fw.AutoModelForCausalLM.fromPretrained(dir, { device: 'js' }).catch((e: unknown) => e);
      expect((error as Error).message).to.match(/x_x/);
    } finally {
      await rm(dir, { recursive: true });
      model.dispose();
    }
  });

  it('begins as published', () => {
    fw.manualSeed(1);
    const model = fw.createModel('rwkv7', SIZES);
    const weights = model.stateDict();
    const at = (name: string): number[] => Array.from(weights[`model.layers.1.${name}`].dataSync());
    expectClose(
      'x_k',
      at('attn.x_k'),
      Array.from({ length: 16 }, (_, n) => 1 - (n / 16) ** 0.35),
      1e-6,
    );
    expectClose(
      'k_k',
      at('attn.k_k'),
      Array.from({ length: 16 }, (_, n) => 0.76 - (0.1 * n) / 15),
      1e-6,
    );
    expect(at('ffn.value.weight').every((x) => x === 0)).to.equal(true);
    expect(at('attn.w_lora.lora.0.weight').every((x) => x === 0)).to.equal(true);
    // The decay of the last channel of layer 1: www + 0.5 + 2.5 zigzag.
    expect(at('attn.w_lora.lora.2.bias')[15]).to.be.closeTo(0.5 + 2.5, 1e-6);
    model.dispose();
    const first = fw.createModel('rwkv4', SIZES).stateDict();
    expect(Array.from(first['rwkv.blocks.0.attention.time_decay'].dataSync()).map(Math.round)).to.include.members([
      -5, 3,
    ]);
  });

  it('hands the values of the first layer on to all others, which want them', () => {
    fw.manualSeed(2);
    const model = fw.createModel('rwkv7', { ...SIZES, numLayers: 3 });
    loud(model);
    const decoder = model.model as fw.models.Decoder;
    const ids = [3, 1, 4, 1, 5];
    const whole = logitsOf(model, ids);
    // A hook on a layer must not lose them.
    const hook = decoder.layers[0].registerForwardHook(() => undefined);
    expect(logitsOf(model, ids)).to.deep.equal(whole);
    hook.remove();
    const attention = (decoder.layers[1] as unknown as { attn: fw.models.RWKV7Attention }).attn;
    const x = fw.zeros([1, 2, 16], { device: 'js', dtype: 'float64' });
    const alone = (): unknown => attention.forward(x);
    expect(expectError('INVALID_ARGUMENT', /values of the first layer/, alone).argument).to.equal('beside');
    const value = fw.zeros([1, 2, 16], { device: 'js', dtype: 'float64' });
    expect(attention.forward(x, { beside: { value } }).output.shape).to.deep.equal([1, 2, 16]);
    model.dispose();
  });

  for (const family of ['rwkv4', 'rwkv6', 'rwkv7'] as const) {
    it(`${family}: begins with a single token`, () => {
      fw.manualSeed(3);
      const model = fw.createModel(family, SIZES);
      loud(model);
      const ids = [2, 7, 1];
      const whole = logitsOf(model, ids);
      const state = (ids: number[], before: fw.State | null): { logits: fw.Tensor; state: fw.State } =>
        model.forward(idsOf(ids), { state: before, outputState: true });
      fw.scope(() => {
        const one = state([2], null);
        const two = state([7], one.state);
        const three = state([1], two.state);
        const logits = [one, two, three].flatMap((each) => Array.from(each.logits.dataSync()));
        expectClose('logits', logits, whole, 1e-12);
      });
      model.dispose();
    });
  }

  it('4: halving what passes between blocks in evaluation changes the epsilon of the norms alone', () => {
    fw.manualSeed(4);
    const make = (rescaleEvery: number): fw.models.CausalLM =>
      fw.createModel('rwkv4', { ...SIZES, numLayers: 4, rescaleEvery });
    const [plain, rescaled] = [make(0), make(1)];
    loud(plain);
    rescaled.loadStateDict(plain.stateDict());
    const ids = [1, 5, 2, 8];
    expect(logitsOf(rescaled, ids)).to.deep.equal(logitsOf(plain, ids));
    const [usual, found] = [plain.eval(), rescaled.eval()].map((model) => logitsOf(model, ids));
    expect(found).not.to.deep.equal(usual);
    expectClose('logits', found, usual, 1e-2);
    // The published program: weights of block i over 2^i, and the stream over 2 behind each block.
    const weights = rescaled.stateDict();
    fw.noGrad(() => {
      for (let i = 0; i < 4; i++) {
        for (const name of ['attention.output', 'feed_forward.value'])
          weights[`rwkv.blocks.${i}.${name}.weight`].div_(2 ** i);
      }
    });
    for (const layer of (rescaled.model as fw.models.Decoder).layers) {
      layer.registerForwardHook((_, __, result) => ({
        ...(result as object),
        output: (result as { output: fw.Tensor }).output.div(2),
      }));
    }
    expectClose('halved', logitsOf(rescaled.train(), ids), found, 1e-12);
    plain.dispose();
    rescaled.dispose();
  });
});
