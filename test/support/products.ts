// Matrix products on a card with and without cuBLAS, as programs of their own, since a process looks for it once:
//   node --import=tsx test/support/products.ts <program>        prints what it found as JSON
import { join } from 'node:path';
import * as fw from '../../lib';
import { cardFacts, defaultDevice, getBackend, type Backend } from '../../lib/backends';
import type { CudaAddon } from '../../lib/backends/cuda';
import type { FastWeightsError } from '../../lib';
import { compileEncoder } from '../../lib/backends/encode';
import { evaluate, startRun } from '../../lib/train';
import type { Emulation } from '../emulation/device';
import { close, tinyConfig, withFolder } from '../train/support';
import { relativeRms } from './tolerance';

const backend = getBackend(defaultDevice()) as Backend & {
  addon: CudaAddon & { emulation?: Emulation };
  useProductLibrary(on: boolean): void;
};
const { addon } = backend;

/** Products that cuBLAS has made; known on the emulated card only. */
const count = (): number => addon.emulation?.hostFunctions() ?? 0;

/** What `build` returns, computed as in a step of training, and how many products cuBLAS has made for it. */
function trained(build: () => fw.Tensor): { data: ArrayLike<number>; products: number } {
  const before = count();
  backend.useProductLibrary(true);
  try {
    const data = fw.scope(() => build().dataSync());
    return { data, products: count() - before };
  } finally {
    backend.useProductLibrary(false);
  }
}

/** Strides of [batch, rows, columns]. */
const LAYOUTS = {
  rows: (r, c) => [r * c, c, 1],
  columns: (r, c) => [r * c, 1, r],
  'rows apart': (r, c) => [r * (c + 3), c + 3, 1],
  'columns apart': (r, c) => [(r + 2) * c, 1, r + 2],
  'batches between': (_, c, batch) => [c, batch * c, 1],
  neither: (r, c) => [2 * r * c, 2 * c, 2],
  overlapping: (r, c) => [2 * r + c, 2, 1],
} satisfies Record<string, (r: number, c: number, batch: number) => number[]>;
type Layout = keyof typeof LAYOUTS;

export interface ProductResult {
  name: string;
  /** Relative RMS of the difference to the own kernel's. */
  error: number;
  repeats: boolean;
  products: number;
}

const [encode, position] = [
  compileEncoder('matmul', addon.command, backend, true),
  addon.kernels.findIndex(([name]) => name === 'matmul'),
];

/** 1.5 a b of matrices in these layouts, added to what is there for every other call, by either way. */
function compare(dtypes: fw.DType[], [batch, m, n, k]: number[], layouts: Layout[], turn: number): ProductResult {
  const shapes = [
    [m, k],
    [k, n],
    [m, n],
  ];
  const strides = layouts.map((layout, i) => LAYOUTS[layout](shapes[i][0], shapes[i][1], batch));
  const [a, b, c] = shapes.map(([r, columns], i) => {
    const [across, down, along] = strides[i];
    const size = across * (batch - 1) + down * (r - 1) + along * (columns - 1) + 1;
    return fw.randn([size]).to(dtypes[i]);
  });
  const [batch1, batch2] = turn % 3 ? [batch, 1] : [1, batch];
  const dims = (i: number): number[] => {
    const [across, ...rest] = strides[i];
    return turn % 3 ? [across, 0, ...rest] : [0, across, ...rest];
  };
  const product = (): fw.Tensor => {
    const sum = c.to('float32').mul(1).to(dtypes[2]);
    const sizes = { batch1, batch2, m, n, k, aStrides: dims(0), bStrides: dims(1), cStrides: dims(2) };
    encode({ a, b, c: sum, ...sizes, alpha: 1.5, accumulate: turn % 2, precision: 0 });
    addon.submit(position);
    return sum.to('float32');
  };
  const own = Array.from(product().dataSync());
  const [first, second] = [trained(product), trained(product)];
  return {
    name: [...dtypes, batch, m, n, k, ...layouts].join(' '),
    error: relativeRms(first.data, own),
    repeats: own.every((_, i) => Object.is(first.data[i], second.data[i])),
    products: first.products,
  };
}

function compareAll(combinations: Layout[][], sizes: number[][]): ProductResult[] {
  fw.manualSeed(1);
  const results: ProductResult[] = [];
  for (const dtypes of [
    ['float32', 'float32', 'float32'],
    ['bfloat16', 'bfloat16', 'bfloat16'],
    ['bfloat16', 'bfloat16', 'float32'],
  ] as const) {
    for (const size of sizes) {
      for (const layouts of combinations) {
        results.push(fw.scope(() => compare([...dtypes], size, layouts, results.length)));
      }
    }
  }
  return results;
}

const ends = ['rows', 'columns'] as const;
const DENSE: Layout[][] = [
  ...ends.flatMap((a) => ends.flatMap((b) => ends.map((c) => [a, b, c]))),
  ...(['rows apart', 'columns apart', 'batches between'] as const).flatMap((layout): Layout[][] => [
    [layout, 'columns', 'rows'],
    ['rows', layout, 'rows'],
    ['columns', 'rows', layout],
  ]),
];

const leaf = (...shape: number[]): fw.Tensor => {
  const t = fw.randn(shape).detach();
  t.requiresGrad = true;
  return t;
};

/** How many products cuBLAS makes of an operator, and with its gradients. */
function operators(): Record<string, number> {
  const [x, w, b] = [leaf(9, 6), leaf(5, 6), leaf(5)];
  const weights = { gate: leaf(7, 6), up: leaf(7, 6), down: leaf(6, 7) };
  const forward = (build: () => fw.Tensor): number => trained(build).products;
  const both = (build: () => fw.Tensor): number =>
    forward(() => {
      const y = build();
      y.square().sum().backward();
      return y;
    });
  const found = {
    linear: forward(() => fw.linear(x, w)),
    'linear, bias': forward(() => fw.linear(x, w, b)),
    'linear, silu': forward(() => fw.linear(x, w, null, { activation: 'silu' })),
    'linear, gradients': both(() => fw.linear(x, w)),
    feedForward: forward(() => fw.feedForward(x, weights)),
    'feedForward, gradients': both(() => fw.feedForward(x, weights)),
    'two strided batches': forward(() =>
      fw
        .randn([2, 6, 3, 4])
        .permute(0, 2, 1, 3)
        .matmul(fw.randn([2, 5, 3, 4]).permute(0, 2, 3, 1)),
    ),
    'stride 0': forward(() =>
      fw
        .randn([5, 1])
        .expand([5, 4])
        .matmul(fw.randn([4, 3])),
    ),
    'no terms': forward(() => fw.randn([5, 0]).matmul(fw.randn([0, 3]))),
  };
  fw.setFloat32MatmulPrecision('medium');
  return { ...found, medium: both(() => fw.linear(x, w)) };
}

/** The error of a feed-forward together with its gradients, one of which is added to what is there. */
function gradients(): number {
  const shapes = [
    [9, 6],
    [7, 6],
    [7, 6],
    [6, 7],
  ];
  const data = shapes.map((shape) => fw.randn(shape).dataSync());
  const compute = (): fw.Tensor => {
    const leaves = data.map((values, i) => fw.tensor(values, { shape: shapes[i], requiresGrad: true }));
    const [x, gate, up, down] = leaves;
    const y = fw.feedForward(x, { gate, up, down }, x);
    y.square().sum().backward();
    return fw.cat(
      [y, ...leaves.map(({ grad }) => grad!)].map((t) => t.reshape([-1])),
      0,
    );
  };
  const own = fw.scope(() => compute().dataSync());
  return relativeRms(trained(compute).data, own);
}

/** Products of cuBLAS in a training run, in its validation, and outside. */
async function training(): Promise<Record<'inference' | 'gradients' | 'steps' | 'validation' | 'afterwards', number>> {
  return withFolder(async (dir) => {
    const run = await startRun(tinyConfig({ steps: 3, validateEvery: 2 }, defaultDevice()), join(dir, 'run'));
    const { model, data, trainer } = run;
    const ids = fw.tensor([1, 2, 3, 4], { shape: [1, 4], dtype: 'int32' });
    const inference = (): void => void fw.scope(() => fw.noGrad(() => model.forward(ids).logits.dataSync()));
    const during = async (work: () => unknown): Promise<number> => {
      const before = count();
      await work();
      await backend.synchronize();
      return count() - before;
    };
    const found = {
      inference: await during(inference),
      gradients: await during(() =>
        fw.scope(() => {
          model.forward(ids).logits.sum().backward();
          for (const [, t] of model.namedParameters()) t.grad = null;
        }),
      ),
      steps: 0,
      validation: 0,
      afterwards: 0,
    };
    // A validation begins with eval() and ends with train().
    const [evaluating, training] = [model.eval.bind(model), model.train.bind(model)];
    let [begun, validated] = [NaN, 0];
    model.eval = () => ((begun = count()), evaluating());
    model.train = () => ((validated += Number.isNaN(begun) ? 0 : count() - begun), training());
    found.steps = await during(() => trainer.run());
    found.validation = validated;
    found.afterwards = await during(async () => (inference(), await evaluate(model, data)));
    close(run);
    return found;
  });
}

/** Three products after each other, and what the card says of its library before and after them. */
function failing(): { errors: number[]; products: number[]; libraries: (string | undefined)[] } {
  const said = (): (string | undefined)[] => [cardFacts()!.library, cardFacts()!.libraryReason];
  const before = said();
  const [a, b] = [fw.randn([9, 30]), fw.randn([30, 20])];
  const own = Array.from(a.matmul(b).dataSync());
  const results = [1, 2, 3].map(() => trained(() => a.matmul(b)));
  return {
    errors: results.map(({ data }) => Math.max(...own.map((x, i) => Math.abs(x - data[i])))),
    products: results.map(({ products }) => products),
    libraries: [...before, ...said()],
  };
}

/** A product of training that fails, and one of inference afterwards. */
function refused(): Record<'code' | 'message' | 'library', string> & Record<'products' | 'inference', number> {
  const [a, b] = [fw.ones([9, 30]), fw.ones([30, 20])];
  const before = count();
  let failure = { code: 'none', message: '' };
  try {
    trained(() => a.matmul(b));
  } catch (error) {
    failure = error as FastWeightsError;
  }
  const { code, message } = failure;
  const inference = fw.ones([1, 30]).matmul(b).sum().item();
  return { code, message, library: cardFacts()!.library!, products: count() - before, inference };
}

const PROGRAMS = {
  dense: () => ({
    library: cardFacts()!.library,
    reason: cardFacts()!.libraryReason,
    results: compareAll(DENSE, [
      ...[1, 3].flatMap((batch) => [
        [batch, 5, 7, 3],
        [batch, 1, 9, 4],
        [batch, 9, 1, 4],
        [batch, 6, 5, 1],
        [batch, 1, 1, 8],
      ]),
      [1, 65, 40, 130],
      ...(addon.emulation ? [] : [[1, 512, 384, 2048]]),
    ]),
  }),
  scattered: () => ({
    results: compareAll(
      [
        ['neither', 'rows', 'rows'],
        ['rows', 'neither', 'rows'],
        ['rows', 'rows', 'neither'],
        ['overlapping', 'rows', 'rows'],
        ['rows', 'overlapping', 'rows'],
      ],
      [[2, 5, 7, 3]],
    ),
    library: cardFacts()!.library,
  }),
  operators,
  gradients,
  training,
  failing,
  refused,
};
export type Program = keyof typeof PROGRAMS;
export type Report<P extends Program> = Awaited<ReturnType<(typeof PROGRAMS)[P]>>;

async function main(): Promise<void> {
  console.log(JSON.stringify(await PROGRAMS[process.argv[2] as Program]()));
}
if (require.main === module) void main();
