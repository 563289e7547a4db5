// The hybrid quadratic-linear Transformer: its modes in pieces, packed, and what its configuration refuses.
import { expect } from 'chai';
import fc from 'fast-check';
import * as fw from '../../lib';
import { expectError } from '../support/errors';
import { targets } from '../support/golden';
import { expectClose, toleranceOf } from '../support/tolerance';

type Options = Partial<fw.CreateOptions<'hqlt'>>;
type Layer = fw.models.HybridQLT;

const VARIANTS: [string, Options][] = [
  ['synchronous, sum', { chunkSize: 3, useMemoryGate: false, useGate: true }],
  ['synchronous, a window beyond the text', { chunkSize: 64, useMemoryGate: false, useMemoryDynamicScaler: true }],
  ['synchronousLinear', { attnMode: 'sync_chunk_linear', chunkSize: 5, useMemoryGateSeparate: true }],
  ['delayedStream', { attnMode: 'delayed', chunkSize: 4, allowNegEigval: true }],
  [
    'delayedStream, no positions',
    { attnMode: 'delayed', chunkSize: 1, useLocalPosEncoding: false, useShortConv: true },
  ],
  ['delayedChunk', { attnMode: 'chunk', chunkSize: 4, useBeta: false }],
  ['delayedChunk, static', { attnMode: 'chunk', chunkSize: 7, useMemoryGate: false, useMemoryScaler: true }],
];

const SIZES = { vocabSize: 5, hiddenSize: 12, numLayers: 1, numHeads: 2, intermediateSize: 4, expandV: 1.5 };

function layerOf(options: Options, where: { device: fw.Device; dtype: fw.DType }): Layer {
  fw.manualSeed(3);
  const { device, dtype } = where;
  const model = fw.createModel('hqlt', { ...SIZES, ...options, device, dtype: dtype });
  const layer = new fw.models.HybridQLT((model as fw.models.HybridQLTForCausalLM).config, { device, dtype });
  model.dispose();
  return layer;
}

// Float32 on js adds nothing to float64 there.
for (const where of targets().filter(({ device, dtype }) => device !== 'js' || dtype === 'float64')) {
  const tolerance = toleranceOf(where.dtype).forward;
  describe(`HybridQLT on ${where.device}, ${where.dtype}`, () => {
    for (const [name, options] of VARIANTS) {
      it(`${name}: in pieces and by tokens as a whole, at any split`, () => {
        const layer = layerOf(options, where);
        fc.assert(
          fc.property(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 0, max: 9 }), (first, second) => {
            fw.scope(() => {
              const T = first + second + 5;
              const x = fw.randn([2, T, 12], where);
              const whole = fw.noGrad(() => layer.forward(x).output);
              const parts = fw.noGrad(() => {
                const a = layer.forward(x.slice(1, 0, first), { outputState: true });
                const b = layer.forward(x.slice(1, first, first + second), { state: a.state, outputState: true });
                const rest = [first + second, first + second + 1, first + second + 2].map((t) =>
                  layer.step(x.slice(1, t, t + 1).squeeze(1), b.state!).unsqueeze(1),
                );
                const last = layer.forward(x.slice(1, first + second + 3), { state: b.state! });
                return fw.cat([a.output, b.output, ...rest, last.output], 1);
              });
              expectClose('output', parts.dataSync(), whole.dataSync(), tolerance);
            });
          }),
          { numRuns: 3, seed: 5 },
        );
        layer.dispose();
      });
    }

    it('packed sequences are what each is alone', () => {
      for (const [name, options] of VARIANTS) {
        const layer = layerOf(options, where);
        fw.scope(() => {
          const x = fw.randn([1, 17, 12], { ...where, requiresGrad: true });
          const offsets = [0, 6, 6, 7, 17];
          const packed = layer.forward(x, { cuSeqlens: offsets }).output;
          const alone = offsets.slice(1).map((end, n) => layer.forward(x.slice(1, offsets[n], end)).output);
          expectClose(name, packed.dataSync(), fw.cat(alone, 1).dataSync(), tolerance);
          const g = fw.randn(packed.shape, where);
          const [of, ofAlone] = [packed, fw.cat(alone, 1)].map((y) => fw.gradients([y], [x], { gradOutputs: [g] })[0]);
          expectClose(`${name}, gradient`, of.dataSync(), ofAlone.dataSync(), toleranceOf(where.dtype).gradient);
        });
        layer.dispose();
      }
    });
  });
}

describe('HybridQLT', () => {
  it('keeps no more of a long text than of a short one', () => {
    for (const attnMode of ['sync_chunk', 'delayed', 'chunk'] as const) {
      const layer = layerOf({ attnMode, chunkSize: 4 }, { device: 'js', dtype: 'float32' });
      const x = fw.randn([1, 12], { device: 'js' });
      const state = layer.initialState(1);
      const sizes: number[] = [];
      fw.noGrad(() => {
        for (let t = 0; t < 140; t++) {
          fw.scope(() => void layer.step(x, state));
          if (t === 9 || t === 139) sizes.push(state.recent.keys.size + (state.recent.unturned?.size ?? 0));
          expect(state.recent.end - state.recent.start, attnMode).to.be.at.most(4);
        }
      });
      expect(sizes[1], attnMode).to.equal(sizes[0]);
      layer.dispose();
    }
  });

  it('refuses settings that do not go together, and states of packed sequences', () => {
    const make = (options: object) => (): unknown => fw.createModel('hqlt', { ...SIZES, ...options });
    const wrong: [string, object, RegExp, string][] = [
      ['INVALID_ARGUMENT', { useMemoryScaler: true }, /one way to combine/, 'use_memory_scaler'],
      ['UNSUPPORTED', { useMemoryGate: false, useMemoryGateSeparate: true }, /./, 'use_memory_gate_separate'],
      ['UNSUPPORTED', { attnMode: 'fused_recurrent' }, /./, 'attn_mode'],
      ['UNSUPPORTED', { qkActivation: 'silu' }, /./, 'qk_activation'],
      ['UNSUPPORTED', { allowNegEigval: true, useBeta: false }, /./, 'use_beta'],
      ['UNSUPPORTED', { hiddenSize: 6, expandV: 1, useLocalPosEncoding: true }, /./, 'use_local_pos_encoding'],
      ['INVALID_ARGUMENT', { chunkSize: 0 }, /./, 'chunk_size'],
    ];
    for (const [code, options, message, argument] of wrong) {
      expect(expectError(code as fw.ErrorCode, message, make(options)).argument).to.equal(argument);
    }
    const layer = layerOf({}, { device: 'js', dtype: 'float32' });
    const x = fw.zeros([1, 3, 12], { device: 'js' });
    expectError('UNSUPPORTED', /packed/, () => layer.forward(x, { cuSeqlens: [0, 3], outputState: true }));
    layer.dispose();
  });
});
