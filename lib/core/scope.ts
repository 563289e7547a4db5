// Memory scopes: tensors made inside are freed at the end, except what leaves by `return` or is kept. A scope is open
// only while a function of it runs, so that asynchronous tasks never notice each other's.
import { argumentError, FastWeightsError } from './errors';
import { callSynchronous, refusePromise } from './synchronous';
import type { Tensor } from './tensor';

const COMPACT = 1024;

/** The list of what a scope frees. */
class Owner {
  tensors: Tensor[] = [];
  private limit = COMPACT;

  add(tensor: Tensor): void {
    if (this.tensors.length >= this.limit) this.compact();
    this.tensors.push(tensor);
  }

  holds(tensor: Tensor): boolean {
    return tensor.owner === this && !tensor.isDisposed;
  }

  /** What was freed by hand or given away is forgotten now and then: a scope may stay open for the life of a service. */
  private compact(): void {
    this.tensors = this.tensors.filter((t) => this.holds(t));
    this.limit = Math.max(COMPACT, 2 * this.tensors.length);
  }

  free(): void {
    if (this.tensors.length === 0) return;
    for (const t of this.tensors) if (t.owner === this) t.dispose();
    this.tensors = [];
  }
}

export type { Owner };

/** The innermost scope of the function that runs now; it never outlives the synchronous call that set it. */
let current: Owner | null = null;

/** @internal Gives a tensor to a scope; null leaves it to the garbage collector. */
export function give(tensor: Tensor, owner: Owner | null): void {
  tensor.owner = owner;
  if (owner) owner.add(tensor);
  else {
    tensor.storage.leaveToCollector();
    tensor.node?.leaveToCollector();
  }
}

/** @internal Gives a tensor to the innermost open scope. */
export function track(tensor: Tensor): void {
  give(tensor, current);
}

/** @internal Whether the innermost open scope would free the tensor. */
export function belongsToCurrentScope(tensor: Tensor): boolean {
  return current !== null && tensor.owner === current;
}

function inside<T>(owner: Owner | null, fn: () => T): T {
  const outer = current;
  current = owner;
  try {
    return fn();
  } finally {
    current = outer;
  }
}

/** Gives the tensors in `value` that `from` owns to the scope around it. */
function handOn<T>(value: T, from: Owner): T {
  forEachTensor(value, (tensor) => {
    if (tensor.owner === from) give(tensor, current);
  });
  return value;
}

/** What scopes that nobody can reach any more still held: it may be reachable on its own. */
const lost = new FinalizationRegistry<Owner>((owner) => {
  for (const t of owner.tensors) if (owner.holds(t)) give(t, null);
});

/**
 * A scope for asynchronous code: it owns what its own `run` makes, across any number of calls, until `dispose`. Between
 * those calls it is not open.
 */
export class Scope {
  private readonly owner = new Owner();
  private disposed = false;
  private running = 0;
  /** The scope around the `run` that is under way. */
  private around: Owner | null = null;

  /** @internal Use `scope()`. */
  constructor() {}

  /** Runs the synchronous function `fn`; what it makes belongs to this scope. Calls may be nested. */
  run<T>(fn: () => T): T {
    if (this.disposed) refuseDisposed('scope.run');
    const before = this.around;
    if (current !== this.owner) this.around = current;
    this.running++;
    try {
      return callSynchronous('scope.run', () => inside(this.owner, fn), fn);
    } finally {
      this.running--;
      this.around = before;
    }
  }

  /** Hands the tensors of `value` (see `scope`) that this scope owns to the scope around, or to the garbage collector. */
  keep<T>(value: T): T {
    if (this.disposed) refuseDisposed('scope.keep');
    const outside = current === this.owner ? this.around : current;
    return inside(outside, () => handOn(value, this.owner));
  }

  /** @internal Makes a tensor this scope's: itself where the innermost scope owns it, else another handle of it. */
  take(tensor: Tensor): Tensor {
    const own = belongsToCurrentScope(tensor) ? tensor : tensor.detach();
    give(own, this.owner);
    return own;
  }

  /** Frees what the scope owns. */
  dispose(): void {
    if (this.running > 0) {
      throw argumentError(
        'INVALID_ARGUMENT',
        'scope.dispose',
        'scope',
        'one that is not running',
        'called inside its run',
      );
    }
    this.disposed = true;
    this.owner.free();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** @internal What it owns is left to the garbage collector when the scope is. */
  watched(): this {
    lost.register(this, this.owner);
    return this;
  }
}

function refuseDisposed(where: string): never {
  throw new FastWeightsError('DISPOSED', `${where}: the scope was disposed`, { found: 'a disposed scope' });
}

/**
 * Runs the synchronous function `fn` and frees every tensor made inside, except what it returns (looked for in arrays,
 * sets, maps and the properties of objects, but not in private fields), parameters, `.grad` and optimiser state. What the tape still needs for a
 * backward pass stays alive until the pass has used it. What leaves the outermost scope, like what is made outside of
 * any, belongs to the garbage collector. A promise is refused (INVALID_ARGUMENT): its function would go on when the scope is
 * closed. For asynchronous code, `scope()` makes an object:
 *
 *     using s = scope();
 *     const logits = s.run(() => model.forward(ids).logits);
 *     const values = await logits.data(); // other tasks' tensors are their own
 */
export function scope<T>(fn: () => T): T;
export function scope(): Scope;
export function scope<T>(fn?: () => T): T | Scope {
  if (fn === undefined) return new Scope().watched();
  const owner = new Owner();
  try {
    return handOn(
      callSynchronous('scope', () => inside(owner, fn), fn),
      owner,
    );
  } finally {
    owner.free();
  }
}

/** A way back into the scope that is open now, or out of any, for as long as the present call runs. */
export function currentScope(): <T>(fn: () => T) => T {
  const owner = current;
  return (fn) => inside(owner, fn);
}

/** Runs `fn` as if no scope was open. */
export function outsideScopes<T>(fn: () => T): T {
  return inside(null, fn);
}

/**
 * An operator that frees what it makes on the way, also where no scope is open, and gives out a handle of its own where it
 * has nothing to do.
 */
export function scoped<A extends readonly unknown[], R>(operator: (...args: A) => R): (...args: A) => R {
  return (...args) => {
    const result = current ? operator(...args) : inScopeOfItsOwn(operator, args);
    return isObject(result) && isTensor(result) && args.includes(result) ? (another(result) as R) : result;
  };
}

/** `scope` without its checks of a function that a user gave: one token's step takes no longer than they do. */
function inScopeOfItsOwn<A extends readonly unknown[], R>(operator: (...args: A) => R, args: A): R {
  const owner = new Owner();
  try {
    return handOn(
      refusePromise(
        'scope',
        inside(owner, () => operator(...args)),
      ),
      owner,
    );
  } finally {
    owner.free();
  }
}

type IsTensor = (value: object) => value is Tensor;
let isTensor: IsTensor;
let another: (tensor: Tensor) => Tensor;

/** The tensor class introduces itself, so that this file needs no import of its value. */
export function introduceTensor(test: IsTensor, anotherHandle: (tensor: Tensor) => Tensor): void {
  isTensor = test;
  another = anotherHandle;
}

/** Visits the tensors that a value holds, however deep, each object once; a worklist, since lists may hold themselves. */
function forEachTensor(value: unknown, visit: (tensor: Tensor) => void): void {
  if (!isObject(value)) return;
  if (isTensor(value)) return visit(value);
  const seen = new Set<object>([value]);
  const add = (item: unknown): void => {
    if (isObject(item)) seen.add(item);
  };
  // A set may grow while it is walked.
  for (const item of seen) {
    if (isTensor(item)) visit(item);
    else if (ArrayBuffer.isView(item)) continue;
    else if (Array.isArray(item) || item instanceof Set) item.forEach(add);
    else {
      if (item instanceof Map) {
        for (const [key, held] of item) {
          add(key);
          add(held);
        }
      }
      // Getters are not run.
      for (const { value: held } of Object.values(Object.getOwnPropertyDescriptors(item))) add(held);
      for (const key of Object.getOwnPropertySymbols(item)) add(Object.getOwnPropertyDescriptor(item, key)?.value);
    }
  }
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}
