// Modules and small models with weights of their own: the same seed gives the same ones on every device.
import * as fw from '../../../lib';
import type { Builder } from '../builder';
import type { Context } from '../program';

/** Runs a module with new weights, whose gradients are compared, too. */
function withModule<M extends fw.nn.Module>(
  seed: number,
  cx: Context,
  make: (where: { device: fw.Device; dtype: fw.DType }) => M,
  run: (module: M) => fw.Tensor[],
): fw.Tensor[] {
  fw.manualSeed(seed);
  const module = make({ device: cx.device, dtype: cx.dtype });
  for (const parameter of module.parameters()) cx.own(parameter);
  return run(module);
}

export function module(b: Builder): void {
  const { random } = b;
  const seed = random.int(0, 1000);
  const [B, T, d, hidden] = [random.int(1, 2), b.tokens(), b.size(), b.size()];
  const x = b.operand([B, T, d]);
  switch (random.int(0, 3)) {
    case 0: {
      const bias = random.chance(0.5);
      b.emit(
        'module',
        `new nn.SwiGLU(${d}, ${hidden}, { bias: ${bias} }).forward(t${x}), seed ${seed}`,
        [x],
        ([t], cx) =>
          withModule(
            seed,
            cx,
            (w) => new fw.nn.SwiGLU(d, hidden, { bias, ...w }),
            (m) => [m.forward(t, t)],
          ),
      );
      return;
    }
    case 1:
      b.emit('module', `new nn.Linear(${d}, ${hidden}).forward(t${x}), seed ${seed}`, [x], ([t], cx) =>
        withModule(
          seed,
          cx,
          (w) => new fw.nn.Linear(d, hidden, w),
          (m) => [m.forward(t, { activation: 'silu' })],
        ),
      );
      return;
    case 2: {
      const width = random.int(1, 4);
      b.emit('module', `new nn.ShortConvolution(${d}, ${width}).forward(t${x}), seed ${seed}`, [x], ([t], cx) =>
        withModule(
          seed,
          cx,
          (w) => new fw.nn.ShortConvolution(d, width, { bias: true, ...w }),
          (m) => [m.forward(t).output],
        ),
      );
      return;
    }
    default: {
      const z = b.operand([B, T, d]);
      b.emit('module', `new nn.GatedRMSNorm(${d}).forward(t${x}, t${z})`, [x, z], ([t, g], cx) =>
        withModule(
          seed,
          cx,
          (w) => new fw.nn.GatedRMSNorm(d, 1e-5, 'silu', w),
          (m) => [m.forward(t, g)],
        ),
      );
    }
  }
}

/** A whole language model, small: what its layers are made of, with the shapes and the order that models have. */
export function model(b: Builder): void {
  const { random } = b;
  const { name } = random.pick(fw.models.modelFamilies);
  const [seed, vocabSize, T] = [random.int(0, 1000), random.int(3, 20), random.pick([1, 2, 5, 17, 33])];
  const numHeads = random.pick([1, 2]);
  const sizes = { vocabSize, hiddenSize: 8 * numHeads, numLayers: random.int(1, 2), numHeads, intermediateSize: 24 };
  const ids = b.leaf([random.int(1, 2), T], { integer: true, draw: (r) => r.int(0, vocabSize - 1) });
  const text = `createModel('${name}', ${JSON.stringify(sizes)}).forward(t${ids}, { labels: t${ids} }), seed ${seed}`;
  b.emit('model', text, [ids], ([t], cx) =>
    withModule(
      seed,
      cx,
      (where) => fw.createModel(name, { ...sizes, ...where }),
      (m) => {
        const { logits, loss } = m.forward(t, { labels: t });
        return [logits, loss];
      },
    ),
  );
}
