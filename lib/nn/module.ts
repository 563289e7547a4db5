// Modules: trees of parameters whose property names are the names in the weight file.
import {
  argumentError,
  checkOptions,
  describe,
  type Device,
  type DType,
  FastWeightsError,
  formatShape,
  type HookHandle,
  type OptionNames,
  sameShape,
  scope,
  type Storage,
  Tensor,
} from '../core';
import { getBackend } from '../backends';
import { noGrad } from '../autograd';
import { convert } from '../ops';
import { addForwardHook, type ForwardHook, type ForwardPreHook } from './hooks';

const FLOATS = ['float32', 'bfloat16', 'float64'] as const satisfies readonly DType[];

export interface LoadStateOptions {
  /** Whether the names must be those of the module, true by default. */
  strict?: boolean;
}

const LOAD: OptionNames<LoadStateOptions> = { strict: 'flag' };

/** Marks a tensor as trained: it requires a gradient and no scope frees it. */
export function parameter(t: Tensor): Tensor {
  t.requiresGrad = true;
  return t.persist();
}

/**
 * A part of a model. Parameters are properties that hold tensors made by `parameter`; children are properties that hold
 * modules or arrays of modules. Their names, joined by dots, are the names in weight files.
 */
export abstract class Module {
  /** Whether dropout and the like are on; `train()` and `eval()` set it for the whole tree. */
  training = true;

  /** Own tensors and modules with their property names, in the order of definition. */
  private *members(): Generator<[string, Tensor | Module]> {
    for (const [name, value] of Object.entries(this)) {
      if (value instanceof Tensor || value instanceof Module) yield [name, value];
      else if (Array.isArray(value)) {
        for (const [i, item] of value.entries()) if (item instanceof Module) yield [`${name}.${i}`, item];
      }
    }
  }

  /** Every module of the tree with its path, itself first under ''. */
  *namedModules(prefix = ''): Generator<[string, Module]> {
    yield [prefix, this];
    for (const [name, member] of this.members()) {
      if (member instanceof Module) yield* member.namedModules(prefix ? `${prefix}.${name}` : name);
    }
  }

  /** Pairs of name and parameter; one that stands in several places (tied weights) comes once, under its first name. */
  namedParameters(): [string, Tensor][] {
    const found = new Map<Tensor, string>();
    for (const [path, module] of this.namedModules()) {
      for (const [name, member] of module.members()) {
        if (member instanceof Tensor && !found.has(member)) found.set(member, path ? `${path}.${name}` : name);
      }
    }
    return [...found].map(([t, name]) => [name, t]);
  }

  parameters(): Tensor[] {
    return this.namedParameters().map(([, t]) => t);
  }

  /** Number of trained values. */
  get parameterCount(): number {
    return this.parameters().reduce((n, t) => n + t.size, 0);
  }

  train(mode = true): this {
    for (const [, module] of this.namedModules()) module.training = mode;
    return this;
  }

  eval(): this {
    return this.train(false);
  }

  zeroGrad(): void {
    for (const t of this.parameters()) {
      t.grad?.dispose();
      t.grad = null;
    }
  }

  /** The parameters by name; the tensors themselves, not copies. */
  stateDict(): Record<string, Tensor> {
    return Object.fromEntries(this.namedParameters());
  }

  /**
   * Copies tensors into the parameters of the same name, cast and moved as needed. Nothing is changed unless every name,
   * shape and kind of number fits; with `strict: false` missing and unknown names are skipped.
   */
  loadStateDict(state: Readonly<Record<string, Tensor>>, options: LoadStateOptions = {}): void {
    const where = 'loadStateDict';
    checkOptions(where, options, LOAD);
    if (typeof state !== 'object' || state === null) {
      throw argumentError('INVALID_ARGUMENT', where, 'state', 'tensors by name', describe(state));
    }
    const own = new Map(this.namedParameters());
    const given = new Map(Object.entries(state));
    if (options.strict ?? true) checkNames(where, [...own.keys()], [...given.keys()]);
    const pairs = [...own].flatMap(([name, t]) => (given.has(name) ? [{ name, t, source: given.get(name)! }] : []));
    for (const { name, t, source } of pairs) checkSource(where, name, t, source);
    const written = pairs.filter(({ t, source }) => source !== t);
    const overwritten = new Set(written.map(({ t }) => t.storage));
    noGrad(() =>
      scope(() => {
        // What lies in memory that is written here is read before.
        const sources = written.map(({ source }) => (overwritten.has(source.storage) ? source.clone() : source));
        for (const [i, { t }] of written.entries()) scope(() => t.copy_(convert(sources[i], t.device, t.dtype)));
      }),
    );
  }

  /** Own parameters, by property name, that stay float32 where the module is cast to bfloat16. */
  protected get keptInFloat32(): readonly string[] {
    return [];
  }

  /**
   * Moves every parameter and its gradient to a device, or casts them; integers stay integers, and what published
   * programs keep in float32 stays that in bfloat16. The tensors stay the objects they are: an optimiser goes on with
   * them, what shares memory goes on sharing it. Nothing is changed unless everything can be moved.
   */
  to(target: Device | DType): this {
    const where = 'Module.to';
    const dtype = FLOATS.find((name) => name === target);
    if (target === 'int32') {
      throw argumentError('DTYPE', where, 'target', "'float32' | 'bfloat16' | 'float64' or a device", "'int32'");
    }
    const device = dtype ? null : getBackend(target as Device).device;
    const kept = new Set<Tensor>();
    for (const [, module] of this.namedModules()) {
      for (const [name, member] of module.members()) {
        if (member instanceof Tensor && module.keptInFloat32.includes(name)) kept.add(member);
      }
    }
    const moves = new Map<Storage, Tensor>();
    const members = new Set<Tensor>();
    const add = (t: Tensor, cast: DType | undefined): void => {
      t.checkAlive(where);
      if (t.node) throw new FastWeightsError('GRAPH', `${where}: a result of the graph cannot be moved; detach() it`);
      if (device ? t.device === device : t.dtype === 'int32' || t.dtype === cast) return;
      members.add(t);
      if (moves.has(t.storage)) return;
      const whole = new Tensor(t.storage, [t.storage.length]);
      moves.set(t.storage, whole.to(device ?? cast!));
    };
    noGrad(() =>
      scope(() => {
        for (const t of this.parameters()) {
          const cast = dtype === 'bfloat16' && kept.has(t) ? 'float32' : dtype;
          add(t, cast);
          if (t.grad) add(t.grad, cast);
        }
        for (const t of members) t.moveTo(moves.get(t.storage)!.storage);
      }),
    );
    return this;
  }

  /**
   * Calls `fn` with this module and the arguments before every call of its `forward`; a list that it returns, or a single
   * value, goes in instead. Returns what takes it away again. See `registerForwardHook`. After
   * `torch.nn.Module.register_forward_pre_hook`.
   */
  registerForwardPreHook(fn: ForwardPreHook<this>): HookHandle {
    return addForwardHook('registerForwardPreHook', this, 'before', fn);
  }

  /**
   * Calls `fn` with this module, the arguments and the result after every call of its `forward`; what it returns, unless
   * nothing, takes the result's place. Several run in the order they were set; with `checkpoint` they run again in the
   * backward pass. Calls of `step`, for one token of a generation, are none of `forward`. INVALID_ARGUMENT where the module
   * has no method `forward`; a hook that returns a promise is refused. After `torch.nn.Module.register_forward_hook`.
   */
  registerForwardHook(fn: ForwardHook<this>): HookHandle {
    return addForwardHook('registerForwardHook', this, 'after', fn);
  }

  /** Frees every parameter and gradient. */
  dispose(): void {
    this.zeroGrad();
    for (const t of this.parameters()) t.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** Device of the parameters. */
  get device(): Device {
    for (const [, module] of this.namedModules()) {
      for (const [, member] of module.members()) if (member instanceof Tensor) return member.device;
    }
    throw new FastWeightsError('INVALID_ARGUMENT', 'device: the module has no parameters');
  }
}

function checkNames(where: string, own: readonly string[], given: readonly string[]): void {
  const missing = own.filter((name) => !given.includes(name));
  const unknown = given.filter((name) => !own.includes(name));
  if (missing.length === 0 && unknown.length === 0) return;
  const found = [
    missing.length > 0 ? `without ${missing.join(', ')}` : '',
    unknown.length > 0 ? `with unknown ${unknown.join(', ')}` : '',
  ];
  const expected = `the ${own.length} names of the module`;
  throw argumentError('INVALID_ARGUMENT', where, 'state', expected, found.filter(Boolean).join(' and '));
}

function checkSource(where: string, name: string, t: Tensor, source: unknown): void {
  t.checkAlive(where);
  if (!(source instanceof Tensor)) throw argumentError('INVALID_ARGUMENT', where, name, 'a tensor', describe(source));
  source.checkAlive(where);
  if (!sameShape(t.shape, source.shape)) {
    throw argumentError('SHAPE', where, name, formatShape(t.shape), formatShape(source.shape));
  }
  if ((t.dtype === 'int32') !== (source.dtype === 'int32')) {
    const expected = t.dtype === 'int32' ? 'int32' : 'of a floating-point dtype';
    throw argumentError('DTYPE', where, name, expected, source.dtype);
  }
}
