// What optimisers share: their parameters' state, one step, saving and going on.
import { argumentError, checkNumber, formatShape, overlaps, scope, type Tensor } from '../core';
import { noGrad } from '../autograd';
import { MAX_LIST } from '../backends';
import {
  castInto,
  checkAlikeOrWider,
  checkShape,
  checkTensor,
  chunks,
  convert,
  needsFloat32,
  statisticsDtype,
  toFloat32,
  zerosBeside,
} from '../ops';
import {
  collectEntries,
  type CommonSettings,
  type Entry,
  type Parameters,
  refuseShared,
  type SettingsKind,
} from './parameters';
import { checkState, MASTER, type OptimizerState } from './state';

/** What a kernel updates, and by which gradient. */
export interface Updated {
  target: Tensor;
  gradient: Tensor;
  state: Readonly<Record<string, Tensor>>;
}

export abstract class Optimizer<S extends CommonSettings> {
  /** Steps taken. */
  steps = 0;
  /** Step size; schedules set it before every step. */
  lr: number;
  protected readonly entries: Entry<S>[];
  /** Names of the buffers that every parameter has. */
  protected abstract readonly buffers: readonly string[];
  private readonly where: string;
  private readonly baseLr: number;

  constructor(kind: SettingsKind<S>, parameters: Parameters<S>, given: Partial<S>) {
    const { settings, entries } = collectEntries(kind, parameters, given);
    this.where = kind.where;
    this.entries = entries;
    this.lr = this.baseLr = settings.lr;
  }

  /**
   * Updates every parameter that has a gradient and requires one. `gradientScale`, a tensor [1], multiplies gradients on
   * the way; where it is NaN no value changes. Of a bfloat16 parameter the optimiser keeps the value in float32, updates
   * that, and rounds it into the parameter. State follows parameters that were moved or cast.
   */
  step(gradientScale: Tensor | null = null): void {
    const where = `${this.where}.step`;
    checkNumber(where, 'lr', this.lr, 0);
    const groups: Entry<S>[][] = [];
    for (const entry of this.entries) {
      const { parameter } = entry;
      if (!parameter.requiresGrad || !parameter.grad) continue;
      checkEntry(where, entry, parameter.grad);
      this.checkApart(where, entry, parameter.grad);
      const group = groups.find(([first]) => shareCall(first, entry));
      if (group) group.push(entry);
      else groups.push([entry]);
    }
    if (gradientScale) checkScale(where, gradientScale, groups);
    this.steps++;
    noGrad(() => {
      for (const group of groups) {
        const { settings, steps } = group[0];
        const current = { ...settings, lr: this.rateOf(settings) };
        for (const part of chunks(group, MAX_LIST)) {
          part.forEach((entry) => this.prepare(entry));
          scope(() => this.update(part.map(updated), current, steps + 1, gradientScale));
          for (const entry of part) settle(entry);
        }
      }
    });
  }

  /** A gradient from a backward pass is the only one to hold its memory. */
  private checkApart(where: string, { name }: Entry<S>, grad: Tensor): void {
    if (grad.storage.isUnshared || !this.entries.some((e) => overlaps(e.parameter, grad))) return;
    refuseShared(where, `gradient of ${name}`);
  }

  /**
   * Parameters with the same settings, in one call; `settings.lr` is the step size of now, `steps` counts those of these
   * parameters, this one included.
   */
  protected abstract update(
    entries: readonly Updated[],
    settings: S,
    steps: number,
    gradientScale: Tensor | null,
  ): void;

  /** To a base of 0 there is no ratio that a group could keep. */
  private rateOf({ lr }: S): number {
    if (lr === this.baseLr) return this.lr;
    return this.baseLr === 0 ? lr : (this.lr / this.baseLr) * lr;
  }

  /** Moves the buffers that there are to their parameter and makes those that are missing. */
  private prepare(entry: Entry<S>): void {
    const { parameter, state } = entry;
    follow(entry);
    const needed = parameter.dtype === 'bfloat16' ? [...this.buffers, MASTER] : this.buffers;
    for (const buffer of needed) {
      state[buffer] ??= zerosBeside(parameter, parameter.shape, statisticsDtype(parameter)).persist();
    }
  }

  zeroGrad(): void {
    for (const { parameter } of this.entries) {
      parameter.grad?.dispose();
      parameter.grad = null;
    }
  }

  state(): OptimizerState {
    noGrad(() => this.entries.forEach(follow));
    const tensors = this.entries.flatMap((e) =>
      Object.entries(e.state).map(([b, t]) => [`${e.name}.${b}`, t] as const),
    );
    const counts = this.entries.flatMap(({ name, steps }) => (steps > 0 ? [[name, steps] as const] : []));
    return {
      steps: this.steps,
      lr: this.lr,
      parameterSteps: Object.fromEntries(counts),
      tensors: Object.fromEntries(tensors),
    };
  }

  /**
   * Takes over a state saved by an optimiser over the same parameters, which must have their values already. Nothing is
   * changed unless all of it fits.
   */
  loadState(state: OptimizerState): void {
    const loaded = checkState(state, this.entries, this.buffers).map(({ entry, steps, buffers }) => {
      const kept = Object.entries(buffers).filter(([b]) => b !== MASTER || entry.parameter.dtype === 'bfloat16');
      const copies = noGrad(() => kept.map(([b, t]) => [b, t.clone().persist()] as const));
      return { entry, steps, state: Object.fromEntries(copies) };
    });
    for (const { entry, steps, state: copies } of loaded) {
      for (const t of Object.values(entry.state)) t.dispose();
      entry.state = copies;
      entry.steps = steps;
      entry.version = MASTER in copies ? entry.parameter.storage.version : -1;
    }
    this.steps = state.steps;
    this.lr = state.lr;
  }

  /** Frees the buffers. */
  dispose(): void {
    for (const { state } of this.entries) for (const t of Object.values(state)) t.dispose();
  }
}

/** Whether two parameters can be updated by one call: a kernel's list has one dtype and one count of steps. */
function shareCall<S>(a: Entry<S>, b: Entry<S>): boolean {
  const [x, y] = [a.parameter, b.parameter];
  return a.settings === b.settings && a.steps === b.steps && x.dtype === y.dtype && x.device === y.device;
}

/** Anybody may have set `.grad`, and a kernel takes sizes and dtypes as they are said. */
function checkEntry<S>(where: string, { name, parameter }: Entry<S>, grad: Tensor): void {
  parameter.checkAlive(where);
  grad.checkAlive(where);
  const describeTensor = (t: Tensor): string => `${t.dtype} ${formatShape(t.shape)} on ${t.device}`;
  if (describeTensor(grad) !== describeTensor(parameter)) {
    throw argumentError('SHAPE', where, `gradient of ${name}`, describeTensor(parameter), describeTensor(grad));
  }
  const strided = !parameter.isContiguous ? `parameter ${name}` : grad.isContiguous ? null : `gradient of ${name}`;
  if (strided) throw argumentError('SHAPE', where, strided, 'contiguous', 'a strided view');
}

function checkScale<S>(where: string, scale: Tensor, groups: readonly (readonly Entry<S>[])[]): void {
  checkTensor(where, 'gradientScale', scale);
  checkShape(where, 'gradientScale', scale, [1]);
  if (scale.dtype === 'bfloat16') throw argumentError('DTYPE', where, 'gradientScale', 'float32', 'bfloat16');
  for (const [{ parameter }] of groups) {
    checkAlikeOrWider(where, 'gradientScale', scale, parameter, 'the parameters');
  }
}

/** Brings the buffers to where their parameter is and to its dtype of statistics; only bfloat16 has a master. */
function follow<S>({ parameter, state }: Entry<S>): void {
  const dtype = statisticsDtype(parameter);
  for (const [buffer, before] of Object.entries(state)) {
    const needless = buffer === MASTER && parameter.dtype !== 'bfloat16';
    if (!needless && before.dtype === dtype && before.device === parameter.device) continue;
    if (needless) delete state[buffer];
    else state[buffer] = scope(() => convert(before, parameter.device, dtype)).persist();
    before.dispose();
  }
}

/** Anybody may change a parameter between two steps: its master then begins anew. */
function updated<S>(entry: Entry<S>): Updated {
  const { parameter, state } = entry;
  const gradient = needsFloat32(parameter) ? toFloat32(parameter.grad!) : parameter.grad!;
  if (parameter.dtype !== 'bfloat16') return { target: parameter, gradient, state };
  if (entry.version !== parameter.storage.version) castInto(parameter, state[MASTER]);
  return { target: state[MASTER], gradient, state };
}

function settle<S>(entry: Entry<S>): void {
  const { parameter, state } = entry;
  if (parameter.dtype === 'bfloat16') castInto(state[MASTER], parameter);
  entry.version = ++parameter.storage.version;
  entry.steps++;
}
