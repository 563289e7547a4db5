// How folders are read: progress, memory, narrow floats, and what is said of those that do not fit.
import { expect } from 'chai';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fw from '../../lib';
import { getBackend } from '../../lib/backends';
import { expectError, expectRejection } from '../support/errors';
import { fileOf, type Stored } from '../support/fileBytes';
import { expectClose } from '../support/tolerance';

type Model = fw.models.CausalLM;

const load = fw.AutoModelForCausalLM.fromPretrained;
const bytesOn = (device: fw.Device): number => fw.memory().devices.find((d) => d.device === device)?.bytes ?? 0;

describe('reading model folders', () => {
  let dir: string;
  let model: Model;

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'fast-weights-loading-'));
    fw.manualSeed(5);
    const sizes = { vocabSize: 40, hiddenSize: 16, numLayers: 2, numHeads: 2, device: 'js' } as const;
    model = fw.createModel('qwen3-next', { ...sizes, initializerRange: 0.3, linearNumValueHeads: 4 });
    await model.savePretrained(dir, { maxShardBytes: 8000 });
  });

  afterEach(async () => {
    model.dispose();
    await rm(dir, { recursive: true });
  });

  const path = (name: string): string => join(dir, name);
  const json = async (name: string): Promise<Record<string, unknown>> =>
    JSON.parse(await readFile(path(name), 'utf8')) as Record<string, unknown>;
  const changeConfig = async (change: object): Promise<void> =>
    writeFile(path('config.json'), JSON.stringify({ ...(await json('config.json')), ...change }));
  const logits = (m: Model): number[] => {
    const ids = fw.tensor([[1, 7, 3, 39, 0, 12]], { dtype: 'int32', device: m.device });
    return fw.noGrad(() => fw.scope(() => Array.from(m.forward(ids).logits.dataSync())));
  };
  /** Writes other weights in the place of all shards. */
  async function replace(tensors: Record<string, Stored>): Promise<void> {
    await rm(path('model.safetensors.index.json'), { force: true });
    await writeFile(path('model.safetensors'), fileOf(tensors));
  }

  it('tells how far it is, tensor by tensor, and holds the weights and no more', async () => {
    const before = bytesOn('js');
    const bytes = Object.values(model.stateDict()).reduce((sum, t) => sum + 4 * t.size, 0);
    const calls: { done: number; total: number; name: string }[] = [];
    const again = await load(dir, {
      device: 'js',
      onProgress: (progress) => {
        calls.push(progress);
        expect(bytesOn('js') - before).to.equal(bytes);
      },
    });
    expect(calls.map(({ name }) => name)).to.deep.equal(Object.keys(model.stateDict()));
    expect(calls.every(({ total }) => total === bytes)).to.equal(true);
    expect(calls.map(({ done }) => done)).to.deep.equal([...calls.map(({ done }) => done)].sort((a, b) => a - b));
    expect(calls.at(-1)!.done).to.equal(bytes);
    expect(logits(again)).to.deep.equal(logits(model));
    again.dispose();
  });

  it('draws no weights that it is about to read, and leaves the random numbers of the program alone', async () => {
    const { kernels } = getBackend('js');
    const { random } = kernels;
    let drawn = 0;
    kernels.random = (args) => {
      drawn += args.n;
      return random.call(kernels, args);
    };
    try {
      fw.manualSeed(9);
      (await load(dir, { device: 'js' })).dispose();
    } finally {
      kernels.random = random;
    }
    const next = fw.rand([3], { device: 'js' }).tolist();
    fw.manualSeed(9);
    expect(next).to.deep.equal(fw.rand([3], { device: 'js' }).tolist());
    expect(drawn).to.be.lessThan(model.parameterCount / 20);
    // New models have weights as before.
    const fresh = fw.createModel('lstm', { vocabSize: 8, hiddenSize: 8, numLayers: 1, device: 'js' });
    for (const [name, t] of fresh.namedParameters()) {
      if (name.endsWith('weight')) expect(new Set(t.dataSync()).size, name).to.be.greaterThan(1);
    }
    fresh.dispose();
  });

  it('ends where onProgress throws, and leaks nothing', async () => {
    const before = bytesOn('js');
    const stop = (): never => {
      throw new Error('enough');
    };
    let caught: unknown;
    await load(dir, { device: 'js', onProgress: stop }).catch((error: unknown) => (caught = error));
    expect(String(caught)).to.equal('Error: enough');
    expect(bytesOn('js')).to.equal(before);
    await expectRejection(
      'INVALID_ARGUMENT',
      /onProgress must be a function, got 5/,
      load(dir, { onProgress: 5 as never }),
    );
  });

  it('reads float16, and 8-bit floats with the scales of their blocks', async () => {
    await model.savePretrained(dir, { dtype: 'float16' });
    const halves = await load(dir, { device: 'js' });
    expectClose('float16', logits(halves), logits(model), 0.01);
    halves.dispose();

    // Weights that a byte holds, in blocks of 8 by 4 with scales that are powers of two.
    const stored: Record<string, Stored> = {};
    const values: Record<string, fw.Tensor> = {};
    const plain = (t: fw.Tensor): Uint8Array => new Uint8Array(Float32Array.from(t.dataSync()).buffer);
    for (const [name, t] of Object.entries(model.stateDict())) {
      const [rows, columns] = t.shape;
      if (!/(self_attn|linear_attn|experts)\..*_proj.*weight$/.test(name)) {
        stored[name] = { dtype: 'F32', shape: [...t.shape], bytes: plain(t) };
        continue;
      }
      const grid = [Math.ceil(rows / 8), Math.ceil(columns / 4)];
      const scales = Float32Array.from({ length: grid[0] * grid[1] }, (_, i) => 2 ** ((i % 5) - 6));
      const bytes = Uint8Array.from({ length: t.size }, (_, i) => ((i * 37) % 112) | (i % 3 === 0 ? 0x80 : 0));
      stored[name] = { dtype: 'F8_E4M3', shape: [...t.shape], bytes };
      stored[`${name}_scale_inv`] = { dtype: 'F32', shape: grid, bytes: new Uint8Array(scales.buffer) };
      stored[name.replace('weight', 'input_scale')] = { dtype: 'F32', shape: [], bytes: new Uint8Array(4) };
      values[name] = fw.tensor(
        Array.from(bytes, (b, i) => {
          const magnitude = b & 0x78 ? (8 + (b & 7)) * 2 ** (((b >> 3) & 15) - 10) : (b & 7) * 2 ** -9;
          const block = Math.floor(Math.floor(i / columns) / 8) * grid[1] + Math.floor((i % columns) / 4);
          return (b & 0x80 ? -1 : 1) * magnitude * scales[block];
        }),
        { shape: [rows, columns], device: 'js' },
      );
    }
    await replace(stored);
    await changeConfig({ quantization_config: { quant_method: 'fp8', weight_block_size: [8, 4], fmt: 'e4m3' } });
    const again = await load(dir, { device: 'js' });
    const found = again.stateDict();
    expect(Object.keys(values).length).to.be.greaterThan(10);
    for (const [name, t] of Object.entries(values)) expect(found[name].tolist(), name).to.deep.equal(t.tolist());
    // What is saved is not quantised, and does not say so.
    await again.savePretrained(dir);
    expect(await json('config.json')).not.to.have.property('quantization_config');
    const saved = await load(dir, { device: 'js' });
    expect(logits(saved)).to.deep.equal(logits(again));
    for (const m of [again, saved]) m.dispose();
  });

  it('refuses weights of other methods, and blocks that are none', async () => {
    await changeConfig({ quantization_config: { quant_method: 'gptq', bits: 4 } });
    await expectRejection('UNSUPPORTED', /quantization_config: quant_method "gptq" is not supported/, load(dir));
    await changeConfig({ quantization_config: { quant_method: 'compressed-tensors', format: 'pack-quantized' } });
    await expectRejection('UNSUPPORTED', /format "pack-quantized" is not supported/, load(dir));
    for (const size of [[128], [0, 8], 'all', [1.5, 2]]) {
      await changeConfig({ quantization_config: { quant_method: 'fp8', weight_block_size: size } });
      await expectRejection('FORMAT', /weight_block_size must be two sizes above 0/, load(dir));
    }
    await changeConfig({ quantization_config: 8 });
    await expectRejection('FORMAT', /quantization_config must be an object, got 8/, load(dir));
  });

  it('names what is missing, what is unknown, and the nearest of the others', async () => {
    const weights = model.stateDict();
    const { 'model.norm.weight': norm, 'lm_head.weight': head, ...rest } = weights;
    await rm(path('model.safetensors.index.json'));
    await fw.saveSafetensors(path('model.safetensors'), { ...rest, 'model.nrom.weight': norm, 'lm_head.weight': head });
    const misspelt =
      /without model\.norm\.weight \(nearest: model\.nrom\.weight\) with unknown model\.nrom\.weight \(nearest: model\.norm\.weight\)/;
    await expectRejection('FORMAT', misspelt, load(dir));
    await fw.saveSafetensors(path('model.safetensors'), { ...weights, 'model.nrom.weight': norm });
    const unknown = /the configuration: with unknown model\.nrom\.weight \(nearest: model\.norm\.weight\)$/;
    await expectRejection('FORMAT', unknown, load(dir));
    const { 'model.layers.1.input_layernorm.weight': _, ...incomplete } = weights;
    await fw.saveSafetensors(path('model.safetensors'), incomplete);
    const missing = /without (model\.layers\.)1(\.input_layernorm\.weight) \(nearest: \1[02]\2\)$/;
    await expectRejection('FORMAT', missing, load(dir));
    await changeConfig({ attention_dropout: 0.1 });
    const dropout = /config\.json: qwen3_next: attention_dropout 0\.1 is not supported, only 0$/;
    expect(await expectRejection('UNSUPPORTED', dropout, load(dir))).to.include({ expected: '0', found: '0.1' });
    await changeConfig({ model_type: 'qwen3_nxt' });
    const type = /model_type "qwen3_nxt" is not supported; did you mean qwen3_next\?/;
    expect(await expectRejection('UNSUPPORTED', type, load(dir))).to.include({ expected: 'qwen3_next' });
    expectError('UNSUPPORTED', /did you mean gated_deltanet\?/, () =>
      fw.AutoModelForCausalLM.fromConfig({ model_type: 'gated_delta_net' } as never),
    );
  });

  it('refuses a configuration of more than its weights before it takes the memory', async () => {
    const peak = (): number => fw.memory().devices.find(({ device }) => device === 'js')!.peakBytes;
    const [before, config] = [peak(), await json('config.json')];
    for (const change of [{ vocab_size: 2 ** 24 }, { hidden_size: 2 ** 16 }, { moe_intermediate_size: 2 ** 20 }]) {
      await writeFile(path('config.json'), JSON.stringify({ ...config, ...change, num_hidden_layers: 2 }));
      const message = /config\.json: the configuration must be one of the model/;
      await expectRejection('FORMAT', message, load(dir, { device: 'js' }));
    }
    expect(peak() - before).to.be.lessThan(2 ** 27);
    // Where it is small the error says what does not fit.
    await writeFile(path('config.json'), JSON.stringify({ ...config, vocab_size: 1000 }));
    const message = /embed_tokens\.weight: shape must be \[1000, 16\]/;
    await expectRejection('FORMAT', message, load(dir, { device: 'js' }));
  });

  it('what is wrong with a configuration is an error of the file, also where the weights are put in order by it', async () => {
    const olmo = fw.createModel('olmo-hybrid', {
      vocabSize: 8,
      hiddenSize: 16,
      numLayers: 2,
      numHeads: 2,
      device: 'js',
    });
    await olmo.savePretrained(dir);
    olmo.dispose();
    await changeConfig({ linear_key_head_dim: 0 });
    await expectRejection('FORMAT', /config\.json: linear_key_head_dim must be/, load(dir, { device: 'js' }));
  });

  it('refuses pickled weights with the remedy', async () => {
    const other = await mkdtemp(join(tmpdir(), 'fast-weights-pickle-'));
    try {
      await writeFile(join(other, 'config.json'), '{"model_type": "qwen3_next"}');
      await writeFile(join(other, 'pytorch_model.bin'), '');
      const remedy =
        /pytorch_model\.bin is pickled, .* torch\.load\(path, weights_only=True\); safetensors\.torch\.save_file/;
      await expectRejection('UNSUPPORTED', remedy, load(other));
      await writeFile(join(other, 'RWKV-x070.pth'), '');
      await expectRejection('UNSUPPORTED', /RWKV-x070\.pth is pickled/, load(join(other, 'RWKV-x070.pth')));
    } finally {
      await rm(other, { recursive: true });
    }
  });
});
