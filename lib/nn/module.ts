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
  isFloat,
  type OptionNames,
  sameShape,
  scope,
  type Storage,
  Tensor,
} from '../core';
import { getBackend } from '../backends';
import { noGrad } from '../autograd';
import { checkTensor, convert } from '../ops';
import { addForwardHook, type ForwardHook, type ForwardPreHook, hasHooksWithin } from './hooks';
import { claimName, membersIn, noteClass, refuseCycle, refusePrivate } from './members';

const FLOATS = ['float32', 'bfloat16', 'float64'] as const satisfies readonly DType[];

/** Options of `loadStateDict`. */
export interface LoadStateOptions {
  /** Whether the names must be those of the module, true by default. */
  strict?: boolean;
}

const LOAD: OptionNames<LoadStateOptions> = { strict: 'flag' };

/** What `parameter` made: it stays a parameter while it is frozen. */
const made = new WeakSet<Tensor>();

/**
 * Makes a tensor a parameter of the modules that have it as a property: it requires a gradient, until it is frozen, and no
 * scope frees it.
 */
export function parameter(t: Tensor): Tensor {
  checkTensor('parameter', 't', t);
  t.requiresGrad = true;
  made.add(t);
  return t.persist();
}

/** Whether a tensor is trained, or frozen; a result of the graph, a mask, a table are values like others. */
function isParameter(t: Tensor): boolean {
  return made.has(t) || (t.requiresGrad && t.node === null);
}

/** Options of `registerBuffer`. */
export interface BufferOptions {
  /** Whether it is part of the state dictionary, true by default. */
  persistent?: boolean;
}

const BUFFER: OptionNames<BufferOptions> = { persistent: 'flag' };

/** Options of `namedParameters`. */
export interface NamedOptions {
  /** Whether a parameter that stands in several places comes once, true by default, or under each of its names. */
  removeDuplicate?: boolean;
}

const NAMED: OptionNames<NamedOptions> = { removeDuplicate: 'flag' };

/** A tensor of a tree of modules, under its name in it. */
interface Entry {
  name: string;
  tensor: Tensor;
  module: Module;
  /** The name of the property that holds it. */
  key: string;
  /** Whether it is saved; undefined of parameters. */
  persistent: boolean | undefined;
}

/** The buffers of each module by name: whether they are persistent. */
const buffersOf = new WeakMap<Module, Map<string, boolean>>();

const isMember = (value: unknown): value is Tensor | Module =>
  value instanceof Module || (value instanceof Tensor && isParameter(value));

const join = (path: string, name: string): string => (path ? `${path}.${name}` : name);

/**
 * A part of a model. Parameters are properties that hold tensors made by `parameter`, or leaves that require a gradient,
 * children properties that hold modules; those in plain lists, sets, maps and records are found, too (`layers.0.weight`).
 * Their names, joined by dots, are the names in checkpoints. Tensors that are not trained but belong to the module are
 * made with `registerBuffer`; any other tensor is a value like others, neither saved nor moved, as in PyTorch. What stands
 * in `#private` fields cannot be found: it is refused (INVALID_ARGUMENT) where the class shows it, and so are a module that
 * holds itself and two members of one name.
 */
export abstract class Module {
  /** Whether dropout and the like are on; `train()` and `eval()` set it for the whole tree. */
  training = true;

  constructor() {
    noteClass(new.target);
  }

  /** The properties that may hold members, under their names in checkpoints. */
  protected memberProperties(): Iterable<[string, unknown]> {
    return Object.entries(this);
  }

  /** Whether the module is an adapter of what it stands in, which the state dictionary leaves out. */
  protected get isAdapter(): boolean {
    return false;
  }

  /** Whether it or a module in it has hooks. */
  protected get runsHooks(): boolean {
    return hasHooksWithin(this);
  }

  /** Numbers that it holds in fewer bits, for inference: they count as parameters, but are not saved, loaded or cast. */
  protected get quantizedCount(): number {
    return 0;
  }

  /** Own tensors and modules with their names, in the order of definition. */
  private static *membersOf(module: Module): Generator<[string, Tensor | Module]> {
    const buffers = buffersOf.get(module);
    for (const [name, value] of module.memberProperties()) {
      if (value instanceof Tensor && buffers?.has(name)) yield [name, value];
      else yield* membersIn(name, value, isMember);
    }
  }

  /** Every module of the tree with its path, itself first under ''; one that stands in several places comes once. */
  *namedModules(prefix = ''): Generator<[string, Module]> {
    const names = new Map<string, unknown>();
    for (const [path, module] of Module.tree(this, prefix, new Set(), [])) {
      claimName(names, path, module);
      yield [path, module];
    }
  }

  /** Without `seen` every place counts. */
  private static *tree(
    module: Module,
    path: string,
    seen: Set<Module> | null,
    above: Module[],
  ): Generator<[string, Module]> {
    if (above.includes(module)) refuseCycle(path);
    if (seen?.has(module)) return;
    seen?.add(module);
    refusePrivate(module);
    yield [path, module];
    above.push(module);
    for (const [name, member] of Module.membersOf(module)) {
      if (member instanceof Module) yield* Module.tree(member, join(path, name), seen, above);
    }
    above.pop();
  }

  /** Every tensor of a tree. */
  private static *tensorsOf(root: Module, removeDuplicate = true): Generator<Entry> {
    const seen = new Set<Tensor>();
    const names = new Map<string, unknown>();
    for (const [path, module] of Module.tree(root, '', removeDuplicate ? new Set() : null, [])) {
      const buffers = buffersOf.get(module);
      for (const [key, tensor] of Module.membersOf(module)) {
        if (!(tensor instanceof Tensor) || (removeDuplicate && seen.has(tensor))) continue;
        seen.add(tensor);
        const name = join(path, key);
        claimName(names, name, tensor);
        yield { name, tensor, module, key, persistent: buffers?.get(key) };
      }
    }
  }

  private static refuseQuantized(where: string, root: Module, remedy: string): void {
    for (const [path, module] of root.namedModules()) {
      if (module.quantizedCount === 0) continue;
      const message = `${where}: ${path} is quantised, and what it was before is gone; ${remedy}`;
      throw new FastWeightsError('UNSUPPORTED', message, { argument: path, found: 'a quantised weight' });
    }
  }

  /** The tensors that a state dictionary holds. */
  private static savedOf(where: string, root: Module): [string, Tensor][] {
    Module.refuseQuantized(where, root, 'use the model as it was, or load it without `weights`');
    const apart = [...root.namedModules()].flatMap(([path, module]) => (module.isAdapter ? [`${path}.`] : []));
    return [...Module.tensorsOf(root)].flatMap(({ name, tensor, persistent }) =>
      persistent === false || apart.some((path) => name.startsWith(path)) ? [] : [[name, tensor]],
    );
  }

  /** Pairs of name and parameter; one that stands in several places (tied weights) comes once, under its first name. */
  namedParameters(options: NamedOptions = {}): [string, Tensor][] {
    checkOptions('namedParameters', options, NAMED);
    return [...Module.tensorsOf(this, options.removeDuplicate ?? true)].flatMap(({ name, tensor, persistent }) =>
      persistent === undefined ? [[name, tensor]] : [],
    );
  }

  /** Pairs of name and buffer. */
  namedBuffers(): [string, Tensor][] {
    return [...Module.tensorsOf(this)].flatMap(({ name, tensor, persistent }) =>
      persistent === undefined ? [] : [[name, tensor]],
    );
  }

  /**
   * Makes a tensor part of the module that is not trained, under the property `name`, and returns it: it moves with the
   * module, and, unless `persistent` is false, is saved with it. Assigning another tensor to the property replaces it.
   * With null there is none for now. After PyTorch's `register_buffer`, which returns nothing.
   */
  registerBuffer<T extends Tensor | null>(name: string, tensor: T, options: BufferOptions = {}): T {
    const where = 'registerBuffer';
    checkOptions(where, options, BUFFER);
    const buffers = buffersOf.get(this) ?? new Map<string, boolean>();
    const free =
      buffers.has(name) || !(name in this) || (Object.hasOwn(this, name) && this[name as never] === undefined);
    if (typeof name !== 'string' || name === '' || name.includes('.') || !free) {
      const expected = 'a name without a dot that no other property has';
      throw argumentError('INVALID_ARGUMENT', where, 'name', expected, describe(name));
    }
    if (tensor !== null) {
      if (!(tensor instanceof Tensor)) {
        throw argumentError('INVALID_ARGUMENT', where, 'tensor', 'a tensor or null', describe(tensor));
      }
      tensor.checkAlive(where);
      if (tensor.requiresGrad) {
        throw new FastWeightsError(
          'GRAPH',
          `${where}: ${name} requires a gradient; a buffer has none, use parameter()`,
        );
      }
      tensor.persist();
    }
    buffersOf.set(this, buffers.set(name, options.persistent ?? true));
    (this as Record<string, unknown>)[name] = tensor;
    return tensor;
  }

  /** The parameters, each once; see `namedParameters`. */
  parameters(): Tensor[] {
    return this.namedParameters().map(([, t]) => t);
  }

  /** Number of values that are trained, or were before they were quantised. */
  get parameterCount(): number {
    const whole = this.parameters().reduce((n, t) => n + t.size, 0);
    return [...this.namedModules()].reduce((n, [, module]) => n + module.quantizedCount, whole);
  }

  /** Puts the whole tree into training mode, or with false into evaluation mode. */
  train(mode = true): this {
    for (const [, module] of this.namedModules()) module.training = mode;
    return this;
  }

  /** Puts the whole tree into evaluation mode. */
  eval(): this {
    return this.train(false);
  }

  /** Frees the gradients of all parameters. */
  zeroGrad(): void {
    for (const t of this.parameters()) {
      t.grad?.dispose();
      t.grad = null;
    }
  }

  /** The parameters and persistent buffers by name; the tensors themselves, not copies. Adapters are left out. */
  stateDict(): Record<string, Tensor> {
    return Object.fromEntries(Module.savedOf('stateDict', this));
  }

  /**
   * Copies tensors into the parameters and persistent buffers of the same name, cast and moved as needed. Nothing is
   * changed unless every name, shape and kind of number fits; with `strict: false` missing and unknown names are skipped.
   */
  loadStateDict(state: Readonly<Record<string, Tensor>>, options: LoadStateOptions = {}): void {
    const where = 'loadStateDict';
    checkOptions(where, options, LOAD);
    if (typeof state !== 'object' || state === null) {
      throw argumentError('INVALID_ARGUMENT', where, 'state', 'tensors by name', describe(state));
    }
    const own = new Map(Module.savedOf(where, this));
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
   * Moves every parameter, its gradient and every buffer to a device, or casts them; integers and bool stay what they
   * are, and what published programs keep in float32 stays that in bfloat16. The tensors stay the objects they are: an
   * optimiser goes on with them, what shares memory goes on sharing it. Nothing is changed unless everything can be moved.
   */
  to(target: Device | DType): this {
    const where = 'Module.to';
    const dtype = FLOATS.find((name) => name === target);
    if (target === 'int32' || target === 'bool') {
      throw argumentError('DTYPE', where, 'target', "'float32' | 'bfloat16' | 'float64' or a device", `'${target}'`);
    }
    const device = dtype ? null : getBackend(target as Device).device;
    if (dtype) Module.refuseQuantized(where, this, 'cast the model before');
    const entries = [...Module.tensorsOf(this)];
    const moves = new Map<Storage, Tensor>();
    const members = new Set<Tensor>();
    const add = (t: Tensor, cast: DType | undefined): void => {
      t.checkAlive(where);
      if (t.node) throw new FastWeightsError('GRAPH', `${where}: a result of the graph cannot be moved; detach() it`);
      if (device ? t.device === device : !isFloat(t.dtype) || t.dtype === cast) return;
      members.add(t);
      if (moves.has(t.storage)) return;
      const whole = new Tensor(t.storage, [t.storage.length]);
      moves.set(t.storage, whole.to(device ?? cast!));
    };
    noGrad(() =>
      scope(() => {
        for (const { tensor, module, key } of entries) {
          const cast = dtype === 'bfloat16' && module.keptInFloat32.includes(key) ? 'float32' : dtype;
          add(tensor, cast);
          if (tensor.grad) add(tensor.grad, cast);
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
  registerForwardPreHook<M extends Module>(this: M, fn: ForwardPreHook<M>): HookHandle {
    return addForwardHook('registerForwardPreHook', this, 'before', fn);
  }

  /**
   * Calls `fn` with this module, the arguments and the result after every call of its `forward`; what it returns, unless
   * nothing, takes the result's place. Several run in the order they were set; with `checkpoint` they run again in the
   * backward pass. Calls of `step`, for one token of a generation, are none of `forward`. INVALID_ARGUMENT where the module
   * has no method `forward`; a hook that returns a promise is refused. After `torch.nn.Module.register_forward_hook`.
   */
  registerForwardHook<M extends Module>(this: M, fn: ForwardHook<M>): HookHandle {
    return addForwardHook('registerForwardHook', this, 'after', fn);
  }

  /** Frees every parameter, gradient and buffer. */
  dispose(): void {
    for (const { tensor } of [...Module.tensorsOf(this)]) tensor.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** Device of the parameters and buffers, that of the first one. */
  get device(): Device {
    for (const [, module] of this.namedModules()) {
      for (const [, member] of Module.membersOf(module)) if (member instanceof Tensor) return member.device;
    }
    throw new FastWeightsError('INVALID_ARGUMENT', 'device: the module has no parameters');
  }
}

/** @internal Requires a module. */
export function checkModule(where: string, argument: string, value: unknown): asserts value is Module {
  if (!(value instanceof Module)) throw argumentError('INVALID_ARGUMENT', where, argument, 'a Module', describe(value));
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
  if (isFloat(t.dtype) ? !isFloat(source.dtype) : t.dtype !== source.dtype) {
    const expected = isFloat(t.dtype) ? 'of a floating-point dtype' : t.dtype;
    throw argumentError('DTYPE', where, name, expected, source.dtype);
  }
}
