// Layers around a rule whose states go from token to token: what they share.
import { checkInteger, checkObject, type Shape, type Tensor } from '../core';
import { zeros } from '../ops';
import type { FinalStates, InitialStates, SequentialOptions, SequentialResult, Shapes, States } from '../rules';
import { Module } from './module';

/** Options of a layer's `forward`: the states before the first token, and those of every rule over sequences. */
export type RuleLayerOptions<S extends Shapes, F extends boolean = boolean> = InitialStates<S> & SequentialOptions<F>;

/** The rule of a layer, with inputs and options of any kind. */
interface AnyRule {
  (inputs: never, options: never): unknown;
  step(inputs: never, options: never): unknown;
}

/** States that every layer of a kind has, S, and those that come with some of its options, M. */
export type LayerStates<S extends Shapes, M extends Shapes> = States<S> & Partial<States<M>>;

/** No further states. */
export type NoStates = Readonly<Record<never, string>>;

/**
 * Parameters, and a rule that reads them. `S` names the states with their shapes, `M` those that only some of the options
 * bring; further tensors for each token are `E`.
 */
export abstract class RuleLayer<
  S extends Shapes,
  M extends Shapes = NoStates,
  E extends object = object,
> extends Module {
  /** What computes. */
  protected abstract readonly rule: AnyRule;
  /** Its options. */
  protected abstract readonly settings: object;
  /** Shapes of the states, without the batch. */
  protected abstract readonly stateShapes: { readonly [N in keyof S]: Shape } & { readonly [N in keyof M]?: Shape };
  /** A parameter, whose device and dtype the states have. */
  protected abstract readonly reference: Tensor;

  /** What the rule gets for tokens x: them, and the parameters under its names. */
  protected abstract inputs(x: Tensor): object;

  /** x [B, T, ...] to the output and, with `outputFinalState`, the states after the last token. */
  forward<F extends boolean = false>(
    x: Tensor,
    options: RuleLayerOptions<S & M, F> & E = {} as RuleLayerOptions<S & M, F> & E,
  ): SequentialResult<S, F> & Partial<FinalStates<M>> {
    checkObject(this.constructor.name, 'options', options);
    const { outputFinalState, cuSeqlens, ...tensors } = options as SequentialOptions & Record<string, unknown>;
    const call = { ...this.settings, outputFinalState, cuSeqlens };
    const given = { ...tensors, ...this.inputs(x) };
    return this.rule(given as never, call as never) as SequentialResult<S, F> & Partial<FinalStates<M>>;
  }

  /** One token x [B, ...]; the states change in place; only inside noGrad. */
  step(x: Tensor, state: LayerStates<S, M>, others: E = {} as E): Tensor {
    const given = { ...others, ...this.inputs(x) };
    return this.rule.step(given as never, { ...this.settings, state } as never) as Tensor;
  }

  /** The states before the first token, zeros. */
  initialState(batch: number): LayerStates<S, M> {
    checkInteger(`${this.constructor.name}.initialState`, 'batch', batch);
    const { device, dtype } = this.reference;
    const where = { device, dtype: dtype === 'float64' ? dtype : ('float32' as const) };
    const states = Object.entries(this.stateShapes as Record<string, Shape>).map(([name, shape]) => [
      name,
      zeros([batch, ...shape], where),
    ]);
    return Object.fromEntries(states) as LayerStates<S, M>;
  }
}
