// The exponential moving average of weights.
import {
  argumentError,
  checkInteger,
  checkNumber,
  checkObject,
  checkOptions,
  formatShape,
  type OptionNames,
  sameShape,
  scope,
  type Storage,
  Tensor,
} from '../core';
import { noGrad } from '../autograd';
import { MAX_LIST } from '../backends';
import { chunks, convert, statisticsDtype, toFloat32 } from '../ops';
import { blend } from './lists';
import { checkParameter, iterable, type Parameter } from './parameters';

/** How weights are averaged. */
export interface EmaOptions {
  /** How much of the average an update keeps, 0 to 1; 0.999. */
  decay?: number;
}

/** The saved state of an average. */
export interface EmaState {
  /** Calls of `update`. */
  updates: number;
  /** The averages by the name of their parameter, float32 beside bfloat16. */
  tensors: Record<string, Tensor>;
}

const OPTIONS: OptionNames<EmaOptions> = { decay: true };
const STATE: OptionNames<EmaState> = { updates: true, tensors: true };

/**
 * average = decay average + (1 - decay) parameter, beginning with the values that the parameters have when this is made
 * (`AveragedModel` of PyTorch with `get_ema_multi_avg_fn` begins at its first update). float32 beside bfloat16 parameters.
 * Update it after every step of the optimiser, and evaluate within `withAverages`.
 */
export class ExponentialMovingAverage {
  /** How much of the average an update keeps. */
  readonly decay: number;
  /** Calls of `update`. */
  updates = 0;
  private readonly named: readonly (readonly [name: string, parameter: Tensor])[];
  private averages: Tensor[];

  /** Of `model.parameters()` or `model.namedParameters()`; buffers are not averaged. */
  constructor(parameters: Iterable<Parameter>, options: EmaOptions = {}) {
    const where = 'ExponentialMovingAverage';
    checkOptions(where, options, OPTIONS);
    this.decay = checkNumber(where, 'decay', options.decay ?? 0.999, 0, 1);
    this.named = [...iterable(where, 'parameters', parameters)].map((item, i) => checkParameter(where, item, i));
    this.averages = this.named.map(([, t]) => noGrad(() => scope(() => toFloat32(t.detach()).clone())).persist());
  }

  /** Takes the parameters as they are now into the averages. */
  update(): void {
    this.follow('update');
    this.updates++;
    const groups = new Map<string, [Tensor, Tensor][]>();
    this.named.forEach(([, t], i) => {
      const key = `${t.device} ${t.dtype}`;
      groups.set(key, [...(groups.get(key) ?? []), [this.averages[i], t]]);
    });
    noGrad(() =>
      scope(() => {
        for (const pairs of [...groups.values()].flatMap((group) => chunks(group, MAX_LIST))) {
          const values = pairs.map(([, t]) => toFloat32(t.detach()).contiguous());
          blend(
            pairs.map(([average]) => average),
            values,
            1 - this.decay,
            null,
          );
        }
      }),
    );
  }

  /**
   * Writes the averages into the parameters; what these held is gone. Averages know nothing of adapters: copy them before
   * `nn.mergeLora`, not after.
   */
  copyTo(): void {
    this.follow('copyTo');
    noGrad(() => this.write());
  }

  /**
   * Runs `fn`, or waits for it where it is asynchronous, while the parameters hold the averages, rounded where they are
   * bfloat16; afterwards they hold what they did, also for an optimiser that keeps float32 values beside them. Handles of
   * them made before (`detach()`) do not see the averages. Averages know nothing of adapters: merged ones (`nn.mergeLora`) are
   * not in them, and none may be merged or unmerged within `fn`.
   */
  withAverages<T>(fn: () => T): T {
    this.follow('withAverages');
    const restore = this.exchange();
    let result: T;
    try {
      result = fn();
    } catch (error) {
      restore();
      throw error;
    }
    if (!(result instanceof Promise)) {
      restore();
      return result;
    }
    return result.finally(restore) as T;
  }

  /** What `loadState` needs to go on bit for bit; the averages themselves, not copies. */
  state(): EmaState {
    this.follow('state');
    return { updates: this.updates, tensors: Object.fromEntries(this.named.map(([n], i) => [n, this.averages[i]])) };
  }

  /** Takes over averages of the same parameters; nothing is changed unless all of them fit. */
  loadState(state: EmaState): void {
    const where = 'loadState';
    this.follow(where);
    checkObject(where, 'state', state);
    checkOptions(where, state, STATE);
    const { tensors } = state;
    checkInteger(where, 'updates', state.updates);
    checkObject(where, 'tensors', tensors);
    const stranger = Object.keys(tensors).find((name) => !this.named.some(([own]) => own === name));
    if (stranger !== undefined) {
      throw argumentError('INVALID_ARGUMENT', where, 'tensors', 'averages of the same parameters', stranger);
    }
    this.named.forEach(([name], i) => checkAverage(where, name, tensors[name], this.averages[i]));
    const copies = this.named.map(([name]) => noGrad(() => scope(() => tensors[name].clone())).persist());
    this.dispose();
    this.averages = copies;
    this.updates = state.updates;
  }

  /** Frees the averages. */
  dispose(): void {
    for (const t of this.averages) t.dispose();
  }

  /** Brings the averages to where their parameters are now. */
  private follow(where: string): void {
    this.named.forEach(([, t], i) => {
      t.checkAlive(where);
      const before = this.averages[i];
      before.checkAlive(where);
      const dtype = statisticsDtype(t);
      if (before.dtype === dtype && before.device === t.device) return;
      this.averages[i] = noGrad(() => scope(() => convert(before, t.device, dtype))).persist();
      before.dispose();
    });
  }

  private write(): void {
    this.named.forEach(([, t], i) => scope(() => t.copy_(convert(this.averages[i], t.device, t.dtype))));
  }

  /** Lays the parameters on memory of their own with the averages; the result puts them back. */
  private exchange(): () => void {
    const kept = this.named.map(([, t]) => ({ t, handle: t.detach().persist(), version: t.storage.version }));
    noGrad(() =>
      scope(() => {
        const copies = new Map<Storage, Tensor>();
        for (const { t, handle } of kept) {
          const { storage } = handle;
          if (!copies.has(storage)) copies.set(storage, new Tensor(storage, [storage.length]).clone());
          t.moveTo(copies.get(storage)!.storage);
        }
        this.write();
      }),
    );
    return () => {
      for (const { t, handle, version } of kept) {
        // The bits are those of before, and so is what was said of them.
        if (!t.isDisposed) {
          t.moveTo(handle.storage);
          handle.storage.version = version;
        }
        handle.dispose();
      }
    };
  }
}

function checkAverage(where: string, name: string, given: unknown, own: Tensor): void {
  if (!(given instanceof Tensor)) throw argumentError('INVALID_ARGUMENT', where, name, 'a tensor', String(given));
  given.checkAlive(where);
  const [expected, found] = [own, given].map((t) => `${t.dtype} ${formatShape(t.shape)} on ${t.device}`);
  if (sameShape(own.shape, given.shape) && expected === found) return;
  throw argumentError('SHAPE', where, name, expected, found);
}
