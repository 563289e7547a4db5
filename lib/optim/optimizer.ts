// What optimisers share: their parameters' state, one step, saving and going on.
import {
  argumentError,
  checkNumber,
  checkObject,
  formatShape,
  overlaps,
  scope,
  type Shape,
  type Tensor,
} from '../core';
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
  checkGroup,
  collectEntries,
  collectGroups,
  collectSettings,
  type CommonSettings,
  type Entry,
  type ParameterGroup,
  type Parameters,
  type LiveGroup,
  refuseShared,
  type SettingsKind,
} from './parameters';
import { checkRates, checkState, MASTER, type OptimizerState } from './state';

/** What a kernel updates, and by which gradient. */
export interface Updated {
  /** The parameter; of a bfloat16 one its float32 master. */
  target: Tensor;
  /** Contiguous, of the target's shape; bfloat16 beside a master on devices that compute in it. */
  gradient: Tensor;
  /** The buffers by name. */
  state: Readonly<Record<string, Tensor>>;
}

/**
 * What every optimiser does: steps, groups of parameters, a state to save. Its state is `state()` and `loadState()` for all
 * of `optim`, where PyTorch says `state_dict` and `load_state_dict`: it is plain numbers, and tensors by name.
 */
export abstract class Optimizer<S extends CommonSettings> {
  /** Steps taken. */
  steps = 0;
  private readonly groups: LiveGroup<S>[] = [];
  private readonly entries: Entry<S>[] = [];
  private readonly settings: S;
  private rate: number;

  /** Parameters, their groups and settings; every other setting is the kind's default. */
  constructor(
    private readonly kind: SettingsKind<S>,
    parameters: Parameters<S>,
    given: Partial<S>,
  ) {
    checkObject(new.target.name, 'kind', kind);
    checkObject(new.target.name, 'kind.defaults', kind.defaults);
    this.settings = collectSettings(kind, given);
    this.rate = this.settings.lr;
    for (const group of collectGroups(kind, parameters)) this.addParamGroup(group);
  }

  /** The groups in the order in which they came, with live settings: `optimizer.paramGroups[1].weightDecay = 0`. */
  get paramGroups(): readonly LiveGroup<S>[] {
    return this.groups;
  }

  /** Step size of groups that were given none; setting it also sets those of the others, in the ratio they began with. */
  get lr(): number {
    return this.rate;
  }

  set lr(value: number) {
    this.rate = value;
    for (const group of this.groups) group.lr = this.rateOf(group);
  }

  /**
   * Takes further parameters in, with settings of their own or the optimiser's; where `optimizer.lr` has been changed the
   * group's is in the same ratio. Parameters without names count on from those before. Nothing is changed unless all of
   * the group can be taken.
   */
  addParamGroup(group: ParameterGroup<S>): void {
    const added = collectEntries(this.kind, this.settings, group, this.entries);
    added.group.lr = this.rateOf(added.group);
    this.groups.push(added.group);
    this.entries.push(...added.entries);
  }

  /** The buffers that a parameter has, by name, and their shapes. */
  protected abstract buffersOf(parameter: Tensor, settings: S): Readonly<Record<string, Shape>>;

  /**
   * Updates every parameter that has a gradient and requires one. `gradientScale`, a tensor [1], multiplies gradients on
   * the way; where it is NaN no value changes. Of a bfloat16 parameter the optimiser keeps the value in float32, updates
   * that, and rounds it into the parameter. State follows parameters that were moved or cast.
   */
  step(gradientScale: Tensor | null = null): void {
    const where = `${this.kind.where}.step`;
    checkNumber(where, 'lr', this.rate, 0);
    for (const group of this.groups) checkGroup(this.kind, where, group);
    const groups: Entry<S>[][] = [];
    for (const entry of this.entries) {
      const { name, parameter } = entry;
      if (!parameter.requiresGrad || !parameter.grad) continue;
      checkEntry(where, entry, parameter.grad);
      this.kind.checkParameter?.(where, name, parameter, entry.group);
      this.checkApart(where, entry, parameter.grad);
      const group = groups.find(([first]) => shareCall(first, entry));
      if (group) group.push(entry);
      else groups.push([entry]);
    }
    if (gradientScale) checkScale(where, gradientScale, groups);
    this.steps++;
    noGrad(() => {
      for (const same of groups) {
        const { group, steps } = same[0];
        for (const part of chunks(same, MAX_LIST)) {
          part.forEach((entry) => this.prepare(entry));
          scope(() => this.update(part.map(updated), group, steps + 1, gradientScale));
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
  private rateOf({ initialLr }: LiveGroup<S>): number {
    const { lr: base } = this.settings;
    if (initialLr === base) return this.rate;
    return base === 0 ? initialLr : (this.rate / base) * initialLr;
  }

  /** Moves the buffers that there are to their parameter and makes those that are missing. */
  private prepare(entry: Entry<S>): void {
    const { parameter, state } = entry;
    follow(entry);
    const own = this.buffersOf(parameter, entry.group);
    const needed = parameter.dtype === 'bfloat16' ? { ...own, [MASTER]: parameter.shape } : own;
    for (const [buffer, shape] of Object.entries(needed)) {
      state[buffer] ??= zerosBeside(parameter, shape, statisticsDtype(parameter)).persist();
    }
    // A setting that changed may have left one behind.
    for (const buffer of Object.keys(state)) {
      if (buffer in needed) continue;
      state[buffer].dispose();
      delete state[buffer];
    }
  }

  /** Frees the gradients of all parameters. */
  zeroGrad(): void {
    for (const { parameter } of this.entries) {
      parameter.grad?.dispose();
      parameter.grad = null;
    }
  }

  /**
   * What `loadState` needs to go on bit for bit: the numbers as they are, and the buffers themselves, not copies. All of it
   * but `tensors` is plain JSON.
   */
  state(): OptimizerState {
    noGrad(() => this.entries.forEach(follow));
    const tensors = this.entries.flatMap((e) =>
      Object.entries(e.state).map(([b, t]) => [`${e.name}.${b}`, t] as const),
    );
    const counts = this.entries.flatMap(({ name, steps }) => (steps > 0 ? [[name, steps] as const] : []));
    return {
      steps: this.steps,
      lr: this.lr,
      groupLrs: this.groups.map((group) => group.lr),
      parameterSteps: Object.fromEntries(counts),
      tensors: Object.fromEntries(tensors),
    };
  }

  /**
   * Takes over a state saved by an optimiser over the same parameters, which must have their values already. Step sizes are
   * part of it, other settings stay this optimiser's. Nothing is changed unless all of it fits.
   */
  loadState(state: OptimizerState): void {
    const groupLrs = checkRates(state, this.groups.length);
    const loaded = checkState(state, this.entries, (entry) => this.buffersOf(entry.parameter, entry.group)).map(
      ({ entry, steps, buffers }) => {
        const kept = Object.entries(buffers).filter(([b]) => b !== MASTER || entry.parameter.dtype === 'bfloat16');
        const copies = noGrad(() => kept.map(([b, t]) => [b, t.clone().persist()] as const));
        return { entry, steps, state: Object.fromEntries(copies) };
      },
    );
    for (const { entry, steps, state: copies } of loaded) {
      for (const t of Object.values(entry.state)) t.dispose();
      entry.state = copies;
      entry.steps = steps;
      entry.version = MASTER in copies ? entry.parameter.storage.version : -1;
    }
    this.steps = state.steps;
    this.lr = state.lr;
    groupLrs?.forEach((lr, i) => (this.groups[i].lr = lr));
  }

  /** Frees the buffers. */
  dispose(): void {
    for (const { state } of this.entries) for (const t of Object.values(state)) t.dispose();
  }
}

/** Whether two parameters can be updated by one call: a kernel's list has one dtype and one count of steps. */
function shareCall<S extends CommonSettings>(a: Entry<S>, b: Entry<S>): boolean {
  const [x, y] = [a.parameter, b.parameter];
  return a.group === b.group && a.steps === b.steps && x.dtype === y.dtype && x.device === y.device;
}

/** Anybody may have set `.grad`, and a kernel takes sizes and dtypes as they are said. */
function checkEntry<S extends CommonSettings>(where: string, { name, parameter }: Entry<S>, grad: Tensor): void {
  parameter.checkAlive(where);
  grad.checkAlive(where);
  const describeTensor = (t: Tensor): string => `${t.dtype} ${formatShape(t.shape)} on ${t.device}`;
  if (describeTensor(grad) !== describeTensor(parameter)) {
    throw argumentError('SHAPE', where, `gradient of ${name}`, describeTensor(parameter), describeTensor(grad));
  }
  const strided = !parameter.isContiguous ? `parameter ${name}` : grad.isContiguous ? null : `gradient of ${name}`;
  if (strided) throw argumentError('SHAPE', where, strided, 'contiguous', 'a strided view');
}

function checkScale<S extends CommonSettings>(
  where: string,
  scale: Tensor,
  groups: readonly (readonly Entry<S>[])[],
): void {
  checkTensor(where, 'gradientScale', scale);
  checkShape(where, 'gradientScale', scale, [1]);
  if (scale.dtype === 'bfloat16') throw argumentError('DTYPE', where, 'gradientScale', 'float32', 'bfloat16');
  for (const [{ parameter }] of groups) {
    checkAlikeOrWider(where, 'gradientScale', scale, parameter, 'the parameters');
  }
}

/** Brings the buffers to where their parameter is and to its dtype of statistics; only bfloat16 has a master. */
function follow<S extends CommonSettings>({ parameter, state }: Entry<S>): void {
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
function updated<S extends CommonSettings>(entry: Entry<S>): Updated {
  const { parameter, state } = entry;
  const gradient = needsFloat32(parameter) ? toFloat32(parameter.grad!) : parameter.grad!;
  if (parameter.dtype !== 'bfloat16') return { target: parameter, gradient, state };
  if (entry.version !== parameter.storage.version) castInto(parameter, state[MASTER]);
  return { target: state[MASTER], gradient, state };
}

function settle<S extends CommonSettings>(entry: Entry<S>): void {
  const { parameter, state } = entry;
  if (parameter.dtype === 'bfloat16') castInto(state[MASTER], parameter);
  entry.version = ++parameter.storage.version;
  entry.steps++;
}
