// What a program is: a list of steps over a pool of tensors, and a machine that runs it on one device.
import * as fw from '../../lib';
import type { Target } from '../support/golden';
import { Random } from './random';

/** Where a step's closure gets what is not an input. */
export interface Context extends Target {
  /** A tensor whose gradient is compared at the end. */
  leaf(t: fw.Tensor): fw.Tensor;
  /** The same for a parameter, which no scope frees. */
  own(t: fw.Tensor): void;
}

export interface Step {
  kind: string;
  /** The call as one would write it. */
  text: string;
  /** Numbers of tensors in the pool. */
  inputs: number[];
  outputs: number[];
  /** Changes the memory of its first input. */
  inPlace?: boolean;
  /** Must end in a FastWeightsError. */
  refused?: boolean;
  run(inputs: fw.Tensor[], cx: Context): fw.Tensor[];
}

export interface Program {
  seed: number;
  number: number;
  /** On the tape, with a backward pass at the end; otherwise all of it stands inside `noGrad`. */
  recorded: boolean;
  /** With the checks of values that a program can turn on. */
  checks: boolean;
  /** Waits for the queue after each step. */
  waits: boolean;
  steps: Step[];
  /** What the backward pass starts from. */
  roots: number[];
  /** Tensors that held, or came from, numbers at the ends of float32's range: not compared. */
  extreme: Set<number>;
  /** Results in which NaN may have spread: what is NaN must not be a number. What comes from them is extreme. */
  spread: Set<number>;
}

export interface Numbers {
  data: Awaited<ReturnType<fw.Tensor['data']>>;
  shape: readonly number[];
}

/** All that a run shows of itself. */
export interface Outcome {
  values: Map<number, Numbers>;
  gradients: (Numbers | null)[];
  /** The errors that steps, by their place, and the backward pass ended in. */
  refusals: Map<number | 'backward', fw.FastWeightsError>;
  /** Those that came with the read of a tensor, by its number. */
  late: Map<number, fw.FastWeightsError>;
}

/** What must never happen: another kind of error, a wrong value, a missing refusal. */
export class Fault extends Error {
  constructor(
    message: string,
    readonly step?: Step,
  ) {
    super(message);
  }
}

/** What was thrown, if it is a FastWeightsError; anything else is a fault. */
function refusal(error: unknown, step?: Step): fw.FastWeightsError {
  if (error instanceof fw.FastWeightsError) return error;
  if (error instanceof Fault) throw new Fault(error.message, step);
  throw new Fault(`threw ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`, step);
}

/** The number of an output that a step has beyond those it had when the program was made. */
export const surplus = (place: number, i: number): number => -1 - 8 * place - i;

/** The root mean square of the finite elements, unless a few outshine the others. */
export function typical(y: ArrayLike<number>): number {
  let [sum, most, count] = [0, 0, 0];
  for (let i = 0; i < y.length; i++) {
    if (!Number.isFinite(y[i])) continue;
    sum += y[i] * y[i];
    most = Math.max(most, Math.abs(y[i]));
    count++;
  }
  const rms = Math.sqrt(sum / Math.max(1, count));
  return most <= 30 * rms && most <= 1e3 ? rms : 0;
}

/** The largest size of what is finite. */
export function largest(y: ArrayLike<number>): number {
  return Array.from(y).reduce((most, x) => (Number.isFinite(x) ? Math.max(most, Math.abs(x)) : most), 0);
}

export function allFinite(data: ArrayLike<number>): boolean {
  for (let i = 0; i < data.length; i++) if (!Number.isFinite(data[i])) return false;
  return true;
}

export class Machine {
  readonly pool = new Map<number, fw.Tensor>();
  readonly leaves: fw.Tensor[] = [];
  readonly refusals: Outcome['refusals'] = new Map();
  readonly late: Outcome['late'] = new Map();
  private readonly owned: fw.Tensor[] = [];
  private readonly context: Context;

  /** With `noise` every new tensor is off by up to a millionth, to see what that does to the results. */
  constructor(
    readonly where: Target,
    private readonly recorded: boolean,
    private readonly noise?: Random,
  ) {
    this.context = {
      ...where,
      leaf: (t) => {
        this.leaves.push(t);
        return t;
      },
      own: (t) => {
        this.leaves.push(t);
        this.owned.push(t);
        if (this.noise) fw.noGrad(() => t.mul_(this.factors(t)));
      },
    };
  }

  /** Runs a step whose inputs are there; a refused one has no outputs. */
  run(step: Step, place: number): void {
    const inputs = step.inputs.map((id) => this.pool.get(id));
    if (inputs.some((t) => t === undefined)) return;
    let outputs: fw.Tensor[];
    try {
      const call = (): fw.Tensor[] => step.run(inputs as fw.Tensor[], this.context);
      outputs = this.recorded ? call() : fw.noGrad(call);
    } catch (error) {
      this.refusals.set(place, refusal(error, step));
      return;
    }
    const changed = step.inPlace && this.noise ? inputs[0]! : undefined;
    if (changed && changed.dtype === this.where.dtype) fw.noGrad(() => changed.mul_(this.factors(changed)));
    outputs.forEach((t, i) => {
      const fresh = inputs.every((input) => input!.storage !== t.storage);
      const kept = this.noise && fresh ? this.disturbed(t, inputs.length > 0) : t;
      this.pool.set(step.outputs[i] ?? surplus(place, i), kept);
    });
  }

  /** What a tensor holds; undefined when it was freed or the work behind it failed. */
  read(id: number): Numbers | undefined {
    const t = this.pool.get(id);
    if (!t || t.isDisposed || this.late.has(id)) return undefined;
    try {
      return { data: t.dataSync(), shape: t.shape };
    } catch (error) {
      this.late.set(id, refusal(error));
      return undefined;
    }
  }

  /**
   * Times and plus a little: a factor alone leaves gradients that cancel because scale does not matter as exactly
   * cancelled as they were, and a summand alone disturbs nothing that comes back. Small elements of a result are as
   * inexact as its other elements.
   */
  private disturbed(t: fw.Tensor, computed: boolean): fw.Tensor {
    if (t.dtype !== this.where.dtype) return t;
    const data = t.dataSync();
    const least = computed ? 0.1 * typical(data) : 0;
    const off = (x: number): number => (Math.abs(x) + least) * this.noise!.uniform(-1e-6, 1e-6);
    const summand = data.map((x) => (Number.isFinite(x) ? off(x) : 0));
    return t.mul(this.factors(t)).add(fw.tensor(summand, { shape: t.shape, ...this.where }));
  }

  private factors({ shape, size }: fw.Tensor): fw.Tensor {
    const factors = Float64Array.from({ length: size }, () => 1 + this.noise!.uniform(-1e-6, 1e-6));
    return fw.tensor(factors, { shape, ...this.where });
  }

  /** Values of everything in the pool, then the gradients. */
  finish(program: Program): Outcome {
    const values = new Map<number, Numbers>();
    for (const id of this.pool.keys()) {
      const numbers = this.read(id);
      if (numbers) values.set(id, numbers);
    }
    const gradients = this.gradients(program);
    this.owned.forEach((t) => t.dispose());
    return { values, gradients, refusals: this.refusals, late: this.late };
  }

  private gradients({ roots, seed, number }: Program): (Numbers | null)[] {
    if (!this.recorded) return [];
    const random = new Random(seed + 1, number);
    try {
      let loss: fw.Tensor | undefined;
      for (const id of roots) {
        const t = this.pool.get(id);
        if (!t || t.isDisposed || !t.requiresGrad) continue;
        const weights = Float64Array.from({ length: t.size }, () => Math.fround(random.normal()));
        const part = t.mul(fw.tensor(weights, { shape: t.shape, dtype: t.dtype, device: t.device })).sum();
        loss = loss ? loss.add(part.to(loss.dtype)) : part;
      }
      loss?.backward();
    } catch (error) {
      this.refusals.set('backward', refusal(error));
    }
    return this.leaves.map((leaf) => {
      const { grad } = leaf;
      if (!grad) return null;
      leaf.grad = null;
      const numbers = { data: grad.dataSync(), shape: grad.shape };
      grad.dispose();
      return numbers;
    });
  }
}

/** Runs a whole program. What was made on the way is freed. */
export function execute(
  program: Program,
  where: Target,
  { noise, before }: { noise?: Random; before?: (text: string) => void } = {},
): Outcome {
  fw.setChecks(program.checks && 'values');
  return fw.scope(() => {
    const machine = new Machine(where, program.recorded, noise);
    program.steps.forEach((step, place) => {
      before?.(step.text);
      machine.run(step, place);
      if (program.waits) step.outputs.forEach((id) => machine.read(id));
    });
    return machine.finish(program);
  });
}
