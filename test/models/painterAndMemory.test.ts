// Modules beside language models: an LSTM with a Fast Weight Memory, the DCT fast RNN, the painter's generators.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';
import { targets, type Target } from '../support/golden';
import { expectClose, toleranceOf } from '../support/tolerance';

const { DctFastRnn, FastWeightMemoryCell, PainterGenerator } = fw.models;

const RECURRENT: [string, (where: Target) => fw.models.Recurrent][] = [
  ['FastWeightMemoryCell', (where) => new FastWeightMemoryCell(5, 6, { memorySize: 3, relationSize: 2, ...where })],
  ['DctFastRnn', (where) => new DctFastRnn(5, 4, { inputDiagonal: 2, hiddenDiagonal: -2, ...where })],
];

for (const where of targets()) {
  describe(`modules with fast weights on ${where.device}, ${where.dtype}`, () => {
    for (const [name, make] of RECURRENT) {
      it(`${name}: in pieces and by tokens as a whole, and a gradient for every weight`, () => {
        fw.manualSeed(2);
        const module = make(where);
        fw.scope(() => {
          const x = fw.randn([3, 9, 5], where);
          const whole = module.forward(x).output;
          whole.square().sum().backward();
          for (const [parameter, t] of module.namedParameters()) expect(t.grad, parameter).to.not.equal(null);
          module.zeroGrad();
          for (const cut of [0, 4, 9]) {
            const parts = fw.noGrad(() => {
              const begin = module.forward(x.slice(1, 0, cut), { outputState: true });
              const tokens = Array.from({ length: 9 - cut }, (_, t) =>
                module.step(x.slice(1, cut + t, cut + t + 1).squeeze(1), begin.state!).unsqueeze(1),
              );
              return fw.cat([begin.output, ...tokens], 1);
            });
            expectClose(`cut at ${cut}`, parts.dataSync(), whole.dataSync(), toleranceOf(where.dtype).forward);
          }
          const state = module.initialState(3);
          const first = fw.noGrad(() => module.step(x.slice(1, 0, 1).squeeze(1), state));
          const expected = whole.slice(1, 0, 1).dataSync();
          expectClose('first token', first.dataSync(), expected, toleranceOf(where.dtype).forward);
        });
        module.dispose();
      });
    }

    it('FastWeightMemoryCell: packed sequences as each alone, and their states', () => {
      fw.manualSeed(3);
      const cell = new FastWeightMemoryCell(5, 6, { memorySize: 3, ...where });
      fw.scope(() => {
        const x = fw.randn([1, 8, 5], where);
        const packed = cell.forward(x, { cuSeqlens: [0, 3, 3, 8], outputState: true });
        for (const [n, from, to] of [
          [0, 0, 3],
          [2, 3, 8],
        ]) {
          const alone = cell.forward(x.slice(1, from, to), { outputState: true });
          const { forward } = toleranceOf(where.dtype);
          expectClose('output', packed.output.slice(1, from, to).dataSync(), alone.output.dataSync(), forward);
          const states = [packed.state!, alone.state!].map(({ memory, slow }) => [
            memory,
            slow.hidden.squeeze(0),
            slow.cell.squeeze(0),
          ]);
          states[0].forEach((t, i) =>
            expectClose('state', t.slice(0, n, n + 1).dataSync(), states[1][i].dataSync(), forward),
          );
        }
        expect(packed.state!.memory.slice(0, 1, 2).norm().item()).to.equal(0);
      });
      cell.dispose();
    });

    it('PainterGenerator: every generator paints from every latent vector on its own', () => {
      const variants: fw.models.PainterGeneratorOptions[] = [
        { generator: 'v1', learnedInit: true, timeEncoding: true },
        { generator: 'v2', timeEncoding: true, vectorRate: true },
        { generator: 'v2', latentToInit: true, updateRule: 'oja' },
        { generator: 'v1', updateRule: 'sum', channels: 1 },
      ];
      for (const options of variants) {
        const generator = new PainterGenerator({
          imageSize: 5,
          steps: 3,
          latentSize: 4,
          hiddenSize: 6,
          inputSize: 7,
          strokeLatentSize: 2,
          ...options,
          ...where,
        });
        fw.scope(() => {
          const z = fw.randn([3, 4], where);
          const image = generator.forward(z);
          expect(image.shape).to.deep.equal([3, options.channels ?? 3, 5, 5]);
          const alone = generator.forward(z.slice(0, 1, 2));
          const { forward } = toleranceOf(where.dtype);
          expectClose('alone', alone.dataSync(), image.slice(0, 1, 2).dataSync(), forward);
          image.sum().backward();
          for (const [name, t] of generator.namedParameters()) expect(t.grad, name).to.not.equal(null);
          generator.zeroGrad();
        });
        generator.dispose();
      }
    });
  });
}

describe('modules with fast weights', () => {
  it('refuse sizes and options that they do not have', () => {
    expectError('INVALID_ARGUMENT', /hiddenSize/, () => new FastWeightMemoryCell(4, 0));
    expectError('INVALID_ARGUMENT', /hops/, () => new FastWeightMemoryCell(4, 4, { hops: 1.5 }));
    expectError('INVALID_ARGUMENT', /readTanh/, () => new FastWeightMemoryCell(4, 4, { readTanh: 'some' as never }));
    expectError('INVALID_ARGUMENT', /hiddenDiagonal/, () => new DctFastRnn(4, 4, { hiddenDiagonal: 4 }));
    expectError('INVALID_ARGUMENT', /unknown option diagonal/, () => new DctFastRnn(4, 4, { diagonal: 1 } as never));
    expectError('INVALID_ARGUMENT', /generator/, () => new PainterGenerator({ generator: 'v3' as never }));
    const sizes = { imageSize: 2, steps: 1, latentSize: 3, hiddenSize: 2 };
    const generator = new PainterGenerator({ ...sizes, device: 'js' });
    expectError('SHAPE', /z must be \[2, 3\]/, () => generator.forward(fw.zeros([2, 4], { device: 'js' })));
    generator.dispose();
  });
});
