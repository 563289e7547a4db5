// The layer of Longhorn, with the parameters of the file.
import * as fw from '../../lib';
import type { CaseRunner } from '../support/runCase';
import { withParameters } from './line';

export const longhornLayer: CaseRunner = ({ x, ...given }, options) => {
  const { modelWidth, innerWidth, stateSize, rank, convSize } = options as Record<string, number>;
  const { device, dtype } = x;
  const sizes = { innerSize: innerWidth, stateSize, rank, convSize, device, dtype };
  const layer = withParameters(new fw.models.LonghornLayer(modelWidth, sizes), {
    'in_proj.weight': given.inWeight,
    'conv1d.weight': given.convWeight.unsqueeze(1),
    'conv1d.bias': given.convBias,
    'x_proj.weight': given.xWeight,
    'dt_head.weight': given.dtWeight,
    'dt_head.bias': given.dtBias,
    D: given.d,
    'out_proj.weight': given.outWeight,
  });
  return { output: layer.forward(x).output };
};
