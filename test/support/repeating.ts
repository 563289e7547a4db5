// Models whose single tokens are read by the calls of an earlier one, and how often that happens.
import * as fw from '../../lib';
import { type Recording, Recording as RecordingClass } from '../../lib/backends/recording';

/** A device whose calls can be made again; undefined where only `js` is there. */
export const RECORDING_DEVICE = fw.devices().find(({ device, available }) => device !== 'js' && available)?.device;

/** Families whose states do not grow but for caches with room for more, and count nothing but places that calls grow with. */
export const REPEATING = [
  'linear-transformer lightnet rodimus gla hgrn hgrn2 gsa raven deltanet deltanet-2021 delta-rnn delta-lstm recurrent-delta srwm fast-weight-memory',
  'gated-deltanet gated-deltaproduct comba kda precond-gated-deltanet precond-kda rwkv4 rwkv6 rwkv7 mamba mamba2 mamba2-fla mamba3 xlstm lstm rnn elstm',
  'retnet abc cyfa mla yoco samba bamba falcon-h1 qwen3.5 olmo-hybrid transformer transformer-fla',
].flatMap((names) => names.split(' '));

const SIZES = { vocabSize: 23, hiddenSize: 16, numLayers: 2, numHeads: 2, intermediateSize: 16, initializerRange: 0.3 };

/** A small model, always with the same weights. */
export function makeRepeating(family: fw.ModelName, sizes: object = {}): fw.models.CausalLM {
  fw.manualSeed(3);
  return fw.createModel(family as 'deltanet', { ...SIZES, ...sizes, device: RECORDING_DEVICE });
}

/** Counts recordings that are made again; `instead` may do something else in their place. */
export function countingRepeats<T>(
  run: (times: () => number) => Promise<T>,
  instead: (times: number) => void = () => {},
): Promise<T> {
  const { prototype } = RecordingClass;
  const { again } = prototype;
  let times = 0;
  prototype.again = function (this: Recording, runs?: number) {
    instead(++times);
    again.call(this, runs);
  };
  return run(() => times).finally(() => (prototype.again = again));
}
