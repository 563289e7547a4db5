// Memory scopes: tensors made inside are freed at the end, except what leaves by `return` or is kept.
import type { Tensor } from './tensor';

/** Frees, when disposed, every tensor made since it was opened that was not kept. */
export class Scope {
  private tensors: Tensor[] = [];
  private readonly kept = new Set<Tensor>();
  private closed = false;

  /** @internal */
  track(tensor: Tensor): void {
    this.tensors.push(tensor);
  }

  /** Hands the tensors of `value` (a tensor, or arrays, sets, maps and objects of them) to the enclosing scope. */
  keep<T>(value: T): T {
    forEachTensor(value, (tensor) => this.kept.add(tensor));
    return value;
  }

  /** Closes the scope; scopes opened inside it and left open close with it. */
  dispose(): void {
    if (this.closed) return;
    const at = stack.lastIndexOf(this);
    for (const inner of stack.splice(at).reverse()) inner.close(stack[at - 1]);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  private close(outer: Scope | undefined): void {
    this.closed = true;
    for (const tensor of this.tensors) {
      if (tensor.persistent) continue;
      if (this.kept.has(tensor)) outer?.track(tensor);
      else tensor.dispose();
    }
    this.tensors = [];
  }
}

const stack: Scope[] = [];

export function trackInScope(tensor: Tensor): void {
  if (stack.length > 0) stack[stack.length - 1].track(tensor);
}

/**
 * Runs `fn` and frees every tensor made inside, except what it returns (looked for in arrays, sets, maps and the
 * properties of objects), parameters, `.grad` and optimiser state. What the tape still needs for a backward pass stays alive
 * until the pass has used it. Without a function: `using s = scope()` frees at the end of the block, also in
 * asynchronous code; `s.keep(tensor)` lets one leave.
 */
export function scope<T>(fn: () => T): T;
export function scope(): Scope;
export function scope<T>(fn?: () => T): T | Scope {
  const opened = new Scope();
  stack.push(opened);
  if (!fn) return opened;
  try {
    return opened.keep(fn());
  } finally {
    opened.dispose();
  }
}

/** An operator that frees what it makes on the way, also where no scope is open. */
export function tidy<A extends readonly unknown[], R>(operator: (...args: A) => R): (...args: A) => R {
  return (...args) => (stack.length > 0 ? operator(...args) : scope(() => operator(...args)));
}

type IsTensor = (value: object) => value is Tensor;
let isTensor: IsTensor;

/** The tensor class introduces itself, so that this file needs no import of its value. */
export function setTensorTest(test: IsTensor): void {
  isTensor = test;
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
      Object.values(item).forEach(add);
    }
  }
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}
