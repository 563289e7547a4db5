// The first DeltaNet, and the linear Transformer beside it, as a sublayer (Schlag, Irie, Schmidhuber 2021; spec 0.2, 2.2,
// 2.3.1 to 2.3.3).
import { checkChoice, checkInteger, checkObject, type Tensor } from '../../core';
import { noGrad } from '../../autograd';
import { init } from '../../nn';
import { featureMap, ones, randn, zeros } from '../../ops';
import { deltaRule, linearAttention } from '../../rules';
import { type Before, type Inputs, type RecurrentLayerOptions, SlowNetLayer, type Whole } from './recurrentLayers';

/** Options of `DeltaNetLayer`. */
export interface DeltaNetLayerOptions extends RecurrentLayerOptions {
  /** 'delta', the default, or 'sum', the linear Transformer, which has no strengths. */
  updateRule?: 'delta' | 'sum';
  /** Of queries and keys: 'elu1' by default. */
  featureMap?: 'elu1' | 'relu' | 'softmax' | 'dpfp' | 'favor';
  /** dpfp: how many rolled products; 1 by default. */
  nu?: number;
  /** favor: random directions, which give two features each; headDim by default. */
  directions?: number;
  /** favor: added to the exponentials; 1e-4 by default, as in the language-modelling code. */
  featureEps?: number;
  /** Queries and keys over their sums; by default with 'delta', not with 'sum'. */
  sumNorm?: boolean;
  /** The output over z . q, z the sum of keys; false by default. */
  normalize?: boolean;
  /** 'delta' with `normalize`: what is erased over z . k, too; true by default. */
  normalizeRetrieval?: boolean;
  /** Added to these denominators: 1e-5 by default. */
  normalizeEps?: number;
}

const DELTA = ['q', 'k', 'v', 'beta'];
const SUM = ['q', 'k', 'v'];

/**
 * One slow projection gives queries, keys, values and strengths, head after head; the delta rule, or the sum, does the rest:
 * `arrangement` 'pre' is the algorithmic code's, 'post' with `scale` headDim ** -0.5 that of language modelling, which calls
 * the projections qkvb_net, without strengths qkv_net, and o_net. States may be carried from segment to segment.
 */
export class DeltaNetLayer extends SlowNetLayer {
  /** favor: directions [headDim, directions], which `redraw` draws anew; null with other maps. */
  omega!: Tensor | null;
  private readonly settings: Required<Omit<DeltaNetLayerOptions, keyof RecurrentLayerOptions>>;

  constructor(hiddenSize: number, numHeads: number, options: DeltaNetLayerOptions = {}) {
    checkObject(new.target.name, 'options', options);
    const {
      updateRule = 'delta',
      featureMap: map = 'elu1',
      nu = 1,
      directions: given = null,
      featureEps = 1e-4,
      sumNorm = updateRule === 'delta',
      normalize = false,
      normalizeRetrieval = true,
      normalizeEps = 1e-5,
      ...rest
    } = options;
    const where = 'DeltaNetLayer';
    checkChoice(where, 'updateRule', updateRule, ['delta', 'sum']);
    checkChoice(where, 'featureMap', map, ['elu1', 'relu', 'softmax', 'dpfp', 'favor']);
    checkInteger(where, 'nu', nu, 1);
    super(hiddenSize, numHeads, updateRule === 'delta' ? DELTA : SUM, rest);
    const directions = checkInteger(where, 'directions', given ?? this.headDim, 1);
    const settings = { updateRule, featureMap: map, nu, directions, featureEps, sumNorm };
    this.settings = { ...settings, normalize, normalizeRetrieval, normalizeEps };
    const { device, dtype } = options;
    const empty = map === 'favor' ? zeros([this.headDim, directions], { device, dtype }) : null;
    this.registerBuffer('omega', empty, { persistent: false });
    this.redraw();
  }

  /** Draws the directions of favor: orthogonal as far as there are so many, of the lengths of Gaussian vectors. */
  redraw(): void {
    const { omega } = this;
    if (!omega) return;
    const where = { device: omega.device, dtype: omega.dtype };
    noGrad(() => {
      const lengths = randn([...omega.shape], where)
        .square()
        .sum(1, true)
        .sqrt();
      omega.copy_(init.orthogonal_(zeros([...omega.shape], where)).mul(lengths));
    });
  }

  protected get stateShapes(): Record<string, readonly number[]> {
    const { numHeads: H, headDim: D } = this;
    const { featureMap: map, nu, directions, normalize } = this.settings;
    const K = map === 'dpfp' ? 2 * D * nu : map === 'favor' ? 2 * directions : D;
    return { state: [H, K, D], ...(normalize && { normalizer: [H, K] }) };
  }

  protected sequence({ q, k, v, beta }: Inputs, before: Before, whole: Whole): Record<string, Tensor | undefined> {
    const { updateRule, normalize, normalizeRetrieval, normalizeEps } = this.settings;
    const [query, key] = [this.features(q), this.features(k)];
    const { initialState, initialNormalizer } = before;
    const common = { ...whole, initialState, scale: 1 };
    const divided = { ...common, normalize, normalizeEps, ...(normalize && { initialNormalizer }) };
    const strength = beta?.sigmoid();
    if (updateRule === 'sum') return this.scaled(linearAttention(query, key, v, divided));
    if (!normalize || normalizeRetrieval) return this.scaled(deltaRule(query, key, v, { ...divided, beta: strength }));
    const read = deltaRule(query, key, v, { ...common, beta: strength });
    // z . q is linear attention whose values are 1.
    const units = ones([...k.shape.slice(0, 3), 1], { device: k.device, dtype: k.dtype });
    const sums = linearAttention(query, key, units, { ...common, initialState: initialNormalizer?.unsqueeze(3) });
    const finalNormalizer = sums.finalState?.squeeze(3);
    return { ...this.scaled({ ...read, output: read.output.div(sums.output.add(normalizeEps)) }), finalNormalizer };
  }

  private features(x: Tensor): Tensor {
    const { featureMap: map, nu, featureEps, sumNorm } = this.settings;
    const own = map === 'dpfp' ? { nu } : map === 'favor' ? { omega: this.omega!, featureEps } : {};
    return featureMap(x, { featureMap: map, sumNorm, ...own });
  }

  private scaled(result: { output: Tensor }): Record<string, Tensor | undefined> {
    return { ...result, output: this.scale === 1 ? result.output : result.output.mul(this.scale) };
  }
}
