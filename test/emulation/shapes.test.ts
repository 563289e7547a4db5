// Matrix products by tiles of every shape: which one is taken depends on the card, and the bits do not.
import { expect } from 'chai';
import { TOLERANCE } from '../support/tolerance';
import { describeEmulated, onCard } from './support';

interface Way {
  card: string;
  /** What this takes for some of PRODUCTS. */
  kernels: string[];
  training?: boolean;
}
const WAYS: Record<string, Way> = {
  'tiles of 128 x 256': { card: 'multiprocessors=1', kernels: ['Bfloat16Products, fw::cuda::gemm::Shape<128, 256,'] },
  'tiles of 128 x 128': {
    card: 'multiprocessors=1,capability=8.6',
    kernels: ['Bfloat16Products, fw::cuda::gemm::Shape<128, 128,'],
  },
  'tiles of 64 x 64': { card: 'multiprocessors=60', kernels: ['Bfloat16Products, fw::cuda::gemm::Shape<64, 64,'] },
  'tiles of 16 x 16': {
    card: 'multiprocessors=100000',
    kernels: ['Bfloat16Products, fw::cuda::gemm::Shape<16, 16,'],
  },
  'two and three warpgroups': {
    card: 'multiprocessors=1',
    kernels: ['128', '192'].map((rows) => `WarpgroupProducts, fw::cuda::gemm::Shape<${rows}, 256,`),
    training: true,
  },
};

/** Of operands x(...shape). */
const PRODUCTS: Record<string, string> = {
  'rows by rows, and what follows':
    "fw.linear(x(250, 200), x(504, 200), x(504), { activation: 'silu', residual: x(250, 504) })",
  'columns by columns, odd': 'x(200, 250).transpose(0, 1).matmul(x(505, 200).transpose(0, 1))',
  'columns by columns, up to 192': 'x(200, 180).transpose(0, 1).matmul(x(505, 200).transpose(0, 1))',
  'columns by rows': 'x(72, 136).transpose(0, 1).matmul(x(72, 456))',
  'a batch': 'x(2, 130, 72).matmul(x(2, 72, 456))',
  'two stretches': 'x(128, 4104).matmul(x(4104, 256))',
  'two stretches of many columns': 'x(5, 6208).matmul(x(6208, 1032))',
  'a gate': 'fw.feedForward(x(130, 200), { gate: x(504, 200), up: x(504, 200), down: x(200, 504) }, x(130, 200))',
};

interface Results {
  kernels: string[];
  products: Record<string, { hash: string; error: number }>;
}

/** Prints hashes of the products, and how far they are from those in float64; and kernels, where launches are recorded. */
const source = (training: boolean): string => `
  const { createHash } = require('node:crypto');
  const addon = require(require('node:path').resolve('build-emulation/fast_weights_emulation.node'));
  addon.useCublas(${training});
  const PRODUCTS = {${Object.entries(PRODUCTS)
    .map(([name, product]) => `'${name}': (x) => ${product}`)
    .join()}};
  const evaluate = (product) => {
    fw.manualSeed(1);
    const drawn = [];
    const found = product((...shape) => {
      const x = fw.randn(shape).mul(shape.at(-1) ** -0.5).to('bfloat16');
      drawn.push(x.to('float32').dataSync());
      return x;
    }).to('float32').dataSync();
    const exact = product((...shape) => fw.tensor(drawn.shift(), { shape, device: 'js', dtype: 'float64' })).dataSync();
    const rms = (x) => Math.sqrt(x.reduce((sum, value) => sum + value * value, 0));
    const error = rms(exact.map((value, i) => found[i] - value)) / rms(exact);
    return { hash: createHash('sha1').update(new Uint8Array(found.buffer)).digest('hex'), error };
  };
  const products = Object.fromEntries(Object.entries(PRODUCTS).map(([name, product]) => [name, evaluate(product)]));
  console.log(JSON.stringify({ products, kernels: addon.emulation.records().map(({ kernel }) => kernel) }));`;

async function run({ card, training = false }: Way, settings: string): Promise<Results> {
  const env = { FAST_WEIGHTS_EMULATION: settings, FAST_WEIGHTS_CUBLAS: 'off' };
  const { stdout, stderr } = await onCard(source(training), card, env);
  expect(stderr).to.equal('');
  return JSON.parse(stdout) as Results;
}

describeEmulated('shapes of tiles of matrix products', function () {
  this.timeout(300_000);
  let first: Results | undefined;

  for (const [name, way] of Object.entries(WAYS)) {
    it(`${name}: close to float64${way.training ? '' : ', and the bits of the others'}`, async () => {
      const { kernels } = await run(way, 'record');
      for (const part of way.kernels) {
        expect(
          kernels.some((kernel) => kernel.includes(part)),
          part,
        ).to.equal(true);
      }
      const results = await run(way, 'seed=1');
      for (const [product, { error }] of Object.entries(results.products)) {
        expect(error, product).to.be.lessThan(TOLERANCE.bfloat16.forward);
      }
      if (way.training) return;
      first ??= results;
      expect(results.products).to.deep.equal(first.products);
    });
  }
});
