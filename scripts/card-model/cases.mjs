// The work that the model looks at: what is called, with which shapes. A name is that of the benchmark's case where it has one
// (bench/cases/cuda.ts), so that a card's measurement stands beside the prediction.
//
// A case is { name, tokens, useful, training, prepare(fw, device, sizes), sizes, short }: `useful` are floating-point operations
// that the task needs (dense products of chunks of 64 tokens, formulas of the design's section 3.1), `training` whether it runs
// as in a step of training, `short` two smaller sizes for the kernels that walk through a sequence: their counts per block grow
// with its length, by as much for each token.

const HEADS = 16;
const D = 128;
const CHUNK = 64;
/** Tokens that kernels which walk through sequences are run for. */
const SHORT = [64, 128];

const zeros = (fw, device, dtype) => (shape, options) => fw.zeros(shape, { device, dtype, ...options });

/** q, k and v, gate and beta of a rule, of a dtype but for the gate. */
function operands(fw, device, { B, T }, gate, requiresGrad, dtype = 'bfloat16') {
  const make = zeros(fw, device, dtype);
  const wide = () => make([B, T, HEADS, D], { requiresGrad });
  const shape = gate === 'vector' ? [B, T, HEADS, D] : [B, T, HEADS];
  return {
    q: wide(),
    k: wide(),
    v: wide(),
    gate: gate && make(shape, { dtype: 'float32', requiresGrad }),
    beta: make([B, T, HEADS], { requiresGrad }),
  };
}

/** Operations per token and head of linear attention, and of a delta rule. */
const linearOperations = (K, V) => 4 * K * V + 2 * CHUNK * (K + V);
const linearBackwardOperations = (K, V) => 10 * K * V + CHUNK * (6 * K + 4 * V);
const deltaOperations = (K, V) => 6 * K * V + 4 * CHUNK * (K + V);
const deltaBackwardOperations = (K, V) => 16 * K * V + CHUNK * (16 * K + 10 * V) + 4 * CHUNK ** 2;

/** Linear attention over so many tokens. */
function linear(what, mixer, gate, B, T) {
  const training = what === 'forward-backward';
  const each = linearOperations(D, D) + (training ? linearBackwardOperations(D, D) : 0);
  return {
    name: `${what}/${mixer}/${B}x${T}/d${D}/bfloat16`,
    tokens: B * T,
    useful: B * T * HEADS * each,
    sizes: { B, T },
    short: SHORT.map((short) => ({ B, T: short })),
    prepare(fw, device, sizes) {
      const { q, k, v, gate: gates } = operands(fw, device, sizes, gate, training);
      if (!training) return () => fw.noGrad(() => void fw.gatedLinearAttention(q, k, v, { gate: gates }));
      const doutput = zeros(fw, device, 'bfloat16')([sizes.B, sizes.T, HEADS, D]);
      return () => fw.gatedLinearAttention(q, k, v, { gate: gates }).output.backward(doutput);
    },
  };
}

function sequence(what, mixer, gate, B, T, dtype = 'bfloat16') {
  const training = what === 'forward-backward';
  const each = deltaOperations(D, D) + (training ? deltaBackwardOperations(D, D) : 0);
  return {
    name: `${what}/${mixer}/${B}x${T}/d${D}/${dtype}`,
    tokens: B * T,
    useful: B * T * HEADS * each,
    sizes: { B, T },
    short: SHORT.map((short) => ({ B, T: short })),
    prepare(fw, device, sizes) {
      const { q, k, v, ...options } = operands(fw, device, sizes, gate, training, dtype);
      if (!training) return () => fw.noGrad(() => void fw.deltaRule(q, k, v, options));
      const doutput = zeros(fw, device, dtype)([sizes.B, sizes.T, HEADS, D]);
      return () => fw.deltaRule(q, k, v, options).output.backward(doutput);
    },
  };
}

/** One token for so many states: 16 of a sequence. */
function step(mixer, gate, states, dtype = 'float32') {
  const B = states / HEADS;
  return {
    name: `step/${mixer}/${states}/bfloat16${dtype === 'bfloat16' ? '/state' : ''}`,
    tokens: B,
    useful: states * 7 * D * D,
    sizes: { B },
    prepare(fw, device) {
      const make = zeros(fw, device, 'bfloat16');
      const wide = () => make([B, HEADS, D]);
      const [q, k, v, out] = [wide(), wide(), wide(), wide()];
      const state = make([B, HEADS, D, D], { dtype });
      const beta = make([B, HEADS]);
      const options = { state, out, beta, gate: gate && make([B, HEADS], { dtype: 'float32' }) };
      return () => fw.noGrad(() => void fw.deltaRule.step(q, k, v, options));
    },
  };
}

function product(n, training = false) {
  return {
    name: `matmul/${training ? 'training' : 'NN'}/${n}x${n}x${n}/bfloat16`,
    training,
    tokens: n,
    useful: 2 * n ** 3,
    sizes: { n },
    prepare(fw, device) {
      const make = zeros(fw, device, 'bfloat16');
      const [a, b] = [make([n, n]), make([n, n])];
      return () => fw.noGrad(() => void fw.matmul(a, b));
    },
  };
}

/** A projection of so many rows, and its gradients where there are many. */
function layer(rows, out, width) {
  const training = rows > 64;
  return {
    name: `linear/${training ? 'forward-backward' : 'forward'}/${rows}x${out}x${width}/bfloat16`,
    training,
    tokens: rows,
    useful: (training ? 6 : 2) * rows * out * width,
    sizes: { rows },
    prepare(fw, device) {
      const make = zeros(fw, device, 'bfloat16');
      const [x, weight] = [
        make([rows, width], { requiresGrad: training }),
        make([out, width], { requiresGrad: training }),
      ];
      if (!training) return () => fw.noGrad(() => void fw.linear(x, weight));
      const doutput = make([rows, out]);
      return () => fw.linear(x, weight).backward(doutput);
    },
  };
}

const MODEL = 2048;
function convolution(B, T, dtype = 'bfloat16') {
  const W = 4;
  return {
    name: `convolution/forward-backward/${B}x${T}/d${MODEL}/${dtype}`,
    tokens: B * T,
    useful: 6 * W * B * T * MODEL,
    sizes: { B, T },
    prepare(fw, device) {
      const make = zeros(fw, device, dtype);
      const x = make([B, T, MODEL], { requiresGrad: true });
      const weight = make([MODEL, W], { requiresGrad: true });
      const doutput = make([B, T, MODEL]);
      return () => fw.shortConvolution(x, weight, { activation: 'silu' }).output.backward(doutput);
    },
  };
}

function norm(B, T) {
  return {
    name: `rms-norm/forward-backward/${B}x${T}/d${MODEL}/bfloat16`,
    tokens: B * T,
    useful: 12 * B * T * MODEL,
    sizes: { B, T },
    prepare(fw, device) {
      const make = zeros(fw, device, 'bfloat16');
      const x = make([B, T, MODEL], { requiresGrad: true });
      const weight = make([MODEL], { requiresGrad: true });
      const doutput = make([B, T, MODEL]);
      return () => fw.rmsNorm(x, weight).backward(doutput);
    },
  };
}

/** Shapes of what rules whose output feeds back read, D = 64. */
const FEEDBACK = {
  selfReferential: { x: 'BTHD', wY: 'HDD', wQ: 'HDD', wK: 'HDD', wB: 'HD4' },
  recurrentDelta: {
    ...{ q: 'BTHD', k: 'BTHD', v: 'BTHD', beta: 'BTH' },
    ...{ recurrentQ: 'HDD', recurrentK: 'HDD', recurrentV: 'HDD', recurrentBeta: 'HD' },
  },
};
function feedback(family, B, T) {
  const sizeOf = { H: HEADS, D: 64, 4: 4 };
  const width = sizeOf.D;
  return {
    name: `feedback-forward-backward/${family}/${B}x${T}/d${width}`,
    tokens: B * T,
    useful: B * T * HEADS * 24 * width ** 2 * 3.5,
    sizes: { B, T },
    short: [16, 32].map((short) => ({ B, T: short })),
    prepare(fw, device, sizes) {
      const make = zeros(fw, device, 'float32');
      const tensors = Object.entries(FEEDBACK[family]).map(([name, letters]) => {
        const shape = [...letters].map((letter) => ({ ...sizeOf, ...sizes })[letter]);
        return [name, make(shape, { requiresGrad: true })];
      });
      const { q, k, v, ...rest } = Object.fromEntries(tensors);
      const doutput = make([sizes.B, sizes.T, HEADS, width]);
      return () => {
        const { output } = family === 'selfReferential' ? fw.selfReferential(rest) : fw.recurrentDelta(q, k, v, rest);
        output.backward(doutput);
      };
    },
  };
}

/** DeltaNet of 340 million weights: a step of its training. */
const LARGE = { layers: 24, d: 1024, heads: 8, hidden: 2816, vocabulary: 32000 };
function training(B, T) {
  const { layers, d, heads, hidden, vocabulary } = LARGE;
  const weights = layers * (4 * d * d + 3 * d * hidden) + d * vocabulary;
  const rule = heads * (deltaOperations(d / heads, d / heads) + deltaBackwardOperations(d / heads, d / heads));
  return {
    name: 'train/deltanet-340m/bfloat16',
    training: true,
    tokens: B * T,
    useful: B * T * (6 * weights + layers * rule),
    sizes: { B, T },
    short: SHORT.map((short) => ({ B, T: short })),
    prepare(fw, device, sizes) {
      const options = {
        vocabSize: vocabulary,
        hiddenSize: d,
        numLayers: layers,
        numHeads: heads,
        intermediateSize: hidden,
      };
      const model = fw.createModel('deltanet', { ...options, useShortConv: false, device, dtype: 'bfloat16' });
      model.train();
      const optimizer = new fw.optim.AdamW(model.namedParameters(), { lr: 3e-4 });
      const ids = fw.zeros([sizes.B, sizes.T], { device, dtype: 'int32' });
      const step = () => {
        model.forward(ids, { labels: ids, outputLogits: false }).loss.backward();
        optimizer.step();
        optimizer.zeroGrad();
      };
      // The first one makes the optimiser's state.
      step();
      return step;
    },
  };
}

export const CASES = [
  sequence('forward', 'gated-delta', 'scalar', 1, 32768),
  sequence('forward', 'gated-delta', 'scalar', 8, 4096),
  sequence('forward-backward', 'gated-delta', 'scalar', 8, 4096),
  sequence('forward-backward', 'gated-delta', 'scalar', 1, 32768),
  sequence('forward', 'gated-delta', 'scalar', 1, 32768, 'float32'),
  sequence('forward', 'gated-delta', 'scalar', 8, 4096, 'float32'),
  sequence('forward-backward', 'gated-delta', 'scalar', 8, 4096, 'float32'),
  sequence('forward-backward', 'gated-delta', 'scalar', 1, 32768, 'float32'),
  sequence('forward', 'kda', 'vector', 8, 4096),
  linear('forward', 'gla', 'vector', 8, 4096),
  sequence('forward-backward', 'kda', 'vector', 8, 4096),
  linear('forward-backward', 'gla', 'vector', 8, 4096),
  step('gated-delta', 'scalar', 256),
  step('gated-delta', 'scalar', 4096),
  step('gated-delta', 'scalar', 65536),
  step('gated-delta', 'scalar', 4096, 'bfloat16'),
  product(4096),
  product(4096, true),
  layer(8192, LARGE.d, LARGE.d),
  layer(8192, LARGE.hidden, LARGE.d),
  layer(8192, LARGE.d, LARGE.hidden),
  layer(8, LARGE.d, LARGE.d),
  convolution(8, 4096),
  convolution(8, 4096, 'float32'),
  norm(8, 4096),
  feedback('selfReferential', 64, 2048),
  feedback('recurrentDelta', 64, 2048),
  training(8, 4096),
];
