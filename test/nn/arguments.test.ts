// What modules and their helpers refuse: a wrong argument is named, whatever it is.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';

const { nn, optim } = fw;
const none = undefined as never;

/** Each call, and the argument that it must name. */
const WRONG: readonly (readonly [string, string, () => unknown])[] = [
  ...[
    new nn.ReLU(),
    new nn.LeakyReLU(),
    new nn.GELU(),
    new nn.SiLU(),
    new nn.Tanh(),
    new nn.Sigmoid(),
    new nn.LogSigmoid(),
    new nn.Softplus(),
    new nn.Softplus(2),
    new nn.Softmax(),
    new nn.LogSoftmax(),
    new nn.Identity(),
    new nn.Dropout(),
    new nn.Dropout().eval(),
    new nn.Flatten(),
    new nn.Sequential(),
    new nn.BatchNorm1d(2),
    new nn.BatchNorm2d(2).eval(),
    new nn.GroupNorm(1, 2),
    new nn.LayerNorm(2),
    new nn.RMSNorm(2),
    new nn.Linear(2, 2),
    new nn.Conv1d(1, 1, 1),
    new nn.Conv2d(1, 1, 1),
    new nn.MaxPool2d(2),
    new nn.AvgPool2d(2),
    new nn.AdaptiveAvgPool2d(),
  ].flatMap((module) =>
    [undefined, null, 3, [1], {}].map(
      (x) => [`${module.constructor.name}.forward`, 'x', () => module.forward(x as never)] as const,
    ),
  ),
  ['Embedding.forward', 'indices', () => new nn.Embedding(2, 2).forward(none)],
  ['GatedRMSNorm.forward', 'x', () => new nn.GatedRMSNorm(2).forward(none, fw.ones([2]))],
  ['GatedRMSNorm.forward', 'gate', () => new nn.GatedRMSNorm(2).forward(fw.ones([2]), none)],
  [
    'MultiheadAttention.forward',
    'key',
    () => new nn.MultiheadAttention(4, 2).forward(fw.ones([1, 1, 4]), { causal: true } as never),
  ],
  ['MultiheadAttention.forward', 'query', () => new nn.MultiheadAttention(4, 2).forward(none)],
  [
    'MultiheadAttention.forward',
    'keyMask',
    () => new nn.MultiheadAttention(4, 2).forward(fw.ones([1, 1, 4]), none, none, { keyMask: [true] as never }),
  ],
  ['parameter', 't', () => nn.parameter([1, 2] as never)],
  ['freeze', 'model', () => nn.freeze(none)],
  ['unfreeze', 'model', () => nn.unfreeze(none)],
  ['addLora', 'model', () => nn.addLora({} as never, { rank: 1, alpha: 1, targets: 'all-linear' })],
  ['mergeLora', 'model', () => nn.mergeLora({} as never)],
  ['unmergeLora', 'model', () => nn.unmergeLora({} as never)],
  ['removeLora', 'model', () => nn.removeLora({} as never)],
  ['activeLora', 'model', () => nn.activeLora(none)],
  ...Object.entries(nn.init).flatMap(([name, fn]) =>
    name.endsWith('_') ? [0, undefined].map((t) => [name, 't', () => fn(t as never, none)] as const) : [],
  ),
  ['kaimingNormal_', 'options', () => nn.init.kaimingNormal_(fw.ones([2, 2]), 3 as never)],
  ['ModuleList', 'modules', () => new nn.ModuleList(3 as never)],
  ['ModuleDict', 'modules', () => new nn.ModuleDict(1 as never)],
  ['ModuleDict', 'modules', () => new nn.ModuleDict([3] as never)],
  ...[3, [new nn.ReLU()], new Map([['a', new nn.ReLU()]]), new Set([new nn.ReLU()]), null].map(
    (modules) => ['Sequential', 'modules', () => new nn.Sequential(modules as never)] as const,
  ),
  ['muonGroups', 'named', () => optim.muonGroups(none)],
  ['muonGroups', 'named[0]', () => optim.muonGroups([fw.ones([2, 2])] as never)],
  ['muonGroups', 'isHidden', () => optim.muonGroups([], {}, 3 as never)],
  ['setMomentum', 'optimizer', () => optim.setMomentum(none, 0.5)],
  ['Plateau', 'options', () => new optim.Plateau('x', none)],
  ['checkpoint', 'fn', () => fw.checkpoint(none)],
  ['checkpoint', 'inputs[0]', () => fw.checkpoint((x) => x, 3 as never)],
  ['grad', 'fn', () => fw.grad(none)],
  ['grad', 'inputs[0]', () => fw.grad((x: fw.Tensor) => x)(3 as never)],
  ['gradcheck', 'fn', () => fw.gradcheck(none, [])],
  ['gradcheck', 'inputs', () => fw.gradcheck((x) => x, fw.ones([1]) as never)],
  ['gradgradcheck', 'fn', () => fw.gradgradcheck(1 as never, [])],
  ['defineRule', 'options', () => fw.defineRule(none)],
  ['defineRule', 'name', () => fw.defineRule({} as never)],
  ['defineRule', 'lower', () => fw.defineRule({ name: 'own', gates: {}, kind: {} } as never)],
];

describe('wrong arguments of modules and their helpers', () => {
  it('are INVALID_ARGUMENT, with the argument, what it must be and what it is', () => {
    for (const [where, argument, call] of WRONG) {
      let caught: unknown;
      try {
        call();
      } catch (error) {
        caught = error;
      }
      expect(caught, `${where} ${argument}`).to.be.instanceOf(fw.FastWeightsError);
      const error = caught as fw.FastWeightsError;
      expect([error.code, error.argument], `${where}: ${error.message}`).to.eql(['INVALID_ARGUMENT', argument]);
      expect(error.expected, where).to.be.a('string');
      expect(error.found, where).to.be.a('string');
    }
  });

  it('poolings refuse at once what they cannot compute', () => {
    expectError('INVALID_ARGUMENT', /did you mean stride/, () => new nn.MaxPool2d(2, { strid: 1 } as never));
    expectError('INVALID_ARGUMENT', /kernelSize/, () => new nn.MaxPool2d(0));
    expectError('INVALID_ARGUMENT', /padding must be at most half/, () => new nn.AvgPool2d([2, 3], { padding: 2 }));
    expectError('INVALID_ARGUMENT', /countIncludePad/, () => new nn.AvgPool2d(2, { countIncludePad: 1 as never }));
    expectError('UNSUPPORTED', /outputSize must be 1, got 2/, () => new nn.AdaptiveAvgPool2d(2 as never));
    expect(new nn.AvgPool2d([2, 3], { padding: 1, stride: 5 }).kernelSize).to.eql([2, 3]);
  });

  it('loss modules refuse at once what their loss refuses later', () => {
    const wrong: [RegExp, () => unknown][] = [
      [
        /label_smoothing; did you mean labelSmoothing/,
        () => new nn.CrossEntropyLoss({ label_smoothing: 0.1 } as never),
      ],
      [/labelSmoothing must be/, () => new nn.CrossEntropyLoss({ labelSmoothing: 2 })],
      [/ignoreIndex/, () => new nn.NLLLoss({ ignoreIndex: 0.5 })],
      [/reduction must be 'mean' \| 'sum' \| 'none', got "avg"/, () => new nn.MSELoss({ reduction: 'avg' as never })],
      [/unknown option weight/, () => new nn.L1Loss({ weight: fw.ones([1]) } as never)],
      [/beta/, () => new nn.SmoothL1Loss({ beta: -1 })],
      [/delta must be above 0/, () => new nn.HuberLoss({ delta: 0 })],
      [/posWeight must be a Tensor/, () => new nn.BCEWithLogitsLoss({ posWeight: 3 as never })],
      [/logTarget/, () => new nn.KLDivLoss({ logTarget: 1 as never })],
      [/options must be an object, got 3/, () => new nn.KLDivLoss(3 as never)],
      [/options must be an object, got null/, () => new nn.MSELoss(null as never)],
    ];
    for (const [pattern, make] of wrong) expectError('INVALID_ARGUMENT', pattern, make);
    const weight = fw.tensor([1, 2]);
    const loss = new nn.CrossEntropyLoss({ weight, reduction: 'sum', ignoreIndex: 0, labelSmoothing: 0.1 });
    expect(loss.namedBuffers()).to.eql([['weight', weight]]);
    const kl = new nn.KLDivLoss({ reduction: 'batchMean', logTarget: true });
    expect(kl.forward(fw.zeros([2, 2]), fw.zeros([2, 2])).item()).to.equal(0);
    // The check draws nothing and records nothing.
    expect(fw.withSeed(1, () => (new nn.MSELoss(), fw.rand([1]).item()))).to.equal(
      fw.withSeed(1, () => fw.rand([1]).item()),
    );
  });
});
