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

  /** Hands the tensors of `value` (a tensor, or arrays and plain objects of them) to the enclosing scope. */
  keep<T>(value: T): T {
    for (const tensor of tensorsIn(value)) this.kept.add(tensor);
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
 * Runs `fn` and frees every tensor made inside, except what it returns (looked for in arrays and plain
 * objects), parameters, `.grad` and optimiser state. What the tape still needs for a backward pass stays alive
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

function* tensorsIn(value: unknown): Generator<Tensor> {
  if (value === null || typeof value !== 'object') return;
  if (isTensor(value)) yield value;
  else if (Array.isArray(value) || value instanceof Map) for (const item of value) yield* tensorsIn(item);
  else if (Object.getPrototypeOf(value) === Object.prototype) {
    for (const item of Object.values(value)) yield* tensorsIn(item);
  }
}
