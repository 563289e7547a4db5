// What experiments on episodes share: a small net that is shown drawings with labels and asked for those of others. What it
// learns within an episode is in its fast weights alone.
import type { Device, Tensor } from '../core';
import { noGrad } from '../autograd';
import type { GlyphBatch } from '../data';
import {
  DeltaNetLayer,
  FakeSelfReferentialLayer,
  FeedForwardSublayer,
  type MemoryState,
  SelfReferentialLayer,
} from '../models';
import { LayerNorm, Linear, Module } from '../nn';
import { cat, eye, oneHot, tensor, type TensorOptions, zeros } from '../ops';
import type { ExampleReading } from './experiment';

const WIDTH = 64;
const HEADS = 8;
/** Of a one among the labels, beside 64 features of a drawing. */
const LABEL_SCALE = 3;
/** Of the identity that the keys of a self-referential matrix begin with. */
const KEY_SCALE = 4;
/** The same where what keys see is a softmax, whose numbers are small. */
const SOFTMAX_KEY_SCALE = 30;

/**
 * Memories by the names that trials have. What a drawing is asked with begins as what it was written under: the keys of the
 * self-referential matrix near its input, with which it is read, and the queries of the delta rule as its keys.
 */
const MEMORIES = {
  srwm(where: TensorOptions) {
    const layer = new SelfReferentialLayer(WIDTH, HEADS, { queryInit: 1, ...where });
    noGrad(() => layer.W_k.add_(eye(layer.headDim, where).mul(KEY_SCALE)));
    return layer;
  },
  /** The read-out has an input of its own, without the softmax of the others. */
  'srwm, separate y'(where: TensorOptions) {
    const layer = new SelfReferentialLayer(WIDTH, HEADS, { separateY: true, queryInit: 1, ...where });
    noGrad(() => layer.W_k.add_(eye(layer.headDim, where).mul(SOFTMAX_KEY_SCALE)));
    return layer;
  },
  delta(where: TensorOptions) {
    const layer = new DeltaNetLayer(WIDTH, HEADS, { featureMap: 'dpfp', ...where });
    const D = layer.headDim;
    const heads = layer.slow_net.weight.reshape(HEADS, 3 * D + 1, WIDTH);
    noGrad(() => heads.slice(1, 0, D).copy_(heads.slice(1, D, 2 * D)));
    return layer;
  },
  'fake srwm': (where: TensorOptions) =>
    new FakeSelfReferentialLayer(WIDTH, HEADS, { arrangement: 'residualNormed', ...where }),
} satisfies Record<string, (where: TensorOptions) => Module>;

export type EpisodeMemory = keyof typeof MEMORIES;

/** Tensors of an episode: labelled drawings, the one that is asked for, and its class. */
export interface Episode {
  /** [B, T - 1, pixels] */
  shown: Tensor;
  /** [B, T - 1] */
  labels: Tensor;
  /** [B, 1, pixels] */
  asked: Tensor;
  /** [B] */
  targets: Tensor;
}

export function episodeOf({ batchSize: B, length: T, images, labels, targets }: GlyphBatch, device: Device): Episode {
  const drawings = tensor(images, { shape: [B, T, images.length / (B * T)], device });
  const ids = (data: Int32Array, shape: number[]): Tensor => tensor(data, { shape, dtype: 'int32', device });
  return {
    shown: drawings.slice(1, 0, T - 1),
    labels: ids(labels, [B, T]).slice(1, 0, T - 1),
    asked: drawings.slice(1, T - 1, T),
    targets: ids(targets, [B]),
  };
}

/** Share of the largest logits that are at their targets. */
export const shareRight = (logits: Tensor, targets: Tensor): Tensor =>
  logits.argmax(-1).eq(targets).to('float32').mean();

/** Features of a drawing beside its label, a memory with a feed-forward sublayer, logits. */
export class EpisodeNet extends Module {
  seen: Linear;
  input: Linear;
  norm: LayerNorm;
  memory: ReturnType<(typeof MEMORIES)[EpisodeMemory]>;
  feedForward: FeedForwardSublayer;
  output: Linear;

  constructor(
    memory: EpisodeMemory,
    pixels: number,
    private readonly ways: number,
    where: TensorOptions,
  ) {
    super();
    this.seen = new Linear(pixels, WIDTH, where);
    this.input = new Linear(WIDTH + ways, WIDTH, where);
    this.norm = new LayerNorm(WIDTH, where);
    this.memory = MEMORIES[memory](where);
    this.feedForward = new FeedForwardSublayer(WIDTH, 2 * WIDTH, where);
    this.output = new Linear(WIDTH, ways, where);
  }

  /** The memory after the labelled drawings; it began empty, or as it was after others. */
  study({ shown, labels }: Episode, before: MemoryState | null = null): MemoryState {
    const x = this.features(shown, oneHot(labels, this.ways).to(shown.dtype).mul(LABEL_SCALE));
    return this.memory.forward(x, { state: before, outputState: true }).state!;
  }

  /** Logits [B, ways] of the drawing that is asked for, without a label, from a memory that stays as it is. */
  answer({ asked }: Episode, state: MemoryState): Tensor {
    const nothing = zeros([asked.shape[0], 1, this.ways], { device: asked.device });
    const { output } = this.memory.forward(this.features(asked, nothing), { state });
    return this.output.forward(this.feedForward.forward(output)).squeeze(1);
  }

  /** The labelled drawings of one episode after the other, then the one that the first asks for, in a single sequence. */
  reading(batches: readonly GlyphBatch[]): ExampleReading {
    const { device } = this.input.weight;
    const classes = batches.flatMap(({ labels, length }) => Array.from(labels.subarray(0, length - 1)));
    return {
      tokens: [...classes.map((label) => `class ${label + 1} `), 'which?'],
      read: () => {
        const episodes = batches.map((batch) => episodeOf(batch, device));
        const drawings = cat([...episodes.map(({ shown }) => shown), episodes[0].asked], 1);
        const known = oneHot(tensor([classes], { dtype: 'int32', device }), this.ways);
        const nothing = zeros([1, 1, this.ways], { device });
        const labels = cat([known.to(drawings.dtype).mul(LABEL_SCALE), nothing], 1);
        this.memory.forward(this.features(drawings, labels));
      },
    };
  }

  private features(drawings: Tensor, labels: Tensor): Tensor {
    return this.norm.forward(this.input.forward(cat([this.seen.forward(drawings).relu(), labels], 2)));
  }
}
