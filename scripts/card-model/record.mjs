// What the library would launch on a card: it runs on the emulated one, which writes launches down instead of running them
// (test/emulation/record.h). Sizes may be those of a real card, for memory takes no room.
import { createRequire } from 'node:module';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { shortName } from '../cuda-resources.mjs';
import { Missing, root } from '../support.mjs';

const require = createRequire(import.meta.url);
const DEVICE = 'cuda-emulation';

let recorder;

/** The library and its recorder. */
function load() {
  if (recorder) return recorder;
  const addon = join(root, 'build-emulation', 'fast_weights_emulation.node');
  if (!existsSync(addon)) throw new Missing('the emulated card is not built: npm run build:emulation');
  if (!existsSync(join(root, 'dist', 'index.js'))) throw new Missing('the library is not built: npm run build:ts');
  process.env.FAST_WEIGHTS_DEVICE = DEVICE;
  process.env.FAST_WEIGHTS_EMULATION = 'record';
  process.env.FAST_WEIGHTS_EMULATED_CARD = `memory=${141e9}`;
  process.env.FAST_WEIGHTS_CUBLAS = 'off';
  const fw = require(join(root, 'dist'));
  const { emulation, useCublas } = require(addon);
  if (!emulation.records) throw new Missing('the emulated card is out of date: npm run build:emulation');
  recorder = { fw, records: () => emulation.records(), setTraining: useCublas };
  return recorder;
}

/**
 * The launches of what prepare(fw, device) returns, in order: that is called once, what is launched before it does not count.
 * With `training` as in a step of training that finds no cuBLAS.
 */
export function record(prepare, training = false) {
  const { fw, records, setTraining } = load();
  return fw.scope(() => {
    const run = prepare(fw, DEVICE);
    records();
    setTraining(training);
    run();
    setTraining(false);
    return records().map(launchOf);
  });
}

function launchOf({ kernel, source, buffers, args, ...launch }) {
  const file = source.slice(source.lastIndexOf('native/cuda/') + 'native/cuda/'.length);
  return {
    ...launch,
    args,
    buffers,
    kernel: `${file} ${shortName(kernel)}`,
    arguments: likeness(args, buffers),
  };
}

/** The arguments without the addresses, which differ from call to call: launches with the same do the same. */
function likeness(args, buffers) {
  const words = new BigUint64Array(
    args.buffer.slice(args.byteOffset, args.byteOffset + args.length - (args.length % 8)),
  );
  return Array.from(words, (word) => {
    const at = Number(word);
    const buffer = buffers.find(({ begin, bytes }) => at >= begin && at < begin + bytes);
    return buffer ? `p${(at - buffer.begin) % 512}` : word.toString(16);
  }).join(' ');
}
