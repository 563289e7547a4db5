// What optimisers share: groups of parameters, their state by name, one step.
import { argumentError, checkNumber, describe, formatShape, overlaps, scope, Tensor } from '../core';
import { noGrad } from '../autograd';
import { MAX_LIST } from '../backends';
import {
  castInto,
  checkAlikeOrWider,
  checkShape,
  checkTensor,
  chunks,
  isNarrow,
  statisticsDtype,
  widen,
  zerosLike,
} from '../ops';

/** A parameter, with the name under which its state is saved; its position when none is given. */
export type Parameter = Tensor | readonly [name: string, parameter: Tensor];

/** Parameters with settings of their own, for instance no weight decay for norms. */
export type ParameterGroup<S extends object> = { params: Iterable<Parameter> } & Partial<S>;

/** What optimisers take: `model.parameters()`, `model.namedParameters()`, or groups of either. */
export type Parameters<S extends object> = Iterable<Parameter> | readonly ParameterGroup<S>[];

/** Settings that every optimiser has. */
export interface CommonSettings {
  /** Step size. In a group it keeps its ratio to that of the optimiser when a schedule changes it. */
  lr: number;
  weightDecay: number;
}

export interface Entry<S> {
  name: string;
  parameter: Tensor;
  settings: S;
  /** Buffers of the dtype of statistics; of a bfloat16 parameter also its `master`, the value before rounding. */
  state: Record<string, Tensor>;
  /** Of the parameter's storage when its master was right. */
  version: number;
}

/** What a kernel updates, and by which gradient. */
export interface Updated {
  target: Tensor;
  gradient: Tensor;
  state: Readonly<Record<string, Tensor>>;
}

const MASTER = 'master';

/** Numbers and tensors that let an optimiser go on exactly where it was. */
export interface OptimizerState {
  steps: number;
  lr: number;
  /** `<parameter>.<buffer>` */
  tensors: Record<string, Tensor>;
}

function isGroup<S extends object>(item: Parameter | ParameterGroup<S>): item is ParameterGroup<S> {
  return typeof item === 'object' && item !== null && 'params' in item;
}

export abstract class Optimizer<S extends CommonSettings> {
  /** Steps taken. */
  steps = 0;
  /** Step size; schedules set it before every step. */
  lr: number;
  protected readonly entries: Entry<S>[] = [];
  /** Names of the buffers that every parameter has. */
  protected abstract readonly buffers: readonly string[];

  constructor(where: string, parameters: Parameters<S>, settings: S) {
    this.where = where;
    this.lr = checkNumber(where, 'lr', settings.lr, 0);
    const seen = new Set<Tensor>();
    const add = (item: Parameter, own: S): void => {
      const [name, parameter] = item instanceof Tensor ? [String(this.entries.length), item] : item;
      if (!(parameter instanceof Tensor) || !parameter.requiresGrad) {
        throw argumentError(
          'INVALID_ARGUMENT',
          where,
          `parameter ${name}`,
          'a tensor that requires a gradient',
          describe(parameter),
        );
      }
      if (seen.has(parameter)) {
        throw argumentError('INVALID_ARGUMENT', where, `parameter ${name}`, 'given once', 'a parameter given before');
      }
      for (const other of seen) {
        if (overlaps(parameter, other)) this.refuseShared(where, `parameter ${name}`);
      }
      seen.add(parameter);
      this.entries.push({ name, parameter, settings: own, state: {}, version: -1 });
    };
    for (const item of parameters) {
      if (!isGroup<S>(item)) add(item, settings);
      else {
        const { params, ...own } = item;
        const group = { ...settings, ...own };
        checkNumber(where, 'lr', group.lr, 0);
        for (const parameter of params) add(parameter, group);
      }
    }
    this.baseLr = settings.lr;
  }

  private readonly where: string;
  private readonly baseLr: number;

  /**
   * Updates every parameter that has a gradient. `gradientScale`, a tensor [1], multiplies gradients on the way. Of a
   * bfloat16 parameter the optimiser keeps the value in float32, updates that, and rounds it into the parameter.
   */
  step(gradientScale: Tensor | null = null): void {
    if (gradientScale) this.checkScale(gradientScale);
    // What can share a call: the same settings, the same device.
    const groups: Entry<S>[][] = [];
    for (const entry of this.entries) {
      const { parameter, settings } = entry;
      if (!parameter.grad) continue;
      this.checkEntry(entry, parameter.grad);
      const group = groups.find(([e]) => e.settings === settings && e.parameter.device === parameter.device);
      if (group) group.push(entry);
      else groups.push([entry]);
    }
    this.steps++;
    noGrad(() => {
      for (const group of groups) {
        const { settings } = group[0];
        const lr = settings.lr === this.baseLr ? this.lr : (this.lr / (this.baseLr || this.lr || 1)) * settings.lr;
        for (const part of chunks(group, MAX_LIST)) {
          part.forEach((entry) => this.ensureBuffers(entry));
          scope(() => this.update(part.map(updated), { ...settings, lr }, gradientScale));
          for (const entry of part) settle(entry);
        }
      }
    });
  }

  /** Anybody may have set `.grad`, and a kernel takes sizes and dtypes as they are said. */
  private checkEntry({ name, parameter }: Entry<S>, grad: Tensor): void {
    const where = `${this.where}.step`;
    parameter.checkAlive(where);
    grad.checkAlive(where);
    const describeTensor = (t: Tensor): string => `${t.dtype} ${formatShape(t.shape)} on ${t.device}`;
    if (describeTensor(grad) !== describeTensor(parameter)) {
      throw argumentError('SHAPE', where, `gradient of ${name}`, describeTensor(parameter), describeTensor(grad));
    }
    // A gradient from a backward pass is the only one to hold its memory.
    if (!grad.storage.isUnshared && this.entries.some((e) => overlaps(e.parameter, grad))) {
      this.refuseShared(where, `gradient of ${name}`);
    }
    const strided = !parameter.isContiguous ? `parameter ${name}` : grad.isContiguous ? null : `gradient of ${name}`;
    if (strided) throw argumentError('SHAPE', where, strided, 'contiguous', 'a strided view');
  }

  private refuseShared(where: string, argument: string): never {
    throw argumentError(
      'INVALID_ARGUMENT',
      where,
      argument,
      'apart from the parameters',
      "one that shares a parameter's memory",
    );
  }

  private checkScale(scale: Tensor): void {
    const where = `${this.where}.step`;
    const first = this.entries[0]?.parameter;
    checkTensor(where, 'gradientScale', scale);
    checkShape(where, 'gradientScale', scale, [1]);
    if (!first) return;
    if (scale.dtype === 'bfloat16') throw argumentError('DTYPE', where, 'gradientScale', 'float32', 'bfloat16');
    checkAlikeOrWider(where, 'gradientScale', scale, first, 'the parameters');
  }

  /** Parameters with the same settings, in one call; `settings.lr` is the step size of now. */
  protected abstract update(entries: readonly Updated[], settings: S, gradientScale: Tensor | null): void;

  private ensureBuffers({ parameter, state }: Entry<S>): void {
    const dtype = statisticsDtype(parameter);
    for (const buffer of this.buffersOf(parameter)) {
      state[buffer] ??= zerosLike(parameter, parameter.shape, dtype).persist();
    }
  }

  private buffersOf(parameter: Tensor): readonly string[] {
    return parameter.dtype === 'bfloat16' ? [...this.buffers, MASTER] : this.buffers;
  }

  zeroGrad(): void {
    for (const { parameter } of this.entries) {
      parameter.grad?.dispose();
      parameter.grad = null;
    }
  }

  state(): OptimizerState {
    const tensors = this.entries.flatMap((e) =>
      Object.entries(e.state).map(([b, t]) => [`${e.name}.${b}`, t] as const),
    );
    return { steps: this.steps, lr: this.lr, tensors: Object.fromEntries(tensors) };
  }

  /** Takes over a state saved by an optimiser over the same parameters, which must have their values already. */
  loadState(state: OptimizerState): void {
    const known = new Map<string, { e: Entry<S>; b: string }>(
      this.entries.flatMap((e) => this.buffersOf(e.parameter).map((b) => [`${e.name}.${b}`, { e, b }] as const)),
    );
    for (const name of Object.keys(state.tensors)) {
      if (!known.has(name))
        throw argumentError('INVALID_ARGUMENT', 'loadState', 'tensors', 'buffers of the same parameters', name);
    }
    noGrad(() => {
      for (const [name, source] of Object.entries(state.tensors)) {
        const { e, b } = known.get(name)!;
        this.ensureBuffers(e);
        e.state[b].copy_(source);
        if (b === MASTER) e.version = e.parameter.storage.version;
      }
    });
    this.steps = state.steps;
    this.lr = state.lr;
  }

  /** Frees the buffers. */
  dispose(): void {
    for (const { state } of this.entries) for (const t of Object.values(state)) t.dispose();
  }
}

/** Anybody may change a parameter between two steps: its master then begins anew. */
function updated<S>(entry: Entry<S>): Updated {
  const { parameter, state } = entry;
  const gradient = isNarrow(parameter) ? widen(parameter.grad!) : parameter.grad!;
  if (parameter.dtype !== 'bfloat16') return { target: parameter, gradient, state };
  if (entry.version !== parameter.storage.version) castInto(parameter, state[MASTER]);
  return { target: state[MASTER], gradient, state };
}

function settle<S>(entry: Entry<S>): void {
  const { parameter, state } = entry;
  if (parameter.dtype === 'bfloat16') castInto(state[MASTER], parameter);
  entry.version = ++parameter.storage.version;
}
