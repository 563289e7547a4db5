// Classifiers of series under one interface: fast weights in continuous time, and recurrent nets over the same samples.
import type { Device, Tensor } from '../core';
import type { SeriesBatch, SeriesDataset } from '../data';
import { BigMapModel, NrdeModel, OdeModel, type OdeModelFamily } from '../models';
import { Linear, type LSTM, Module, type RNN } from '../nn';
import { tensor } from '../ops';
import { type LearningRule, logSignature, type OdeMethod } from '../rules';

/** Which classifier, and of which kind. */
export type Classifier =
  | { kind: 'field'; rule: LearningRule; family: OdeModelFamily }
  | { kind: 'map' }
  | { kind: 'windows'; rule: LearningRule; depth: 1 | 2 }
  | { kind: 'recurrent'; layer: typeof LSTM | typeof RNN; sees: 'values' | 'times' | 'windows' };

/** What a classifier is for, and its sizes. */
export interface ClassifierSettings {
  data: Pick<SeriesDataset, 'channels' | 'classes'>;
  hiddenSize: number;
  heads: number;
  /** How the fields are solved, in how many steps from time 0 to 1. */
  method: OdeMethod;
  solverSteps: number;
  /** Windows of increments, whatever the number of samples. */
  windows: number;
  device: Device;
}

/** Series to logits [B, classes]. */
export abstract class SeriesClassifier extends Module {
  constructor(protected readonly settings: ClassifierSettings) {
    super();
  }

  abstract forward(batch: SeriesBatch): Tensor;

  /** Numbers of every sample of every series. */
  protected samples(numbers: Float32Array, { times, labels }: SeriesBatch): Tensor {
    const [B, L] = [labels.length, times.length];
    return tensor(numbers, { shape: [B, L, numbers.length / (B * L)], device: this.settings.device });
  }

  /**
   * Log-signatures [B, windows, *] over windows, of a path that stays where a value is missing and after the last one:
   * increments, with a depth of 2 also areas.
   */
  protected signatures(batch: SeriesBatch, depth: 1 | 2 = 1): { first: Tensor; windows: Tensor } {
    const path = this.samples(stayed(batch), batch);
    const step = Math.max(1, Math.round((batch.times.length - 1) / this.settings.windows));
    return { first: path.select(1, 0), windows: logSignature(path, { depth, step }) };
  }
}

/** Fast weights that a spline through the observations drives, or the direct map in their place. */
class Driven extends SeriesClassifier {
  readonly model: OdeModel | BigMapModel;

  constructor(of: Extract<Classifier, { kind: 'field' | 'map' }>, settings: ClassifierSettings) {
    super(settings);
    const { data, hiddenSize, heads, method, solverSteps, device } = settings;
    const sizes = { inputChannels: data.channels, hiddenSize, outputSize: data.classes };
    const solver = { method, stepSize: 1 / solverSteps };
    this.model =
      of.kind === 'map'
        ? new BigMapModel({ ...sizes, ...solver }, { device })
        : new OdeModel({ ...sizes, ...solver, heads, family: of.family, learningRule: of.rule }, { device });
  }

  forward(batch: SeriesBatch): Tensor {
    const x = this.samples(batch.values, batch);
    return this.model.forward(x, [...batch.times], { finalIndex: [...batch.finalIndex] });
  }
}

/** Fast weights that log-signatures of windows drive. */
class Windowed extends SeriesClassifier {
  readonly model: NrdeModel;

  constructor(
    private readonly of: Extract<Classifier, { kind: 'windows' }>,
    settings: ClassifierSettings,
  ) {
    super(settings);
    const { data, hiddenSize, heads, method, device } = settings;
    const { channels, classes } = data;
    const inputChannels = of.depth === 1 ? channels : channels + (channels * (channels - 1)) / 2;
    const sizes = { inputChannels, initialSize: channels, hiddenSize, outputSize: classes, ffDim: 64 };
    this.model = new NrdeModel({ ...sizes, heads, method, learningRule: of.rule }, { device });
  }

  forward(batch: SeriesBatch): Tensor {
    const { first, windows } = this.signatures(batch, this.of.depth);
    return this.model.forward(first, windows);
  }
}

/**
 * A recurrent net, read behind each series' last observation: it sees the values, 0 where one is missing, and which there
 * are; with 'times' also the time and that since the sample before; or increments over windows.
 */
class Recurrent extends SeriesClassifier {
  readonly layer: LSTM | RNN;
  readonly linear: Linear;

  constructor(
    private readonly of: Extract<Classifier, { kind: 'recurrent' }>,
    settings: ClassifierSettings,
  ) {
    super(settings);
    const { data, hiddenSize, device } = settings;
    const channels = of.sees === 'windows' ? data.channels : 2 * data.channels - (of.sees === 'times' ? 0 : 2);
    this.layer = new of.layer(channels, hiddenSize, { device });
    this.linear = new Linear(hiddenSize, data.classes, { device });
  }

  forward(batch: SeriesBatch): Tensor {
    const { sees } = this.of;
    const x = sees === 'windows' ? this.signatures(batch).windows : this.samples(seen(batch, sees === 'times'), batch);
    const [B, T] = x.shape;
    const last = (b: number): number => (sees === 'windows' ? T - 1 : batch.finalIndex[b]);
    const rows = Int32Array.from({ length: B }, (_, b) => b * T + last(b));
    const index = tensor(rows, { dtype: 'int32', device: this.settings.device });
    return this.linear.forward(this.layer.forward(x).output.flatten(0, 1).indexSelect(0, index));
  }
}

/** The values with the one before where one is missing or the series has ended, 0 where there was none yet. */
function stayed({ values, times, finalIndex }: SeriesBatch): Float32Array {
  const L = times.length;
  const C = values.length / (L * finalIndex.length);
  const path = Float32Array.from(values);
  for (let at = 0; at < path.length; at++) {
    const sample = Math.floor(at / C);
    const [b, i] = [Math.floor(sample / L), sample % L];
    if (Number.isNaN(path[at]) || i > finalIndex[b]) path[at] = i === 0 ? 0 : path[at - C];
  }
  return path;
}

/** Of every sample its values but for the time, whether each is there, and with `timed` the time and that since the last. */
function seen({ values, times, finalIndex }: SeriesBatch, timed: boolean): Float32Array {
  const L = times.length;
  const samples = L * finalIndex.length;
  const C = values.length / samples;
  const width = 2 * (C - 1) + (timed ? 2 : 0);
  const numbers = new Float32Array(samples * width);
  for (let s = 0; s < samples; s++) {
    for (let c = 1; c < C; c++) {
      const value = values[s * C + c];
      if (Number.isNaN(value)) continue;
      numbers[s * width + c - 1] = value;
      numbers[s * width + C + c - 2] = 1;
    }
    if (!timed) continue;
    const i = s % L;
    numbers[(s + 1) * width - 2] = times[i];
    // In mean gaps: of the size of the other inputs.
    numbers[(s + 1) * width - 1] = i === 0 ? 0 : (times[i] - times[i - 1]) * (L - 1);
  }
  return numbers;
}

/** The classifier of a description. */
export function seriesClassifier(of: Classifier, settings: ClassifierSettings): SeriesClassifier {
  if (of.kind === 'recurrent') return new Recurrent(of, settings);
  return of.kind === 'windows' ? new Windowed(of, settings) : new Driven(of, settings);
}
