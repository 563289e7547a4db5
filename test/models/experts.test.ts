// Sparse experts: which ones a token goes to, what they give, and that no token sees its neighbours.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';
import { targets } from '../support/golden';
import { expectClose, toleranceOf } from '../support/tolerance';

const { MixtureOfExperts, Router, SeparateExperts, StackedExperts } = fw.models;
type Shape = fw.models.RoutingShape;
type Where = { device: fw.Device; dtype: 'float32' | 'float64' };

const [DIM, HIDDEN] = [6, 5];
const SOFTMAX: Shape = {
  numExperts: 6,
  perToken: 2,
  scores: 'softmax',
  normalise: true,
  factor: 1,
  groups: 1,
  groupsPerToken: 1,
  correctionBias: false,
};
const SHAPES: [title: string, shape: Shape][] = [
  ['softmax', SOFTMAX],
  ['softmax, weights as they are', { ...SOFTMAX, normalise: false, perToken: 3 }],
  ['sigmoid, corrected, scaled', { ...SOFTMAX, scores: 'sigmoid', correctionBias: true, factor: 2.5 }],
  [
    'sigmoid, corrected, groups',
    { ...SOFTMAX, scores: 'sigmoid', correctionBias: true, groups: 3, groupsPerToken: 2, perToken: 3 },
  ],
];

function make(shape: Shape, where: Where, stacked = false): fw.models.MixtureOfExperts {
  fw.manualSeed(11);
  const experts = stacked
    ? new StackedExperts(shape.numExperts, DIM, HIDDEN, { std: 1, ...where })
    : new SeparateExperts(shape.numExperts, DIM, HIDDEN, where);
  const model = new MixtureOfExperts(new Router(DIM, shape, where), experts);
  const bias = model.gate.e_score_correction_bias;
  if (bias) fw.noGrad(() => bias.copy_(fw.rand([shape.numExperts], { ...where, low: -0.3, high: 0.3 })));
  return model;
}

const numbers = (t: fw.Tensor): number[] => Array.from(t.dataSync());
const rowsOf = (t: fw.Tensor): number[][] => t.tolist() as number[][];
const dot = (a: number[], b: number[]): number => a.reduce((sum, x, i) => sum + x * b[i], 0);
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
const bestOf = (scores: number[], count: number): number[] =>
  [...scores.keys()].sort((a, b) => scores[b] - scores[a]).slice(0, count);

/** One token as the papers say it, a loop over its experts. */
function reference(model: fw.models.MixtureOfExperts, x: number[]): number[] {
  const { numExperts, perToken, scores, normalise, factor, groups, groupsPerToken } = model.gate.routing;
  const logits = rowsOf(model.gate.weight).map((row) => dot(row, x));
  const total = logits.reduce((sum, l) => sum + Math.exp(l), 0);
  const score = logits.map((l) => (scores === 'softmax' ? Math.exp(l) / total : sigmoid(l)));
  const bias = model.gate.e_score_correction_bias;
  const corrected = score.map((s, e) => s + (bias ? numbers(bias)[e] : 0));
  const size = numExperts / groups;
  const ofGroup = Array.from({ length: groups }, (_, g) => corrected.slice(g * size, (g + 1) * size));
  const quality = ofGroup.map((list) => list.sort((a, b) => b - a)).map(([first, second = 0]) => first + second);
  const allowed = bestOf(quality, groupsPerToken);
  const kept = corrected.map((c, e) => (allowed.includes(Math.floor(e / size)) ? c : -Infinity));
  const chosen = bestOf(kept, perToken);
  const sum = normalise ? chosen.reduce((all, e) => all + score[e], 0) : 1;
  const parameters = new Map(model.namedParameters());
  return chosen.reduce(
    (y, e) => {
      const [gate, up, down] = ['gate', 'up', 'down'].map((p) =>
        rowsOf(parameters.get(`experts.${e}.${p}_proj.weight`)!),
      );
      const inner = gate.map((row, i) => dot(row, x) * sigmoid(dot(row, x)) * dot(up[i], x));
      return y.map((v, i) => v + ((factor * score[e]) / sum) * dot(down[i], inner));
    },
    x.map(() => 0),
  );
}

for (const where of targets() as Where[]) {
  describe(`sparse experts on ${where.device}, ${where.dtype}`, () => {
    const tolerance = toleranceOf(where.dtype);
    const input = (tokens: number): fw.Tensor => fw.randn([tokens, DIM], where);

    for (const [title, shape] of SHAPES) {
      it(`${title}: as a loop over the experts of each token`, () => {
        const model = make(shape, where);
        const x = input(23);
        const expected = rowsOf(x).flatMap((row) => reference(model, row));
        expectClose('output', model.forward(x).dataSync(), expected, tolerance.forward);
      });

      it(`${title}: a token gives the same bits alone`, () => {
        const model = make(shape, where);
        const x = input(67);
        const whole = rowsOf(model.forward(x));
        for (const i of [0, 1, 30, 66]) expect(rowsOf(model.forward(x.slice(0, i, i + 1)))[0]).to.deep.equal(whole[i]);
      });
    }

    it('stacked or separate: the same results and gradients', () => {
      const [separate, stacked] = [make(SOFTMAX, where), make(SOFTMAX, where, true)];
      const weights = separate.stateDict();
      const all = (part: string): fw.Tensor[] =>
        Array.from({ length: SOFTMAX.numExperts }, (_, e) => weights[`experts.${e}.${part}_proj.weight`]);
      const joined = all('gate').map((gate, e) => fw.cat([gate, all('up')[e]], 0));
      const state = {
        'gate.weight': weights['gate.weight'],
        'experts.gate_up_proj': fw.stack(joined, 0),
        'experts.down_proj': fw.stack(all('down'), 0),
      };
      stacked.loadStateDict(state);
      // Two tokens: some experts have none.
      const x = input(2);
      const cotangent = input(2);
      const [a, b] = [separate, stacked].map((model) => {
        const y = model.forward(x);
        y.mul(cotangent).sum().backward();
        return { y, gradients: new Map(model.namedParameters().map(([name, t]) => [name, t.grad])) };
      });
      expect(numbers(b.y)).to.deep.equal(numbers(a.y));
      const downs = rowsOf(b.gradients.get('experts.down_proj')!.reshape(SOFTMAX.numExperts, DIM * HIDDEN));
      for (let e = 0; e < SOFTMAX.numExperts; e++) {
        const alone = a.gradients.get(`experts.${e}.down_proj.weight`);
        expect(downs[e]).to.deep.equal(alone ? numbers(alone) : new Array<number>(DIM * HIDDEN).fill(0));
      }
      expect(numbers(b.gradients.get('gate.weight')!)).to.deep.equal(numbers(a.gradients.get('gate.weight')!));
    });

    it('takes no tokens, and adds a residual', () => {
      const model = make(SOFTMAX, where);
      expect([...model.forward(fw.zeros([2, 0, DIM], where)).shape]).to.deep.equal([2, 0, DIM]);
      const [x, residual] = [input(4), input(4)];
      expectClose(
        'sum',
        model.forward(x, residual).dataSync(),
        numbers(model.forward(x).add(residual)),
        tolerance.forward,
      );
    });
  });
}

describe('sparse experts', () => {
  it('have the gradients of what they compute', () => {
    const where = { device: 'js', dtype: 'float64' } as const;
    for (const [title, shape] of SHAPES) {
      const model = make(shape, where, shape === SOFTMAX);
      const check = (x: fw.Tensor): fw.Tensor => model.forward(x).square().sum();
      expect(fw.gradcheck(check, [fw.randn([2, DIM], where)]), title).to.equal(true);
    }
    // All experts take part: a sum over them without any choice.
    const model = make({ ...SOFTMAX, perToken: 6, normalise: false }, where);
    const x = fw.randn([7, DIM], where);
    const dense = (): fw.Tensor => {
      const weights = x.matmul(model.gate.weight.transpose(0, 1)).softmax(-1);
      const p = new Map(model.namedParameters());
      const outputs = Array.from({ length: 6 }, (_, e) => {
        const [gate, up, down] = ['gate', 'up', 'down'].map((n) =>
          p.get(`experts.${e}.${n}_proj.weight`)!.transpose(0, 1),
        );
        return x
          .matmul(gate)
          .silu()
          .mul(x.matmul(up))
          .matmul(down)
          .mul(weights.slice(1, e, e + 1));
      });
      return outputs.reduce((a, b) => a.add(b));
    };
    const [own, expected] = [(): fw.Tensor => model.forward(x), dense].map((run) => {
      model.zeroGrad();
      run().square().sum().backward();
      return model.namedParameters().map(([, t]) => numbers(t.grad!));
    });
    own.forEach((g, i) => expectClose(model.namedParameters()[i][0], g, expected[i], 1e-12));
  });

  it('refuse routing that cannot be', () => {
    const sizes = { vocabSize: 8, hiddenSize: 16, numLayers: 1, numHeads: 2, device: 'js' } as const;
    expectError('INVALID_ARGUMENT', /num_experts_per_tok must be .*4.*got 5/, () =>
      fw.createModel('qwen3-next', { ...sizes, numExpertsPerTok: 5 }),
    );
    expectError('INVALID_ARGUMENT', /num_local_experts/, () =>
      fw.createModel('minimax', { ...sizes, numLocalExperts: 0 }),
    );
    expectError('INVALID_ARGUMENT', /num_expert_group must be a divisor of 4/, () =>
      fw.createModel('kimi-linear', { ...sizes, numExpertGroup: 3 }),
    );
    expectError('INVALID_ARGUMENT', /num_experts_per_token .*got 3/, () =>
      fw.createModel('kimi-linear', { ...sizes, numExpertGroup: 2, topkGroup: 1, numExpertsPerToken: 3 }),
    );
    expectError('INVALID_ARGUMENT', /experts_layout/, () =>
      fw.createModel('qwen3.5-moe', { ...sizes, expertsLayout: 'piled' as never }),
    );
  });
});
