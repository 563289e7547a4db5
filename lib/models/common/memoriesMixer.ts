// Mixers around rules with several matrices, which call them initial<Name>, final<Name> and, in a step, by their names.
import type { Device, DType, Tensor } from '../../core';
import { zeros } from '../../ops';
import { computable, RuleMixer, type RunOptions } from './ruleMixer';

type Named = { [name: string]: Tensor };

/** Operands of a rule and its options, by name. */
export type QkvInputs = { q: Tensor; k: Tensor; v: Tensor };

/** A rule over q, k and v with the memories M. */
export interface MemoriesRule<I extends QkvInputs, M extends Named> {
  (
    q: Tensor,
    k: Tensor,
    v: Tensor,
    options: Omit<I, 'q' | 'k' | 'v'> & {
      [N in keyof M as `initial${Capitalize<N & string>}`]?: Tensor | null;
    } & RunOptions,
  ): { output: Tensor } & { [N in keyof M as `final${Capitalize<N & string>}`]?: Tensor };
  step(q: Tensor, k: Tensor, v: Tensor, options: Omit<I, 'q' | 'k' | 'v'> & { state: M }): Tensor;
}

/** Base of the mixers whose rule keeps the memories M, each [B, ...shape]. */
export abstract class MemoriesMixer<I extends QkvInputs, M extends Named> extends RuleMixer<I, M> {
  protected abstract readonly rule: MemoriesRule<I, M>;
  /** The shape of each memory without the batch, in the order of a state. */
  protected abstract readonly shapes: { readonly [N in keyof M]: readonly number[] };

  private named<V>(value: (name: string, capital: string) => V): [string, V][] {
    return Object.keys(this.shapes).map((name) => [name, value(name, name[0].toUpperCase() + name.slice(1))]);
  }

  protected run(inputs: I, memories: M | null, options: RunOptions): { output: Tensor; memories?: M } {
    const { q, k, v, ...rest } = inputs;
    const before = this.named((name, capital) => [`initial${capital}`, memories?.[name] ?? null] as const);
    const given = { ...rest, ...Object.fromEntries(before.map(([, entry]) => entry)), ...options };
    const result = this.rule(computable(q), computable(k), computable(v), given);
    if (!options.outputFinalState) return { output: result.output };
    const finals = result as unknown as Named;
    const after = this.named((_, capital) => finals[`final${capital}`].contiguous());
    return { output: result.output, memories: Object.fromEntries(after) as M };
  }

  protected runToken(inputs: I, memories: M): Tensor {
    const { q, k, v, ...rest } = inputs;
    const state = Object.fromEntries(this.named((name) => memories[name])) as M;
    const output = this.rule.step(computable(q), computable(k), computable(v), { ...rest, state });
    // Memories that grow are other tensors now.
    Object.assign(memories, state);
    return output;
  }

  protected blank(batch: number, where: { device: Device; dtype: DType }): M {
    return Object.fromEntries(this.named((name) => zeros([batch, ...this.shapes[name]], where))) as M;
  }
}
