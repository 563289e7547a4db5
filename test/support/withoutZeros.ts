// Models without parameters that begin at zero, which hide what stands before them.
import * as fw from '../../lib';

/** The model, whose parameters that are 0 everywhere are drawn anew. */
export function withoutZeros<M extends fw.nn.Module>(model: M): M {
  fw.noGrad(() =>
    fw.scope(() => {
      for (const t of model.parameters()) {
        const { shape, device, dtype } = t;
        if (t.dataSync().every((x) => x === 0)) t.copy_(fw.randn(shape, { device, dtype, std: 0.1 }));
      }
    }),
  );
  return model;
}
