// What optimisers share: groups of parameters, their state by name, one step.
import { argumentError, describe, FastWeightsError, Tensor } from '../core';
import { noGrad } from '../autograd';
import { zerosLike } from '../ops';

/** Parameters by name with settings of their own, for instance no weight decay for norms. */
export interface ParameterGroup<S extends object> {
  parameters: readonly (readonly [string, Tensor])[];
  settings?: Partial<S>;
}

interface Entry<S> {
  name: string;
  parameter: Tensor;
  settings: S;
  state: Record<string, Tensor>;
}

/** Numbers and tensors that let an optimiser go on exactly where it was. */
export interface OptimizerState {
  steps: number;
  learningRate: number;
  /** `<parameter>.<buffer>` */
  tensors: Record<string, Tensor>;
}

export abstract class Optimizer<S extends { weightDecay: number }> {
  /** Steps taken. */
  steps = 0;
  protected readonly entries: Entry<S>[];
  /** Names of the buffers that every parameter has. */
  protected abstract readonly buffers: readonly string[];

  constructor(
    where: string,
    groups: readonly ParameterGroup<S>[] | readonly (readonly [string, Tensor])[],
    /** Step size; schedules set it before every step. */
    public learningRate: number,
    settings: S,
  ) {
    const list = groups.length > 0 && Array.isArray(groups[0]) ? [{ parameters: groups as readonly (readonly [string, Tensor])[] }] : (groups as readonly ParameterGroup<S>[]);
    this.entries = list.flatMap((group) =>
      group.parameters.map(([name, parameter]) => {
        if (!(parameter instanceof Tensor) || !parameter.requiresGrad) {
          throw argumentError('INVALID_ARGUMENT', where, `parameter ${name}`, 'a tensor that requires a gradient', describe(parameter));
        }
        return { name, parameter, settings: { ...settings, ...(group as ParameterGroup<S>).settings }, state: {} };
      }),
    );
  }

  /** Updates every parameter that has a gradient. `gradientScale`, a tensor [1], multiplies gradients on the way. */
  step(gradientScale: Tensor | null = null): void {
    this.steps++;
    noGrad(() => {
      for (const entry of this.entries) {
        const { parameter } = entry;
        if (!parameter.grad) continue;
        if (!parameter.isContiguous || !parameter.grad.isContiguous) {
          throw new FastWeightsError('SHAPE', `step: parameter ${entry.name} must be contiguous`);
        }
        this.ensureBuffers(entry);
        this.update(entry, parameter.grad, gradientScale);
        parameter.storage.version++;
      }
    });
  }

  protected abstract update(entry: Entry<S>, gradient: Tensor, gradientScale: Tensor | null): void;

  private ensureBuffers(entry: Entry<S>): void {
    for (const buffer of this.buffers) entry.state[buffer] ??= zerosLike(entry.parameter).persist();
  }

  zeroGrad(): void {
    for (const { parameter } of this.entries) {
      parameter.grad?.dispose();
      parameter.grad = null;
    }
  }

  state(): OptimizerState {
    const tensors = this.entries.flatMap((e) => Object.entries(e.state).map(([b, t]) => [`${e.name}.${b}`, t] as const));
    return { steps: this.steps, learningRate: this.learningRate, tensors: Object.fromEntries(tensors) };
  }

  /** Takes over a state saved by an optimiser over the same parameters. */
  loadState(state: OptimizerState): void {
    const known = new Map<string, { e: Entry<S>; b: string }>(
      this.entries.flatMap((e) => this.buffers.map((b) => [`${e.name}.${b}`, { e, b }] as const)),
    );
    for (const name of Object.keys(state.tensors)) {
      if (!known.has(name)) throw argumentError('INVALID_ARGUMENT', 'loadState', 'tensors', 'buffers of the same parameters', name);
    }
    noGrad(() => {
      for (const [name, source] of Object.entries(state.tensors)) {
        const { e, b } = known.get(name)!;
        this.ensureBuffers(e);
        e.state[b].copy_(source);
      }
    });
    this.steps = state.steps;
    this.learningRate = state.learningRate;
  }

  /** Frees the buffers. */
  dispose(): void {
    for (const { state } of this.entries) for (const t of Object.values(state)) t.dispose();
  }
}

export type { Entry };
