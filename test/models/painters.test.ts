// The generators of the Fast Weight Painter without vectors, and its U-Net: against the published program, run once in float64.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';
import { type Target, targets } from '../support/golden';
import { expectClose, toleranceOf } from '../support/tolerance';

const { PainterGenerator, PainterUNet, RecurrentDeltaPainter, TransformerPainter } = fw.models;

/** What the program was given: sines, over the entries of a weight with a phase of its name. */
const wave = (shape: readonly number[], scale: number, rate: number, phase: number, where: Target): fw.Tensor => {
  const size = shape.reduce((a, b) => a * b, 1);
  const numbers = Float64Array.from({ length: size }, (_, i) => scale * Math.sin(rate * (i + 1) + phase));
  return fw.tensor(numbers, { shape, ...where });
};
const phaseOf = (name: string): number => [...name].reduce((sum, c) => sum + c.charCodeAt(0), 0) % 17;

const LETTERS = { imageSize: 5, steps: 3, timeEncoding: true } as const;
const NET = { ...LETTERS, hiddenSize: 8, numLayers: 2, numHeads: 2, intermediateSize: 7 } as const;

/** The module, what it reads, the first numbers and the norm of its output, and the norm of the gradients of its squares. */
const CASES: Record<
  string,
  {
    make(where: object): fw.nn.Module & { forward(x: fw.Tensor): fw.Tensor };
    x: number[];
    first: number[];
    norms: [number, number];
  }
> = {
  TransformerPainter: {
    make: (where) => new TransformerPainter({ ...NET, latentSize: 6, ...where }),
    x: [2, 6],
    first: [0.195988381965, 0.147172038214, 0.154531076012, 0.21882663106],
    norms: [2.296983604275, 34.20094780683],
  },
  RecurrentDeltaPainter: {
    make: (where) => new RecurrentDeltaPainter({ ...NET, latentSize: 4, ...where }),
    x: [2, 4],
    first: [0.24253309986, 0.162757393081, 0.182381271765, 0.320475233968],
    norms: [3.280778574784, 26.617706410329],
  },
  "PainterGenerator, 'split'": {
    make: (where) =>
      new PainterGenerator({
        generator: 'split',
        ...LETTERS,
        timeEncoding: false,
        latentSize: 6,
        inputSize: 4,
        hiddenSize: 8,
        ...where,
      }),
    x: [2, 6],
    first: [0.014877316413, 0.014591795961, 0.015747297716, 0.018071894921],
    norms: [0.684535896865, 2.248887967118],
  },
  PainterUNet: {
    make: (where) => new PainterUNet({ channels: 2, width: 8, multipliers: [1, 2], ...where }),
    x: [2, 2, 6, 6],
    first: [-0.812906265697, -0.670533203341, -0.155257423628, 0.227982990837],
    norms: [7.385451001077, 243.306473280837],
  },
};

for (const where of targets().filter(({ device, dtype }) => device !== 'js' || dtype === 'float64')) {
  describe(`painters on ${where.device}, ${where.dtype}`, () => {
    for (const [name, { make, x, first, norms }] of Object.entries(CASES)) {
      it(`${name}: as published, with gradients`, () => {
        const module = make(where);
        const float64 = where.dtype === 'float64';
        fw.scope(() => {
          fw.noGrad(() => {
            for (const [weight, t] of module.namedParameters()) {
              t.copy_(wave(t.shape, 0.3, 0.7, phaseOf(weight), where));
            }
          });
          const output = module.forward(wave(x, 1, 0.9, 0, where));
          const numbers = output.reshape(-1);
          const { forward, gradient } = float64 ? { forward: 1e-10, gradient: 1e-10 } : toleranceOf(where.dtype);
          expectClose('first', numbers.slice(0, 0, 4).dataSync(), first, forward);
          expectClose('norm', [numbers.norm().item()], [norms[0]], forward);
          output.square().sum().backward();
          const squares = module.parameters().map((t) => t.grad!.norm().item() ** 2);
          expectClose('gradients', [Math.sqrt(squares.reduce((a, b) => a + b))], [norms[1]], gradient);
        });
        module.dispose();
      });
    }
  });
}

describe('painters', () => {
  it('are refined by a U-Net behind them', () => {
    const where = { device: 'js' } as const;
    const painter = new RecurrentDeltaPainter({
      ...NET,
      imageSize: 4,
      channels: 1,
      latentSize: 4,
      outputTanh: false,
      ...where,
    });
    const u_net = new PainterUNet({ channels: 1, width: 8, multipliers: [1, 2], inputTanh: true, ...where });
    const both = new fw.nn.Sequential({ painter, u_net });
    const z = fw.randn([2, 4], where);
    const image = both.forward(z);
    expect(image.shape).to.eql([2, 1, 4, 4]);
    const expected = u_net.forward(painter.forward(z)).dataSync();
    expect(image.dataSync()).to.eql(expected);
    both.dispose();
  });

  it('refuse sizes and options that they do not have', () => {
    const refused = (pattern: RegExp, make: () => unknown): void => void expectError('INVALID_ARGUMENT', pattern, make);
    refused(/latentSize must be a multiple of the 3 steps/, () => new TransformerPainter({ steps: 3, latentSize: 4 }));
    refused(/numHeads must be a divisor of hiddenSize/, () => new TransformerPainter({ hiddenSize: 6, numHeads: 4 }));
    refused(/unknown option generator/, () => new RecurrentDeltaPainter({ generator: 'v1' } as never));
    refused(/updateRule/, () => new RecurrentDeltaPainter({ updateRule: 'hebb' as never }));
    refused(
      /latentSize must be a multiple/,
      () => new PainterGenerator({ generator: 'split', steps: 5, latentSize: 4 }),
    );
    refused(/strokeLatentSize must be 8/, () => new PainterGenerator({ generator: 'split', strokeLatentSize: 4 }));
    refused(/width must be a multiple of 8/, () => new PainterUNet({ width: 12 }));
    refused(/multipliers must be one number/, () => new PainterUNet({ multipliers: [] }));
    const net = new PainterUNet({ channels: 1, width: 8, multipliers: [1, 1, 1], device: 'js' });
    const odd = fw.zeros([1, 1, 6, 8], { device: 'js' });
    expectError('SHAPE', /image must be .* multiples of 4, got \[1, 1, 6, 8\]/, () => net.forward(odd));
    net.dispose();
  });
});
