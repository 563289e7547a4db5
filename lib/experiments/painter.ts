// A painter of small images (spec 3.10): an image is a fast weight matrix, and every stroke an update of rank 1. In place of
// the published adversarial training it paints what it is shown.
import { scope, type Tensor, withSeed } from '../core';
import { noGrad } from '../autograd';
import { type GlyphEpisodes, glyphEpisodes } from '../data';
import {
  type Painter,
  PainterGenerator,
  type PainterSizes,
  PainterUNet,
  RecurrentDeltaPainter,
  TransformerPainter,
} from '../models';
import { Linear, Module } from '../nn';
import { tensor, type TensorOptions } from '../ops';
import { fastWeightPainter, type PainterStrokes } from '../rules';
import type { HeatmapGrid } from '../viz';
import type { Example, Experiment, Findings, TrialContext, TrialModel, TrialResult } from './experiment';
import { fit } from './fit';
import { measureOf, percent, trialsOf } from './results';

/** Squared error over the variance of the pixels, on drawings not trained on; some of them, stroke by stroke, row by row. */
type Found = { error: number; losses: number[]; pictures: number[][][] };

type Rule = NonNullable<PainterStrokes['updateRule']>;

const SIZE = 8;
const STROKES = 8;
/** Strokes after which the canvas is shown. */
const SHOWN = [1, 2, 4, 8];
const PICTURES = 4;
const BATCH = 64;
const STEPS = { quick: 300, long: 5000 };

const LATENT = 128;
const NET = { hiddenSize: 96, numHeads: 4, intermediateSize: 192, timeEncoding: true } as const;

/** Generators by the names that trials have. */
const GENERATORS = {
  lstm: (sizes: PainterSizes) =>
    new PainterGenerator({ ...sizes, hiddenSize: 96, strokeLatentSize: 16, inputSize: 64 }),
  transformer: (sizes: PainterSizes) => new TransformerPainter({ ...sizes, ...NET }),
  'recurrent delta net': (sizes: PainterSizes) => new RecurrentDeltaPainter({ ...sizes, ...NET }),
} satisfies Record<string, (sizes: PainterSizes) => Painter>;

/** What paints: by which rule, strokes of which net, and whether a U-Net refines the image. */
interface Setting {
  rule: Rule;
  generator: keyof typeof GENERATORS;
  refined?: boolean;
}

const SETTINGS: Record<string, Setting> = {
  delta: { rule: 'delta', generator: 'lstm' },
  sum: { rule: 'sum', generator: 'lstm' },
  oja: { rule: 'oja', generator: 'lstm' },
  'delta, transformer': { rule: 'delta', generator: 'transformer' },
  'delta, recurrent delta net': { rule: 'delta', generator: 'recurrent delta net' },
  'delta, u-net': { rule: 'delta', generator: 'lstm', refined: true },
};

/** Drawing to latent vector to strokes, and from what they painted to what it should be. */
class Copyist extends Module {
  seen: Linear;
  generator: Painter;
  u_net: PainterUNet | null;

  constructor(
    private readonly setting: Setting,
    where: TensorOptions,
  ) {
    super();
    const { rule: updateRule, generator, refined = false } = setting;
    this.seen = new Linear(SIZE * SIZE, LATENT, where);
    const sizes = { imageSize: SIZE, steps: STROKES, channels: 1, latentSize: LATENT, ...where };
    this.generator = GENERATORS[generator]({ ...sizes, updateRule, outputTanh: !refined });
    const small = { width: 8, multipliers: [1, 2], heads: 2, headDim: 8 };
    this.u_net = refined ? new PainterUNet({ channels: 1, inputTanh: true, ...small, ...where }) : null;
  }

  /** Drawings [B, pixels] to latent vectors. */
  latent(drawings: Tensor): Tensor {
    return this.seen.forward(drawings).relu();
  }

  forward(drawings: Tensor): Tensor {
    return this.refined(this.generator.forward(this.latent(drawings)));
  }

  /** Canvases [B, pixels] after each stroke. */
  strokeByStroke(drawings: Tensor): Tensor[] {
    const { rule: updateRule } = this.setting;
    const { k, v, beta } = this.generator.strokesOf(this.latent(drawings));
    const state = v.select(1, 0).unsqueeze(3).mul(k.select(1, 0).unsqueeze(2)).mul(0);
    return Array.from({ length: STROKES }, (_, t) => {
      const stroke = { k: k.select(1, t), v: v.select(1, t), ...(beta && { beta: beta.select(1, t) }) };
      const options = { updateRule, softmaxKeys: true, outputTanh: !this.u_net, state, first: t === 0 };
      return this.refined(fastWeightPainter.step(stroke, options));
    });
  }

  /** Images [B, 1, SIZE, SIZE] to pixels. */
  private refined(images: Tensor): Tensor {
    return (this.u_net?.forward(images) ?? images).reshape(-1, SIZE * SIZE);
  }
}

const drawingsOf = (seed: number): GlyphEpisodes =>
  glyphEpisodes({ ways: 1, shots: 1, size: SIZE, seed, evaluationSize: 256 });

const modelOf = (trial: string, { seed, device }: TrialModel): Copyist =>
  withSeed(seed, () => new Copyist(SETTINGS[trial], { device }));

/** A drawing is painted: the matrix is the canvas. */
function example(trial: string, context: TrialModel): Example {
  const model = modelOf(trial, context);
  return {
    model,
    reading() {
      const { images } = drawingsOf(context.seed + 4000).batch(0, 1);
      const drawing = images.subarray(0, SIZE ** 2);
      const shown = (): Tensor => tensor(drawing, { shape: [1, SIZE ** 2], device: context.device });
      return {
        tokens: Array.from({ length: STROKES }, (_, t) => `stroke ${t + 1} `),
        read: () => void model.forward(shown()),
      };
    },
  };
}

async function run(trial: string, context: TrialContext): Promise<Found> {
  const { seed, quick, device } = context;
  const data = drawingsOf(seed);
  const model = modelOf(trial, context);
  const drawings = (images: Float32Array): Tensor =>
    tensor(images, { shape: [images.length / SIZE ** 2, SIZE ** 2], device });
  try {
    const { losses } = await fit(
      model.parameters(),
      {
        steps: quick ? STEPS.quick : STEPS.long,
        learningRate: 3e-3,
        loss(step) {
          const shown = drawings(data.batch(step, BATCH / 2).images);
          return model.forward(shown).sub(shown).square().mean();
        },
      },
      context,
    );
    await context.keep(model);
    const { images } = data.evaluation();
    const error = noGrad(() =>
      scope(() => {
        const shown = drawings(images);
        return model.forward(shown).sub(shown).square().mean();
      }),
    );
    const squares = Number((await error.data())[0]);
    error.dispose();
    const some = images.subarray(0, PICTURES * SIZE * SIZE);
    const canvases = noGrad(() => scope(() => model.strokeByStroke(drawings(some))));
    const painted = await Promise.all(SHOWN.map((strokes) => canvases[strokes - 1].data()));
    canvases.forEach((canvas) => canvas.dispose());
    const pictures = Array.from({ length: PICTURES }, (_, i) =>
      [some, ...painted].map((all) => Array.from(all.subarray(i * SIZE ** 2, (i + 1) * SIZE ** 2), (x) => Number(x))),
    );
    return { error: squares / variance(images), losses: losses.filter((_, i) => i % 10 === 0), pictures };
  } finally {
    model.dispose();
  }
}

/** Of all pixels around the mean of each pixel: the error of a painter that paints the mean drawing. */
function variance(images: Float32Array): number {
  const [pixels, count] = [SIZE * SIZE, images.length / SIZE ** 2];
  const means = new Float64Array(pixels);
  images.forEach((x, i) => (means[i % pixels] += x / count));
  return images.reduce((sum, x, i) => sum + (x - means[i % pixels]) ** 2, 0) / images.length;
}

function findings(results: readonly TrialResult<Found>[]): Findings {
  const error = measureOf(results, (found) => found.error, percent);
  const first = results.filter(({ seed }) => seed === 1);
  const pictures: HeatmapGrid[] = first.slice(0, 1).map(({ trial, found }) => ({
    title: `Drawings that it was not trained on, painted stroke by stroke (${trial})`,
    columnLabels: ['shown', ...SHOWN.map((strokes) => `${strokes} strokes`)],
    rows: found.pictures.map((cells, i) => ({
      label: `drawing ${i + 1}`,
      cells: cells.map((data) => ({ rows: SIZE, columns: SIZE, data })),
    })),
    limit: 1,
  }));
  return {
    measures: Object.fromEntries(
      trialsOf(results).map((trial) => [trial, { 'squared error over variance': percent(error.of(trial)) }]),
    ),
    charts: [
      {
        title: 'Loss while training, first seed',
        xLabel: 'step',
        yLabel: 'squared error per pixel',
        series: first.map(({ trial, found }) => ({
          name: trial,
          x: found.losses.map((_, i) => 10 * i),
          y: found.losses,
        })),
      },
    ],
    picture: pictures[0],
    claims: error.claim('Eight strokes of rank 1 paint a drawing that was never seen before', { delta: [0, 0.3] }),
  };
}

/** No published figure: the paper's are of adversarial training on photographs. */
export const painterExperiment: Experiment<Found> = {
  name: 'painter',
  title: 'A painter: images as fast weights, strokes as their updates',
  source:
    'Irie, Schmidhuber, "Images as weight matrices: sequential image generation through synaptic learning rules" (ICLR 2023); reconstruction of generated glyphs in place of adversarial training',
  trials: (quick) => (quick ? ['delta'] : Object.keys(SETTINGS)),
  run,
  example,
  findings,
};
