// A short run of every kernel that synchronises: two chunks or tiles and more, ragged, packed.
import * as fw from '../../lib';
import { defaultDevice, getBackend } from '../../lib/backends';

/** Runs kernels, and reads something that depends on all of them. */
export type Scenario = () => void;

const leaf = (shape: number[], scale = 1): fw.Tensor => {
  const t = fw.randn(shape).mul(scale).detach();
  t.requiresGrad = true;
  return t;
};

/** Forward and backward of a function of leaves of these shapes. */
function both(build: (...x: fw.Tensor[]) => fw.Tensor, ...shapes: number[][]): Scenario {
  return () => {
    const leaves = shapes.map((shape) => leaf(shape));
    build(...leaves)
      .square()
      .sum()
      .backward();
    for (const { grad } of leaves) {
      grad!.dataSync();
      grad!.dispose();
    }
  };
}

const packed = { cuSeqlens: [0, 0, 1, 19, 53], outputFinalState: true };
const unit = { qkL2Norm: true };
const [T, H, K, V] = [53, 2, 20, 24];
const q = [1, T, H, K];
const v = [1, T, H, V];
const scalar = [1, T, H];

const total = ({ output, finalState }: { output: fw.Tensor; finalState?: fw.Tensor }): fw.Tensor =>
  finalState ? output.to('float32').sum().add(finalState.sum()) : output;

/** With one stage of shared memory, or, where there are sequences enough and values for all warps, two. */
const walk = (values: number, empty: number): Scenario => {
  const cuSeqlens = [...Array<number>(empty).fill(0), 0, 1, 150];
  const row = (...shape: number[]): number[] => [1, 150, H, ...shape];
  return both(
    (a, b, c, beta, gate) => {
      const [queries, keys, rows] = [a, b, c].map((t) => t.to('bfloat16'));
      const gates = { beta: beta.sigmoid(), gate: gate.abs().neg() };
      const erased = fw.deltaRule(queries, keys, rows, { ...gates, ...unit, cuSeqlens, outputFinalState: true });
      const linear = fw.linearAttention(queries, keys, rows, { cuSeqlens });
      return total(erased).add(linear.output.to('float32').sum());
    },
    row(64),
    row(64),
    row(values),
    row(),
    row(),
  );
};

/** The same with a gate for every key, and with strengths that are 0. */
const faded: Scenario = both(
  (a, b, c, beta, gate) => {
    const [queries, keys, rows] = [a, b, c].map((t) => t.to('bfloat16'));
    const gates = { beta: beta.relu(), gate: gate.abs().neg() };
    return total(
      fw.deltaRule(queries, keys, rows, { ...gates, ...unit, cuSeqlens: [0, 1, 100], outputFinalState: true }),
    );
  },
  [1, 100, 1, 128],
  [1, 100, 1, 128],
  [1, 100, 1, 72],
  [1, 100, 1],
  [1, 100, 1, 128],
);

/** The same in float32, with a state that is kept every second chunk. */
const float32Walk: Scenario = both(
  (a, b, c, beta, gate) => {
    const gates = { beta: beta.sigmoid(), gate: gate.abs().neg() };
    const erased = fw.deltaRule(a, b, c, { ...gates, ...unit, cuSeqlens: [0, 1, 100], outputFinalState: true });
    return total(erased).add(fw.linearAttention(a, b, c, { cuSeqlens: [0, 1, 100] }).output.sum());
  },
  [1, 100, 1, 64],
  [1, 100, 1, 64],
  [1, 100, 1, 68],
  [1, 100, 1],
  [1, 100, 1],
);

/** A sequence that is walked in segments. */
const long: Scenario = () => {
  fw.noGrad(() => {
    const row = (width: number): fw.Tensor => fw.randn([1, 16385, 1, width]).to('bfloat16');
    const { finalState } = fw.deltaRule(row(64), row(64), row(8), { ...unit, outputFinalState: true });
    finalState.dataSync();
  });
};

/** Like a matrix product's, but in one of the precisions. */
function rounded(scenario: Scenario): Scenario {
  return () => {
    fw.setFloat32MatmulPrecision('medium');
    try {
      scenario();
    } finally {
      fw.setFloat32MatmulPrecision('highest');
    }
  };
}

const product = (m: number, n: number, k: number): Scenario => both((a, b) => a.matmul(b), [m, k], [k, n]);

export const SCENARIOS: Record<string, Scenario> = {
  'delta rule': both(
    (a, b, c, beta, initialState) =>
      total(fw.deltaRule(a, b, c, { beta: beta.sigmoid(), initialState, ...packed, ...unit })),
    q,
    q,
    v,
    scalar,
    [4, H, K, V],
  ),
  'gated delta rule': both(
    (a, b, c, beta, gate) =>
      total(fw.deltaRule(a, b, c, { beta: beta.sigmoid(), gate: gate.abs().neg(), ...packed, ...unit })),
    q,
    q,
    v,
    scalar,
    scalar,
  ),
  'delta rule, bfloat16': walk(64, 1),
  'delta rule, bfloat16, wide': walk(128, 70),
  'delta rule, bfloat16, long': long,
  'delta rule, vector gate, bfloat16': faded,
  'delta rule, float32': float32Walk,
  'delta rule, vector gate, wide': both(
    (a, b, c, gate) =>
      total(fw.deltaRule(a, b, c, { beta: gate.slice(3, 0, 1).squeeze(3).sigmoid(), gate: gate.abs().neg(), ...unit })),
    [1, 40, 1, 64],
    [1, 40, 1, 64],
    [1, 40, 1, 65],
    [1, 40, 1, 64],
  ),
  DPLR: both(
    (a, b, c, e) =>
      total(
        fw.generalizedDeltaRule(a, b, c, {
          a: fw.l2Norm(e),
          b: fw.l2Norm(e).mul(-0.5),
          gate: e.abs().neg(),
          ...packed,
        }),
      ),
    q,
    q,
    v,
    q,
  ),
  Oja: both(
    (a, b, c, gate) =>
      total(
        fw.ojaRule(a, b, fw.l2Norm(c), {
          beta: gate.slice(3, 0, 1).squeeze(3).sigmoid(),
          gate: gate.abs().neg(),
          ...packed,
        }),
      ),
    q,
    q,
    v,
    v,
  ),
  'RWKV-6': both(
    (a, b, c, gate, bonus) => total(fw.rwkv6(a, b, c, { gate: gate.abs().neg(), bonus, ...packed })),
    q,
    q,
    v,
    q,
    [H, K],
  ),
  'self-referential matrix': both(
    (x, own, wY, wQ, wK, wB) => {
      const plain = fw.selfReferential({ x, wY, wQ, wK, wB }, packed);
      const separate = fw.selfReferential({ x, inputY: own, wY, wQ, wK, wB }, { variant: 'separateY' });
      return plain.output.sum().add(plain.finalShiftY!.sum()).add(separate.output.sum());
    },
    [1, T, H, 12],
    [1, T, H, 12],
    [H, 12, 12],
    [H, 12, 12],
    [H, 12, 12],
    [H, 12, 4],
  ),
  // Two states of its width do not fit shared memory.
  'self-referential matrix, wide': both(
    (x, w, wB) => fw.selfReferential({ x, wY: w, wQ: w, wK: w, wB }).output,
    [1, 3, 1, 104],
    [1, 104, 104],
    [1, 104, 4],
  ),
  // The width that there is code of its own for.
  'feedback, 64 wide': both(
    (a, R, r, w) => {
      const beta = a.sum(3);
      const recurrent = { recurrentQ: R, recurrentK: R, recurrentV: R, recurrentBeta: r };
      return fw
        .recurrentDelta(a, a, a, { beta, ...recurrent })
        .output.add(fw.selfReferential({ x: a, wY: R, wQ: R, wK: R, wB: w }).output)
        .add(fw.deltaRnn(a, a, a, { beta, recurrentK: a, recurrentV: a, recurrentBeta: beta }).output);
    },
    [1, 4, 1, 64],
    [1, 64, 64],
    [1, 64],
    [1, 64, 4],
  ),
  'recurrent delta': both(
    (a, b, c, beta, R, r) => {
      const recurrent = { recurrentQ: R, recurrentK: R, recurrentV: R, recurrentBeta: r };
      return total(fw.recurrentDelta(a, b, c, { beta, ...recurrent, ...packed }));
    },
    [1, T, H, 12],
    [1, T, H, 12],
    [1, T, H, 12],
    scalar,
    [H, 12, 12],
    [H, 12],
  ),
  'delta cells': both(
    (a, b, c, beta) => {
      const rnn = { beta, recurrentK: a, recurrentV: b, recurrentBeta: beta };
      const gate = { q: a, k: b, v: c, beta, recurrentK: a, recurrentV: b, recurrentBeta: beta };
      const gates = ['I', 'U', 'O'].flatMap((g) => Object.entries(gate).map(([name, t]) => [name + g, t]));
      const lstm = Object.fromEntries(gates) as Parameters<typeof fw.deltaLstm>[0];
      return fw
        .deltaRnn(a, b, c, { ...rnn, version: 1 })
        .output.add(fw.deltaRnn(a, b, c, rnn).output)
        .add(fw.deltaLstm(lstm, { version: 1 }).output)
        .add(fw.deltaLstm(lstm, { version: 3 }).output);
    },
    [1, 19, H, 12],
    [1, 19, H, 12],
    [1, 19, H, 12],
    [1, 19, H],
  ),
  'matrices that learn at test time': both(
    (a, b, c, rate, scale, weight, bias) => {
      const gates = { theta: rate.mul(0.1), alpha: rate.sigmoid(), eta: rate.sigmoid() };
      const titans = fw.titans(a, b, c, { ...gates, chunkSize: 5, outputFinalState: true });
      const norm = { normWeight: weight, normBias: bias, tokenScale: scale };
      return total(titans).add(fw.tttLinear(a, b, b, { ...norm, learningRate: rate }).output.sum());
    },
    [2, 17, H, 12],
    [2, 17, H, 12],
    [2, 17, H, 9],
    [2, 17, H],
    [5],
    [H, 12],
    [H, 12],
  ),
  'quantised projections': () => {
    fw.noGrad(() => {
      for (const format of ['bfloat16', 'int8'] as const) {
        const layer = new fw.nn.Sequential(new fw.nn.Linear(37, 70));
        fw.nn.quantizeModel('scenario', layer, format);
        layer.forward(fw.randn([5, 37])).dataSync();
      }
    });
  },
  steps: () => {
    fw.noGrad(() => {
      const row = (width: number): fw.Tensor => fw.randn([2, H, width]);
      // Values that fill rows of 16 bytes, and that do not.
      for (const width of [V + 1, V]) {
        const rows = fw.randn([2, H, K, width]);
        fw.deltaRule.step(row(K), row(K), row(width), { beta: fw.randn([2, H]), state: rows }).dataSync();
        rows.dataSync();
      }
      const state = fw.randn([2, H, K, V]);
      fw.ojaRule.step(row(K), row(K), row(V), { beta: fw.randn([2, H]), gate: row(V).abs().neg(), state }).dataSync();
      state.dataSync();
    });
  },
  reductions: () => {
    const x = fw.randn([3, 1500, 5]);
    for (const y of [
      x.sum(),
      x.sum(1),
      x.reshape(-1).max(0),
      x.argmax(1),
      x.reshape(-1).argmax(0),
      x.cumsum(1),
      x.reshape(-1).cumsum(0),
    ])
      y.dataSync();
  },
  order: () => {
    for (const shape of [
      [2, 40],
      [3, 1300],
    ])
      fw.randn(shape).argsort().dataSync();
    fw.randn([600, 2]).argsort({ dim: 0, descending: true }).dataSync();
  },
  indices: both(
    (x, s) => {
      const at = s.argsort({ dim: 0 }).remainder(4);
      return x.scatterAdd(0, at, s).gather(0, at.slice(0, 0, 3));
    },
    [4, 33],
    [40, 33],
  ),
  choices: both((x, y) => fw.where(x.gt(y), x, y).maskedFill(x.isnan(), 0), [7, 33], [33]),
  scans: both((x) => x.cumprod(1).add(x.logcumsumexp(1)).add(x.logcumsumexp(0)), [5, 70]),
  softmax: both((x) => x.softmax().add(x.logSoftmax()), [3, 70]),
  'softmax of long rows': both((x) => x.softmax().add(x.logSoftmax()), [2, 3000]),
  norms: both((x, w, b) => fw.layerNorm(x, w, b).add(fw.rmsNorm(x, w)), [40, 70], [70], [70]),
  'norms of long rows': both((x, w, b) => fw.layerNorm(x, w, b), [3, 3001], [3001], [3001]),
  'norms of whole packs': both((x, w, b) => fw.layerNorm(x, w, b).add(fw.rmsNorm(x, w)), [70, 160], [160], [160]),
  'norms of whole packs, long': both((x, w, b) => fw.layerNorm(x, w, b), [35, 2048], [2048], [2048]),
  'cross entropy': () => {
    for (const n of [77, 3000]) {
      const logits = leaf([5, n]);
      fw.crossEntropy(logits, fw.tensor([0, 1, 2, 3, 76], { dtype: 'int32' })).backward();
      logits.grad!.dataSync();
      logits.grad!.dispose();
    }
  },
  'short convolution': both(
    (x, w, b) => total(fw.shortConvolution(x, w, { bias: b, activation: 'silu', ...packed })),
    [1, T, 40],
    [40, 4],
    [40],
  ),
  attention: both((a, b, c) => fw.softmaxAttention(a, b, c), [1, 130, 2, 20], [1, 130, 1, 20], [1, 130, 1, 136]),
  products: product(65, 130, 127),
  'products of aligned rows': product(136, 64, 160),
  'products of few rows': product(3, 200, 512),
  'rounded products': rounded(product(136, 64, 160)),
  'rounded products of few rows': rounded(product(3, 200, 512)),
  // As large as these get on a card, and long enough for every place in shared memory to be used twice.
  'products of warpgroups': () => {
    const backend = getBackend(defaultDevice());
    backend.useProductLibrary?.(true);
    try {
      fw.randn([1100, 320])
        .to('bfloat16')
        .matmul(fw.randn([320, 2048]).to('bfloat16'))
        .dataSync();
    } finally {
      backend.useProductLibrary?.(false);
    }
  },
  'batched products': both((a, b) => a.matmul(b), [2, 3, 70, 33], [2, 3, 33, 40]),
  'long sums of products': product(8, 8, 4000),
  'gated feed-forward': both(
    (x, gate, up, down) => fw.feedForward(x, { gate, up, down }, x),
    [70, 32],
    [48, 32],
    [48, 32],
    [32, 48],
  ),
  'turned copies': () => void fw.randn([33, 18, 47]).permute(2, 0, 1).contiguous().dataSync(),
  embedding: () => {
    const weight = leaf([37, 300]);
    const ids = Int32Array.from({ length: 1500 }, (_, i) => (i * i) % 37);
    fw.embedding(weight, fw.tensor(ids, { dtype: 'int32' }))
      .sum()
      .backward();
    weight.grad!.dataSync();
    weight.grad!.dispose();
  },
  optimisers: () => {
    const parameters = [leaf([50, 70]), leaf([70])];
    parameters.forEach((p) => p.square().sum().backward());
    const optimizer = new fw.optim.AdamW(parameters);
    optimizer.step(fw.optim.clipFactor(parameters, 1).factor);
    parameters.forEach((p) => {
      p.dataSync();
      p.grad!.dispose();
    });
    optimizer.dispose();
  },
};
