// Models whose projections are in bfloat16 or 8 bits: every family against itself in float32, steps against whole sequences,
// loading, and what is refused.
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import * as fw from '../../lib';
import { getBackend } from '../../lib/backends';
import { packing } from '../../lib/ops';
import { expectError, expectRejection } from '../support/errors';
import { expectClose } from '../support/tolerance';
import { withoutZeros } from '../support/withoutZeros';

type Model = fw.models.CausalLM;
type Format = 'bfloat16' | 'int8';

const VOCABULARY = 29;
const FORMATS: Format[] = ['bfloat16', 'int8'];
/** Of logits, relative to float32: the weights of these models are random and larger than those of trained ones. */
const MOST: Record<Format, number> = { bfloat16: 0.04, int8: 0.08 };

const { AutoModelForCausalLM } = fw;

function make(family: fw.ModelName, extra: Partial<fw.CreateOptions> = {}): Model {
  fw.manualSeed(7);
  const sizes = { vocabSize: VOCABULARY, hiddenSize: 24, numLayers: 2, numHeads: 2, intermediateSize: 32 };
  return withoutZeros(fw.createModel(family, { ...sizes, initializerRange: 0.1, ...extra })).eval();
}

const IDS = Array.from({ length: 23 }, (_, i) => (i * i + 3 * i) % VOCABULARY);

function logitsOf(model: Model): Float64Array {
  return fw.scope(() => {
    const tokens = fw.tensor(IDS, { shape: [1, IDS.length], dtype: 'int32', device: model.device });
    return Float64Array.from(model.forward(tokens).logits.dataSync());
  });
}

const projections = (model: Model): fw.nn.Linear[] =>
  [...model.namedModules()].flatMap(([, module]) => (module instanceof fw.nn.Linear ? [module] : []));

describe('quantised models', () => {
  for (const { name: family } of fw.models.modelFamilies) {
    for (const format of FORMATS) {
      it(`${family}, ${format}: logits near those of float32, step by step as all at once`, () => {
        using model = make(family);
        const count = model.parameterCount;
        const whole = fw.noGrad(() => logitsOf(model));
        expect(model.quantize(format)).to.equal(model);
        expect(projections(model).some(({ quantized }) => quantized)).to.equal(true);
        expect(projections(model).every(({ quantized, mayQuantize }) => Boolean(quantized) === mayQuantize)).to.equal(
          true,
        );
        // A head of the embedding's matrix has one of its own now.
        const own = model.config.tieWordEmbeddings ? model.lm_head.inFeatures * VOCABULARY : 0;
        expect(model.parameterCount).to.equal(count + own);
        const logits = logitsOf(model);
        expectClose('logits', logits, whole, MOST[format]);
        expect([...logits]).to.not.deep.equal([...whole]);
        using session = model.createSession();
        for (const [i, id] of IDS.entries()) {
          const step = fw.scope(() => session.feed([id]).dataSync());
          expectClose(`step ${i}`, step, logits.subarray(i * VOCABULARY, (i + 1) * VOCABULARY), 2e-5);
        }
      });
    }
  }

  it('take the memory of the packed weights', () => {
    const sizes = { hiddenSize: 256, intermediateSize: 512, numHeads: 4, vocabSize: VOCABULARY };
    using model = make('deltanet', sizes);
    const inProjections = projections(model).reduce((n, { weight }) => n + weight.size, 0);
    const bytes = (): number => fw.memory().devices.find(({ device }) => device === model.device)!.bytes;
    const before = bytes();
    model.quantize('int8');
    const saved = before - bytes();
    expect(saved / (inProjections * 3)).to.be.within(0.9, 1.02);
  });

  it('are loaded as they are quantised in memory, also tied, in shards and with adapters', async () => {
    const dir = await mkdtemp(path.join(tmpdir(), 'quantised-'));
    try {
      for (const [family, extra, adapters] of [
        ['deltanet', { tieWordEmbeddings: true }, false],
        ['gated-deltanet', {}, true],
        ['rwkv7', {}, false],
      ] as const) {
        const folder = path.join(dir, family);
        using model = make(family, extra);
        if (adapters) {
          fw.nn.addLora(model, { rank: 2, alpha: 3, targets: ['o_proj', 'q_proj'] });
          for (const [name, t] of model.namedParameters()) {
            if (name.includes('lora_B')) fw.noGrad(() => t.copy_(fw.full([...t.shape], 0.05, { device: t.device })));
          }
        }
        await model.savePretrained(folder, { maxShardBytes: 5000 });
        expect((await readdir(folder)).filter((name) => name.endsWith('.safetensors')).length).to.be.above(2);
        for (const format of FORMATS) {
          using whole = await AutoModelForCausalLM.fromPretrained(folder);
          const seen: string[] = [];
          const onProgress = ({ name }: { name: string }): void => void seen.push(name);
          using loaded = await AutoModelForCausalLM.fromPretrained(folder, { weights: format, onProgress });
          expect(seen.length).to.be.above(10);
          expect(loaded.training).to.equal(false);
          expect(loaded.parameters().some((t) => t.requiresGrad)).to.equal(false);
          expect([...logitsOf(loaded)]).to.deep.equal([...logitsOf(whole.quantize(format))]);
        }
      }
    } finally {
      await rm(dir, { recursive: true });
    }
  });

  it('are the same on another device', () => {
    using model = make('gla').quantize('int8');
    const there = logitsOf(model);
    model.to('js');
    expect(model.device).to.equal('js');
    expect(projections(model).every(({ device }) => device === 'js')).to.equal(true);
    expectClose('logits', logitsOf(model), there, 2e-5);
  });

  it('are neither trained, saved, loaded nor cast, nor quantised again', async () => {
    using model = make('deltanet').quantize('int8');
    const ids = fw.tensor([IDS], { dtype: 'int32', device: model.device });
    model.model.tokens.weight.requiresGrad = true;
    expectError('GRAPH', /weights in int8 have no gradients; compute inside noGrad/, () => model.forward(ids));
    expectError('UNSUPPORTED', /^stateDict: \S+ is quantised.*load it without `weights`/, () => model.stateDict());
    expectError('UNSUPPORTED', /^loadStateDict: \S+ is quantised/, () => model.loadStateDict({}));
    expectError('UNSUPPORTED', /^Module\.to: \S+ is quantised.*cast the model before/, () => model.to('bfloat16'));
    expectError('UNSUPPORTED', /^quantize: \S+ is in int8 already/, () => model.quantize('int8'));
    expectError('UNSUPPORTED', /^addLora: \S+ is quantised/, () =>
      fw.nn.addLora(model, { rank: 2, alpha: 2, targets: 'all-linear' }),
    );
    expectError('UNSUPPORTED', /Linear: weight is in int8.*keepWhole/, () => model.lm_head.weight);
    await expectRejection('UNSUPPORTED', /is quantised/, model.savePretrained(path.join(tmpdir(), 'never-written')));
    expect(model.lm_head.inFeatures).to.equal(24);
    expect(model.lm_head.outFeatures).to.equal(VOCABULARY);
  });

  it('are asked for by a known name, in float32', async () => {
    using model = make('gla');
    expectError('INVALID_ARGUMENT', /weights must be 'bfloat16' \| 'int8'/, () => model.quantize('int4' as 'int8'));
    using half = make('gla').to('bfloat16');
    expectError('DTYPE', /quantize: \S+weight must be float32, got bfloat16/, () => half.quantize('int8'));
    const { fromPretrained } = AutoModelForCausalLM;
    await expectRejection('INVALID_ARGUMENT', /weights must be/, fromPretrained('x', { weights: 'int4' as 'int8' }));
    await expectRejection(
      'INVALID_ARGUMENT',
      /dtype must be float32 beside weights, got "?'?bfloat16/,
      fromPretrained('x', { weights: 'int8', dtype: 'bfloat16' }),
    );
  });

  it('are named where they are not finite', async () => {
    for (const format of FORMATS) {
      using model = make('gla');
      const [name, weight] = model.namedParameters().find(([name]) => name.endsWith('v_proj.weight'))!;
      fw.noGrad(() => void weight.slice(0, 0, 1).mul_(NaN));
      const folder = await mkdtemp(path.join(tmpdir(), 'fast-weights-quantized-'));
      await model.savePretrained(folder);
      const pattern = new RegExp(`${name} must be finite numbers`);
      await expectRejection(
        'INVALID_ARGUMENT',
        pattern,
        AutoModelForCausalLM.fromPretrained(folder, { weights: format }),
      );
      await rm(folder, { recursive: true });
      expectError('INVALID_ARGUMENT', new RegExp(`quantize: ${name} must be finite numbers`), () =>
        model.quantize(format),
      );
    }
  });

  it('are whole, or said not to be, where an error comes on the way, and go on from there', () => {
    const bytes = (): number => fw.memory().devices.reduce((sum, each) => sum + each.bytes, 0);
    const backend = getBackend('js');
    const { allocate } = backend;
    for (const format of FORMATS) {
      const empty = bytes();
      const whole = make('gla', { device: 'js' }).quantize(format);
      const taken = bytes() - empty;
      const expected = fw.noGrad(() => logitsOf(whole));
      whole.dispose();
      using model = make('gla', { device: 'js' });
      const before = fw.noGrad(() => logitsOf(model));
      const start = bytes();
      for (const most of [0, 1, 2, 3, 5]) {
        let left = most;
        backend.allocate = (...given) => {
          if (left-- > 0) return allocate.apply(backend, given);
          throw new fw.FastWeightsError('OUT_OF_MEMORY', 'no memory');
        };
        try {
          const packed = projections(model).filter(({ quantized }) => quantized).length;
          const error = expectError('OUT_OF_MEMORY', /^no memory/, () => model.quantize(format));
          const now = projections(model).filter(({ quantized }) => quantized).length;
          // What was made of the weight that failed is freed.
          if (now === 0) expect([error.message, bytes()]).to.eql(['no memory', start]);
          else expect(error.message).to.match(new RegExp(`computes with \\d+ weights .* others in ${format}`));
          expect(now).to.be.at.least(packed);
        } finally {
          backend.allocate = allocate;
        }
        const logits = fw.noGrad(() => logitsOf(model));
        if (most === 0) expect(logits).to.eql(before);
      }
      expect(projections(model).some(({ quantized }) => quantized)).to.equal(true);
      expectError('UNSUPPORTED', /already/, () => model.quantize(format === 'int8' ? 'bfloat16' : 'int8'));
      model.quantize(format);
      expect(fw.noGrad(() => logitsOf(model))).to.eql(expected);
      expectError('UNSUPPORTED', /already/, () => model.quantize(format));
      expect(bytes()).to.equal(empty + taken);
    }
  });

  it('free what is packed where nobody asks for the rest', () => {
    const bytes = (): number => fw.memory().devices.reduce((sum, each) => sum + each.bytes, 0);
    using weight = fw.rand([100, 8]);
    const before = bytes();
    for (const _ of packing('test', weight, 'int8')) break;
    expect(bytes()).to.equal(before);
  });

  for (const routerType of ['lin', 'mlp'] as const) {
    it(`leave the router of Raven as it is, ${routerType}`, () => {
      using model = make('raven', { routerType }).quantize('int8');
      const router = [...model.namedModules()].flatMap(([name, module]) =>
        name.includes('r_proj') && module instanceof fw.nn.Linear ? [module] : [],
      );
      expect(router.map(({ quantized }) => quantized)).to.eql(
        routerType === 'mlp' ? [null, null, null, null] : [null, null],
      );
    });
  }

  it('leave what others read as it is', () => {
    const layer = new fw.nn.Linear(3, 2).keepWhole();
    expect(layer.mayQuantize).to.equal(false);
    using model = make('linear-transformer', { featureMap: 'hedgehog' }).quantize('bfloat16');
    const kept = projections(model).filter(({ quantized }) => !quantized);
    expect(kept.length).to.be.above(0);
    expect(kept.every(({ weight }) => weight.dtype === 'float32')).to.equal(true);
  });
});
