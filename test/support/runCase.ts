// Runs one stored case: inputs into a function, outputs and gradients against the stored ones.
import { expect } from 'chai';
import { scope, type Device, type DType, type Tensor } from '../../lib';
import { type Array64, type GoldenFile, targets, toTensor } from './golden';
import { expectClose, rms, toleranceOf } from './tolerance';

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

export function checkCase(file: GoldenFile, where: { device: Device; dtype: DType }, run: CaseRunner): void {
  scope(() => {
    const tolerance = toleranceOf(where.dtype);
    const grads = new Map(withPrefix(file, 'grad.'));
    const inputs = Object.fromEntries(
      withPrefix(file, 'in.').map(([name, a]) => [name, toTensor(a, where, grads.has(name))]),
    );
    const outputs = run(inputs, caseOptions(file), file);
    let loss: Tensor | undefined;
    for (const [name, reference] of withPrefix(file, 'out.')) {
      const output = outputs[name];
      expect(output, `out.${name}`).to.not.equal(undefined);
      expect([...output!.shape], `shape of ${name}`).to.deep.equal(reference.shape);
      expectClose(`out.${name}`, output!.dataSync(), reference.data, tolerance.forward);
      const cotangent = file.tensors.get(`cot.${name}`);
      if (!cotangent) continue;
      const part = output!.mul(toTensor(cotangent, where)).sum();
      loss = loss ? loss.add(part) : part;
    }
    if (!loss?.requiresGrad) return;
    loss.backward();
    const floor = 1e-3 * Math.max(0, ...[...grads.values()].map((g) => rms(g.data)));
    for (const [name, reference] of grads) {
      const gradient = inputs[name].grad;
      const values = gradient ? gradient.dataSync() : new Float64Array(reference.data.length);
      expectClose(`grad.${name}`, values, reference.data, tolerance.gradient, floor);
      gradient?.dispose();
    }
  });
}

/** A describe block with one test for every case and target; nothing where the vectors are not installed. */
export function describeCases(title: string, files: GoldenFile[], run: CaseRunner): void {
  if (files.length === 0) return;
  describe(title, () => {
    for (const where of targets()) {
      for (const file of files)
        it(`${file.name} on ${where.device}, ${where.dtype}`, () => checkCase(file, where, run));
    }
  });
}
