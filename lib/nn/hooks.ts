// Functions around the forward pass of a module. Modules are called by their method `forward`, so that is where hooks stand:
// a module that has some gets a `forward` of its own in front of that of its class, and one without pays nothing.
import { argumentError, checkFunction, describe, type HookHandle, refusePromise } from '../core';

type AnyFunction = (...args: unknown[]) => unknown;

/** What `forward` of a module returns. */
export type ForwardOutput<M> = M extends { forward(...args: never[]): infer R } ? R : unknown;

/** What `forward` of a module takes; of one that is not known it may be anything. */
export type ForwardArguments<M> = M extends { forward(...args: infer A): unknown } ? Readonly<A> : readonly unknown[];

/** Gets the module and the arguments of a call; may return a list of others, or the only one. */
export type ForwardPreHook<M> = (module: M, args: ForwardArguments<M>) => unknown;

/** Gets the module, the arguments and the result of a call; may return another result, nothing to leave it. */
export type ForwardHook<M> = (module: M, args: ForwardArguments<M>, output: ForwardOutput<M>) => unknown;

/** The hooks of a module, each in an object of its own: one function may be set twice. */
interface Hooks {
  before: Set<{ fn: AnyFunction }>;
  after: Set<{ fn: AnyFunction }>;
  /** Puts back the `forward` that was there. */
  restore(): void;
}

const hooked = new WeakMap<object, Hooks>();

/** How often a module has got its first hook or lost its last one. */
let changes = 0;
/** What was found in a tree of modules after so many changes. */
const found = new WeakMap<object, { changes: number; some: boolean }>();

/** Whether any module of a tree has hooks; looks through it again only where some module's have changed. */
export function hasHooksWithin(root: { namedModules(): Iterable<[string, object]> }): boolean {
  const known = found.get(root);
  if (known?.changes === changes) return known.some;
  let some = false;
  for (const [, module] of root.namedModules()) some ||= hooked.has(module);
  found.set(root, { changes, some });
  return some;
}

/** Whether calls of the module's `forward` run hooks: whoever computes what it does in another way must call it then. */
export function hasForwardHooks(module: object): boolean {
  return hooked.has(module);
}

/** See `Module.registerForwardHook` and `Module.registerForwardPreHook`. */
export function addForwardHook(where: string, module: object, at: 'before' | 'after', fn: unknown): HookHandle {
  checkFunction(where, 'fn', fn);
  let hooks = hooked.get(module);
  if (!hooks) {
    hooked.set(module, (hooks = stand(where, module)));
    changes++;
  }
  const entry = { fn: fn as AnyFunction };
  const { before, after, restore } = hooks;
  hooks[at].add(entry);
  return {
    remove() {
      if (!hooks[at].delete(entry) || before.size > 0 || after.size > 0) return;
      hooked.delete(module);
      changes++;
      restore();
    },
  };
}

/** Puts a `forward` in front of a module's own. */
function stand(where: string, module: object): Hooks {
  const { forward } = module as { forward?: unknown };
  if (typeof forward !== 'function') {
    throw argumentError('INVALID_ARGUMENT', where, 'module', 'one with a method forward', describe(module));
  }
  const before = new Set<{ fn: AnyFunction }>();
  const after = new Set<{ fn: AnyFunction }>();
  const own = Object.getOwnPropertyDescriptor(module, 'forward');
  const value = (...given: unknown[]): unknown => {
    let args = given;
    for (const { fn } of before) {
      const changed = refusePromise('registerForwardPreHook', fn(module, args));
      if (changed !== undefined && changed !== null) args = Array.isArray(changed) ? (changed as unknown[]) : [changed];
    }
    let output: unknown = (forward as AnyFunction).apply(module, args);
    for (const { fn } of after) {
      output = refusePromise('registerForwardHook', fn(module, args, output)) ?? output;
    }
    return output;
  };
  Object.defineProperty(module, 'forward', { value, configurable: true, writable: true, enumerable: false });
  const restore = (): void => {
    if ((module as { forward?: unknown }).forward !== value) return;
    if (own) Object.defineProperty(module, 'forward', own);
    else delete (module as { forward?: unknown }).forward;
  };
  return { before, after, restore };
}
