// Which experts a token goes to, and how much each of them counts.
import { checkObject } from '../../core';
import type { Tensor } from '../../core';
import { Linear } from '../../nn';
import { full, gather, linear, maskedFill, scatterAdd, type TensorOptions, toFloat32, topk, zeros } from '../../ops';
import type { ConfigurationReader } from './configuration';

/** How a `Router` chooses. */
export interface RoutingShape {
  /** Experts that there are. */
  numExperts: number;
  /** Experts that a token goes to. */
  perToken: number;
  /** What makes a score of a logit: 'softmax' over all experts, or 'sigmoid' of each. */
  scores: 'softmax' | 'sigmoid';
  /** Whether the weights of a token's experts are divided by their sum. */
  normalise: boolean;
  /** Multiplies the weights. */
  factor: number;
  /** Consecutive experts form so many groups, of which a token's experts come from the best `groupsPerToken`. */
  groups: number;
  /** A group is as good as its two best experts together. */
  groupsPerToken: number;
  /** Whether a number of each expert, which no gradient changes, is added where experts are chosen, and only there. */
  correctionBias: boolean;
}

/** The experts of each token, from the best down. */
export interface Routing {
  /** int32 [N, perToken] */
  experts: Tensor;
  /** Of the same shape; float32 also in a bfloat16 model. */
  weights: Tensor;
}

/** Keeps a sum of weights that all vanish from dividing by 0, as the published programs of sigmoid scores do. */
const SUM_EPS = 1e-20;

/** Reads how many experts there are and how many a token goes to; the keys are the family's. */
export function readExperts(
  reader: ConfigurationReader,
  keys: { count: string; perToken: string },
  defaults: { count: number; perToken: number },
): { numExperts: number; perToken: number } {
  const numExperts = reader.size(keys.count, defaults.count);
  return { numExperts, perToken: reader.size(keys.perToken, Math.min(defaults.perToken, numExperts), numExperts) };
}

/** Top-k routing (Shazeer et al. 2017), with the groups and the correction of DeepSeek-V3 (2024). */
export class Router extends Linear {
  /** [numExperts], zeros at first, float32 also in a bfloat16 model; null without `correctionBias`. */
  e_score_correction_bias: Tensor | null;

  constructor(
    hiddenSize: number,
    /** How it chooses. */
    readonly routing: RoutingShape,
    options: TensorOptions = {},
  ) {
    checkObject('Router', 'routing', routing);
    super(hiddenSize, routing.numExperts, { bias: false, ...options });
    this.keepWhole();
    const { device, dtype } = this.weight;
    const place = { device, dtype: dtype === 'bfloat16' ? ('float32' as const) : dtype };
    const bias = routing.correctionBias ? zeros([routing.numExperts], place) : null;
    this.e_score_correction_bias = this.registerBuffer('e_score_correction_bias', bias);
  }

  protected override get keptInFloat32(): readonly string[] {
    return ['e_score_correction_bias'];
  }

  /** x [..., hiddenSize] to logits, in float32: a choice is not to hang on a rounding to bfloat16. */
  override forward(x: Tensor): Tensor {
    const { weight, adapter } = this;
    const logits = linear(toFloat32(x), toFloat32(weight));
    const added = adapter?.active ? adapter.forward(x) : null;
    return added ? logits.add(toFloat32(added)) : logits;
  }

  /** rows [N, hiddenSize]; each row on its own. */
  route(rows: Tensor): Routing {
    const { scores, perToken, normalise, factor } = this.routing;
    const logits = this.forward(rows);
    const score = scores === 'softmax' ? logits.softmax(-1) : logits.sigmoid();
    const experts = topk(this.choice(score.detach()), perToken).indices;
    const chosen = gather(score, 1, experts);
    const weights = normalise ? chosen.div(chosen.sum(-1, true).add(SUM_EPS)) : chosen;
    return { experts, weights: factor === 1 ? weights : weights.mul(factor) };
  }

  /** Scores [N, numExperts] as far as they decide: corrected, and none of experts outside the best groups. */
  private choice(score: Tensor): Tensor {
    const { numExperts, groups, groupsPerToken } = this.routing;
    const bias = this.e_score_correction_bias;
    const corrected = bias ? score.add(bias) : score;
    if (groupsPerToken === groups) return corrected;
    const [rows, size] = [score.shape[0], numExperts / groups];
    const grouped = corrected.reshape(rows, groups, size);
    const best = topk(topk(grouped, Math.min(2, size)).values.sum(-1), groupsPerToken).indices;
    const none = zeros([rows, groups], { device: score.device, dtype: score.dtype });
    const kept = scatterAdd(none, 1, best, full([...best.shape], 1, { device: score.device, dtype: score.dtype }));
    const outside = kept.eq(0).unsqueeze(-1).expand([rows, groups, size]);
    return maskedFill(grouped, outside, -Infinity).reshape(rows, numExperts);
  }
}
