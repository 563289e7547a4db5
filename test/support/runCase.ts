// Runs one stored case: inputs into a function, outputs and gradients against the stored ones.
import { expect } from 'chai';
import { scope, type Tensor, withChecks } from '../../lib';
import { type Array64, type GoldenFile, type Target, targets, toTensor } from './golden';
import { differenceOf, rms, toleranceOf } from './tolerance';

export type Inputs = Record<string, Tensor>;
export type Outputs = Record<string, Tensor | undefined>;
export type CaseRunner = (inputs: Inputs, options: Record<string, unknown>, file: GoldenFile) => Outputs;

function withPrefix(file: GoldenFile, prefix: string): [string, Array64][] {
  return [...file.tensors]
    .filter(([name]) => name.startsWith(prefix))
    .map(([name, a]) => [name.slice(prefix.length), a]);
}

/** Options of the file; null counts as not given. */
export function caseOptions(file: GoldenFile): Record<string, unknown> {
  const options = JSON.parse(file.metadata.options ?? '{}') as Record<string, unknown>;
  return Object.fromEntries(Object.entries(options).filter(([, v]) => v !== null));
}

/** Outputs that are badly conditioned in float32, as the note of their file says: the scale is that of the largest output. */
function badlyConditioned({ metadata }: GoldenFile): string[] {
  return /compare them absolutely\): ([\w., ]+)/.exec(metadata.note ?? '')?.[1].match(/\bout\.\w+/g) ?? [];
}

/**
 * Cases whose feedback amplifies rounding so far that float32 on a card, where products are of 3xTF32, leaves the usual
 * tolerance of gradients: on `js` and `cpu` this one comes to 9e-5 and 6e-5, on a card to 4e-4.
 */
const ON_CARDS: Readonly<Record<string, number>> = { retroactiveClipped: 6e-4 };

/** The tolerance of a dtype, or a wider one that the note of the file names. */
function toleranceFor(
  { name, metadata }: GoldenFile,
  { device, dtype }: Target,
): { forward: number; gradient: number } {
  const { forward, gradient: usual } = toleranceOf(dtype);
  const gradient = Math.max(usual, device.startsWith('cuda') ? (ON_CARDS[name] ?? 0) : 0);
  const named = /compare states at about (\S+) and gradients at about (\S+) relative/.exec(metadata.note ?? '');
  if (!named) return { forward, gradient };
  return { forward: Math.max(forward, Number(named[1])), gradient: Math.max(gradient, Number(named[2])) };
}

/** Whether the file asks for the states after the last token. */
export function asksForFinals(file: GoldenFile): boolean {
  return [...file.tensors.keys()].some((name) => name.startsWith('out.final'));
}

/** What is wrong with a case, a line for every tensor that is not within its tolerance. */
export function caseFailures(file: GoldenFile, where: Target, run: CaseRunner): string[] {
  return scope(() => {
    const failures: string[] = [];
    const tolerance = toleranceFor(file, where);
    const grads = new Map(withPrefix(file, 'grad.'));
    const inputs = Object.fromEntries(
      withPrefix(file, 'in.').map(([name, a]) => [name, toTensor(a, where, grads.has(name))]),
    );
    const outputs = run(inputs, caseOptions(file), file);
    const bad = badlyConditioned(file);
    const references = withPrefix(file, 'out.');
    const largest = Math.max(0, ...references.map(([, a]) => rms(a.data)));
    let loss: Tensor | undefined;
    for (const [name, reference] of references) {
      const output = outputs[name];
      if (!output || String(output.shape) !== String(reference.shape)) {
        failures.push(`out.${name}: [${reference.shape}] expected, found ${output ? `[${output.shape}]` : 'none'}`);
        continue;
      }
      const least = bad.includes(`out.${name}`) ? largest : 0;
      const difference = differenceOf(`out.${name}`, output.dataSync(), reference.data, tolerance.forward, least);
      if (difference) failures.push(difference);
      const cotangent = file.tensors.get(`cot.${name}`);
      if (!cotangent) continue;
      const part = output.mul(toTensor(cotangent, where)).sum();
      loss = loss ? loss.add(part) : part;
    }
    if (loss?.requiresGrad) loss.backward();
    const floor = 1e-3 * Math.max(0, ...[...grads.values()].map((g) => rms(g.data)));
    for (const [name, reference] of grads) {
      const gradient = inputs[name].grad;
      const values = gradient ? gradient.dataSync() : new Float64Array(reference.data.length);
      const difference = differenceOf(`grad.${name}`, values, reference.data, tolerance.gradient, floor);
      if (difference) failures.push(difference);
      gradient?.dispose();
    }
    return failures;
  });
}

/**
 * A describe block with one test for every case and target; nothing where the vectors are not installed. Without `checks`
 * the places of allocations are not looked for, which takes most of the time of many small operators.
 */
export function describeCases(title: string, files: GoldenFile[], run: CaseRunner, checks = true): void {
  if (files.length === 0) return;
  describe(title, () => {
    for (const where of targets()) {
      for (const file of files) {
        const test = (): unknown => expect(caseFailures(file, where, run)).to.deep.equal([]);
        it(`${file.name} on ${where.device}, ${where.dtype}`, () => void (checks ? test() : withChecks(false, test)));
      }
    }
  });
}
