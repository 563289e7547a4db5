// Modules: trees of parameters whose property names are the names in the weight file.
import {
  argumentError,
  checkOptions,
  type Device,
  type DType,
  FastWeightsError,
  formatShape,
  type OptionNames,
  sameShape,
  Tensor,
} from '../core';
import { noGrad } from '../autograd';

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
 * modules or arrays of modules. Their names, joined by dots, are the names in checkpoints.
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
   * Copies tensors into the parameters of the same name, cast and moved as needed. Nothing is changed unless every name
   * and shape fits; with `strict: false` missing and unknown names are skipped.
   */
  loadStateDict(state: Readonly<Record<string, Tensor>>, options: LoadStateOptions = {}): void {
    const where = 'loadStateDict';
    checkOptions(where, options, LOAD);
    const own = new Map(this.namedParameters());
    const given = new Map(Object.entries(state));
    if (options.strict ?? true) {
      const missing = [...own.keys()].filter((name) => !given.has(name));
      const unknown = [...given.keys()].filter((name) => !own.has(name));
      if (missing.length > 0 || unknown.length > 0) {
        const found = [
          missing.length > 0 ? `without ${missing.join(', ')}` : '',
          unknown.length > 0 ? `with unknown ${unknown.join(', ')}` : '',
        ];
        throw argumentError(
          'INVALID_ARGUMENT',
          where,
          'state',
          `the ${own.size} names of the module`,
          found.filter(Boolean).join(' and '),
        );
      }
    }
    const pairs = [...own].flatMap(([name, t]) => (given.has(name) ? [{ name, t, source: given.get(name)! }] : []));
    for (const { name, t, source } of pairs) {
      if (!sameShape(t.shape, source.shape))
        throw argumentError('SHAPE', where, name, formatShape(t.shape), formatShape(source.shape));
    }
    noGrad(() => {
      for (const { t, source } of pairs) {
        const cast = source.to(t.dtype);
        const moved = cast.to(t.device);
        t.copy_(moved);
        if (moved !== cast) moved.dispose();
        if (cast !== source) cast.dispose();
      }
    });
  }

  /** Moves or casts every parameter; gradients are dropped. */
  to(target: Device | DType): this {
    const moved = new Map<Tensor, Tensor>();
    for (const [, module] of this.namedModules()) {
      for (const [name, member] of module.members()) {
        if (!(member instanceof Tensor)) continue;
        let next = moved.get(member);
        if (!next) {
          next = noGrad(() => member.detach().to(target));
          if (next.storage === member.storage) next = member;
          moved.set(member, next);
        }
        if (next === member) continue;
        (module as unknown as Record<string, Tensor>)[name] = next.persistent ? next : parameter(next);
      }
    }
    for (const [before, after] of moved) if (before !== after) before.dispose();
    return this;
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
    const first = this.parameters()[0];
    if (!first) throw new FastWeightsError('INVALID_ARGUMENT', 'device: the module has no parameters');
    return first.device;
  }
}
