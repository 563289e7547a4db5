// Layers that learn at test time.
import * as fw from '../../lib';
import type { CaseRunner } from '../support/runCase';
import { withParameters } from './line';

/** Modules inside the layer: their parameters have a dot where the files have an underscore. */
const MODULE = /^([qkvog]_proj|post_norm|conv_[qk])_(weight|bias)$/;

const tttLayer: CaseRunner = ({ x, ...parameters }, { heads, ...options }) => {
  const where = { device: x.device, dtype: x.dtype };
  const layer = new fw.models.TttLayer(x.shape[2], heads as number, { ...options, ...where });
  const named = Object.entries(parameters).map(([name, t]) => [name.replace(MODULE, '$1.$2'), t]);
  return { output: withParameters(layer, Object.fromEntries(named) as typeof parameters).forward(x).output };
};

/** By the rule in the file. */
export const TEST_TIME_LAYERS: Readonly<Record<string, CaseRunner>> = { tttLayer };
