// The saved state of an optimiser: numbers and tensors, and the check that all of it fits before any is taken over.
import {
  argumentError,
  checkInteger,
  checkNumber,
  checkObject,
  checkOptions,
  describe,
  FastWeightsError,
  formatShape,
  type OptionNames,
  type Shape,
  Tensor,
} from '../core';
import { statisticsDtype } from '../ops';
import type { CommonSettings, Entry } from './parameters';

/** Numbers and tensors that let an optimiser go on exactly where it was. */
export interface OptimizerState {
  /** Steps taken. */
  steps: number;
  /** Of groups that were given none. */
  lr: number;
  /** Step size of every group; where it is missing they follow from `lr`. */
  groupLrs?: number[];
  /** Steps of each parameter; where it is missing, each with buffers has taken part in all of them. */
  parameterSteps?: Record<string, number>;
  /** `<parameter>.<buffer>` */
  tensors: Record<string, Tensor>;
}

/** What a state holds for one parameter. */
export interface LoadedEntry<S extends CommonSettings> {
  entry: Entry<S>;
  steps: number;
  buffers: Record<string, Tensor>;
}

/** The value of a bfloat16 parameter before rounding. */
export const MASTER = 'master';

const STATE: OptionNames<OptimizerState> = {
  steps: true,
  lr: true,
  groupLrs: true,
  parameterSteps: true,
  tensors: true,
};

/** The step sizes of a state's groups, where it says them; the names in it are those of a state. */
export function checkRates(state: OptimizerState, groups: number): readonly number[] | undefined {
  const where = 'loadState';
  checkObject(where, 'state', state);
  checkOptions(where, state, STATE);
  const { groupLrs } = state;
  if (groupLrs === undefined) return undefined;
  if (!Array.isArray(groupLrs) || groupLrs.length !== groups) {
    throw argumentError('INVALID_ARGUMENT', where, 'groupLrs', `${groups} numbers, one a group`, describe(groupLrs));
  }
  groupLrs.forEach((lr, i) => checkNumber(where, `groupLrs[${i}]`, lr, 0));
  return groupLrs;
}

/** Matches a state with the parameters that it is for; throws, and has changed nothing, where anything does not fit. */
export function checkState<S extends CommonSettings>(
  state: OptimizerState,
  entries: readonly Entry<S>[],
  buffersOf: (entry: Entry<S>) => Readonly<Record<string, Shape>>,
): LoadedEntry<S>[] {
  const where = 'loadState';
  const { parameterSteps: counts, tensors } = state;
  checkInteger(where, 'steps', state.steps);
  checkNumber(where, 'lr', state.lr, 0);
  const loaded = new Map<string, LoadedEntry<S>>(
    entries.map((entry) => [entry.name, { entry, steps: 0, buffers: {} }]),
  );
  const owners = new Map<string, readonly [LoadedEntry<S>, string, Shape]>(
    [...loaded.values()].flatMap((l) =>
      Object.entries({ ...buffersOf(l.entry), [MASTER]: l.entry.parameter.shape }).map(([b, shape]) => [
        `${l.entry.name}.${b}`,
        [l, b, shape],
      ]),
    ),
  );
  for (const [name, tensor] of Object.entries(section(where, 'tensors', tensors))) {
    const owner = owners.get(name);
    if (!owner) {
      throw argumentError('INVALID_ARGUMENT', where, 'tensors', 'buffers of the same parameters', name);
    }
    const [{ entry, buffers: own }, buffer, shape] = owner;
    checkBuffer(where, name, tensor, shape, entry.parameter);
    own[buffer] = tensor;
  }
  const stranger = Object.keys(counts === undefined ? {} : section(where, 'parameterSteps', counts)).find(
    (n) => !loaded.has(n),
  );
  if (stranger !== undefined) {
    throw argumentError('INVALID_ARGUMENT', where, 'parameterSteps', 'counts of the same parameters', stranger);
  }
  for (const { entry, buffers: own } of loaded.values()) {
    const buffers = Object.keys(buffersOf(entry));
    const missing = buffers.filter((b) => !(b in own));
    const begun = buffers.length === 0 || missing.length < buffers.length;
    const fallback = begun && !counts ? state.steps : 0;
    const given: unknown = counts && Object.hasOwn(counts, entry.name) ? counts[entry.name] : fallback;
    // Buffers come from steps; without their count the moments would be corrected as if they were new.
    const least = begun && buffers.length > 0 ? Math.min(1, state.steps) : 0;
    const steps = checkInteger(where, `parameterSteps.${entry.name}`, given, least, state.steps);
    if (missing.length > 0 && (begun || steps > 0 || MASTER in own)) {
      const message = `${where}: parameter ${entry.name} is without ${missing.join(', ')}`;
      throw new FastWeightsError('INVALID_ARGUMENT', message, { argument: `${entry.name}.${missing[0]}` });
    }
    loaded.get(entry.name)!.steps = steps;
  }
  return [...loaded.values()];
}

function section<T>(where: string, argument: string, value: Record<string, T>): Record<string, T> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  throw argumentError('INVALID_ARGUMENT', where, argument, 'an object', describe(value));
}

function checkBuffer(where: string, name: string, tensor: unknown, expected: Shape, parameter: Tensor): void {
  if (!(tensor instanceof Tensor)) throw argumentError('INVALID_ARGUMENT', where, name, 'a tensor', describe(tensor));
  tensor.checkAlive(where);
  const [dtype, shape] = [statisticsDtype(parameter), formatShape(expected)];
  if (formatShape(tensor.shape) !== shape) {
    throw argumentError('SHAPE', where, name, shape, formatShape(tensor.shape));
  }
  if (tensor.dtype !== dtype) throw argumentError('DTYPE', where, name, dtype, tensor.dtype);
  if (tensor.device !== parameter.device) {
    throw argumentError('DEVICE', where, name, `on '${parameter.device}' like its parameter`, `'${tensor.device}'`);
  }
}
