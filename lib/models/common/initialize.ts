// How new weights are drawn, as the published programs do it.
import { noGrad } from '../../autograd';
import { scope, type Tensor } from '../../core';
import { drawsWeights, Embedding, Linear, type Module, parameter } from '../../nn';
import { arange, rand, randn, type TensorOptions } from '../../ops';

/** Linear and Embedding weights N(0, std), biases 0. Other parameters keep what their module gave them. */
export function initializeNormal(root: Module, std: number): void {
  if (!drawsWeights()) return;
  for (const [, module] of root.namedModules()) {
    if (!(module instanceof Linear || module instanceof Embedding)) continue;
    const { weight } = module;
    noGrad(() =>
      scope(() => {
        weight.copy_(randn(weight.shape, { dtype: weight.dtype, device: weight.device, std }));
        if (module instanceof Linear) module.bias?.fill_(0);
      }),
    );
  }
}

/**
 * The dtype of decays and time steps: float32 also in a bfloat16 model, as the published programs keep them. Rounded to
 * bfloat16, exp(-dt) of a small dt is 1, and its logarithm below is -infinity.
 */
export function decayOptions(options: TensorOptions): TensorOptions {
  return { ...options, dtype: options.dtype === 'bfloat16' ? 'float32' : options.dtype };
}

/** Logarithms of decay rates that are uniform in (low, high): A_log of Gated DeltaNet and KDA. */
export function logUniform(count: number, low: number, high: number, options: TensorOptions): Tensor {
  // 0 would give a rate that no gradient ever moves.
  const where = { ...decayOptions(options), low: Math.max(low, 1e-3), high };
  return parameter(noGrad(() => scope(() => rand([count], where).log())));
}

/** Logarithms of 1, 2, ... along the last dimension: A_log of Mamba and of Mamba-2 as transformers has it. */
export function logPositions(shape: readonly number[], options: TensorOptions): Tensor {
  const count = shape[shape.length - 1];
  return parameter(
    noGrad(() =>
      scope(() =>
        arange(1, count + 1, 1, decayOptions(options))
          .log()
          .expand([...shape])
          .contiguous(),
      ),
    ),
  );
}

/** Of new time steps: log-uniform between these, and `floor` at least. */
export interface TimeStepRange {
  readonly low: number;
  readonly high: number;
  readonly floor: number;
}

/** b such that softplus(b) is log-uniform, in [0.001, 0.1] by default: dt_bias of Mamba-2 and its descendants. */
export function timeStepBias(
  count: number,
  options: TensorOptions,
  { low, high, floor }: TimeStepRange = { low: 1e-3, high: 0.1, floor: 0 },
): Tensor {
  const where = { ...decayOptions(options), low: Math.log(low), high: Math.log(high) };
  return parameter(
    noGrad(() =>
      scope(() => {
        const dt = rand([count], where).exp().clamp(floor);
        return dt.add(dt.neg().exp().neg().add(1).log());
      }),
    ),
  );
}

/**
 * Draws the weight of a projection onto the residual stream anew, uniform in +-1/sqrt(in layers): PyTorch's own, less for
 * every layer that adds to the stream.
 */
export function initializeResidual(projection: Linear, layers: number): void {
  const { weight } = projection;
  const bound = (weight.shape[1] * layers) ** -0.5;
  const { dtype, device } = weight;
  noGrad(() => scope(() => weight.copy_(rand(weight.shape, { dtype, device, low: -bound, high: bound }))));
}
