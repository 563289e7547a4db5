// Batches with padding: every sequence gets exactly what it gets alone. And dropout, where a configuration has it.
import { expect } from 'chai';
import * as fw from '../../lib';
import { EVERY_PART } from '../support/everyPart';
import { expectError } from '../support/errors';
import { targets } from '../support/golden';
import { expectClose, toleranceOf } from '../support/tolerance';

type Model = fw.models.CausalLM;

const VOCABULARY = 13;
const SIZES = { vocabSize: VOCABULARY, hiddenSize: 8, numLayers: 2, numHeads: 2 } as const;
/** Tokens of sequences of different lengths, none among them. */
const TEXTS = [[3, 1, 4, 1, 5, 9], [2, 6], [], [5, 3, 5, 8]];
const T = 7;
type Side = 'left' | 'right' | 'both';

function place(text: number[], side: Side): (number | null)[] {
  const room = T - text.length;
  const before = side === 'left' ? room : side === 'right' ? 0 : Math.floor(room / 2);
  return Array.from({ length: T }, (_, t) => text[t - before] ?? null);
}

const VARIANTS: [title: string, family: fw.ModelName, extra: object][] = [
  ...fw.models.modelFamilies.map(({ name }): (typeof VARIANTS)[number] => [name, name, {}]),
  ['gla with convolutions', 'gla', { useShortConv: true }],
  ['gated-deltanet, hybrid', 'gated-deltanet', { attn: { layers: [1], numHeads: 2, windowSize: 3 } }],
  ['rodimus plus', 'rodimus', { blockType: 'rodimus_plus', skaAttn: { numHeads: 2, windowSize: 3 } }],
];
/** What carries a state through padding: neither rotary positions, nor places in a chunk, nor a cache of keys. */
const RECURRENT = VARIANTS.filter(
  ([title]) =>
    !/retnet|abc|former(-fla)?$|hybrid|hqlt|[bs]amba|falcon|qwen|minimax|kimi|ttt|titans|lact|path|plus|mla|yoco/.test(
      title,
    ) || title === 'linear-transformer',
);

/** Looking at every value takes most of the time of small models. */
const unchecked = (test: () => void) => (): void => fw.withChecks(false, test);

for (const { device, dtype } of targets()) {
  if (dtype === 'float64') continue;
  describe(`padding on ${device}`, () => {
    const ids = (rows: number[][]): fw.Tensor =>
      fw.tensor(rows.flat(), { shape: [rows.length, rows[0].length], dtype: 'int32', device });
    const make = (family: fw.ModelName, extra: object): Model =>
      fw.withSeed(5, () => fw.createModel(family, { ...SIZES, ...EVERY_PART[family], device, ...extra }));
    const batch = (side: Side, fill = 7): { ids: fw.Tensor; attentionMask: fw.Tensor } => {
      const rows = TEXTS.map((text) => place(text, side));
      return {
        ids: ids(rows.map((row) => row.map((id) => id ?? fill))),
        attentionMask: ids(rows.map((row) => row.map((id) => Number(id !== null)))),
      };
    };

    for (const [title, family, extra] of VARIANTS) {
      it(
        `${title}: the logits, bit for bit, the loss and the gradients`,
        unchecked(() => {
          const model = make(family, extra);
          const alone = fw.noGrad(() =>
            TEXTS.map((text) => (text.length === 0 ? [] : Array.from(model.forward(ids([text])).logits.dataSync()))),
          );
          for (const side of ['left', 'right', 'both'] as const) {
            for (const fill of side === 'left' ? [7, 0] : [7]) {
              const padded = batch(side, fill);
              const { logits } = fw.noGrad(() =>
                model.forward(padded.ids, { attentionMask: padded.attentionMask.to('bool') }),
              );
              expect(logits.shape).to.eql([TEXTS.length, T, VOCABULARY]);
              const values = Array.from(logits.dataSync());
              const expected = TEXTS.flatMap((text, n) => {
                let at = 0;
                return place(text, side).flatMap((id) =>
                  id === null
                    ? new Array<number>(VOCABULARY).fill(0)
                    : alone[n].slice(VOCABULARY * at, VOCABULARY * ++at),
                );
              });
              expect(values, side).to.eql(expected);
            }
          }
          // The mean over the labels that there are: of every token but the first of its sequence.
          const padded = batch('left');
          const { loss } = model.forward(padded.ids, { labels: padded.ids, attentionMask: padded.attentionMask });
          loss.backward();
          const together = model.namedParameters().map(([, t]) => Array.from(t.grad!.dataSync()));
          model.zeroGrad();
          const labels = TEXTS.map((text) => Math.max(0, text.length - 1));
          const all = labels.reduce((a, b) => a + b, 0);
          let sum = 0;
          TEXTS.forEach((text, n) => {
            if (labels[n] === 0) return;
            const own = model.forward(ids([text]), { labels: ids([text]) }).loss.mul(labels[n] / all);
            own.backward();
            sum += own.item();
          });
          const { forward, gradient } = toleranceOf('float32');
          expectClose('loss', loss.dataSync(), [sum], forward);
          model
            .namedParameters()
            .forEach(([name, t], i) => expectClose(name, together[i], t.grad!.dataSync(), gradient, 1e-3));
        }),
      );
    }

    for (const [title, family, extra] of RECURRENT) {
      it(
        `${title}: the state goes on as if there had been no padding`,
        unchecked(() => {
          const model = make(family, extra);
          const next = TEXTS.map((_, n) => n + 1);
          fw.noGrad(() => {
            const alone = TEXTS.map((text, n) => {
              const start = model.initialState(1);
              const state = text.length === 0 ? start : model.forward(ids([text]), { outputState: true }).state;
              return Array.from(model.step(fw.tensor([next[n]], { dtype: 'int32', device }), state).dataSync());
            });
            for (const side of ['left', 'right'] as const) {
              const { ids: input, attentionMask } = batch(side);
              const { state } = model.forward(input, { attentionMask, outputState: true });
              const logits = model.step(fw.tensor(next, { dtype: 'int32', device }), state);
              expectClose(side, logits.dataSync(), alone.flat(), 1e-5);
            }
            // In two parts, the padding in the second one.
            const { ids: input, attentionMask } = batch('right');
            const first = ids(TEXTS.map(() => [1, 2]));
            const whole = fw.cat([first, input], 1);
            const ones = fw.ones(first.shape, { dtype: 'int32', device });
            const expected = model
              .forward(whole, { attentionMask: fw.cat([ones, attentionMask], 1) })
              .logits.slice(1, 2);
            const { state } = model.forward(first, { outputState: true });
            const { logits } = model.forward(input, { attentionMask, state });
            expectClose('in two parts', logits.dataSync(), expected.dataSync(), 1e-5);
          });
        }),
      );
    }

    it('a mask without padding changes nothing, and one that does not fit is refused', () => {
      const model = make('deltanet', {});
      const input = ids([[1, 2, 3]]);
      const mask = fw.ones([1, 3], { dtype: 'bool', device });
      expect(model.forward(input, { attentionMask: mask }).logits.tolist()).to.eql(
        model.forward(input).logits.tolist(),
      );
      const run = (attentionMask: fw.Tensor, options: object = {}) =>
        model.forward(input, { attentionMask, ...options });
      expectError('SHAPE', /attentionMask must be \[1, 3\]/, () => run(mask.slice(1, 1)));
      expectError('DTYPE', /attentionMask must be bool or int32/, () => run(mask.to('float32')));
      expectError('INVALID_ARGUMENT', /attentionMask must be a whole number from 0 to 1/, () => run(ids([[0, 2, 1]])));
      expectError('INVALID_ARGUMENT', /left out with cuSeqlens/, () => run(mask, { cuSeqlens: [0, 3] }));
      const padded = ids([[0, 1, 1]]);
      for (const family of ['transformer', 'retnet', 'hqlt', 'path-attention'] as const) {
        const error = expectError('UNSUPPORTED', /with attentionMask/, () =>
          make(family, {}).forward(input, { attentionMask: padded, outputState: true }),
        );
        expect(error.argument).to.equal('attentionMask');
      }
    });
  });
}

describe('dropout of models', () => {
  const ids = fw.tensor([1, 5, 2, 8, 0, 3], { shape: [1, 6], dtype: 'int32', device: 'js' });
  const read = (model: Model): number[] => Array.from(fw.noGrad(() => model.forward(ids).logits.dataSync()));

  it('deltanet-2021: while training, from the seeded generator; nothing in evaluation', () => {
    const make = (dropout: number | undefined): Model =>
      fw.withSeed(2, () => fw.createModel('deltanet-2021', { ...SIZES, device: 'js', dropout }));
    const [plain, model] = [make(undefined), make(0.25)];
    const seeded = (m: Model, seed: number): number[] => fw.withSeed(seed, () => read(m));
    expect(seeded(model, 1)).to.eql(seeded(model, 1));
    expect(seeded(model, 1)).not.to.eql(seeded(model, 2));
    expect(read(model.eval())).to.eql(read(plain));
    expect(model.identity).to.equal(plain.identity);
    expect(model.config.source.dropout).to.equal(0.25);
    // Three places a layer, and each module of them in its own way.
    const drops = [...model.namedModules()].flatMap(([, m]) => (m instanceof fw.nn.Dropout ? [m] : []));
    let calls = 0;
    for (const drop of drops) {
      const { forward } = drop;
      drop.forward = (x) => (calls++, forward.call(drop, x));
    }
    read(model);
    expect(calls).to.equal(3 * SIZES.numLayers);
    const outputs = drops.map((drop) => {
      drop.training = true;
      const values = seeded(model, 3);
      drop.training = false;
      return JSON.stringify(values);
    });
    expect(new Set([...outputs, JSON.stringify(read(plain))]).size).to.equal(drops.length + 1);
    expectError('INVALID_ARGUMENT', /dropout/, () => make(1.5));
  });

  it('that no part of a model has is refused by its name', () => {
    expectError('UNSUPPORTED', /attention_dropout 0\.1 is not supported/, () =>
      fw.createModel('transformer', { ...SIZES, attentionDropout: 0.1 }),
    );
    fw.createModel('transformer', { ...SIZES, attentionDropout: 0 }).dispose();
  });
});
