// What an optimiser is given: parameters by name, groups of them, and their settings, all checked.
import {
  argumentError,
  checkNumber,
  checkOptions,
  describe,
  type OptionNames,
  overlaps,
  refuseKey,
  Tensor,
} from '../core';

/** A parameter, with the name under which its state is saved; its position when none is given. */
export type Parameter = Tensor | readonly [name: string, parameter: Tensor];

/** Parameters with settings of their own, for instance no weight decay for norms; those not given are the optimiser's. */
export type ParameterGroup<S extends object> = {
  /** The parameters, with or without names. */
  params: Iterable<Parameter>;
} & Partial<S>;

/**
 * What optimisers take: `model.parameters()`, `model.namedParameters()`, or groups of either. Those beside groups make one
 * of their own.
 */
export type Parameters<S extends object> = Iterable<Parameter | ParameterGroup<S>>;

/** Settings that every optimiser has. */
export interface CommonSettings {
  /** Step size, 0 or more. In a group it keeps its ratio to that of the optimiser when that is set (`optimizer.lr`). */
  lr: number;
  /** Weight decay, 0 or more: how much of a parameter the gradient, or the parameter itself, loses for each unit of it. */
  weightDecay: number;
}

/**
 * A group that an optimiser has, in `paramGroups`: its settings are live, a step takes them as they are then and refuses
 * what they may not be. The state that is saved holds the `lr` of every group and no other setting, unlike PyTorch's.
 */
export type LiveGroup<S extends CommonSettings> = S & {
  /** The parameters of the group; `addParamGroup` brings others. */
  readonly params: readonly Tensor[];
  /** The `lr` that it was made with, to which the factors of schedules refer. */
  readonly initialLr: number;
};

/** The settings of one kind of optimiser: every default, and which values are allowed. */
export interface SettingsKind<S> {
  where: string;
  defaults: S;
  check(where: string, settings: S): void;
  /** Refuses parameters that this kind has no step for. */
  checkParameter?(where: string, name: string, parameter: Tensor, settings: S): void;
}

export interface Entry<S extends CommonSettings> {
  name: string;
  parameter: Tensor;
  group: LiveGroup<S>;
  /** Steps that this parameter has taken part in. */
  steps: number;
  /** Buffers of the dtype of statistics; of a bfloat16 parameter also its `master`, the value before rounding. */
  state: Record<string, Tensor>;
  /** Of the parameter's storage when its master was right. */
  version: number;
}

/** The settings of an optimiser: the defaults, and what was given instead. */
export function collectSettings<S extends CommonSettings>(kind: SettingsKind<S>, given: Partial<S>): S {
  checkOptions(kind.where, given, namesOf(kind.defaults));
  return filled(kind, kind.defaults, given);
}

/** What optimisers were given as groups; parameters that stand alone make one. */
export function collectGroups<S extends CommonSettings>(
  { where }: SettingsKind<S>,
  parameters: Parameters<S>,
): ParameterGroup<S>[] {
  const groups: ParameterGroup<S>[] = [];
  const alone: Parameter[] = [];
  for (const item of iterable(where, 'parameters', parameters)) {
    if (isGroup<S>(item)) {
      groups.push(item);
      continue;
    }
    if (alone.length === 0) groups.push({ params: alone } as unknown as ParameterGroup<S>);
    alone.push(item);
  }
  return groups;
}

/** A checked group and its entries beside those that there are; `settings` are the optimiser's. */
export function collectEntries<S extends CommonSettings>(
  kind: SettingsKind<S>,
  settings: S,
  given: ParameterGroup<S>,
  present: readonly Entry<S>[],
): { group: LiveGroup<S>; entries: Entry<S>[] } {
  const { where } = kind;
  if (!isGroup<S>(given)) throw argumentError('INVALID_ARGUMENT', where, 'group', '{ params, ... }', describe(given));
  checkOptions<object>(where, given, { ...namesOf(kind.defaults), params: true });
  const { params, ...own } = given;
  const live = filled(kind, settings, own as unknown as Partial<S>);
  const members: Tensor[] = [];
  const group = { ...live, params: members, initialLr: live.lr };
  const entries: Entry<S>[] = [];
  const seen = new Set<unknown>(present.flatMap(({ name, parameter }) => [name, parameter]));
  for (const item of iterable(where, 'params', params)) {
    const [name, parameter] = checkParameter(where, item, present.length + entries.length);
    for (const key of [name, parameter]) {
      if (seen.has(key)) {
        const found = key === name ? 'a name given before' : 'a parameter given before';
        throw argumentError('INVALID_ARGUMENT', where, `parameter ${name}`, 'given once', found);
      }
      seen.add(key);
    }
    if ([...present, ...entries].some((entry) => overlaps(entry.parameter, parameter))) {
      refuseShared(where, `parameter ${name}`);
    }
    kind.checkParameter?.(where, name, parameter, live);
    members.push(parameter);
    entries.push({ name, parameter, group, steps: 0, state: {}, version: -1 });
  }
  return { group, entries };
}

/** What is written in one call must not be read, or written again, as something else. */
export function refuseShared(where: string, argument: string): never {
  throw argumentError(
    'INVALID_ARGUMENT',
    where,
    argument,
    'apart from the parameters',
    "one that shares a parameter's memory",
  );
}

function namesOf<S extends object>(defaults: S): OptionNames<S> {
  return Object.fromEntries(Object.keys(defaults).map((name) => [name, true])) as OptionNames<S>;
}

/** Undefined counts as not given. */
function filled<S extends CommonSettings>(kind: SettingsKind<S>, defaults: S, given: Partial<S>): S {
  const present = Object.entries(given ?? {}).filter(([, value]) => value !== undefined);
  const settings = { ...defaults, ...(Object.fromEntries(present) as Partial<S>) };
  checkSettings(kind, kind.where, settings);
  return settings;
}

/** Requires settings that a step can be taken with. */
function checkSettings<S extends CommonSettings>(kind: SettingsKind<S>, where: string, settings: S): void {
  checkNumber(where, 'lr', settings.lr, 0);
  checkNumber(where, 'weightDecay', settings.weightDecay, 0);
  kind.check(where, settings);
}

/** Requires a group that a step can be taken with: anybody may have set something in it. */
export function checkGroup<S extends CommonSettings>(kind: SettingsKind<S>, where: string, group: LiveGroup<S>): void {
  for (const name in group) {
    if (name in kind.defaults || name === 'params' || name === 'initialLr') continue;
    refuseKey(where, name, Object.keys(kind.defaults));
  }
  checkSettings(kind, where, group);
}

/** Requires two decay rates of running means. */
export function checkBetas(where: string, betas: unknown): void {
  const valid =
    Array.isArray(betas) && betas.length === 2 && betas.every((b) => typeof b === 'number' && b >= 0 && b < 1);
  if (!valid) throw argumentError('INVALID_ARGUMENT', where, 'betas', 'two numbers from 0 to below 1', describe(betas));
}

/** Requires true or false. */
export function checkFlag(where: string, argument: string, value: unknown): void {
  if (typeof value !== 'boolean') {
    throw argumentError('INVALID_ARGUMENT', where, argument, 'true or false', describe(value));
  }
}

/** Requires what can be gone through. */
export function iterable<T>(where: string, argument: string, value: Iterable<T>): Iterable<T> {
  if (typeof (value as Iterable<T> | null | undefined)?.[Symbol.iterator] === 'function') return value;
  throw argumentError('INVALID_ARGUMENT', where, argument, 'a list of parameters', describe(value));
}

function isGroup<S extends object>(item: Parameter | ParameterGroup<S>): item is ParameterGroup<S> {
  return typeof item === 'object' && item !== null && 'params' in item;
}

/** Requires a leaf, with the name that it has or that of its position. */
export function checkParameter(where: string, item: Parameter, position: number): readonly [string, Tensor] {
  const pair = item instanceof Tensor ? ([String(position), item] as const) : item;
  const named = Array.isArray(pair) && pair.length === 2 && typeof pair[0] === 'string';
  const parameter: unknown = named ? pair[1] : item;
  const argument = `parameter ${named ? pair[0] : position}`;
  if (!named || !(parameter instanceof Tensor)) {
    throw argumentError('INVALID_ARGUMENT', where, argument, 'a tensor, or a name and a tensor', describe(parameter));
  }
  parameter.checkAlive(where);
  if (parameter.node) throw argumentError('GRAPH', where, argument, 'a leaf', 'the result of an operator');
  return pair;
}
