// Whole models: a folder as save_pretrained wrote it, and what the reference program computes from it.
import * as fw from '../../lib';
import { type Array64, type GoldenFile, readGolden, type Target } from '../support/golden';
import { differenceOf, rms, toleranceOf } from '../support/tolerance';

export type Model = Awaited<ReturnType<typeof fw.AutoModelForCausalLM.fromPretrained>>;

export function idsOf(array: Array64, device: fw.Device): fw.Tensor {
  return fw.tensor(array.data, { shape: array.shape, dtype: 'int32', device });
}

/** A tensor that the file must hold. */
export function required(file: GoldenFile, name: string): Array64 {
  const found = file.tensors.get(name);
  if (!found) throw new Error(`${file.name} holds no ${name}`);
  return found;
}

async function take<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

/**
 * Files whose program solves something by a fixed number of iterations hold the exact solution, too: that is what is compared
 * as closely as everything else, gradients among it; what the iterations come to is compared as loosely as they end.
 */
const isApproximate = (file: GoldenFile): boolean => file.tensors.has('logits64_exact');
const APPROXIMATE = 5e-3;

/**
 * Gradients in float32 that are small sums of large terms, whatever computes them: the norm behind an mLSTM takes back what all
 * of its input gates have in common, and what is left of this one is as much as rounding q, k and v moves it by.
 */
const CANCELLING: Readonly<Record<string, number>> = {
  'grad.backbone.blocks.0.mlstm_layer.igate_preact.bias': 4e-4,
};

/** Logits, loss and every gradient. */
export function forwardFailures(model: Model, file: GoldenFile, { device, dtype }: Target): string[] {
  return fw.scope(() => {
    const approximate = isApproximate(file);
    const exact = (name: string): Array64 => required(file, approximate ? `${name}_exact` : name);
    const [own, single] = [toleranceOf(dtype), toleranceOf('float32')];
    const tokens = idsOf(required(file, 'input_ids'), device);
    const { logits, loss } = model.forward(tokens, { labels: tokens });
    const first = logits.slice(0, 0, 1);
    const found = [
      String(loss.shape) === '1' ? undefined : `loss: [1] expected, found [${loss.shape}]`,
      differenceOf('loss', loss.dataSync(), exact('loss64').data, own.forward),
      differenceOf('logits64', first.dataSync(), exact('logits64').data, own.forward),
      differenceOf(
        'logits',
        logits.dataSync(),
        required(file, 'logits').data,
        approximate ? APPROXIMATE : single.forward,
      ),
    ];
    loss.backward();
    const references = [...file.tensors].filter(([name]) => name.startsWith('grad.'));
    if (references.length === 0) throw new Error(`${file.name} holds no gradients`);
    const floor = 1e-3 * Math.max(...references.map(([, a]) => rms(a.data)));
    const parameters = new Map(model.namedParameters());
    for (const [name, reference] of references) {
      const tolerance = dtype === 'float32' ? (CANCELLING[name] ?? own.gradient) : own.gradient;
      const parameter = parameters.get(name.slice('grad.'.length));
      const gradient = parameter?.grad;
      found.push(
        gradient
          ? differenceOf(name, gradient.dataSync(), reference.data, tolerance, floor)
          : `${name}: none, ${parameter ? 'the parameter has no gradient' : 'there is no such parameter'}`,
      );
    }
    model.zeroGrad();
    return found.filter((failure) => failure !== undefined);
  });
}

/** Greedy tokens, and the logits after each token from an empty state. */
export async function inferenceFailures(model: Model, file: GoldenFile): Promise<string[]> {
  const prompt = [...required(file, 'prompt_ids').data];
  const greedy = [...required(file, 'greedy_ids').data];
  const tokens = await take(model.generate(prompt, { maxNewTokens: greedy.length, stopTokens: [] }));
  const ids = tokens.map((token) => token.id);
  const at = greedy.findIndex((id, i) => ids[i] !== id);
  const steps = required(file, 'step_logits');
  const vocabulary = steps.shape[2];
  const session = model.createSession();
  const rows = [...prompt, ...greedy.slice(0, -1)].map((id) => fw.scope(() => session.feed([id]).dataSync()));
  const all = new Float64Array(rows.length * vocabulary);
  rows.forEach((row, t) => all.set(row, t * vocabulary));
  session.dispose();
  const found = [
    at < 0 ? undefined : `greedy_ids: token ${at} is ${ids[at]}, expected ${greedy[at]}`,
    differenceOf('step_logits', all, steps.data, isApproximate(file) ? APPROXIMATE : toleranceOf('float32').forward),
  ];
  return found.filter((failure) => failure !== undefined);
}

/** What is wrong with the model of a folder. */
export async function modelFailures(dir: string, expected: string, where: Target): Promise<string[]> {
  const model = await fw.AutoModelForCausalLM.fromPretrained(dir, where);
  try {
    const file = readGolden(expected);
    return [...forwardFailures(model, file, where), ...(await inferenceFailures(model, file))];
  } finally {
    model.dispose();
  }
}
