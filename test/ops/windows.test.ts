// Convolutions and poolings against loops over their definitions in float64.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';
import { targets } from '../support/golden';
import { expectClose, toleranceOf } from '../support/tolerance';

const numbers = (shape: readonly number[], seed: number): number[] =>
  Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(seed + 1.7 * i + 0.013 * i * i));

interface Convolution {
  x: [B: number, C: number, H: number, W: number];
  weight: [out: number, inside: number, h: number, w: number];
  stride?: [number, number];
  padding?: [number, number];
  dilation?: [number, number];
  groups?: number;
}

const size = (n: number, kernel: number, stride: number, padding: number, dilation: number): number =>
  Math.floor((n + 2 * padding - dilation * (kernel - 1) - 1) / stride) + 1;

function convolved(x: number[], weight: number[], c: Convolution): { shape: number[]; values: number[] } {
  const { stride = [1, 1], padding = [0, 0], dilation = [1, 1], groups = 1 } = c;
  const [[B, C, H, W], [out, inside, h, w]] = [c.x, c.weight];
  const [rows, columns] = [
    size(H, h, stride[0], padding[0], dilation[0]),
    size(W, w, stride[1], padding[1], dilation[1]),
  ];
  const values: number[] = [];
  for (let b = 0; b < B; b++) {
    for (let o = 0; o < out; o++) {
      const first = Math.floor(o / (out / groups)) * inside;
      for (let r = 0; r < rows; r++) {
        for (let q = 0; q < columns; q++) {
          let sum = 0;
          for (let i = 0; i < inside; i++) {
            for (let y = 0; y < h; y++) {
              for (let z = 0; z < w; z++) {
                const [row, column] = [
                  r * stride[0] + y * dilation[0] - padding[0],
                  q * stride[1] + z * dilation[1] - padding[1],
                ];
                if (row < 0 || row >= H || column < 0 || column >= W) continue;
                sum += x[((b * C + first + i) * H + row) * W + column] * weight[((o * inside + i) * h + y) * w + z];
              }
            }
          }
          values.push(sum);
        }
      }
    }
  }
  return { shape: [B, out, rows, columns], values };
}

const CONVOLUTIONS: Convolution[] = [
  { x: [2, 3, 5, 7], weight: [4, 3, 3, 3], padding: [1, 1] },
  { x: [1, 4, 9, 6], weight: [6, 2, 2, 3], stride: [2, 1], groups: 2 },
  { x: [2, 2, 11, 8], weight: [3, 2, 3, 2], dilation: [2, 3], padding: [0, 2], stride: [3, 2] },
  { x: [1, 3, 1, 1], weight: [3, 1, 1, 1], groups: 3 },
  { x: [0, 2, 4, 4], weight: [1, 2, 3, 3] },
];

for (const where of targets()) {
  describe(`convolution and pooling on ${where.device}, ${where.dtype}`, () => {
    const { forward } = toleranceOf(where.dtype);
    const make = (data: ArrayLike<number>, shape: readonly number[]): fw.Tensor => fw.tensor(data, { shape, ...where });

    for (const c of CONVOLUTIONS) {
      it(`conv2d of [${c.x}] with [${c.weight}]`, () => {
        const { x: xShape, weight: wShape, ...options } = c;
        const [x, w, b] = [numbers(xShape, 1), numbers(wShape, 2), numbers([wShape[0]], 3)];
        const { shape, values } = convolved(x, w, c);
        const y = fw.conv2d(make(x, xShape), make(w, wShape), options);
        expect(y.shape).to.eql(shape);
        expectClose('without bias', y.dataSync(), values, forward);
        const places = shape[2] * shape[3];
        const expected = values.map((v, i) => v + b[Math.floor(i / places) % wShape[0]]);
        const biased = fw.conv2d(make(x, xShape), make(w, wShape), { ...options, bias: make(b, [wShape[0]]) });
        expectClose('with bias', biased.dataSync(), expected, forward);
        // Channels last in memory.
        const strided = make(x, xShape).permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2);
        expect(fw.conv2d(strided, make(w, wShape), options).dataSync()).to.eql(y.dataSync());
      });
    }

    it('conv1d, and padding by name', () => {
      const c: Convolution = {
        x: [2, 4, 1, 9],
        weight: [6, 2, 1, 3],
        groups: 2,
        stride: [1, 2],
        padding: [0, 1],
        dilation: [1, 2],
      };
      const [x, w] = [numbers(c.x, 1), numbers(c.weight, 2)];
      const { shape, values } = convolved(x, w, c);
      const [input, weight] = [make(x, [2, 4, 9]), make(w, [6, 2, 3])];
      const y = fw.conv1d(input, weight, { groups: 2, stride: 2, padding: 1, dilation: 2 });
      expect(y.shape).to.eql([shape[0], shape[1], shape[3]]);
      expectClose('conv1d', y.dataSync(), values, forward);
      // An even kernel has its further zero behind.
      const even = make(numbers([1, 2, 4], 3), [1, 2, 4]);
      const image = make(numbers([1, 2, 9], 4), [1, 2, 9]);
      const padded = fw.cat([fw.zeros([1, 2, 1], where), image, fw.zeros([1, 2, 2], where)], 2);
      expect(fw.conv1d(image, even, { padding: 'same' }).tolist()).to.eql(fw.conv1d(padded, even).tolist());
      expect(fw.conv1d(image, even, { padding: 'valid' }).tolist()).to.eql(fw.conv1d(image, even).tolist());
    });

    it('poolings', () => {
      const shape = [2, 3, 5, 7];
      const x = numbers(shape, 1);
      const pool = (
        k: number[],
        stride: number[],
        p: number[],
        of: (list: number[], inside: number) => number,
      ): number[] => {
        const out: number[] = [];
        for (let n = 0; n < 6; n++) {
          for (let r = 0; r < size(5, k[0], stride[0], p[0], 1); r++) {
            for (let c = 0; c < size(7, k[1], stride[1], p[1], 1); c++) {
              const list: number[] = [];
              for (let i = 0; i < k[0] * k[1]; i++) {
                const [y, z] = [r * stride[0] + Math.floor(i / k[1]) - p[0], c * stride[1] + (i % k[1]) - p[1]];
                if (y >= 0 && y < 5 && z >= 0 && z < 7) list.push(x[(n * 5 + y) * 7 + z]);
              }
              out.push(of(list, k[0] * k[1]));
            }
          }
        }
        return out;
      };
      const sum = (list: number[]): number => list.reduce((a, b) => a + b, 0);
      const input = make(x, shape);
      const most = pool([2, 2], [2, 2], [0, 0], (list) => Math.max(...list));
      expectClose('max', fw.maxPool2d(input, 2).dataSync(), most, forward);
      const padded = pool([3, 2], [2, 1], [1, 1], (list) => Math.max(...list));
      const options = { stride: [2, 1], padding: [1, 1] } as const;
      expectClose('max, padded', fw.maxPool2d(input, [3, 2], options).dataSync(), padded, forward);
      const mean = pool([3, 2], [2, 1], [1, 1], (list, all) => sum(list) / all);
      expectClose('mean', fw.avgPool2d(input, [3, 2], options).dataSync(), mean, forward);
      const inside = pool([3, 2], [2, 1], [1, 1], (list) => sum(list) / list.length);
      const without = fw.avgPool2d(input, [3, 2], { ...options, countIncludePad: false });
      expectClose('mean inside', without.dataSync(), inside, forward);
      const whole = Array.from({ length: 6 }, (_, n) => sum(x.slice(n * 35, n * 35 + 35)) / 35);
      const global = fw.adaptiveAvgPool2d(input);
      expect(global.shape).to.eql([2, 3, 1, 1]);
      expectClose('global', global.dataSync(), whole, forward);
      // Of equal ones the first gets the gradient.
      const flat = fw.ones([1, 1, 2, 2], { ...where, requiresGrad: true });
      fw.maxPool2d(flat, 2).backward();
      expect(flat.grad!.tolist()).to.eql([
        [
          [
            [1, 0],
            [0, 0],
          ],
        ],
      ]);
    });

    it('batch and group norm, their running statistics, training and evaluation', () => {
      const [B, C, H, W] = [3, 4, 2, 5];
      const x = numbers([B, C, H, W], 2);
      const n = B * H * W;
      const ofChannel = (c: number): number[] => x.filter((_, i) => Math.floor(i / (H * W)) % C === c);
      const means = Array.from({ length: C }, (_, c) => ofChannel(c).reduce((a, b) => a + b, 0) / n);
      const squares = means.map((m, c) => ofChannel(c).reduce((a, b) => a + (b - m) ** 2, 0));
      const channelOf = (i: number): number => Math.floor(i / (H * W)) % C;
      const norm = new fw.nn.BatchNorm2d(C, where);
      const [w, b] = [numbers([C], 5), numbers([C], 6)];
      fw.noGrad(() => [norm.weight!.copy_(make(w, [C])), norm.bias!.copy_(make(b, [C]))]);
      const input = make(x, [B, C, H, W]);
      const expected = x.map((v, i) => {
        const c = channelOf(i);
        return ((v - means[c]) / Math.sqrt(squares[c] / n + 1e-5)) * w[c] + b[c];
      });
      expectClose('training', norm.forward(input).dataSync(), expected, forward);
      const running = [means.map((m) => 0.1 * m), squares.map((s) => 0.9 + (0.1 * s) / (n - 1))];
      expectClose('mean', norm.running_mean!.dataSync(), running[0], forward);
      expectClose('variance', norm.running_var!.dataSync(), running[1], forward);
      expect(norm.num_batches_tracked!.item()).to.equal(1);
      norm.eval();
      const evaluated = x.map((v, i) => {
        const c = channelOf(i);
        return ((v - running[0][c]) / Math.sqrt(running[1][c] + 1e-5)) * w[c] + b[c];
      });
      expectClose('evaluation', norm.forward(input).dataSync(), evaluated, forward);
      expect(norm.num_batches_tracked!.item()).to.equal(1);
      expect(Object.keys(norm.stateDict())).to.eql([
        'weight',
        'bias',
        'running_mean',
        'running_var',
        'num_batches_tracked',
      ]);
      const cumulative = new fw.nn.BatchNorm1d(C, { ...where, momentum: null, affine: false });
      const parts = [input.slice(0, 0, 1), input.slice(0, 1, 2)].map((t) => t.reshape(1, C, H * W));
      for (const part of parts) cumulative.forward(part);
      const both = parts
        .map((t) => t.mean([0, 2]))
        .reduce((a, c) => a.add(c))
        .div(2);
      expectClose('momentum null', cumulative.running_mean!.dataSync(), both.dataSync(), forward);
      expect(new fw.nn.BatchNorm2d(C, { trackRunningStats: false }).namedBuffers()).to.eql([]);
      expectError('SHAPE', /more than one value of each channel/, () => cumulative.forward(fw.ones([1, C], where)));
      expectError('SHAPE', /BatchNorm2d: x must be \[B, 4, \.\.\.\]/, () => norm.forward(parts[0]));

      const groups = new fw.nn.GroupNorm(2, C, where);
      fw.noGrad(() => [groups.weight!.copy_(make(w, [C])), groups.bias!.copy_(make(b, [C]))]);
      const span = (C / 2) * H * W;
      const grouped = x.map((v, i) => {
        const part = x.slice(i - (i % span), i - (i % span) + span);
        const mean = part.reduce((a, c) => a + c, 0) / span;
        const variance = part.reduce((a, c) => a + (c - mean) ** 2, 0) / span;
        return ((v - mean) / Math.sqrt(variance + 1e-5)) * w[channelOf(i)] + b[channelOf(i)];
      });
      expectClose('groups', groups.forward(input).dataSync(), grouped, forward);
    });

    it('a stem of few-shot learning has gradients everywhere, and parameters under the names of PyTorch', () => {
      const { nn } = fw;
      const block = (from: number, to: number): fw.nn.Sequential =>
        new nn.Sequential(
          new nn.Conv2d(from, to, 3, { padding: 1, ...where }),
          new nn.BatchNorm2d(to, where),
          new nn.MaxPool2d(2),
          new nn.ReLU(),
        );
      const stem = new nn.Sequential(block(1, 3), block(3, 4), new nn.AdaptiveAvgPool2d(), new nn.Flatten());
      const y = stem.forward(make(numbers([2, 1, 9, 8], 1), [2, 1, 9, 8]));
      expect(y.shape).to.eql([2, 4]);
      y.square().sum().backward();
      expect(
        stem
          .namedParameters()
          .map(([name]) => name)
          .slice(0, 4),
      ).to.eql(['0.0.weight', '0.0.bias', '0.1.weight', '0.1.bias']);
      for (const [name, t] of stem.namedParameters())
        expect(t.grad!.dataSync().every(Number.isFinite), name).to.equal(true);
    });
  });
}

describe('convolution and pooling', () => {
  const js = { device: 'js', dtype: 'float64' } as const;
  const make = (shape: number[], seed: number): fw.Tensor => fw.tensor(numbers(shape, seed), { shape, ...js });

  it('have the gradients of central differences', () => {
    const [x, w, b] = [make([1, 2, 4, 3], 1), make([2, 1, 2, 2], 2), make([2], 3)];
    const options = { groups: 2, stride: [2, 1], padding: [1, 0], dilation: [1, 2] } as const;
    fw.gradcheck(
      (i, j, k) =>
        fw
          .conv2d(i, j, { ...options, bias: k })
          .square()
          .sum(),
      [x, w, b],
    );
    const small = make([1, 1, 3, 4], 4);
    fw.gradcheck((i) => fw.maxPool2d(i, 2, { stride: 1 }).square().sum(), [small]);
    fw.gradcheck(
      (i) => fw.avgPool2d(i, [2, 3], { stride: 1, padding: 1, countIncludePad: false }).square().sum(),
      [small],
    );
    const norm = new fw.nn.BatchNorm1d(2, { ...js, affine: false, trackRunningStats: false });
    fw.gradcheck((i) => norm.forward(i).mul(i.square()).sum(), [make([3, 2], 5)]);
  });

  it('refuse what does not fit', () => {
    const [x, w] = [make([1, 4, 3, 3], 1), make([2, 4, 2, 2], 2)];
    expectError('SHAPE', /weight must be \[a multiple of 2, 2, h, w\]/, () => fw.conv2d(x, w, { groups: 2 }));
    expectError('SHAPE', /with padding at least 4 high/, () => fw.conv2d(x, w, { dilation: 3 }));
    expectError('INVALID_ARGUMENT', /did you mean stride/, () => fw.conv2d(x, w, { strides: 1 } as never));
    expectError('INVALID_ARGUMENT', /'same'/, () => fw.conv2d(x, w, { stride: 2, padding: 'same' }));
    expectError('INVALID_ARGUMENT', /stride must be one or two numbers/, () =>
      fw.conv2d(x, w, { stride: [1, 1, 1] as never }),
    );
    expectError('INVALID_ARGUMENT', /padding must be at most half/, () => fw.maxPool2d(x, 2, { padding: 2 }));
    expectError('UNSUPPORTED', /outputSize must be 1/, () => fw.adaptiveAvgPool2d(x, 2 as never));
    expectError(
      'INVALID_ARGUMENT',
      /inChannels must be a multiple of 2/,
      () => new fw.nn.Conv2d(3, 4, 3, { groups: 2 }),
    );
    expectError('INVALID_ARGUMENT', /kernelSize/, () => new fw.nn.Conv2d(2, 4, [3, 0]));
  });
});
