// What an optimiser is given: parameters by name, groups of them, and their settings, all checked.
import { argumentError, checkNumber, checkOptions, describe, type OptionNames, overlaps, Tensor } from '../core';

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

/** The settings of one kind of optimiser: every default, and which values are allowed. */
export interface SettingsKind<S> {
  where: string;
  defaults: S;
  check(where: string, settings: S): void;
}

export interface Entry<S> {
  name: string;
  parameter: Tensor;
  settings: S;
  /** Steps that this parameter has taken part in. */
  steps: number;
  /** Buffers of the dtype of statistics; of a bfloat16 parameter also its `master`, the value before rounding. */
  state: Record<string, Tensor>;
  /** Of the parameter's storage when its master was right. */
  version: number;
}

/** The settings of the optimiser, and an entry for every parameter with those of its group. */
export function collectEntries<S extends CommonSettings>(
  kind: SettingsKind<S>,
  parameters: Parameters<S>,
  given: Partial<S>,
): { settings: S; entries: Entry<S>[] } {
  const { where } = kind;
  const names = namesOf(kind.defaults);
  checkOptions(where, given, names);
  const settings = filled(kind, kind.defaults, given);
  const entries: Entry<S>[] = [];
  const seen = new Set<unknown>();
  const add = (item: Parameter, own: S): void => {
    const [name, parameter] = checkParameter(where, item, entries.length);
    for (const key of [name, parameter]) {
      if (seen.has(key)) {
        const found = key === name ? 'a name given before' : 'a parameter given before';
        throw argumentError('INVALID_ARGUMENT', where, `parameter ${name}`, 'given once', found);
      }
      seen.add(key);
    }
    if (entries.some((entry) => overlaps(entry.parameter, parameter))) refuseShared(where, `parameter ${name}`);
    entries.push({ name, parameter, settings: own, steps: 0, state: {}, version: -1 });
  };
  for (const item of iterable<Parameter | ParameterGroup<S>>(where, 'parameters', parameters)) {
    if (!isGroup<S>(item)) {
      add(item, settings);
      continue;
    }
    checkOptions<object>(where, item, { ...names, params: true });
    const { params, ...own } = item;
    const group = filled(kind, settings, own as unknown as Partial<S>);
    for (const parameter of iterable(where, 'params', params)) add(parameter, group);
  }
  return { settings, entries };
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
function filled<S extends CommonSettings>({ where, check }: SettingsKind<S>, defaults: S, given: Partial<S>): S {
  const present = Object.entries(given ?? {}).filter(([, value]) => value !== undefined);
  const settings = { ...defaults, ...(Object.fromEntries(present) as Partial<S>) };
  checkNumber(where, 'lr', settings.lr, 0);
  checkNumber(where, 'weightDecay', settings.weightDecay, 0);
  check(where, settings);
  return settings;
}

function iterable<T>(where: string, argument: string, value: Iterable<T>): Iterable<T> {
  if (typeof (value as Iterable<T> | null | undefined)?.[Symbol.iterator] === 'function') return value;
  throw argumentError('INVALID_ARGUMENT', where, argument, 'a list of parameters', describe(value));
}

function isGroup<S extends object>(item: Parameter | ParameterGroup<S>): item is ParameterGroup<S> {
  return typeof item === 'object' && item !== null && 'params' in item;
}

function checkParameter(where: string, item: Parameter, position: number): readonly [string, Tensor] {
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
