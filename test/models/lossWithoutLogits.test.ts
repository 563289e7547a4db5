// The loss of language models whose logits nobody asks for: that of the logits, and its gradients, for heads of every kind.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';
import { targets } from '../support/golden';
import { expectClose, toleranceOf } from '../support/tolerance';

type Model = fw.models.CausalLM;

const SIZES = { vocabSize: 37, hiddenSize: 16, numLayers: 2, numHeads: 2 } as const;
const IDS = Array.from({ length: 3 * 9 }, (_, i) => (i * i + 5) % SIZES.vocabSize);
/** Some count for nothing. */
const TARGETS = IDS.map((id, i) => (i % 5 === 2 ? -100 : (id * 3) % SIZES.vocabSize));
const MASK = IDS.map((_, i) => Number(i % 9 > 1));

/** Whether some rows at a time will do, a family with more of its configuration, and what is done to the model. */
type Head = [inRows: boolean, family: fw.ModelName, extra: object, prepare?: (model: Model) => unknown];
const HEADS: Record<string, Head> = {
  'a head of its own': [true, 'deltanet', {}],
  'the embedding as the head': [true, 'gated-deltanet', { tieWordEmbeddings: true }],
  'logits that are capped': [false, 'xlstm', { outputLogitSoftCap: 2 }],
  'logits with a factor': [false, 'falcon-h1', { lmHeadMultiplier: 0.3 }],
  'an adapter on the head': [
    false,
    'deltanet',
    {},
    (model) => {
      fw.nn.addLora(model, { rank: 2, alpha: 2, targets: 'lm_head' });
      for (const [name, t] of model.namedParameters()) if (name.includes('lora_B')) fw.noGrad(() => t.add_(0.1));
    },
  ],
  'hooks on the head': [false, 'deltanet', {}, (model) => model.lm_head.registerForwardHook((_, __, y) => y.mul(0.5))],
  'layers that are computed again': [true, 'gla', {}, (model) => (model.gradientCheckpointing = true)],
};

type Loss = (model: Model, ids: fw.Tensor) => fw.Tensor;

/** The loss, and the gradients by parameter. */
function results(model: Model, ids: fw.Tensor, loss: Loss): Record<string, ArrayLike<number>> {
  return fw.scope(() => {
    const value = loss(model, ids);
    value.backward();
    const trained = model.namedParameters().filter(([, t]) => t.requiresGrad);
    const gradients = trained.map(([name, t]) => [name, t.grad!.to('float32').dataSync()] as const);
    model.zeroGrad();
    return { loss: value.dataSync(), ...Object.fromEntries(gradients) };
  });
}

for (const { device, dtype } of targets({ bfloat16: true })) {
  if (dtype === 'float64') continue;
  const int32 = (data: number[]): fw.Tensor => fw.tensor(data, { shape: [3, 9], dtype: 'int32', device });

  describe(`the loss without logits on ${device}, ${dtype}`, () => {
    const { gradient } = toleranceOf(dtype);
    const ids = int32(IDS);
    const wanted = int32(TARGETS);
    const attentionMask = int32(MASK);
    const WAYS: Record<string, [without: Loss, exact: Loss]> = {
      'of labels': [
        (model) => model.forward(ids, { labels: wanted, outputLogits: false }).loss,
        (model) => model.forward(ids, { labels: wanted }).loss,
      ],
      'of labels, with padding': [
        (model) => model.forward(ids, { labels: wanted, attentionMask, outputLogits: false }).loss,
        (model) => model.forward(ids, { labels: wanted, attentionMask }).loss,
      ],
      'of targets, their sum': [
        (model) => model.targetLoss(ids, wanted),
        (model) => fw.crossEntropy(model.forward(ids).logits, wanted, { reduction: 'sum' }),
      ],
    };
    for (const [title, [inRows, family, extra, prepare]] of Object.entries(HEADS)) {
      it(title, () => {
        const model = fw.withSeed(3, () => fw.createModel(family, { ...SIZES, ...extra, device, dtype }));
        prepare?.(model);
        for (const [way, [without, exact]] of Object.entries(WAYS)) {
          const expected = results(model, ids, exact);
          const found = results(model, ids, without);
          expect(without(model, ids).node!.name === 'linearCrossEntropy', way).to.equal(inRows);
          expect(Object.keys(found)).to.deep.equal(Object.keys(expected));
          for (const [name, values] of Object.entries(expected)) {
            expectClose(`${way}: ${name}`, found[name], values, gradient);
          }
          expect(results(model, ids, without), 'the same bits again').to.deep.equal(found);
        }
      });
    }
  });
}

describe('the loss without logits', () => {
  const model = fw.createModel('deltanet', { ...SIZES, device: 'js' });
  const ids = fw.tensor([[1, 2]], { dtype: 'int32', device: 'js' });

  it('comes alone, or with the state', () => {
    expect(Object.keys(model.forward(ids, { labels: ids, outputLogits: false }))).to.deep.equal(['loss']);
    const more = model.forward(ids, { labels: ids, outputLogits: false, outputState: true });
    expect(Object.keys(more)).to.deep.equal(['loss', 'state']);
  });

  it('calls what stands in front of the model', () => {
    let calls = 0;
    const hook = model.registerForwardHook(() => void calls++);
    const loss = model.targetLoss(ids, ids).item();
    hook.remove();
    expect(calls).to.equal(1);
    expect(model.targetLoss(ids, ids).item()).to.be.closeTo(loss, 1e-5);
  });

  it('refuses what does not fit', () => {
    expectError('SHAPE', /targetLoss: ids must be \[B, T\]/, () => model.targetLoss(ids.squeeze(0), ids));
    expectError('SHAPE', /targetLoss: targets must be \[1, 2\]/, () => model.targetLoss(ids, ids.slice(1, 1)));
    expectError('DTYPE', /targetLoss: targets must be int32/, () => model.targetLoss(ids, ids.to('float32')));
    expectError('INVALID_ARGUMENT', /outputLogits/, () => model.forward(ids, { outputLogits: 1 as never }));
  });
});
