// Modules that hold modules: a chain, a list, a dictionary. Their members stand directly under the container's name, as in
// PyTorch: `layers.0.weight`.
import { argumentError, checkInteger, describe, scope, type Tensor } from '../core';
import { checkTensor } from '../ops';
import { checkModule, Module } from './module';

/** A module from a tensor to a tensor: what a chain is made of. */
export interface TensorModule extends Module {
  /** What comes next in the chain. */
  forward(x: Tensor): Tensor;
}

/**
 * Modules one after the other, `new Sequential(first, second)`, under the names 0, 1, ...; or those of a record,
 * `new Sequential({ conv, act })`, under its keys. Without any it gives back what it is given.
 */
export class Sequential extends Module {
  private readonly items = new Map<string, TensorModule>();

  constructor(...modules: TensorModule[] | [Readonly<Record<string, TensorModule>>]) {
    super();
    const [first] = modules;
    const named = modules.length === 1 && !(first instanceof Module) ? recordOf('Sequential', first) : { ...modules };
    for (const [name, module] of Object.entries(named as Record<string, TensorModule>)) {
      checkModule('Sequential', `modules.${name}`, module);
      if (typeof module.forward !== 'function') {
        throw argumentError(
          'INVALID_ARGUMENT',
          'Sequential',
          `modules.${name}`,
          'a Module with forward',
          describe(module),
        );
      }
      this.items.set(name, module);
    }
  }

  protected override memberProperties(): Iterable<[string, unknown]> {
    return withItems(this, this.items);
  }

  /** The number of modules. */
  get length(): number {
    return this.items.size;
  }

  /** The module at a position; negative ones count from the end. */
  at(position: number): TensorModule {
    return moduleAt('Sequential', [...this.items.values()], position);
  }

  /** The module of a name, which must be there. */
  get(name: string): TensorModule {
    return moduleOf('Sequential', this.items, name);
  }

  [Symbol.iterator](): Iterator<TensorModule> {
    return this.items.values();
  }

  /** x through all of them. */
  forward(x: Tensor): Tensor {
    checkTensor('Sequential', 'x', x);
    return scope(() => {
      let y = x;
      for (const module of this.items.values()) y = module.forward(y);
      return y === x ? x.another() : y;
    });
  }
}

/** The properties that a subclass may have added, and the items without the name of what holds them. */
function* withItems(container: object, items: Iterable<[string | number, unknown]>): Generator<[string, unknown]> {
  for (const [name, value] of Object.entries(container)) if (name !== 'items') yield [name, value];
  for (const [name, value] of items) yield [String(name), value];
}

function moduleAt<M>(where: string, items: readonly M[], position: number): M {
  const count = items.length;
  return items.at(checkInteger(where, 'position', position, -count, count - 1))!;
}

function moduleOf<M>(where: string, items: ReadonlyMap<string, M>, name: string): M {
  const found = items.get(name);
  if (found) return found;
  const known = [...items.keys()].join(' | ') || 'a name (there is none)';
  throw argumentError('INVALID_ARGUMENT', where, 'name', known, describe(name));
}

/** Whether there is something to go through: a list, a set, a map. */
function isIterable(value: unknown): value is Iterable<unknown> {
  return typeof value === 'object' && value !== null && Symbol.iterator in value;
}

/** Requires a plain object: of a map or a set no member would be seen. */
function recordOf(where: string, value: unknown): object {
  if (!isIterable(value) && typeof value === 'object' && value !== null) return value;
  throw argumentError('INVALID_ARGUMENT', where, 'modules', 'modules, or a record of them', describe(value));
}

/** A list of modules under the names 0, 1, ...; a plain array as a property of a module does the same. */
export class ModuleList<M extends Module = Module> extends Module {
  private readonly items: M[] = [];

  constructor(modules: Iterable<M> = []) {
    super();
    this.extend(modules);
  }

  protected override memberProperties(): Iterable<[string, unknown]> {
    return withItems(this, this.items.entries());
  }

  /** The number of modules. */
  get length(): number {
    return this.items.length;
  }

  /** The module at a position; negative ones count from the end. */
  at(position: number): M {
    return moduleAt('ModuleList', this.items, position);
  }

  /** Puts a module at the end. */
  append(module: M): this {
    checkModule('ModuleList', String(this.items.length), module);
    this.items.push(module);
    return this;
  }

  /** Puts modules at the end. */
  extend(modules: Iterable<M>): this {
    if (!isIterable(modules)) {
      throw argumentError('INVALID_ARGUMENT', 'ModuleList', 'modules', 'a list of modules', describe(modules));
    }
    for (const module of [...modules]) this.append(module);
    return this;
  }

  /** Puts a module before that of a position. */
  insert(position: number, module: M): this {
    checkModule('ModuleList', 'module', module);
    this.items.splice(checkInteger('ModuleList', 'position', position, 0, this.items.length), 0, module);
    return this;
  }

  [Symbol.iterator](): Iterator<M> {
    return this.items.values();
  }
}

/** Modules by name; a plain record or a Map as a property of a module does the same. */
export class ModuleDict<M extends Module = Module> extends Module {
  private readonly items = new Map<string, M>();

  constructor(modules: Readonly<Record<string, M>> | Iterable<readonly [string, M]> = {}) {
    super();
    for (const entry of isIterable(modules) ? modules : Object.entries(recordOf('ModuleDict', modules))) {
      if (!Array.isArray(entry)) {
        throw argumentError('INVALID_ARGUMENT', 'ModuleDict', 'modules', 'pairs of name and module', describe(entry));
      }
      const [name, module] = entry as [string, M];
      this.set(name, module);
    }
  }

  protected override memberProperties(): Iterable<[string, unknown]> {
    return withItems(this, this.items);
  }

  /** The number of modules. */
  get size(): number {
    return this.items.size;
  }

  /** Whether there is a module of that name. */
  has(name: string): boolean {
    return this.items.has(name);
  }

  /** The module of a name, which must be there. */
  get(name: string): M {
    return moduleOf('ModuleDict', this.items, name);
  }

  /** Adds a module, or replaces the one of that name. A name has no dot. */
  set(name: string, module: M): this {
    checkModule('ModuleDict', String(name), module);
    if (typeof name !== 'string' || name === '' || name.includes('.')) {
      throw argumentError('INVALID_ARGUMENT', 'ModuleDict', 'name', 'a name without a dot', describe(name));
    }
    this.items.set(name, module);
    return this;
  }

  /** Takes a module out; whether there was one. */
  delete(name: string): boolean {
    return this.items.delete(name);
  }

  /** The names, in the order in which they were set. */
  keys(): Iterator<string> & Iterable<string> {
    return this.items.keys();
  }

  /** The modules in that order. */
  values(): Iterator<M> & Iterable<M> {
    return this.items.values();
  }

  /** Pairs of name and module in that order. */
  entries(): Iterator<[string, M]> & Iterable<[string, M]> {
    return this.items.entries();
  }

  [Symbol.iterator](): Iterator<[string, M]> {
    return this.items.entries();
  }
}
